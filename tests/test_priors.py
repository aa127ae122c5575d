"""The tables of priors: bounds that leave room, and values near what was fitted to many cards."""

import math
import statistics
from collections.abc import Iterator
from functools import cache

import pytest

from latmodel.device.coefficient import Coefficient, check_values
from latmodel.device.store import list_profiles, load_profile
from latmodel.laws.float8 import FLOAT8_PRIORS
from latmodel.laws.priors import (
    CPU_PRIORS,
    DEVICE_PRIORS,
    ENGINE_PRIORS,
    GGML_PRIORS,
    OPTIONAL,
    PYTORCH_ONLY,
    RUNTIME_PRIORS,
    Prior,
    device_priors,
)

ALL = {**DEVICE_PRIORS, **FLOAT8_PRIORS, **CPU_PRIORS, **GGML_PRIORS, **RUNTIME_PRIORS, **ENGINE_PRIORS}
# Physical ends: nothing is slowed down to less than its time, or draws more than all, or more than boost clocks give.
LEAST, MOST = 1.0, (0.9, 1.0, 1.3)
# Moved since by more cards, or set apart (attention floors: the rows include the write of the cache).
APART = {
    "gemm.split_k_s", "prefill.floor_s", "prefill.prologue_columns", "prefill.overlap_gap_s", "prefill.boost_s",
    "decode.floor_s", "decode.cache_speedup",
}  # fmt: skip


@pytest.mark.parametrize("prior", [*DEVICE_PRIORS.values(), *ALL.values()], ids=[*DEVICE_PRIORS, *ALL])
def test_bounds_are_two_spreads_away_or_physical(prior: Prior) -> None:
    room = math.exp(2.0 * prior.spread)
    assert prior.low < prior.value / room or prior.low == LEAST or (prior.low == prior.value and not prior.spread)
    assert prior.high > prior.value * room or prior.high in MOST
    assert 0.0 < prior.low <= prior.value <= prior.high and 0.0 <= prior.spread <= 1.2


@cache
def fitted() -> dict[str, list[float]]:
    """Coefficient → what the packaged profiles have."""
    found: dict[str, list[float]] = {}
    for name in list_profiles():
        for table in load_profile(name).device.coefficients.values():
            for key, one in table.items():
                if one.value > 0.0 and one.status != "fixed":
                    found.setdefault(key, []).append(one.value)
    return found


@pytest.mark.parametrize("name", sorted(DEVICE_PRIORS.keys() - {*PYTORCH_ONLY}))
def test_packaged_coefficients_lie_within_their_bounds_and_about_the_prior(name: str) -> None:
    prior, values = DEVICE_PRIORS[name], fitted()[name]
    assert all(prior.low <= value <= prior.high for value in values)
    mean = math.exp(sum(map(math.log, values)) / len(values))
    assert abs(math.log(mean / prior.value)) < max(0.36, 1.1 * prior.spread) or name in APART


# Named range → one coefficient that has it, its ends as profiles have been refused by: part of the schema.
ENDS: dict[str, tuple[float, float]] = {
    "decode.wave_s": (1e-9, 1e-2), "gemm.overlap_gap": (1e-4, 1.0), "gemm.compute_efficiency": (0.02, 1.3),
    "gemm.bandwidth_efficiency": (0.02, 1.0), "gemm.small_tile_efficiency": (0.05, 1.0), "gemm.prologue_k": (1.0, 4096.0),
    "gemm.tile_bandwidth": (0.1, 100.0), "gemm.boost": (1e-4, 0.9), "gemm.boost_s": (1e-6, 1.0),
    "gemm.overlap_gap_s": (1e-8, 1.0), "gemm.odd_slowdown": (1.0, 20.0), "gemm.cache_rate": (1e-3, 50.0),
    "gemm.cache_share": (1e-3, 2.0), "gemm.cache_width": (1e-2, 2.0), "prefill.efficiency_64": (0.05, 2.0),
    "prefill.window_columns": (0.1, 4096.0), "prefill.longest_tile": (1e-3, 4.0), "prefill.kv_passes": (0.1, 20.0),
    "prefill.write_s": (1e-13, 1e-5), "decode.split_context": (1.0, 65536.0), "decode.idle_split": (1e-5, 10.0),
    "pointwise.cache_share": (0.01, 1.0), "pointwise.summed_s": (1e-12, 1e-6), "cpu.weight_bandwidth": (0.02, 3.0),
    "cpu.repack": (0.01, 20.0), "cpu.repack_rows": (1.0, 64.0), "cpu.prefill_efficiency": (0.005, 20.0),
    "cpu.attention_rows": (0.01, 100.0), "cpu.decode_efficiency": (0.001, 20.0), "cpu.solve_efficiency": (0.005, 1.3),
    "ggml.vector_flops_per_s": (1e8, 1e16), "ggml.attention_ratio": (1e-3, 100.0), "ggml.cache_efficiency": (1e-3, 20.0),
    "ggml.token_attention_flops_per_s": (1e7, 1e17), "ggml.unpack_passes": (1e-4, 100.0), "ggml.score_bytes": (1e-6, 1e4),
    "launch_s": (1e-9, 1e-3), "block_s": (1e-9, 0.1), "pass_s": (1e-9, 1.0), "quantize.row_s": (1e-13, 1e-5),
    "quantize.cache_share": (0.01, 1.0), "quantize.cache_speedup": (1.0, 20.0), "sequence_s": (1e-9, 1e-2),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_a_profile_may_hold_what_lies_within_the_bounds_ends_included(name: str) -> None:
    low, high = ENDS[name]
    for value in (low, high, 0.0):  # 0: the effect is not there
        check_values({name: Coefficient(value=value)}, ALL, "here")
    for value in (low * 0.999, high * 1.001):
        with pytest.raises(ValueError, match=f"here.{name} = .* is outside"):
            check_values({name: Coefficient(value=value)}, ALL, "here")


def test_profiles_without_newer_terms_of_llama_cpp_are_read() -> None:
    assert GGML_PRIORS.keys() > OPTIONAL - {*PYTORCH_ONLY} and "ggml.launch_s" not in OPTIONAL


def held() -> Iterator[tuple[str, Coefficient, Prior]]:
    """Coefficients of the packaged profiles' devices beside what holds them."""
    for gpu in list_profiles():
        for dtype, table in load_profile(gpu).device.coefficients.items():
            for name, one in table.items():
                yield f"{gpu} {dtype} {name}", one, (FLOAT8_PRIORS if dtype == "float8" else DEVICE_PRIORS)[name]


def test_what_measurements_say_nothing_of_stands_at_its_prior() -> None:
    """Nothing was measured: value and spread are the prior's. Next to nothing: the error is hardly smaller."""
    seen = set()
    for where, one, prior in held():
        if one.status == "prior" and not where.endswith("floor_s"):  # floors where PyTorch launches are set apart
            assert (one.value, one.stderr_log) == (prior.value, prior.spread), where
            seen.add(where.split()[-1])
        elif one.status == "undetermined":
            # A standard error is the mean of two estimates, of which the jackknife may exceed the prior a little.
            assert 0.7 * prior.spread <= one.stderr_log <= 1.02 * prior.spread, where
            seen.add(where.split()[-1])
    assert len(seen) > 50


def test_what_was_measured_is_known_better_than_before() -> None:
    for where, one, prior in held():
        if one.status == "fitted":
            assert one.stderr_log <= prior.spread * 1.0001, where


def test_hosts_that_nobody_measured_keep_the_proportions_of_the_priors() -> None:
    """A block takes what it takes on published hosts; launches and blocks share it as the priors do."""
    scaled, number = ("launch_s", "block_s", "prefill_block_s"), 0
    for gpu in list_profiles():
        runtimes = load_profile(gpu).runtimes
        for name, one in runtimes["transformers-eager"].coefficients.items():
            if one.status != "prior":
                continue
            prior, number = RUNTIME_PRIORS[name], number + 1
            if name == "gap_s":  # known from kernels of a graph
                continue
            assert one.stderr_log == prior.spread, (gpu, name)
            if name in scaled:
                factor = (
                    runtimes["transformers-eager"].coefficients["launch_s"].value / RUNTIME_PRIORS["launch_s"].value
                )
                assert one.value / prior.value == pytest.approx(factor, rel=1e-3), (gpu, name)
            else:
                assert one.value == prior.value, (gpu, name)
        for name, prior in ENGINE_PRIORS.items():
            if "vllm" in runtimes and (one := runtimes["vllm"].coefficients[name]).status == "prior":
                number += 1
                assert (one.value, one.stderr_log) == (prior.value, prior.spread), (gpu, name)
    assert number > 60


def test_what_is_chosen_is_not_fitted() -> None:
    """Which way a library goes is no size that measurements narrow: a spread of 0 fixes it."""
    fixed = {name for name, prior in ALL.items() if prior.spread == 0.0}
    assert fixed == {"decode.window_whole", "cpu.repack_rows"}


def test_sizes_that_nobody_published_rest_on_their_priors() -> None:
    """Published kernels have no rough sizes (docs/accuracy.md, "Alignment"); one card of our own measured them."""
    for where, one, prior in held():
        if where.endswith(("misfit_slowdown", "odd_slowdown")) and one.status == "undetermined":
            assert one.value == prior.value, where


def test_priors_of_products_are_no_wider_than_cards_differ() -> None:
    """Those that most cards determine: the standard deviation of their logarithms, and a fifth for its own error."""
    found: dict[str, list[float]] = {}
    for where, one, _ in held():
        if " gemm." in where and one.status == "fitted":
            found.setdefault(where.split()[-1], []).append(math.log(one.value))
    several = {name: values for name, values in found.items() if len(values) >= 14}
    assert len(several) >= 8
    for name, values in several.items():
        assert DEVICE_PRIORS[name].spread < 1.25 * statistics.stdev(values), name


def test_coefficients_belong_to_the_table_that_they_are_named_for() -> None:
    for table in (DEVICE_PRIORS, CPU_PRIORS, GGML_PRIORS):
        assert device_priors(table) is table
    assert device_priors([]) is DEVICE_PRIORS
