"""Measurement files: what is torn is dropped, what is wrong is named, what is not comparable is not mixed."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from calibration.fit.make import measured_ranges
from calibration.observations.evidence import evidence
from calibration.observations.record import Observation, append_record, observation, read_records, same_setup
from calibration.verbs.fit import fit_observations
from latmodel.device.profile_file import read_profile
from latmodel.device.store import load_profile
from latmodel.errors import ProfileError, UsageError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

ROW: dict[str, Any] = {
    "phase": "decode", "timing": "wall", "seconds": 0.01, "gpu": "nvidia-geforce-rtx-3090",
    "runtime": "transformers-eager", "num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 512,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 1000, "new_tokens": 10,
}  # fmt: skip


def row(**changes: Any) -> Observation:
    return observation({**ROW, **changes}, "test")


def test_what_is_appended_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    for seconds in (0.01, 0.02):
        append_record(path, {**ROW, "seconds": seconds})
    found = read_records(path)
    assert [record["seconds"] for record in found.records] == [0.01, 0.02]
    assert found.problems == []


def test_a_torn_last_line_is_dropped_and_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    append_record(path, ROW)
    append_record(path, ROW)
    whole = path.read_bytes()
    for cut in range(1, len(whole) // 2):
        path.write_bytes(whole[:-cut])
        assert len(read_records(path).records) == (2 if cut == 1 else 1)  # a newline alone is no loss
        assert read_records(path).problems == []
    for cut in (1, 20):  # without its newline the line is whole; torn, it is removed before the next is written
        path.write_bytes(whole[:-cut])
        append_record(path, ROW)
        assert path.read_bytes() == (whole + whole[: len(whole) // 2] if cut == 1 else whole)


@pytest.mark.parametrize(
    "line",
    [b"not json", b"[1]", b"3", b"\xff\xfe", b'{"seconds": NaN}', b'{"seconds": Infinity}', b'{"a": 1, "a": 2}',
     b"[" * 9000, b'{"a": "' + b"x" * 20_000 + b'"}'],
)  # fmt: skip
def test_a_bad_line_is_left_out_and_named(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / "times.jsonl"
    good = json.dumps(ROW).encode()
    path.write_bytes(good + b"\n" + line + b"\n" + good + b"\n")
    found = read_records(path)
    assert len(found.records) == 2
    assert [problem.split(": ")[0] for problem in found.problems] == [f"{path}:2"]


def test_files_that_are_missing_or_too_large_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_records(tmp_path / "none.jsonl")
    with (tmp_path / "huge.jsonl").open("wb") as file:
        file.truncate(300_000_000)
    with pytest.raises(UsageError, match="split it"):
        read_records(tmp_path / "huge.jsonl")


def test_nothing_that_is_no_number_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        append_record(tmp_path / "times.jsonl", {"seconds": math.nan})
    assert not (tmp_path / "times.jsonl").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [("seconds", 0.0), ("seconds", -1.0), ("seconds", 1e9), ("seconds", "fast"), ("hidden_size", 0),
     ("hidden_size", 1.5), ("hidden_size", 10**12), ("noise", -1.0), ("phase", "lunch"), ("dtype", "int3"),
     ("colour", "red"), ("gpu", "x" * 200)],
)  # fmt: skip
def test_a_wrong_field_is_named_with_its_place(field: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        observation({**ROW, field: value}, "times.jsonl:7")
    assert "times.jsonl:7" in str(caught.value)
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["phase", "timing", "seconds", "gpu", "runtime", "hidden_size"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        observation({name: value for name, value in ROW.items() if name != field}, "here")


def test_what_is_not_comparable_is_not_mixed() -> None:
    rows = [row(), row(dtype="float32")]
    with pytest.raises(UsageError, match="bfloat16 and float32"):
        evidence(rows)
    with pytest.raises(UsageError, match="dtype"):
        same_setup(rows, "gpu", "dtype")
    same_setup(rows, "gpu", "runtime")


def test_rows_that_no_formula_predicts_are_refused() -> None:
    with pytest.raises(UsageError, match="no formula"):
        evidence([row(part="head", phase="response", timing="loop")])


def test_groups_keep_the_place_of_each_row() -> None:
    rows = [row(), row(phase="prefill"), row(seconds=0.03), row(runtime="cuda-graph")]
    pieces = {(piece.runtime, piece.name): piece for piece in evidence(rows)}
    assert pieces["transformers-eager", "model/decode/wall"].index == (0, 2)
    assert pieces["transformers-eager", "model/decode/wall"].seconds.tolist() == [0.01, 0.03]
    assert pieces["cuda-graph", "model/decode/wall"].index == (3,)


def test_observations_of_another_device_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path, out = tmp_path / "times.jsonl", tmp_path / "out.json"
    append_record(path, {**ROW, "gpu": "nvidia-h200"})
    with pytest.raises(ProfileError, match="nvidia-h200"):
        list(fit_observations("3090", [path], "latmodel", None, out))
    assert not out.exists()


def test_noisy_rows_alone_are_nothing_to_fit(tmp_path: Path) -> None:
    path, out = tmp_path / "times.jsonl", tmp_path / "out.json"
    append_record(path, {**ROW, "flags": ["noisy"]})
    with pytest.raises(UsageError, match="no usable observation"):
        list(fit_observations("3090", [path], "latmodel", None, out))
    assert not out.exists()


def test_one_run_on_a_published_card_moves_its_runtime_and_no_other(tmp_path: Path) -> None:
    """A time of PyTorch says nothing of the serving framework's kernels: those stay, corrections and all."""
    prior = load_profile("h200")
    model = ModelConfig(
        num_hidden_layers=24, hidden_size=2048, intermediate_size=5632, num_attention_heads=16, num_key_value_heads=4,
        vocab_size=65536, tie_word_embeddings=True,
    )  # fmt: skip
    work = Workload(prompt_tokens=512, new_tokens=16)
    slow = 1.6 * Predictor(prior, "transformers-eager").predict(model, work).decode_s_per_token
    row = {
        **model.model_dump(), "phase": "decode", "timing": "loop", "seconds": slow, "noise": 0.01, "gpu": prior.gpu,
        "runtime": "transformers-eager", "prompt_tokens": 512, "new_tokens": 16, "batch_size": 1, "name": "mine",
    }  # fmt: skip
    path, out = tmp_path / "mine.jsonl", tmp_path / "h200.json"
    path.write_text(json.dumps(row) + "\n")
    list(fit_observations("h200", [path], "latmodel", None, out))
    found = read_profile(out)
    assert Predictor(found, "transformers-eager").predict(model, work).decode_s_per_token == pytest.approx(
        slow, rel=0.1
    )
    for runtime in ("vllm", "cuda-graph"):
        before, after = (Predictor(profile, runtime).predict(model, work) for profile in (prior, found))
        assert after.response_s == before.response_s


def test_measured_ranges_reach_from_the_shortest_prompt_to_the_last_token() -> None:
    prefills = [row(phase="prefill", new_tokens=0, prompt_tokens=prompt) for prompt in (700, 300, 500)]
    decode = row(prompt_tokens=650, new_tokens=90, batch_size=3)
    a_pass = row(phase="prefill", new_tokens=0, prompt_tokens=4, cached_tokens=2000)
    assert measured_ranges([*prefills, decode]) == {
        "num_hidden_layers": (4.0, 4.0), "hidden_size": (256.0, 256.0), "prompt_tokens": (300.0, 740.0),
        "batch_size": (1.0, 3.0), "intermediate_size": (512.0, 512.0), "head_dim": (64.0, 64.0),
    }  # fmt: skip
    # The few tokens of a pass over a cache are no short prompt.
    assert measured_ranges([*prefills, a_pass])["prompt_tokens"] == (300.0, 700.0)
    assert measured_ranges([*prefills, a_pass])["cached_tokens"] == (0.0, 2000.0)
