"""Published models of one machine, a few rows given to `latmodel fit`: does the interval hold the machine's other rows?

    python benchmarks/few_rows.py ../shared/data/whole_models/measurements.csv

For every runtime with 16-bit responses of at least two models on one card: a few neighbouring rows, of one shape as a
rule, are fitted; all others are predicted for the host that was fitted (`--host this`). The host that the packaged
profile assumes was fitted to rows of the same kind, so that errors are optimistic; widths are not.
"""

import argparse
import itertools
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


from whole_model_rows import Row, read_rows
from whole_models import Compared, compared, observation

from calibration.fit.start import subject
from calibration.verbs.fit import build
from latmodel.device.profile import Profile
from latmodel.device.store import load_profile
from latmodel.report.text import table

COUNTS = (1, 3)
PLACES = 8  # at which rows are taken, evenly
HEADING = ["device", "runtime", "rows fitted", "times", "MAPE", "inside", "interval"]


def groups(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows of one card and runtime, of two models at least."""

    def key(row: Row) -> tuple[str, str]:
        return row.gpu, row.runtime

    some = [row for row in rows if row.phase == "response" and row.workload.weights is None]
    for (gpu, runtime), mine in itertools.groupby(sorted(some, key=key), key):
        own = list(mine)
        if runtime in load_profile(gpu).runtimes and len({row.model for row in own}) > 1:
            yield own


def fitted(rows: Sequence[Row]) -> Profile:
    """What `latmodel fit` makes of the rows."""
    prior = load_profile(rows[0].gpu)
    return build(subject(prior.gpu, prior), [observation(row) for row in rows], prior, ["few rows"], rows[0].attention)[
        0
    ]


def line(rows: Sequence[Row], count: int) -> list[str]:
    """One line of the table: all others from `count` neighbouring rows, at several places."""
    found: list[Compared] = []
    for start in range(0, len(rows) - count + 1, max(1, len(rows) // PLACES)):
        some = rows[start : start + count]
        profile = fitted(some)
        found += [compared(row, profile, "this") for row in rows if row not in some]
    widths = [math.sqrt(one.high_s / one.low_s) for one in found if one.high_s is not None and one.low_s is not None]
    return [
        rows[0].gpu.removeprefix("nvidia-"), rows[0].runtime, str(count), str(len(found)),
        f"{100.0 * statistics.fmean(abs(one.error) for one in found):.1f} %",
        f"{sum(one.inside for one in found)}/{len(found)}", f"×/÷ {statistics.median(widths):.2f}",
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measurements", type=Path)
    rows = read_rows(parser.parse_args().measurements)
    print(table(HEADING, [line(some, count) for some in groups(rows) for count in COUNTS]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
