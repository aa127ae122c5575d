"""Cards by hand: room, power, chips, and the order of cards that nobody measured."""

import math
from dataclasses import replace
from typing import Any

import pytest
from search_toy import toy_predictor

from latmodel.device import card_law, power
from latmodel.device.card_law import (
    _alike,
    _in_order,
    _no_longer,
    eager_floors,
    full_rates,
    law_values,
    native_dtype,
    sheet_of,
    siblings_rates,
)
from latmodel.device.chips import at_memory, memory_ratio, power_factor, shares_waves, sibling_of
from latmodel.device.datasheets import DataSheet, datasheet
from latmodel.device.power import lowered_values, sustained_share, with_power_limit
from latmodel.device.prior import datasheet_prior
from latmodel.device.profile import Profile
from latmodel.device.room import Room, room
from latmodel.errors import UsageError
from latmodel.laws.coefficients import Sheet

H100, A100 = datasheet("nvidia-h100-80gb-hbm3"), datasheet("nvidia-a100-sxm4-80gb")
CARD = replace(
    H100, name="made-up", sm_count=100, peak_flops_per_s={"bfloat16": 8e14, "float32": 5e13, "float8": 1.6e15},
    bandwidth_bytes_per_s=2e12, l2_bytes=1000, power_limit_w=500.0, architecture="sm_90",
)  # fmt: skip


# --- Room -----------------------------------------------------------------------------------------


def test_a_driver_keeps_a_share_and_two_per_cent_stay_free() -> None:
    """24 GiB leave 23.7 to a program: 1.25 % are the driver's."""
    assert room(1000.0) == pytest.approx(Room(1000.0, 987.5, 19.75)) and room(1000.0).limit_bytes == pytest.approx(
        967.75
    )
    assert room(1000.0, driver=False) == pytest.approx(Room(1000.0, 1000.0, 20.0))


# --- Power ----------------------------------------------------------------------------------------


def test_what_a_power_limit_sustains_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fitted card: 4e12 FLOP/s of a multiprocessor at 4 W. Here 100 of them have 0.5 W: a quarter of the rate."""
    fitted = {"sustained": {"sm_90": {"flops_per_s_per_sm": 4e12, "watts_per_sm": 4.0, "card": "c"}}}
    monkeypatch.setattr(power, "datasheet_prior", lambda: fitted)
    assert sustained_share(replace(CARD, power_limit_w=50.0), 8e14) == pytest.approx(100 * 4e12 * 0.25 / 8e14)
    assert sustained_share(CARD, 8e14) == pytest.approx(0.5 * (5.0 / 4.0) ** (2 / 3))
    assert sustained_share(replace(CARD, power_limit_w=None), 8e14) is None
    assert sustained_share(replace(CARD, architecture="none"), 8e14) is None
    values = {"gemm.compute_efficiency": 0.9, "prefill.compute_efficiency": 0.3, "gemm.boost": 0.8}
    assert lowered_values(values, 0.5) == {**values, "gemm.compute_efficiency": 0.5}


def test_a_lower_limit_scales_rates_and_widens_what_they_bind() -> None:
    """Half of the power leaves (1/2)^(2/3) of the rate; intervals of what it binds widen by log(2) / 3."""
    profile = Profile.model_validate(toy_predictor().profile.model_dump()).model_copy(update={"gpu": H100.name})
    half = with_power_limit(profile, 350.0)
    before, after = (one.device.coefficients["bfloat16"] for one in (profile, half))
    for name, one in before.items():
        bound = name in ("gemm.compute_efficiency", "prefill.compute_efficiency")
        assert after[name].value == pytest.approx(one.value * (0.5 ** (2 / 3) if bound else 1.0)), name
    scores = half.runtimes["eager"].conformal_scores
    assert scores["prefill"] == pytest.approx([0.1 + math.log(2) / 3] * 20) and scores["decode"] == [0.1] * 20
    assert scores["response"] == pytest.approx([0.1 + math.log(2) / 3] * 20)
    assert half.runtimes["eager"].note == "at 350 of 700 W long products are priced 37 % slower"
    assert with_power_limit(profile, 700.0).device == profile.device
    assert (
        "priced 60 % slower" in with_power_limit(profile, 175.0).runtimes["eager"].note
    )  # a quarter: 0.397 of the rate
    assert with_power_limit(profile, 140.0).runtimes["eager"].conformal_scores["prefill"][0] > 0.5
    for watts in (139.9, 700.1, math.nan):
        with pytest.raises(UsageError, match="takes 140 to 700 W"):
            with_power_limit(profile, watts)
    with pytest.raises(UsageError, match="no sourced power limit"):
        with_power_limit(profile.model_copy(update={"gpu": "nvidia-geforce-rtx-3090"}), 200.0)


# --- Chips and the order of cards -----------------------------------------------------------------


def test_what_a_chip_s_other_card_takes_over() -> None:
    assert sibling_of(datasheet("nvidia-a30")) == "nvidia-a100-sxm4-80gb" and sibling_of(H100) is None
    poor = replace(CARD, power_limit_w=62.5)
    assert power_factor(poor, CARD) == pytest.approx(0.5) and power_factor(CARD, poor) == 1.0
    assert (
        power_factor(replace(CARD, power_limit_w=None), CARD)
        == power_factor(CARD, replace(CARD, power_limit_w=None))
        == 1.0
    )
    assert power_factor(replace(CARD, sm_count=800), CARD) == pytest.approx(0.5)
    assert (
        shares_waves(CARD, poor) and not shares_waves(CARD, replace(CARD, l2_bytes=1)) and not shares_waves(CARD, H100)
    )
    assert memory_ratio(CARD, replace(CARD, bandwidth_bytes_per_s=1e12)) == 2.0
    assert memory_ratio(CARD, replace(CARD, sm_count=50)) == 0.5


def test_a_slower_memory_gives_more_of_itself_and_a_tile_as_much_as_before() -> None:
    values = {
        "gemm.bandwidth_efficiency": 0.5, "gemm.tile_bandwidth": 0.3, "decode.bandwidth_efficiency": 0.6,
        "decode.idle_split": 0.2, "gemm.floor_s": 1e-6,
    }  # fmt: skip
    slower = at_memory(values, 1.1)  # the common shares are above 0.55 and 0.66
    assert slower == pytest.approx({
        "gemm.bandwidth_efficiency": 0.55, "gemm.tile_bandwidth": 0.33, "decode.bandwidth_efficiency": 0.66,
        "decode.idle_split": 0.2, "gemm.floor_s": 1e-6,
    })  # fmt: skip
    faster = at_memory(values, 0.5)
    assert faster == pytest.approx({**values, "gemm.tile_bandwidth": 0.15, "decode.idle_split": 0.4})
    much = at_memory({"gemm.bandwidth_efficiency": 0.99, "decode.idle_whole": 0.2}, 3.0)
    assert much == pytest.approx({"gemm.bandwidth_efficiency": 0.99, "decode.idle_whole": 0.2 / 3.0})


def test_the_sheet_of_a_dtype_by_hand() -> None:
    assert sheet_of(CARD, "bfloat16") == Sheet(8e14, 2e12, 100.0, 1000.0, 1.6e15, CARD.matrix_rows, 16.0)
    assert sheet_of(CARD, "float16").peak_flops_per_s == 8e14 and sheet_of(CARD, "float32").peak_flops_per_s == 5e13
    old = replace(CARD, peak_flops_per_s={"float16": 3e13, "float32": 1e13})
    assert (native_dtype(CARD), native_dtype(old)) == ("bfloat16", "float16")
    assert native_dtype(replace(CARD, peak_flops_per_s={"float32": 1e13})) == "float32"
    assert sheet_of(old, "bfloat16") == Sheet(3e13, 2e12, 100.0, 1000.0, 0.0, CARD.matrix_rows, 3.0)
    assert full_rates(sheet_of(CARD, "bfloat16")) == {
        "gemm.compute_efficiency": 8e14, "gemm.bandwidth_efficiency": 2e12, "gemm.tile_bandwidth": 2e10,
    }  # fmt: skip


def test_cards_alike_have_the_same_peak_of_a_multiprocessor_within_five_per_cent() -> None:
    def with_peak(flops: float) -> DataSheet:
        return replace(CARD, peak_flops_per_s={"bfloat16": flops, "float32": 5e13})

    assert _alike(CARD, with_peak(8.3e14)) and _alike(with_peak(8.3e14), CARD) and not _alike(CARD, with_peak(8.6e14))
    assert not _alike(CARD, replace(CARD, sm_count=200))
    assert _alike(replace(with_peak(1.6e15), sm_count=200), CARD)


def planted(monkeypatch: pytest.MonkeyPatch) -> tuple[DataSheet, DataSheet]:
    """A card behind (by its sheet) that reaches 10 in 5 s, and one ahead that reaches 20 in 2 s."""
    behind = replace(
        CARD,
        name="behind",
        peak_flops_per_s={"bfloat16": 4e14, "float32": 2e13, "float8": 8e14},
        bandwidth_bytes_per_s=1e12,
    )
    ahead = replace(
        CARD,
        name="ahead",
        peak_flops_per_s={"bfloat16": 16e14, "float32": 9e13, "float8": 32e14},
        bandwidth_bytes_per_s=4e12,
    )
    assert CARD.is_ahead_of(behind) and ahead.is_ahead_of(CARD)
    rates = ((behind, {"rate": 10.0, "s": 5.0}), (ahead, {"rate": 20.0, "s": 2.0}))
    monkeypatch.setattr(card_law, "_rates", lambda *, with_siblings: iter(rates))
    return behind, ahead


def test_no_rate_is_out_of_the_order_of_sheets(monkeypatch: pytest.MonkeyPatch) -> None:
    planted(monkeypatch)
    assert [_in_order(CARD, "rate", rate, common=True) for rate in (5.0, 10.0, 15.0, 20.0, 30.0)] == [
        10,
        10,
        15,
        20,
        20,
    ]
    assert [_no_longer(CARD, "s", seconds) for seconds in (4.0, 6.0)] == [4.0, 5.0]
    monkeypatch.setattr(card_law, "_rates", lambda *, with_siblings: iter(()))
    assert _in_order(CARD, "rate", 5.0, common=True) == 5.0 and _no_longer(CARD, "s", 6.0) == 6.0
    assert _in_order(CARD, "rate", 0.01, common=True) == 0.01


def test_an_eager_floor_is_no_shorter_than_on_a_card_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    _, ahead = planted(monkeypatch)
    monkeypatch.setattr(card_law, "datasheet_prior", lambda: {"eager_floors": {"ahead": {"a": 9.0, "b": 3.0}}})
    monkeypatch.setattr(card_law, "datasheet", lambda name: ahead)
    assert eager_floors(CARD, {"a": 5.0, "b": 5.0, "c": 1.0}, 2.0) == {"a": 7.0, "b": 5.0, "c": 1.0}
    assert eager_floors(CARD, {"a": 10.0, "c": 0.01}, 0.0) == {"a": 10.0, "c": 0.01}
    monkeypatch.setattr(card_law, "sibling_of", lambda card: "ahead")
    assert eager_floors(CARD, {"a": 5.0}, 2.0) == {"a": 5.0}


def test_siblings_reach_what_their_law_says_and_none_is_calibrated() -> None:
    found, reached = {card.name: rates for card, rates in siblings_rates()}, datasheet_prior()["reached"]
    assert not found.keys() & reached.keys() and {"nvidia-a30", "nvidia-rtx-a6000", "nvidia-h100-pcie"} <= found.keys()
    card, sibling = datasheet("nvidia-rtx-a6000"), datasheet("nvidia-a40")
    theirs, own = (full_rates(sheet_of(one, "bfloat16")) for one in (sibling, card))
    values = law_values(card, sibling, {name: reached["nvidia-a40"][name] / full for name, full in theirs.items()})
    assert found[card.name] == pytest.approx({name: values[name] * full for name, full in own.items()})


def test_coefficients_of_a_card_with_and_without_a_sibling(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one multiprocessor loads is its own; times are no longer than on a card behind."""
    monkeypatch.setattr(card_law, "_rates", lambda *, with_siblings: iter(()))
    common: dict[str, Any] = {
        "tile_bytes_per_s": 5e9, "sustained": {"sm_90": {"card": "bound"}}, "coefficients": {"gemm.compute_efficiency": {"value": 0.7}},
    }  # fmt: skip
    monkeypatch.setattr(card_law, "datasheet_prior", lambda: common)
    monkeypatch.setattr(card_law, "sustained_share", lambda card, peak: None)
    values = {"gemm.compute_efficiency": 0.9, "gemm.floor_s": 3.0, "gemm.split_k_s": 2.0, "pointwise.summed_s": 1.0}
    assert law_values(CARD, None, values) == pytest.approx({**values, "gemm.tile_bandwidth": 5e9 / 2e10})
    free, bound = replace(CARD, name="free", power_limit_w=4000.0), replace(CARD, name="bound")
    assert law_values(CARD, free, values)["gemm.compute_efficiency"] == pytest.approx(0.9 * 0.5)
    # A sibling that its limit binds says nothing of the rate, unless its multiprocessors are the same.
    assert law_values(CARD, bound, values)["gemm.compute_efficiency"] == pytest.approx(0.9)
    other = replace(bound, peak_flops_per_s={"bfloat16": 16e14, "float32": 5e13})
    assert law_values(CARD, other, values)["gemm.compute_efficiency"] == pytest.approx(0.7)
    monkeypatch.setattr(card_law, "sustained_share", lambda card, peak: 0.6)
    assert law_values(CARD, bound, values)["gemm.compute_efficiency"] == pytest.approx(0.6)
    assert law_values(CARD, free, values)["gemm.compute_efficiency"] == pytest.approx(0.45)
    monkeypatch.setattr(card_law, "_rates", lambda *, with_siblings: iter(((replace(
        CARD, name="behind", peak_flops_per_s={"bfloat16": 4e14, "float32": 2e13, "float8": 8e14}, bandwidth_bytes_per_s=1e12,
    ), {"gemm.compute_efficiency": 6e14, "gemm.tile_bandwidth": 1e10, "gemm.floor_s": 2.0, "gemm.split_k_s": 9.0,
        "pointwise.summed_s": 0.5}),)))  # fmt: skip
    assert law_values(CARD, None, values) == pytest.approx({
        "gemm.compute_efficiency": 0.75, "gemm.tile_bandwidth": 0.5, "gemm.floor_s": 2.0, "gemm.split_k_s": 2.0,
        "pointwise.summed_s": 0.5,
    })  # fmt: skip
    tiled = law_values(CARD, free, {**values, "gemm.tile_bandwidth": 0.1})
    assert tiled["gemm.tile_bandwidth"] == pytest.approx(0.1) and tiled["gemm.compute_efficiency"] == pytest.approx(
        0.75
    )
    assert tiled["gemm.floor_s"] == 3.0 and "gemm.compute_efficiency" not in law_values(
        CARD, free, {"gemm.floor_s": 1.0}
    )
