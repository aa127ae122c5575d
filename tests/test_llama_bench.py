"""Reading what llama-bench writes, and refusing what it does not."""

import json
from pathlib import Path

import pytest
from shapes import LLAMA_7B

from calibration.sources.llama_bench import read_own_runs
from calibration.verbs.fit_llama_bench import fit_llama_bench
from latmodel import Predictor, Workload
from latmodel.device.profile_file import read_profile
from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig
from latmodel.predict.prediction import Prediction

PROMPT = {"model_type": "llama 7B Q4_K - Medium", "n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 1024.0}
WRITING = {"model_type": "llama 7B Q4_K - Medium", "n_prompt": 0, "n_gen": 128, "n_depth": 4096, "avg_ts": 50.0}
BOTH = {**PROMPT, "n_gen": 128}


def _written(folder: Path, form: str) -> Path:
    path = folder / f"runs.{form}"
    rows = [PROMPT, BOTH, WRITING]
    if form == "json":
        path.write_text(json.dumps(rows))
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    else:
        lines = [",".join(PROMPT)] + [",".join(f'"{value}"' for value in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_all_three_outputs_say_the_same(tmp_path: Path, form: str) -> None:
    prompt, writing = read_own_runs(_written(tmp_path, form), LLAMA_7B, "Apple M2", "Metal")
    # 512 tokens at 1024 a second; one at 50 a second, with 4096 in the cache. The mixed test is left out.
    assert (prompt.phase, prompt.tokens, prompt.depth, prompt.seconds) == ("prefill", 512, 0, 0.5)
    assert (writing.phase, writing.tokens, writing.depth, writing.seconds) == ("decode", 128, 4096, 0.02)
    assert {prompt.weights, writing.weights} == {"q4_k_m"}


def test_a_cold_first_repeat_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "runs.json"
    path.write_text(json.dumps([{**PROMPT, "avg_ts": 853.0, "samples_ts": [512.0, 1024.0, 1023.0]}]))
    (test,) = read_own_runs(path, LLAMA_7B, "Apple M2", "Metal")
    assert test.seconds == 512 / 1023


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"latency": 3}]', "'n_prompt' is missing"),
        ('{"n_prompt": 1', "llama-bench -o json"),
        (json.dumps([{**PROMPT, "avg_ts": 0.0}]), "no speed in tokens per second"),
        (json.dumps([{**PROMPT, "avg_ts": "fast"}]), "fast is no speed in tokens per second"),
        (json.dumps([{**PROMPT, "samples_ts": [1.0, None]}]), "no speed in tokens per second"),
        (json.dumps([{**PROMPT, "n_prompt": "all"}]), "must be whole numbers"),
        (json.dumps([{**PROMPT, "model_type": "llama 7B"}]), "names no known weight format"),
        (json.dumps([{**PROMPT, "build_number": "new"}]), "build_number new is no whole number"),
        (json.dumps([BOTH]), "no test of a prompt or of generation alone"),
    ],
)
def test_other_tools_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        read_own_runs(path, LLAMA_7B, "Apple M2", "Metal")


def _width(p: Prediction) -> float:
    return p.decode_s_per_token_high / p.decode_s_per_token_low


def test_own_runs_pin_the_device(tmp_path: Path) -> None:
    before = Predictor.load("4070 laptop", "llama.cpp")  # nobody published a run on it
    work = Workload(prompt_tokens=512, new_tokens=128, weights="q4_k_m")
    was = before.predict(LLAMA_7B, work)
    path = tmp_path / "runs.jsonl"
    speeds = [(512, 0, 0, 512 / was.prefill_s / 1.5), (0, 128, 512, 1.0 / was.decode_s_per_token / 1.2)]
    path.write_text(
        "\n".join(
            json.dumps({**PROMPT, "n_prompt": n, "n_gen": g, "n_depth": d, "avg_ts": speed})
            for n, g, d, speed in speeds
        )
    )
    lines = list(fit_llama_bench("4070 laptop", [path], LLAMA_7B, None, tmp_path / "mine.json"))
    after = Predictor(read_profile(tmp_path / "mine.json"), "llama.cpp")
    now = after.predict(LLAMA_7B, work)
    # The runs were 1.5 and 1.2 times as long as predicted; a device strays that far, so they decide.
    assert now.prefill_s / was.prefill_s == pytest.approx(1.5, rel=0.05)
    assert now.decode_s_per_token / was.decode_s_per_token == pytest.approx(1.2, rel=0.06)
    assert _width(now) < _width(was)
    # A model that is narrower than any that others ran counts as measured once it was run here.
    narrow, narrower = (
        ModelConfig(num_hidden_layers=8, hidden_size=width, intermediate_size=1024) for width in (256, 192)
    )
    assert any(line.startswith("hidden_size 256") for line in before.predict(narrow, work).extrapolated_because)
    list(fit_llama_bench("4070 laptop", [path], narrow, None, tmp_path / "narrow.json"))
    pinned = Predictor(read_profile(tmp_path / "narrow.json"), "llama.cpp")
    assert not any("hidden_size" in line for line in pinned.predict(narrow, work).extrapolated_because)
    assert any("hidden_size" in line for line in pinned.predict(narrower, work).extrapolated_because)
    # One that is narrower yet is as unsure as it was, whatever the run says of others.
    assert _width(pinned.predict(narrower, work)) >= 0.999 * _width(before.predict(narrower, work))
    assert any("before" in line and "now" in line for line in lines)


def _fitted(folder: Path, prior: Path | None, *builds: tuple[str, int]) -> tuple[list[str], Path]:
    """Lines that `fit` prints of one run by each build, and the profile."""
    rows = [{**PROMPT, "build_commit": commit, "build_number": number} for commit, number in builds]
    runs, out = folder / "runs.json", folder / f"{len(builds)}-{prior is None}.json"
    runs.write_text(json.dumps(rows))
    return list(fit_llama_bench("7900 xtx", [runs], LLAMA_7B, None if prior is None else str(prior), out)), out


def test_runs_of_another_build_are_said_to_be(tmp_path: Path) -> None:
    low, high = Predictor.load("7900 xtx", "llama.cpp").profile.runtimes["llama.cpp"].builds or (0, 0)
    assert 0 < low <= high < 11549
    lines, profile = _fitted(tmp_path, None, ("a1b2c3d", 11549))
    assert any("build 11549 (a1b2c3d)" in line and f"of {low} to {high}" in line for line in lines)
    part = read_profile(profile).runtimes["llama.cpp"]
    assert part.builds == (11549, 11549) and part.note.endswith("moved by 1 rows of its own, of build 11549 (a1b2c3d)")
    # What is now behind the profile is of that build.
    assert not any("note: runs" in line for line in _fitted(tmp_path, profile, ("a1b2c3d", 11549))[0])
    lines, profile = _fitted(tmp_path, profile, ("a1b2c3d", 11549), ("e4f5a6b", 11600))
    assert any("several builds" in line and "11549 (a1b2c3d), 11600 (e4f5a6b)" in line for line in lines)
    assert read_profile(profile).runtimes["llama.cpp"].builds == (11549, 11600)


def test_a_run_that_tells_no_build_is_no_other(tmp_path: Path) -> None:
    lines, profile = _fitted(tmp_path, None, ("", 0))
    assert not any("note: runs" in line for line in lines)
    packaged = Predictor.load("7900 xtx", "llama.cpp").profile.runtimes["llama.cpp"]
    assert read_profile(profile).runtimes["llama.cpp"].builds == packaged.builds


def test_a_mean_of_speeds_is_predicted_as_one() -> None:
    from calibration.published.llama_cpp.devices import Device
    from calibration.published.llama_cpp.effects import START
    from calibration.published.llama_cpp.generations import UNKNOWN
    from calibration.published.llama_cpp.law import Problem, row_of
    from calibration.sources.llama_bench import LOCALSCORE_TESTS, SpeedTest

    prompts, news = zip(*LOCALSCORE_TESTS, strict=True)
    assert (round(sum(prompts) / 9), round(sum(news) / 9)) == (1332, 1012)  # what the published table states
    device = Device("x", "x", "x", "CUDA", UNKNOWN, 1e12, 100.0, None, "")
    whole = SpeedTest("", "x", "CUDA", "llamafile", None, "", LLAMA_7B, "q4_0", None, "prefill", 0, 1332, 1.0)
    single = [whole._replace(build="", tokens=prompt) for prompt in prompts]
    rows = [row_of(test, device) for test in (whole, *single)]
    found = Problem([row for row in rows if row is not None])
    seconds = found.predict({name: value + 0.0 * found.seconds for name, value in START.items()})
    speeds = [prompt / one for prompt, one in zip(prompts, seconds[1:], strict=True)]
    assert 1332 / seconds[0] == pytest.approx(sum(speeds) / 9)


def test_builds_are_told_apart() -> None:
    from calibration.sources.llama_bench import _build

    def row(note: str, build: str = "", backend: str = "ROCm", source: str = "x") -> dict[str, str]:
        return {"note": note, "build": build, "backend": backend, "source": source}

    assert _build(row("hip")) == "rocBLAS"
    assert _build(row("rocwmma, hipBLASLt")) == "hipBLASLt, rocwmma"
    assert _build(row("", "d2f650cb (1999)", "Vulkan")) == _build(row("", "2024-03")) == "until 2024"
    assert _build(row("", "d2f650cb (1999)", "CUDA")) == _build(row("", "8cf6b42", "Vulkan")) == ""
    assert _build(row("Raspberry Pi 5 host: host-bound, no coopmat", "", "Vulkan")) == "no coopmat, slow host"
