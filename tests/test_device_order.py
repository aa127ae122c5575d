"""Better cards are not predicted slower: pairs that were, and what cards of one chip share."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from latmodel import Predictor, Workload
from latmodel.device.chips import CHIPS, at_memory, sibling_of
from latmodel.device.datasheets import datasheet
from latmodel.device.store import load_profile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
PAIRS = [  # (better, lesser) that were the wrong way round
    ("h200", "h100"), ("a100", "a100-80gb-pcie"), ("a100", "a100-sxm4-40gb"), ("3090 ti", "3090"), ("3090", "3080 ti"),
    ("rtx a6000", "a40"), ("b200", "h100"), ("rtx pro 6000 workstation", "rtx pro 6000"),
    ("4080 super", "p100-sxm2-16gb"), ("a100-sxm4-40gb", "v100s"), ("rtx 6000 ada", "v100"), ("5080", "3080 ti"),
]  # fmt: skip


@pytest.mark.parametrize(("better", "lesser"), PAIRS)
def test_a_better_card_is_not_slower_in_a_graph(better: str, lesser: str) -> None:
    from device_order import MODELS, RUNTIMES, times

    mine, theirs = (times(datasheet(name)) for name in (better, lesser))
    for model in MODELS:
        one, other = mine[f"{RUNTIMES[0]} {model}"], theirs[f"{RUNTIMES[0]} {model}"]
        assert one.prefill <= other.prefill * 1.001
        assert one.decode <= other.decode * 1.001


def test_what_is_the_wrong_way_round_was_measured_so() -> None:
    from device_order import reason, slower_cards

    cards = [datasheet(name) for name in ("b200", "gb200", "b300", "gb300")]
    count, found = slower_cards(cards)
    assert count > 0
    assert found
    assert all(reason(one) for one in found)


@pytest.mark.parametrize(("calibrated", "cards"), CHIPS.values())
def test_cards_of_a_chip_are_known_and_say_whose_coefficients_they_have(
    calibrated: str, cards: tuple[str, ...]
) -> None:
    title = load_profile(calibrated).title
    for name in cards:
        assert sibling_of(datasheet(name)) == calibrated
        assert title in Predictor.load(name).notes[0]


def test_a_chip_behind_a_slower_memory_draws_a_larger_share_of_it() -> None:
    table = {name: one.value for name, one in load_profile("a100").device.coefficients["bfloat16"].items()}
    moved = at_memory(table, 1.25)
    assert moved["gemm.tile_bandwidth"] == pytest.approx(1.25 * table["gemm.tile_bandwidth"])
    assert table["gemm.bandwidth_efficiency"] < moved["gemm.bandwidth_efficiency"] < 1.0


def test_a_card_that_nobody_timed_lies_between_those_that_were() -> None:
    """Rates in SI units: a V100S is behind an A100 of 40 GB in every figure, an RTX 5080 ahead of an RTX 3090."""
    from latmodel.device.card_law import BANDWIDTH, COMPUTE, full_rates

    def rates(name: str) -> dict[str, float]:
        profile = load_profile(name)
        full, table = full_rates(profile.sheet("float16")), profile.device_table("float16", "cuda-graph")[0]
        return {key: table[key].value * most for key, most in full.items()}

    for lesser, better in (("v100s", "a100-sxm4-40gb"), ("3090", "5080")):
        low, high = rates(lesser), rates(better)
        assert all(low[key] <= high[key] * (1 + 1e-3) for key in (BANDWIDTH, COMPUTE))


def test_no_shortest_kernel_of_eager_mode_is_quicker_than_on_a_better_card_that_was_timed() -> None:
    def shortest(name: str) -> float:
        profile = load_profile(name)
        table, _ = profile.device_table("bfloat16", "transformers-eager")
        return table["pointwise.floor_s"].value + profile.runtimes["transformers-eager"].coefficients["gap_s"].value

    timed = shortest("3090")
    assert shortest("3070") == pytest.approx(timed, rel=1e-3)
    assert shortest("5080") < timed  # which the RTX 3090 is not ahead of


@pytest.mark.parametrize(("gpu", "rows"), [("3090", 2.0), ("l40s", 4.0), ("a100", 16.0), ("p100", 1.0)])
def test_a_single_row_is_not_padded_where_float32_is_quicker(gpu: str, rows: float) -> None:
    """By the data sheet: TFLOP/s of the matrix units over those in float32, 16 rows at most."""
    from latmodel.laws.gemm import GemmLaw

    profile = load_profile(gpu)
    sheet = profile.sheet("bfloat16")
    device, _ = profile.device_coefficients("bfloat16", "cuda-graph")
    law, padded = (GemmLaw(device.gemm, one) for one in (sheet, sheet._replace(vector_rows=16.0, matrix_rows=16.0)))
    # Wide enough that tiles fill all multiprocessors, and no boost to speak of: seconds go with the rows.
    one, sixteen = law.compute_seconds(1.0, 1e6, 65536.0), padded.compute_seconds(16.0, 1e6, 65536.0)
    assert sixteen / one == pytest.approx(16.0 / rows, rel=0.1)
    batches = law.compute_seconds(np.array([1.0, 2.0]), 1e6, 65536.0)
    assert batches[0] == pytest.approx(one)
    assert batches[1] == pytest.approx(law.compute_seconds(2.0, 1e6, 65536.0))


def test_a_compiled_step_is_as_quick_as_reported() -> None:
    """meta-pytorch/gpt-fast#27 (RTX 4090) and Lightning-AI/litgpt#726 (A100 of 40 GB), Llama-2-7B in bfloat16."""
    for gpu, work, seconds in (
        ("4090", Workload(prompt_tokens=6, new_tokens=200), 15.385e-3),
        ("a100-sxm4-40gb", Workload(prompt_tokens=8, new_tokens=512), 10.970e-3),
    ):
        found = Predictor.load(gpu, "torch-compile").predict("llama-7b", work)
        assert found.decode_s_per_token == pytest.approx(seconds, rel=0.1)


@pytest.mark.parametrize("gpu", ["3090", "h100", "a100", "4090"])
def test_a_derived_runtime_is_less_sure_than_the_one_that_it_was_derived_from(gpu: str) -> None:
    """Nobody measured it there: on one host its interval is twice as wide as the graph's, in log units."""
    profile = load_profile(gpu)
    widths = []
    for runtime in ("cuda-graph", "torch-compile"):
        found = Predictor(profile, runtime, host="published").predict("llama-7b")
        assert found.response_s_high is not None and found.response_s_low is not None
        widths.append(math.log(found.response_s_high / found.response_s_low))
    assert widths[1] == pytest.approx(2.0 * widths[0], rel=0.1)
