"""Models and searches by a number of parameters."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from latmodel.cli import group
from latmodel.cli.search_options import parse_counts
from latmodel.configs.sized import sized_config
from latmodel.errors import UsageError
from latmodel.model.totals import num_parameters
from latmodel.units import parse_count


def count(
    parameters: float, layers: int | None = None, hidden: int | None = None, **given: int
) -> tuple[int, int, float]:
    config = sized_config(parameters, layers, hidden, dict(given), True)
    return config.num_hidden_layers, config.hidden_size, float(num_parameters(config.architecture()))


def test_the_depth_is_found_for_a_width() -> None:
    # 576 wide is the study's 80 layers: 320,956,992 parameters, of which 65536 x 576 + 576 lie outside the blocks.
    block = (320_956_992 - 65536 * 576 - 576) / 80
    assert count(320_956_992, hidden=576) == (80, 576, 320_956_992)
    assert count(320_956_992 + 0.4 * block, hidden=576)[0] == 80
    assert count(320_956_992 + 0.6 * block, hidden=576)[0] == 81


@pytest.mark.parametrize("layers", [4, 12, 33, 80])
@pytest.mark.parametrize("parameters", [3e8, 1e9, 7e9])
def test_no_other_width_is_nearer(parameters: float, layers: int) -> None:
    _, hidden, found = count(parameters, layers=layers)
    others = [count_of(layers, width) for width in range(64, 2 * hidden, 64)]
    assert abs(found / parameters - 1) == min(abs(other / parameters - 1) for other in others)


def count_of(layers: int, width: int) -> float:
    from latmodel.configs.model_input import shape_config

    return float(num_parameters(shape_config(layers, width).architecture()))


def test_alone_it_has_llamas_proportions() -> None:
    layers, hidden, found = count(7e9)
    assert hidden == 128 * layers
    assert abs(found / 7e9 - 1) < 0.05


def test_heads_divide_the_width() -> None:
    _, hidden, _ = count(1.2e9, layers=20, heads=12, kv_heads=3)
    assert hidden % 12 == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((3e8, 8, 512), "leave out"),
        ((1e3, None, None), "nearest"),
        ((1e7, 1000, None), "another --layers"),
        ((1e15, 2, None), "nearest"),
    ],
)
def test_what_cannot_be_is_refused(given: tuple[float, int | None, int | None], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        count(*given)


def test_counts_as_typed() -> None:
    assert [parse_count(text) for text in ("300M", "1.5b", "65k", "2T", "1000")] == [3e8, 1.5e9, 65e3, 2e12, 1e3]
    assert parse_counts("250M:350M") == (2.5e8, 3.5e8)
    assert parse_counts("300M") == pytest.approx((2.85e8, 3.15e8))


@pytest.mark.parametrize("text", ["", "M", "0", "-3M", "3G", "nan", "1e9", "9999999999T", "3M:2M", "1M:2M:3M"])
def test_what_is_no_count_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_counts(text)


@pytest.fixture
def run() -> Callable[..., list[dict[str, float]]]:
    def call(*words: str) -> list[dict[str, float]]:
        done = CliRunner().invoke(group, [*words, "--format", "json"], catch_exceptions=False)
        rows = json.loads(done.stdout)
        return rows if isinstance(rows, list) else [rows]

    return call


def test_a_search_keeps_the_size(run: Callable[..., list[dict[str, float]]]) -> None:
    within = run("frontier", "--params", "300M", "--budget", "3s", "--hidden", "512:2048:128", "--rows", "50")
    assert len(within) > 5
    assert all(285e6 <= row["num_parameters"] <= 315e6 for row in within)
    plain = run(
        "frontier",
        "--limit",
        "params>=285e6",
        "--limit",
        "params<=315e6",
        "--budget",
        "3s",
        "--hidden",
        "512:2048:128",
        "--rows",
        "50",
    )
    assert [row["response_s"] for row in within] == [row["response_s"] for row in plain]


def test_predict_takes_a_size(run: Callable[..., list[dict[str, float]]]) -> None:
    row = run("predict", "--params", "300M", "--layers", "24")[0]
    assert row["num_hidden_layers"] == 24
    assert abs(row["num_parameters"] / 3e8 - 1) < 0.1
