"""Quality scores inside a search: as an objective of it, and as the columns, marks and notes of its result."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..arrays import Array
from ..quality import FFN_RATIO_RANGE, KV_GROUPS_RANGE, Score, band, best, flags, score, tied
from ..quality.shapes import with_counts
from .goals import PARAMETER_COUNTS

if TYPE_CHECKING:
    from .frontier import Frontier
    from .space import SearchSpace


@dataclass(frozen=True)
class ScoreObjective:
    """A quality score as a search wants one: a function of Hugging Face names, with what is known of its growth."""

    score: Score
    counted: ClassVar[bool] = True  # shapes come with their parameter counts

    @property
    def __name__(self) -> str:
        return self.score.name

    @property
    def monotone(self) -> bool:
        """It never falls as depth or FFN size grows."""
        return self.score.monotone_in_depth

    def __call__(self, shapes: Mapping[str, Array]) -> Array:
        """The score of each shape; a search gives their counts, too."""
        return self.score(shapes if "num_parameters" in shapes else with_counts(shapes))


def quality_from(spec: str, tokens: float | None) -> tuple[Any, Score | None]:
    """What to hand to a search as `quality`, and the score behind it (None for a plain count).

    Raises:
        UsageError: there is no such score, it needs tokens, or a user's function cannot be used.
    """
    named = score(spec, tokens=tokens)
    # Scores of size alone are searched by the built-in counts: the quickest, and free in every dimension.
    return (spec, None) if spec in PARAMETER_COUNTS else (ScoreObjective(named), named)


def near_usual(space: "SearchSpace") -> "SearchSpace":
    """The space with FFN ratio and KV groups held near the usual where the user left them free.

    No score of shape sees what they are worth, so a free search would exploit them.
    """
    default = type(space)()
    changes: dict[str, Any] = {}
    if space.intermediate_ratio == default.intermediate_ratio and space.intermediate_size is None:
        changes["intermediate_ratio"] = FFN_RATIO_RANGE
    if space.group_size == default.group_size and space.num_key_value_heads is None:
        changes["group_size"] = tuple(int(end) for end in KV_GROUPS_RANGE)
    return space.pin(**changes) if changes else space


def best_row(front: "Frontier") -> int:
    """The row of a frontier to call best: as `Scored.best` where it was searched by a score, else the first."""
    score = getattr(front.objectives[0].metric, "score", None)
    found = None if score is None else Scored(front, score).best
    return 0 if found is None else found


@dataclass(frozen=True)
class Scored:
    """A frontier by a quality score: band, flags, rank by plain parameters, the best row and what it ties with."""

    front: "Frontier"
    score: Score

    @cached_property
    def shapes(self) -> dict[str, Array]:
        """The frontier's shapes with their counts."""
        return with_counts(self.front.columns)

    @cached_property
    def best(self) -> int | None:
        """The row to call best: the highest uncapped score; of those that tie with it, the quickest."""
        return best(self.score, self.shapes, self.front.response_s)

    @cached_property
    def tied(self) -> Array:
        """True for each row that ties with the best."""
        if self.best is None:
            return np.zeros(len(self.front), dtype=bool)
        reference = {name: column[self.best] for name, column in self.shapes.items()}
        ties = tied(self.score, self.shapes, reference)
        ties[self.best] = False
        return ties

    def rows(self, chosen: Array) -> list[dict[str, Any]]:
        """Some rows with `quality_low`, `quality_high`, `flags`, `rank_by_params`, `tied`, `best`, judged among all."""
        low, high = band(self.score, self.shapes)
        quantised = self.front.workload.weights is not None
        marks = flags(self.score, self.shapes, kinds=("quantised",) if quantised else ())
        rank = np.empty(len(self.front), dtype=np.int64)
        rank[np.argsort(-self.shapes["num_parameters"], kind="stable")] = np.arange(1, len(self.front) + 1)
        rows = self.front.take(chosen).to_rows()
        for i, row in zip(chosen.tolist(), rows, strict=True):
            row |= {
                "quality_low": float(low[i]), "quality_high": float(high[i]), "flags": marks.words((i,)),
                "rank_by_params": int(rank[i]), "tied": bool(self.tied[i]), "best": i == self.best,
            }  # fmt: skip
        return rows
