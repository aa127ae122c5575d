"""What a power limit leaves: long products slow down by the law, decode does not, and only sourced limits are taken."""

import csv
from pathlib import Path

import pytest

from latmodel import ModelConfig, Predictor, Workload
from latmodel.device.datasheets import datasheet, datasheets
from latmodel.device.power import EXPONENT, sustained_share, with_power_limit
from latmodel.device.store import load_profile
from latmodel.errors import UsageError
from latmodel.units import parse_power

ROWS = Path(__file__).parent.parent.parent / "shared" / "data" / "whole_models" / "measurements.csv"
LARGE = ModelConfig(
    num_hidden_layers=32, hidden_size=4096, intermediate_size=14336, num_attention_heads=32, num_key_value_heads=8,
    vocab_size=128256,
)  # fmt: skip


def test_by_hand() -> None:
    # One fitted card of the architecture, the L40S: 0.661 of 362 TFLOP/s on 142 multiprocessors at 350 W. The L4 has 58
    # and 72 W: each gets 1.241 W against 2.465 W.
    share = sustained_share(datasheet("l4"), 121e12)
    assert share == pytest.approx((0.6606 * 362.05e12 / 142) * (1.2414 / 2.4648) ** (2 / 3) * 58 / 121e12, rel=2e-3)


def test_a_card_without_power_or_kin_has_no_share() -> None:
    assert datasheet("t4").power_limit_w is not None
    assert sustained_share(datasheet("t4"), 65e12) is None  # no Turing card is fitted
    assert sustained_share(datasheet("m2"), 4e12) is None


@pytest.mark.skipif(not ROWS.exists(), reason="the published measurements are not here")
@pytest.mark.parametrize(("gpu", "limit"), [("nvidia-l4", 0.12), ("tesla-v100-sxm2-16gb", 0.12)])
def test_prefill_of_a_layer_by_data_sheet(gpu: str, limit: float) -> None:
    with ROWS.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["gpu"] == gpu and row["phase"] == "prefill_per_layer"]
    predictor, errors = Predictor.load(gpu, "cuda-graph"), []
    for row in rows:
        model = ModelConfig(
            num_hidden_layers=1, hidden_size=int(row["hidden_size"]), intermediate_size=int(row["intermediate_size"]),
            num_attention_heads=int(row["num_attention_heads"]), vocab_size=int(row["vocab_size"]),
        )  # fmt: skip
        work = Workload(prompt_tokens=int(row["prompt_tokens"]), batch_size=int(row["batch_size"]), dtype="float16")
        errors.append(abs(predictor.predict(model, work).prefill_s_per_layer / float(row["seconds"]) - 1.0))
    assert len(errors) > 30
    assert sum(errors) / len(errors) < limit


def test_a_lower_limit_slows_prefill_by_the_law_and_leaves_decode() -> None:
    profile = load_profile("h100")
    full, half = Predictor(profile, "cuda-graph"), Predictor(with_power_limit(profile, 350.0), "cuda-graph")
    long = Workload(prompt_tokens=8192)
    slower = half.predict(LARGE, long).prefill_s / full.predict(LARGE, long).prefill_s
    assert 1.3 < slower <= 2.0**EXPONENT + 1e-9
    one = Workload(prompt_tokens=128)
    assert half.predict(LARGE, one).decode_s_per_token == pytest.approx(
        full.predict(LARGE, one).decode_s_per_token, rel=0.02
    )
    narrow, wide = (p.predict(LARGE, long) for p in (full, half))
    # Wider by what the exponent may be, (1 - 1/3) / 2 of log 2, times the factor of what is extrapolated.
    assert wide.prefill_s_high / wide.prefill_s >= 2.0 ** (1 / 3) * narrow.prefill_s_high / narrow.prefill_s - 1e-9
    assert any("350 of 700 W" in note for note in half.notes)


@pytest.mark.parametrize(
    ("gpu", "watts", "word"), [("h100", 900.0, "140 to 700"), ("h100", 100.0, "140 to 700"), ("4090", 300.0, "sourced")]
)
def test_what_cannot_be_is_refused(gpu: str, watts: float, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        with_power_limit(load_profile(gpu), watts)


def test_llama_cpp_slows_down_as_its_note_says() -> None:
    profile = load_profile("h100", "llama.cpp")
    work = Workload(prompt_tokens=4096, weights="q4_0")
    full, half = (
        Predictor(one, "llama.cpp").predict(LARGE, work).prefill_s
        for one in (profile, with_power_limit(profile, 350.0))
    )
    assert 1.3 < half / full <= 2.0**EXPONENT + 1e-9


@pytest.mark.parametrize(("text", "watts"), [("275W", 275.0), ("275 w", 275.0), ("72.5", 72.5)])
def test_power_as_typed(text: str, watts: float) -> None:
    assert parse_power(text) == watts


@pytest.mark.parametrize("text", ["", "0W", "-5W", "275kW", "1e3", "999999W", "W"])
def test_power_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="write 275W"):
        parse_power(text)


def test_sheets_of_power_are_plausible() -> None:
    known = [sheet for sheet in datasheets() if sheet.power_limit_w is not None]
    assert len(known) > 60
    assert all(2.0 <= (sheet.power_limit_w or 0.0) / sheet.sm_count * 2.0 <= 30.0 for sheet in known)
    assert all(sheet.power_limit_w is not None for sheet in datasheets() if sheet.power_source)
