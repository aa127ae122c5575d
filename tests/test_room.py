"""Memory with a margin: what a device offers is less than its data sheet says, and a near miss is told of."""

import json

import pytest
from click.testing import CliRunner
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor
from latmodel.cli import group
from latmodel.device.room import room

GIB = 2.0**30


def test_a_3090_offers_what_its_users_report() -> None:
    known = Predictor.load("3090").room
    assert known.sheet_bytes == 24 * GIB
    assert known.usable_bytes == pytest.approx(23.7 * GIB, rel=1e-12)
    assert known.limit_bytes == pytest.approx(0.98 * 23.7 * GIB, rel=1e-12)


def test_nothing_is_taken_off_where_no_driver_keeps_a_part() -> None:
    assert room(1e9, driver=False).usable_bytes == 1e9
    assert room(1e9, driver=False).margin_bytes == pytest.approx(2e7)


def rows(*words: str) -> list[dict[str, object]]:
    done = CliRunner().invoke(group, [*words, "--format", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return found if isinstance(found, list) else [found]


def test_the_best_row_of_the_headline_fits_a_real_3090() -> None:
    best = next(row for row in rows("frontier", "--budget", "5.5s", "--gpu", "3090") if row["best"])
    assert best["peak_memory_bytes"] <= 0.98 * 23.7 * GIB


@pytest.mark.parametrize(
    ("options", "limit"),
    [([], 0.98 * 0.9875), (["--memory-margin", "0"], 0.9875), (["--memory-margin", "1GiB"], 0.9875 - 1 / 24),
     (["--memory", "12GiB"], 0.5), (["--memory", "12GiB", "--memory-margin", "6GiB"], 0.25)],
)  # fmt: skip
def test_the_limit_is_what_the_options_say(options: list[str], limit: float) -> None:
    """A model just above and one just below the limit, in depth."""
    shape = ["--hidden", "4096", "--heads", "32", "--kv-heads", "8", "--gpu", "3090"]
    fits = [row["fits_memory"] for row in (rows("predict", "--layers", str(n), *shape, *options)[0] for n in (8, 120))]
    assert fits == [True, False]
    peaks = {n: rows("predict", "--layers", str(n), *shape, *options)[0] for n in range(10, 70, 6)}
    for row in peaks.values():
        assert row["fits_memory"] == (row["peak_memory_bytes"] <= limit * 24 * GIB)  # type: ignore[operator]


def test_a_near_miss_is_told_of() -> None:
    predictor = toy_predictor()
    shape = {"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8}
    near = next(
        depth for depth in range(20, 90)
        if predictor.predict(ModelConfig(num_hidden_layers=depth, **shape)).peak_memory_bytes > predictor.memory_bytes
    )  # fmt: skip
    row = rows(
        "predict", "--gpu", "3090", "--hidden", "4096", "--heads", "32", "--kv-heads", "8", "--layers", str(near)
    )[0]
    assert row["fits_memory"] is False
    assert any(note.startswith("near miss: ") for note in row["notes"])  # type: ignore[attr-defined]
    far = rows("predict", "--gpu", "3090", "--hidden", "8192", "--layers", "80")[0]
    assert not any(note.startswith("near miss: ") for note in far["notes"])  # type: ignore[attr-defined]


def test_a_margin_that_leaves_nothing_is_refused() -> None:
    done = CliRunner().invoke(group, ["predict", "80x576", "--memory-margin", "40GB"])
    assert done.exit_code != 0
    assert "leaves nothing" in str(done.exception)
