"""`latmodel fit` on a handful of times: what is refused, what is warned of, and intervals that agree."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("scipy")

from calibration.fit.few_rows import ENOUGH, _log_likelihood, joined_ranges, joined_scores, shape_key, usable
from calibration.observations.record import Observation
from calibration.observations.table import COLUMNS, read_table, template
from calibration.verbs.fit import fit_observations
from latmodel.cli import group
from latmodel.device.profile_file import read_profile
from latmodel.device.store import load_profile
from latmodel.errors import ProfileError, UsageError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

RUNTIME = "transformers-eager"
PRIOR = load_profile("3090")
DEPTHS = (12, 20, 32, 44, 60)


def row(layers: int, factor: float = 1.0, phase: str = "decode", **others: object) -> dict[str, object]:
    """A run of `layers` blocks that takes `factor` times what the packaged RTX 3090 does."""
    model = ModelConfig(
        num_hidden_layers=layers, hidden_size=1024, intermediate_size=2816, num_attention_heads=16,
        num_key_value_heads=4, vocab_size=32768, tie_word_embeddings=True,
    )  # fmt: skip
    p = Predictor(PRIOR, RUNTIME).predict(model, Workload(prompt_tokens=512, new_tokens=16))
    seconds = factor * (p.decode_s_per_token if phase == "decode" else p.prefill_s)
    return {
        **model.model_dump(), "phase": phase, "timing": "loop" if phase == "decode" else "wall", "seconds": seconds,
        "gpu": "3090", "runtime": RUNTIME, "prompt_tokens": 512, "new_tokens": 16 if phase == "decode" else 0,
        "name": f"{layers}-{phase}", **others,
    }  # fmt: skip


def fitted(tmp_path: Path, rows: list[dict[str, object]]) -> tuple[list[str], Path]:
    path, out = tmp_path / "mine.jsonl", tmp_path / "out.json"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return list(fit_observations("3090", [path], "latmodel", None, out)), out


def refusal(tmp_path: Path, rows: list[dict[str, object]]) -> str:
    with pytest.raises(UsageError) as caught:
        fitted(tmp_path, rows)
    assert not (tmp_path / "out.json").exists()
    return str(caught.value)


def test_a_row_that_is_twenty_times_off_is_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, [row(depth, 20.0 if depth == 32 else 1.0) for depth in DEPTHS])
    assert "row 3 (32-decode) is 20 times" in said and "remove it" in said
    assert "another unit, another model" in said and "minutes" not in said


def test_milliseconds_are_told(tmp_path: Path) -> None:
    said = refusal(tmp_path, [row(depth, 1000.0) for depth in DEPTHS])
    assert "milliseconds instead of seconds?" in said


def test_times_of_one_run_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, [row(12), row(20), row(12, 1.6, name="again")])
    assert "rows 1 and 3 (again) are times of one run" in said


def test_a_row_that_stands_there_twice_counts_once(tmp_path: Path) -> None:
    lines, out = fitted(tmp_path, [row(12), row(20), row(12)])
    assert "warning: row 3 (12-decode) repeats row 1 to the digit: counted once" in lines
    assert read_profile(out).provenance.rows == "2 observations"


def test_a_row_of_a_slower_host_is_warned_of(tmp_path: Path) -> None:
    lines, _ = fitted(tmp_path, [row(depth, 1.8 if depth == 60 else 1.0) for depth in DEPTHS])
    assert any(line.startswith("warning: row 5 (60-decode) took 1.80 times") for line in lines)


def test_one_row_of_a_slower_host_is_taken_as_the_host_s_and_said(tmp_path: Path) -> None:
    """The device's rates stay: one time of a model that the host binds says nothing of them."""
    lines, out = fitted(tmp_path, [row(32, 1.8)])
    assert any(line.startswith("warning: times are 1.80 times what the profile leads to expect") for line in lines)
    after = read_profile(out)
    host, device = "launch_s", "gemm.bandwidth_efficiency"
    assert after.runtimes[RUNTIME].coefficients[host].value > 1.4 * PRIOR.runtimes[RUNTIME].coefficients[host].value
    before = PRIOR.device.coefficients["bfloat16"][device].value
    assert after.device.coefficients["bfloat16"][device].value == pytest.approx(before, rel=0.03)
    intervals = [Predictor(profile, RUNTIME).interval for profile in (PRIOR, after)]
    assert intervals[1].width("decode", False) >= intervals[0].width("decode", False)
    calm, _ = fitted(tmp_path, [row(32, 1.1)])
    assert not any("leads to expect" in line for line in calm)


def test_a_row_that_the_device_binds_leaves_the_host_open(tmp_path: Path) -> None:
    """A large model a third slower says nothing sure of the host: the interval of a narrow one still holds its old time.

    Its device may be slower, or its attention another one. Of a host twice as fast nothing speaks either.
    """
    large = {"hidden_size": 5120, "intermediate_size": 13824, "num_attention_heads": 40, "num_key_value_heads": 40}
    model = ModelConfig(num_hidden_layers=4, vocab_size=32768, tie_word_embeddings=True, **large)
    work = Workload(prompt_tokens=2048, new_tokens=0)
    seconds = Predictor(PRIOR, RUNTIME).predict(model, work).prefill_s
    wide = row(4, phase="prefill", **model.model_dump()) | {"prompt_tokens": 2048, "seconds": 1.3 * seconds}
    _, out = fitted(tmp_path, [wide])
    after = read_profile(out)
    low, high = after.runtimes[RUNTIME].host_range
    assert low < 0.7 and high >= 1.0
    narrow = ModelConfig(num_hidden_layers=48, hidden_size=640, num_attention_heads=10, vocab_size=32768)
    short = Workload(prompt_tokens=32, new_tokens=64)
    true_s = Predictor(PRIOR, RUNTIME).predict(narrow, short).response_s
    p = Predictor(after, RUNTIME, host="this").predict(narrow, short)
    assert p.response_s_low < true_s < p.response_s_high


def test_a_row_that_the_host_binds_tells_the_host(tmp_path: Path) -> None:
    """To the formulas' error: 5 % of the packaged profile, so that nine hosts of ten are within some 15 %."""
    _, out = fitted(tmp_path, [row(32, 1.5)])
    low, high = read_profile(out).runtimes[RUNTIME].host_range
    assert 0.8 < low < 0.97 and 1.03 < high < 1.25


def test_more_rows_leave_less_of_the_host_open(tmp_path: Path) -> None:
    reach = []
    for depths in (DEPTHS[:1], DEPTHS):
        _, out = fitted(tmp_path, [row(depth, 1.2) for depth in depths])
        low, high = read_profile(out).runtimes[RUNTIME].host_range
        reach.append(high / low)
    assert reach[1] < reach[0]


def test_likelihood_of_a_host_is_that_of_a_mixture_of_two_normals() -> None:
    """Written out with matrices: noise and a common error for each shape, and one more error common to all rows."""
    rows = [observed(noise=0.02), observed(noise=0.05, phase="prefill", timing="wall", new_tokens=0)]
    rows.append(Observation.model_validate({**row(20), "noise": 0.03}))
    law, points = 0.07, np.array([[0.1, 0.0, -0.05], [0.02, 0.2, 0.4]])
    same = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    as_said = np.diag([0.02**2, 0.05**2, 0.03**2]) + law**2 * same
    mistaken = as_said + math.log(2.0) ** 2

    def density(point: np.ndarray, covariance: np.ndarray) -> float:
        return math.exp(-0.5 * point @ np.linalg.inv(covariance) @ point) / math.sqrt(np.linalg.det(covariance))

    expected = [math.log(0.9 * density(x, as_said) + 0.1 * density(x, mistaken)) for x in points]
    found = _log_likelihood(points, rows, law)
    assert found[1] - found[0] == pytest.approx(expected[1] - expected[0], rel=1e-9)


def test_intervals_of_few_rows_agree_and_are_no_narrower(tmp_path: Path) -> None:
    """Five decode rows say nothing of prefill; a response, which has both, is as wide as its seconds of each."""
    _, out = fitted(tmp_path, [row(depth, 1.1 + 0.02 * i) for i, depth in enumerate(DEPTHS)])
    before, after = (Predictor(profile, RUNTIME).interval for profile in (PRIOR, read_profile(out)))
    assert after.width("prefill", False) == before.width("prefill", False)
    assert after.width("decode", False) >= before.width("decode", False)
    prefill, decode = after.width("prefill", False), after.width("decode", False)
    assert after.width("response", False, 0.25) == pytest.approx(0.25 * prefill + 0.75 * decode)


def test_ranges_are_joined_not_replaced(tmp_path: Path) -> None:
    _, out = fitted(tmp_path, [row(12), row(20)])
    before, after = PRIOR.runtimes[RUNTIME].ranges, read_profile(out).runtimes[RUNTIME].ranges
    assert after["hidden_size"] == before["hidden_size"] and after["num_hidden_layers"][1] >= 20.0


def observed(**others: object) -> Observation:
    return Observation.model_validate({**row(12), **others})


def test_prefill_and_decode_of_a_shape_are_held_out_together() -> None:
    assert shape_key(observed()) == shape_key(Observation.model_validate(row(12, phase="prefill", name="other")))
    assert shape_key(observed()) != shape_key(observed(num_hidden_layers=13))


def test_flags_that_speak_against_a_row() -> None:
    flags = [("noisy",), ("throttled",), ("throttled:heat",), ("drifting",), ("held-out",), ()]
    assert [one.flags for one in usable([observed(flags=flag) for flag in flags])] == [("held-out",), ()]


@pytest.mark.parametrize("count", [1, ENOUGH - 1, ENOUGH, 30])
def test_scores_of_a_phase_are_its_own_from_nine_rows_on(count: int) -> None:
    part = PRIOR.runtimes[RUNTIME]
    off = [0.30 if i == 0 else 0.001 for i in range(count)]
    scores = joined_scores(part, [observed()] * count, off)
    if count >= ENOUGH:
        assert scores["decode"] == sorted(off)
    else:
        assert len(scores["decode"]) == count + len(part.conformal_scores["decode"])
        assert min(sorted(scores["decode"])[count:]) >= 0.3 and max(scores["decode"]) >= 0.3
    assert joined_scores(None, [observed()], None) == {}


def test_ranges_without_a_profile_are_the_rows_own() -> None:
    assert joined_ranges(None, [observed(), observed(num_hidden_layers=40)])["num_hidden_layers"] == (12.0, 40.0)
    assert joined_ranges(None, [observed()])["head_dim"] == (observed().head_dim, observed().head_dim)
    # What a profile sets no bounds to, a few rows do not bound: a model of 40 layers is none the less measured.
    older = PRIOR.runtimes[RUNTIME].model_copy(update={"ranges": {"hidden_size": (512.0, 4096.0)}})
    assert joined_ranges(older, [observed(hidden_size=8192)]) == {"hidden_size": (512.0, 8192.0)}
    behind = observed(phase="prefill", cached_tokens=100)
    assert joined_ranges(older, [observed(), behind])["cached_tokens"] == (0.0, 100.0)


def test_the_template_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    path.write_text(template())
    rows = read_table(path)
    assert [one.phase for one in rows] == ["prefill", "decode"] and rows[0].intermediate_size == 1536
    assert rows[1].new_tokens == 100 and rows[0].tie_word_embeddings is True and rows[0].noise == 0.02
    assert set(COLUMNS) <= set(Observation.model_fields)


def test_the_template_is_printed() -> None:
    result = CliRunner().invoke(group, ["fit", "--template"])
    assert result.exit_code == 0 and result.stdout.strip() == template()


@pytest.mark.parametrize(
    ("cell", "value", "word"), [("intermediate_size", "wide", "intermediate_size"), ("seconds", "fast", "seconds")]
)
def test_a_wrong_cell_is_named(cell: str, value: str, word: str, tmp_path: Path) -> None:
    path = tmp_path / "times.csv"
    heading, first, *_ = template().splitlines()
    cells = dict(zip(heading.split(","), first.split(","), strict=True)) | {cell: value}
    path.write_text(heading + "\n" + ",".join(cells.values()) + "\n")
    with pytest.raises(UsageError, match=f"row 1.*{word}"):
        read_table(path)


def test_a_cpu_is_refined_from_its_own_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no data sheet of a CPU: without a profile the next command is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(row(12, gpu="cpu")) + "\n")
    with pytest.raises(ProfileError, match="latmodel calibrate --gpu cpu"):
        list(fit_observations("cpu", [path], "latmodel", None, None))


def test_a_response_with_rows_enough_has_its_own_scores() -> None:
    rows = [observed(phase="response", name=str(i)) for i in range(ENOUGH)] + [observed()] * ENOUGH
    off = [0.02] * ENOUGH + [0.2] * ENOUGH
    scores = joined_scores(PRIOR.runtimes[RUNTIME], rows, off)
    assert scores["response"] == [0.02] * ENOUGH and scores["decode"] == [0.2] * ENOUGH
