"""A card with a measured chip and another memory: what the chip draws, and what the memory gives."""

import sys
from pathlib import Path

import pytest

from latmodel import Predictor, Workload
from latmodel.device.datasheets import datasheet
from latmodel.device.prior import datasheet_prior
from latmodel.device.store import load_profile

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from sibling import on_sibling

A100, A100_40 = load_profile("a100"), datasheet("a100-sxm4-40gb")
KEY = "gemm.bandwidth_efficiency"


def test_the_same_sheet_changes_nothing() -> None:
    same = on_sibling(A100, datasheet("a100"))
    before = {name: one.value for name, one in A100.device.coefficients["bfloat16"].items()}
    after = {name: one.value for name, one in same.device.coefficients["bfloat16"].items()}
    assert after == pytest.approx(before)


def test_a_slower_memory_gives_what_the_chip_asks_for_up_to_the_common_share() -> None:
    moved = on_sibling(A100, A100_40)
    own, other = A100.device.coefficients["bfloat16"], moved.device.coefficients["bfloat16"]
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
    moved = on_sibling(load_profile("h100"), datasheet("h200"))
    own, other = (p.device.coefficients["bfloat16"] for p in (load_profile("h100"), moved))
    assert other[KEY] == own[KEY]


def test_the_older_engine_splits_the_context_of_any_heads() -> None:
    """Llama-2-7B, no heads shared, one long sequence: unsplit tiles leave most of an A100 idle."""
    whole, split = (Predictor(A100, "vllm", attention=name) for name in ("flash", "flash-0"))
    work = Workload(prompt_tokens=2048, new_tokens=2048)
    slow, fast = (p.predict("llama-7b", work).decode_s_per_token for p in (whole, split))
    # 2 · 32 layers · 4096 values · 2 bytes of 3072 positions take 0.8 ms at the bandwidth; a quarter of it, unsplit.
    assert 0.5e-3 < slow - fast < 4e-3
    shared = [p.predict("llama-3-8b", work).decode_s_per_token for p in (whole, split)]
    assert shared[0] == shared[1]
