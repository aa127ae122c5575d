"""A card with a measured chip and another memory: what the chip draws, and what the memory gives."""

import math

import pytest

from latmodel import Predictor, Workload
from latmodel.device.chips import CHIPS
from latmodel.device.datasheets import datasheet
from latmodel.device.prior import datasheet_prior
from latmodel.device.store import load_profile
from latmodel.device.uncalibrated import datasheet_profile

A100, A100_40 = load_profile("a100"), datasheet("a100-sxm4-40gb")
KEY = "gemm.bandwidth_efficiency"


def test_a_slower_memory_gives_what_the_chip_asks_for_up_to_the_common_share() -> None:
    moved = load_profile("a100-sxm4-40gb")
    own, other = (p.device_table("bfloat16", "vllm")[0] for p in (A100, moved))
    common = datasheet_prior()["coefficients"][KEY]["value"]
    assert own[KEY].value < other[KEY].value <= max(common, own[KEY].value)
    # No kernel draws more bytes a second than on the card with the faster memory.
    fast, slow = (p.device.sheet.bandwidth_bytes_per_s for p in (A100, moved))
    for name in own:
        if name.endswith("bandwidth_efficiency"):
            assert other[name].value * slow <= own[name].value * fast * (1 + 1e-12)
    assert other["gemm.tile_bandwidth"].value * slow == pytest.approx(own["gemm.tile_bandwidth"].value * fast)
    assert (moved.gpu, moved.device.sheet.memory_bytes) == (A100_40.name, A100_40.memory_bytes)


def test_a_faster_memory_keeps_its_share() -> None:
    h100 = load_profile("h100")
    own, other = (p.device_table("bfloat16", "vllm")[0] for p in (h100, datasheet_profile(datasheet("h200"), h100)))
    assert other[KEY].value == own[KEY].value


@pytest.mark.parametrize(("calibrated", "cards"), CHIPS.values())
def test_a_card_has_the_serving_engine_of_its_chip_and_is_less_sure_of_it(
    calibrated: str, cards: tuple[str, ...]
) -> None:
    """Twice the errors of the card whose kernels were timed, in log units, and a note that it was derived."""
    measured = load_profile(calibrated)
    for name in cards:
        derived = load_profile(name)
        assert ("vllm" in derived.runtimes) == ("vllm" in measured.runtimes)
        if "vllm" in measured.runtimes:
            widths = [Predictor(p, "vllm").interval.width("decode", 0.0) for p in (derived, measured)]
            assert widths[0] == pytest.approx(2.0 * widths[1])
            found = Predictor(derived, "vllm").predict("12x768")
            assert math.isfinite(found.response_s)
            assert any("derived, not timed" in note and measured.title in note for note in found.notes)


def test_a_chip_that_nobody_timed_has_no_serving_engine() -> None:
    assert "vllm" not in load_profile("t4").runtimes


def test_the_older_engine_splits_the_context_of_any_heads() -> None:
    """Llama-2-7B, no heads shared, one long sequence: unsplit tiles leave most of an A100 idle."""
    whole, split = (Predictor(A100, "vllm", attention=name) for name in ("flash", "flash-0"))
    work = Workload(prompt_tokens=2048, new_tokens=2048)
    slow, fast = (p.predict("llama-7b", work).decode_s_per_token for p in (whole, split))
    # 2 · 32 layers · 4096 values · 2 bytes of 3072 positions take 0.8 ms at the bandwidth; a quarter of it, unsplit.
    assert 0.5e-3 < slow - fast < 4e-3
    shared = [p.predict("llama-3-8b", work).decode_s_per_token for p in (whole, split)]
    assert shared[0] == shared[1]
