"""The tables of priors: bounds that leave room, and values near what was fitted to many cards."""

import math
from functools import cache

import pytest

from latmodel.device.store import list_profiles, load_profile
from latmodel.laws.float8 import FLOAT8_PRIORS
from latmodel.laws.priors import CPU_PRIORS, DEVICE_PRIORS, ENGINE_PRIORS, GGML_PRIORS, RUNTIME_PRIORS, Prior

ALL = {**DEVICE_PRIORS, **FLOAT8_PRIORS, **CPU_PRIORS, **GGML_PRIORS, **RUNTIME_PRIORS, **ENGINE_PRIORS}
# Physical ends: nothing is slowed down to less than its time, or draws more than all, or more than boost clocks give.
LEAST, MOST = 1.0, (0.9, 1.0, 1.3)
# Moved since by more cards, or set apart (attention floors: the rows include the write of the cache).
APART = {
    "gemm.split_k_s", "prefill.floor_s", "prefill.prologue_columns", "prefill.overlap_gap_s", "prefill.boost_s",
    "decode.floor_s", "decode.cache_speedup",
}  # fmt: skip


@pytest.mark.parametrize("prior", ALL.values(), ids=ALL)
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


@pytest.mark.parametrize("name", DEVICE_PRIORS)
def test_packaged_coefficients_lie_within_their_bounds_and_about_the_prior(name: str) -> None:
    prior, values = DEVICE_PRIORS[name], fitted()[name]
    assert all(prior.low <= value <= prior.high for value in values)
    mean = math.exp(sum(map(math.log, values)) / len(values))
    assert abs(math.log(mean / prior.value)) < max(0.36, 1.1 * prior.spread) or name in APART
