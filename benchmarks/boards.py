"""Whole models that were run on a calibrated board and never fitted, against the packaged profile of its card.

    python benchmarks/boards.py

Measured by benchmarks/verify_gpu.py (5 models in each runtime, 512 + 16 tokens), kept in benchmarks/boards. The shapes
are those of the RTX 3090 study and two of other proportions; the fit saw single blocks, LM heads and models of up to
six narrow layers.
"""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from limits import worse

from calibration.observations.record import Observation
from calibration.published.boards import BOARDS, read_models
from latmodel.device.store import load_profile
from latmodel.model.config import CONFIG_FIELDS, ModelConfig, Workload
from latmodel.predict.predictor import Predictor

FOLDER = Path(__file__).parent / "boards"
NEW_TOKENS = 16


class Compared(NamedTuple):
    """One measured time of a whole model beside its prediction, seconds."""

    row: Observation
    predicted_s: float
    inside: bool  # whether the measured time lies in the 90 % interval

    @property
    def error(self) -> float:
        """(predicted − measured) / measured."""
        return self.predicted_s / self.row.seconds - 1.0


def compare(rows: Sequence[Observation]) -> list[Compared]:
    """Each row with the prediction of its card's packaged profile."""
    return [_compared(row) for row in rows]


def _compared(row: Observation) -> Compared:
    model = ModelConfig(**{name: getattr(row, name) for name in CONFIG_FIELDS})
    p = Predictor(load_profile(row.gpu), row.runtime, host="published").predict(
        model, Workload(prompt_tokens=row.prompt_tokens, new_tokens=NEW_TOKENS, dtype=row.dtype)
    )
    name = "prefill_s" if row.phase == "prefill" else "decode_s_per_token"
    return Compared(row, getattr(p, name), p.holds(name, row.seconds))


def summary(found: Sequence[Compared], runtime: str, phase: str) -> tuple[float, int, int]:
    """(MAPE in percent, times inside their interval, times) of one runtime and phase."""
    some = [one for one in found if one.row.runtime == runtime and one.row.phase == phase]
    return 100.0 * statistics.mean(abs(one.error) for one in some), sum(one.inside for one in some), len(some)


def main() -> int:
    """Print every model and the figures of each runtime and phase; 1 if one is worse than the stored one."""
    figures: dict[str, dict[str, float]] = {}
    for board in BOARDS:
        found = compare(read_models(board, FOLDER))
        print(f"{board.card}: {board.source}")
        for one in found:
            print(
                f"  {one.row.runtime:18s} {one.row.name:24s} {one.row.seconds * 1e3:8.3f} ms, "
                f"predicted {one.predicted_s * 1e3:8.3f} ({100 * one.error:+.1f} %){'' if one.inside else ' outside'}"
            )
        for runtime in sorted({one.row.runtime for one in found}):
            for phase in ("prefill", "decode"):
                mape, inside, count = summary(found, runtime, phase)
                print(f"{runtime} {phase}: MAPE {mape:.1f} %, {inside} of {count} inside their 90 % interval")
                figures.setdefault(f"{board.card} {runtime}", {})[f"{phase}_percent"] = mape
    fallen = worse("boards", figures)
    print("\n".join(fallen), end="\n" if fallen else "", file=sys.stderr)
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
