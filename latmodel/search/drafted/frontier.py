"""`DraftedFrontier`: the targets that a search found, each with its draft, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...arrays import Array
from ...model.config import Workload
from ...predict.predictor import Predictor
from ..branch_and_bound import Effort
from .drafts import Drafts


@dataclass(frozen=True, eq=False)
class DraftedFrontier:
    """Targets of which none is as good as another in quality and response, with their drafts, best quality first.

    `draft` is an index of `drafts`, −1 where a token a pass is quickest; `plain_s` is the response without a draft.
    """

    predictor: Predictor
    workload: Workload
    columns: Mapping[str, Array]
    quality_name: str
    quality: Array
    response_s: Array
    plain_s: Array
    lookahead: Array
    draft: Array
    drafts: Drafts
    budget_s: float | None
    memory_bytes: float
    searched: int
    effort: Effort = field(default_factory=Effort)

    def __len__(self) -> int:
        return int(self.quality.size)

    def to_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each target: its dimensions, quality, response, draft and what it gains."""
        return [self._row(row) for row in range(len(self))]

    def _row(self, row: int) -> dict[str, Any]:
        values: dict[str, Any] = {name: int(column[row]) for name, column in self.columns.items()}
        values["tie_word_embeddings"] = bool(values["tie_word_embeddings"])
        values |= {"quality": float(self.quality[row]), "response_s": float(self.response_s[row]),
                   "plain_response_s": float(self.plain_s[row]),
                   "speedup": float(self.plain_s[row] / self.response_s[row])}  # fmt: skip
        chosen = int(self.draft[row])
        if chosen < 0:
            return {**values, "draft": None, "lookahead": None, "acceptance": None}
        return {
            **values, "draft": self.drafts.config(chosen).model_dump(), "lookahead": int(self.lookahead[row]),
            "acceptance": float(self.drafts.acceptance[chosen]),
        }  # fmt: skip
