"""Published laws and packaged constants, against figures that their authors give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latmodel.errors import UsageError
from latmodel.quality import ShapeConstants, score
from latmodel.quality.constants import DEFAULT, FITTED, LEVINE_LAWS, load_constants
from latmodel.quality.laws import BESIROGLU, HOFFMANN, KAPLAN


def test_levine_optimum_is_theirs() -> None:
    # Levine et al. 2020, section 5: for the size of GPT-3 (175B) the optimum is 80 layers of width 13,500.
    ratio = np.exp(LEVINE_LAWS[0].log_best_ratio(1.75e11))
    assert ratio == pytest.approx(13_500 / 80, rel=0.03)
    # a depth solves their equation exactly: 24 layers, d = exp(5.039 + 0.0555 * 24)
    width = np.exp(5.039 + 0.0555 * 24)
    assert np.exp(LEVINE_LAWS[0].log_best_ratio(12 * 24 * width**2)) == pytest.approx(width / 24, rel=1e-4)


def test_levine_lies_above_ours_by_the_published_factor() -> None:
    sizes = np.geomspace(1e8, 8e9, 20)
    factor = np.exp(LEVINE_LAWS[0].log_best_ratio(sizes) - DEFAULT.log_best_ratio(sizes))
    assert factor.min() > 1.15
    assert factor.max() < 1.5


def test_published_losses() -> None:
    # Chinchilla, 70B parameters and 1.4T tokens: 1.69 + 0.0834 + 0.1630 by the paper's constants.
    assert HOFFMANN(7e10, 1.4e12) == pytest.approx(1.9366, abs=2e-4)
    # Besiroglu's refit gives the entropy term 1.8172 as N and D grow.
    assert BESIROGLU(1e30, 1e15) == pytest.approx(1.8172 + 2085.43 / 1e15**0.36585, abs=1e-6)
    # Kaplan with tokens without end is (6.4e13 / N)^0.076: 1.0 at N = 6.4e13; 1.5B gives 2.249.
    assert KAPLAN(1.5e9, 1e11) == pytest.approx(((6.4e13 / 1.5e9) ** (76 / 103) + 180) ** 0.103)
    assert KAPLAN(1.5e9, 9e11) == pytest.approx(2.249, abs=0.01)


@pytest.mark.parametrize("tokens", [None, 0.0, -1e9, float("nan"), float("inf"), 100.0, 1e20])
@pytest.mark.parametrize("name", ["loss", "loss:hoffmann", "loss:kaplan", "loss:besiroglu"])
def test_tokens_missing_or_absurd(name: str, tokens: float | None) -> None:
    with pytest.raises(UsageError, match="--tokens"):
        score(name, tokens=tokens)


def test_tokens_without_use_are_refused() -> None:
    with pytest.raises(UsageError, match="no effect"):
        score("effective-params", tokens=1e12)


@pytest.mark.parametrize(
    "values",
    [
        (float("nan"), 25.0, 0.2),
        (-0.1, 25.0, 0.2),
        (0.05, 0.0, 0.2),
        (0.05, float("inf"), 0.2),
        (0.3, 25.0, 0.2),  # 2 * 0.3 * 2.8 * 1.2 = 2.0: another layer could lower the score
        (0.06, 25.0, 3.0),
    ],
)
def test_constants_out_of_domain_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(UsageError):
        ShapeConstants(*values)


def test_refused_constants_would_indeed_fall_with_depth() -> None:
    # What the check is for: k = 0.3 at z = -2.5 loses more by the next layer than it gains.
    size, layers, width = 5e8, 71, 0.082 * 25 * 71

    def with_k(layers: float) -> float:
        z = np.log(width / layers / 25 / (layers / 71) ** 0.2)
        return float(layers * size / 71 * np.exp(-0.3 * z**2))

    assert with_k(layers + 1) < with_k(layers)


def test_packaged_constants_lie_in_their_band_and_say_where_they_come_from(tmp_path: Any) -> None:
    assert FITTED.band.contains(DEFAULT)
    assert "2502.06857" in FITTED.provenance["source"]
    assert {"rows", "date", "refits", "fitted_by"} <= set(FITTED.provenance)
    for text in ("", "{", "[]", '{"constants": {}}', '{"constants": {"k": "x"}, "band": {}}'):
        broken = tmp_path / "broken.json"
        broken.write_text(text)
        with pytest.raises(UsageError, match=r"broken\.json"):
            load_constants(broken)
