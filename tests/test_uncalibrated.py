"""Cards known by their data sheet alone: every one is priced, says so, and is listed."""

import pytest

from latmodel.device.card_law import native_dtype
from latmodel.device.datasheets import DataSheet, datasheets
from latmodel.device.profile import Profile
from latmodel.device.store import list_uncalibrated, load_profile
from latmodel.device.uncalibrated import datasheet_profile
from latmodel.laws.priors import CPU_PRIORS, DEVICE_PRIORS, PYTORCH_ONLY
from latmodel.predict.predictor import Predictor
from latmodel.report.profile_report import list_rows

MODEL = {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 2048, "num_attention_heads": 12,
         "vocab_size": 32000}  # fmt: skip


@pytest.mark.parametrize("card", datasheets(), ids=lambda card: card.name)
def test_every_data_sheet_makes_a_profile_that_predicts(card: DataSheet) -> None:
    profile = datasheet_profile(card)
    assert profile.quality.kind == "data-sheet"
    for runtime in profile.runtimes:
        predictor = Predictor(profile, runtime)
        found = predictor.predict_many(MODEL)
        low, high = found.low_high("response")
        assert 0.0 < found.response_s[0] < 1e4
        # No error of a CPU by its data sheet is known: no interval.
        assert (low[0] < found.response_s[0] < high[0]) == (card.kind != "cpu")
        assert "uncalibrated" in predictor.notes[0]
        assert card.name in predictor.notes[0]  # what to run to make it one's own


def test_at_least_thirty_cards_are_known_by_data_sheet_only_and_a_dozen_from_kernels() -> None:
    rows, problems = list_rows()
    qualities = [row["quality"] for row in rows]
    assert qualities.count("data-sheet") >= 30
    assert qualities.count("published") + qualities.count("calibrated") >= 12
    assert not problems
    assert len({row["name"] for row in rows}) == len(rows)
    errors = {row["name"]: row["worst_held_out_mape_percent"] for row in rows if row["quality"] == "data-sheet"}
    # Errors of NVIDIA's cards are theirs alone.
    kinds = {card.name: card.kind for card in datasheets()}
    assert all((error is not None) == (kinds[name] == "cuda") for name, error in errors.items())


def test_a_card_without_bfloat16_says_what_it_is_priced_at() -> None:
    predictor = Predictor.load("t4")
    assert "no bfloat16" in predictor.notes[0]
    assert "float16" in predictor.notes[0]
    from latmodel.model.config import Workload

    assert bool(predictor.predict_many(MODEL, Workload(dtype="bfloat16")).extrapolated[0])
    assert not bool(predictor.predict_many(MODEL, Workload(dtype="float16")).extrapolated[0])
    assert native_dtype(next(card for card in datasheets() if card.name == "tesla-v100-sxm2-16gb")) == "float16"


def profile_of_kind(kind: str) -> Profile:
    return datasheet_profile(next(card for card in datasheets() if card.kind == kind))


def test_a_cpu_has_the_law_of_cpus_and_hides_nothing() -> None:
    profile = profile_of_kind("cpu")
    table = next(iter(profile.device.coefficients.values()))
    assert table.keys() == CPU_PRIORS.keys()
    assert all(part.coefficients["overlap_loss"].value == 1.0 for part in profile.runtimes.values())
    assert list(profile.runtimes) == ["transformers-eager"]


def test_makers_without_a_calibrated_card_of_their_own_get_wider_intervals() -> None:
    def width(profile: Profile) -> float:
        return Predictor(profile, "cuda-graph").interval.widest

    assert next(iter(profile_of_kind("cuda").device.coefficients.values())).keys() == DEVICE_PRIORS.keys() - {
        *PYTORCH_ONLY
    }
    assert width(profile_of_kind("rocm")) > width(profile_of_kind("cuda"))


def test_a_faster_card_is_never_slower() -> None:
    """Twice the bandwidth and twice the rate on the same SMs, the same law."""
    card = next(card for card in datasheets() if card.name == "tesla-t4")
    from dataclasses import replace

    rates = {name: 2.0 * rate for name, rate in card.peak_flops_per_s.items()}
    better = replace(card, bandwidth_bytes_per_s=2.0 * card.bandwidth_bytes_per_s, peak_flops_per_s=rates)
    slow, fast = (Predictor(datasheet_profile(c), "cuda-graph").predict_many(MODEL) for c in (card, better))
    assert fast.prefill_s[0] < slow.prefill_s[0]
    assert fast.decode_s_per_token[0] < slow.decode_s_per_token[0]


def test_a_measured_card_is_not_among_the_uncalibrated() -> None:
    names = {card.name for card in list_uncalibrated()}
    assert "tesla-t4" in names
    assert load_profile("h200").name not in names
    assert load_profile("h200").quality.kind == "published"
