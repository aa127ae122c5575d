"""Write docs/accuracy.md anew: `python benchmarks/accuracy_table.py [--data ../shared/data] [--seeds 1]`.

Every figure of that page is measured here; it takes some minutes on one core.
"""

import argparse
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import whole_models
from boards import compare, summary
from operators import PARTS, Table, tables
from whole_model_rows import read_rows

from calibration.published.boards import BOARDS, read_models
from calibration.published.datasheet_prior import NVIDIA
from latmodel.device.profile import Profile
from latmodel.device.profile_file import read_profile
from latmodel.device.store import list_profiles, list_uncalibrated
from latmodel.predict.intervals import conformal_quantile

INTRODUCTION = """# How far to trust the profiles

Written by `python benchmarks/accuracy_table.py`; nothing here is typed by hand.

Errors are mean absolute percentage errors (MAPE) on rows that no fit saw. *Law* is the physics alone (tiles and waves,
split-K, memory, caches, floors: `docs/model.md`), *corrected* adds the learned tables of the profile, *roofline* is
max(FLOPs / peak, bytes / bandwidth) with two efficiencies fitted to the same rows. *Covered* is the share of held-out
rows inside the nominal 90 % interval. Kernels are those of vLLM in bfloat16, timed in CUDA graphs
(`aiconfigurator-core`); products have at least 256 outputs and inputs here, the packaged profiles go down to 32.
*gemm fp8* are products of 8-bit weights, one scale each, with inputs that are quantised in the time given.
The same shape on the same card through another framework differs by 3 to 8 % (L40S 12 %): that is the floor.
"""

CAUTIONS = """## Cautions

- The forms of the laws and the knots of the tables were chosen looking at held-out rows of one random split of these
  same cards, so the first table is mildly optimistic. The law of products was chosen among some twenty forms with the
  extrapolation table and the RTX 3090's larger models in sight, so those are optimistic too. Cards left out and Vidur's
  A100 are the cleaner checks.
- Whole models were measured by this project on the H100 only, by others as the tables say. Elsewhere the device's part
  of an interval is that of random blocks of single kernels (docs/model.md, 14). The host's part spans the known hosts
  (0.4 to 1.4 ms a layer in Transformers), for as much of the time as the host binds.
- Random blocks mix kernels of all sizes, and short kernels are off by more. The smallest products of a single row are
  off by 21 % on an A100 and 67 % on an L40S, those of a 7B by 5 to 6 % (root mean square). Blocks were also put
  together from kernels of their own size, under vLLM. In decode an A100's would have ×/÷ 1.06 from 2048 hidden units
  on and 1.15 below, instead of 1.11 for all. (A fifth of the kernels was predicted by the rest.) An L40S's would have
  1.08 and 1.20 instead of 1.14, nine tenths predicted by one. None of these counts another version of the kernels
  than was timed. Between SGLang 0.5.6 and 0.5.14 the products of wide blocks differ on an H100 by 4 % in prefill and
  8 % in decode. With 5.5 % for that, wide models would have 1.10 to 1.12 on an A100 and 1.12 to 1.13 on an H100. So
  two errors cancel for wide models, more or less. Intervals of narrow ones in graphs and in vLLM are narrower than
  they should be.
- Rows left out come from fits under the profile's learned corrections, as predictions do: what a fit misses without
  them is no measure of what a prediction misses with them. Two models of four give the residuals of such a fit. All
  eight rows of Transformers outside are the 32B's with prompts of 14k and more, all six of vLLM's of quantised weights.
- Each source of whole models is one machine a card, with its host, its board and its versions. An interval is for
  many such machines, so that as packaged nearly all rows of a machine are inside or nearly all are not. Were every
  interval of exactly 90 %, all rows of five machines would be inside more often than not (0.9^5 = 0.59). So the lines
  as packaged, and with the device left out (two machines), cannot tell 90 % from 100. Coverage near the nominal level
  is to be looked for where the host was fitted, in the rows left out. How a chip behaves behind a slower memory, and
  that vLLM's engine 0 splits a context of any heads, was found in the residuals of the Llama-2 rows: as held-out
  errors those two lines are optimistic.
- Products in fp8 were timed with one scale a weight. Blocks of 128 x 128 with a scale each are priced the same: of
  their published rows none takes less than 55 us, whatever its size. On the B200 one in twenty products of 2 to 16 rows
  takes twice as long as its neighbours or more, with nothing in the shape to tell which. Products of a single row are a
  third off there. Whole models in fp8 were not measured anywhere: their intervals are those of 16-bit ones.
- Published attention is vLLM's, timed with its write of the KV cache. PyTorch's runtimes take the shortest attention
  kernel from an H100 instead, on every card; the rest of their kernels are the published ones. On the H100 itself that
  would be 4 to 9 % off in whole models (its host known), where the calibrated runtimes are 2 to 3 % off.
- The laws of misaligned products, of rotary embedding and of norms were found in the residuals of the H100's blocks.
  Its five whole models had been run once before that was done: they were not unseen when it was chosen. The gap of
  blocks that split no product, and what few values of a view take, were found in a trace of its blocks; that 80 x 576
  was too fast in decode was known by then.
- Sums are fitted, so a breakdown is less sure than its total. On the H100 short prompts' attention is charged with some
  15 us a layer that belong to the small kernels around it (512 tokens, 32 heads of 64: 26 us shown, 10 measured alone).
  Attention, norms and products timed alone and fitted along put that right and make whole models no better (2.7 and
  4.6 % in `cuda-graph` instead of 2.2 and 2.4 % by the law of that day), so they were left out.
- Extrapolation on the L40S is near what its data allow. Large products there run at 0.5 or at 0.75 of the peak with
  nothing in the shape to tell which. The power limit is the likely cause: other frameworks' tables of the same card run
  all long ones at 0.55. The same shapes in two of its tables differ by 10 %. The law fitted to a sample of the larger
  rows is off by 8 % on the others. Eight random tenths of the smaller shapes, of which the first is shown, give 9.1 to
  10.6 % (mean 10.0: `--seeds 8`). Two constants were chosen with this table in sight. How much of an overfull cache
  survives a hot loop is from other cards; what the cache delivers is a rounded estimate without a source.
- A card left out is predicted by the cards of other chips, and its interval is their pooled one. Each chip weighs the
  same; its residuals are from fits without it and without the card in question. That covers a random row of a random
  chip like these about nine times in ten. It promises no single card 90 %: coverage is of all its rows together, and
  one card is off in one direction. With five chips, the most that exchangeability can promise a sixth is 5 in 6.
- Uncalibrated cards of other makers take their interval from the one Intel card that was measured, which NVIDIA's
  interval covers poorly. One card is no sample: the note of such a profile calls it a guess.
- Alignment (dimensions that are no multiple of 8) is not in the published kernels: it rests on its prior, on the
  RTX 3090's models (1.06 times as slow, odd sizes 1.5) and on the H100's blocks (5.7, odd 6.7).
"""


def profile_table() -> Table:
    """Every packaged profile: quality, held-out errors, range, half-widths."""
    rows = []
    for name, path in list_profiles().items():
        profile = read_profile(path)
        errors = [f"{e.phase} {e.mape_percent:.1f} % ({e.rows})" for e in profile.quality.errors if "out" in e.split]
        rows.append((name, profile.quality.kind, ", ".join(errors), ranges(profile), widths(profile)))
    rows.append((f"{len(list_uncalibrated())} more", "data-sheet", "see cards left out", "", ""))
    columns = (
        "profile",
        "quality",
        "held-out error (rows)",
        "measured range",
        "90 % half-widths, the device's part: prefill, decode",
    )
    return Table("Packaged profiles", columns, rows)


def board_table() -> Table:
    """Whole models on the boards that were calibrated, by runtime and phase."""
    rows = []
    for board in BOARDS:
        found = compare(read_models(board))
        for runtime in sorted({one.row.runtime for one in found}):
            for phase in ("prefill", "decode"):
                mape, inside, count = summary(found, runtime, phase)
                worst = max(abs(one.error) for one in found if (one.row.runtime, one.row.phase) == (runtime, phase))
                figures = (f"{mape:.1f} %", f"{100 * worst:.1f} %", f"{inside} of {count}")
                rows.append((board.card, runtime, phase, *figures))
    columns = ("board", "runtime", "phase", "error", "worst", "inside the 90 % interval")
    return Table("Whole models on calibrated boards: five that no fit saw", columns, rows)


def whole_model_tables(data: Path) -> list[Table]:
    """Whole models that others timed: by packaged profiles, and with the model or the device left out."""
    found = whole_models.results(read_rows(data / "whole_models" / "measurements.csv"))
    parts = (
        (whole_models.PACKAGED, found.packaged),
        (whole_models.MODEL_OUT, found.models),
        (whole_models.DEVICE_OUT, found.devices),
    )
    columns = tuple(whole_models.HEADING)
    tables = [Table(title, columns, [tuple(line) for line in whole_models.summary(some)]) for title, some in parts]
    lines = [tuple(line.rsplit(": ", 1)) for line in whole_models.coverage(found)]
    lines += [tuple(line.split(": ", 1)) for line in whole_models.seen()]
    return [
        Table("Whole models of others: what intervals cover, and what was seen", ("rows", "result"), lines),
        *tables,
    ]


def ranges(profile: Profile) -> str:
    """What was measured, in a model's dimensions."""
    part = next(iter(profile.runtimes.values()))
    return ", ".join(f"{name} {low:.0f}-{high:.0f}" for name, (low, high) in part.ranges.items())


def widths(profile: Profile) -> str:
    """Half-widths of the device's part of 90 % intervals, by runtime: of a prefill and of a decode step."""
    found = []
    for name, part in profile.runtimes.items():
        each = (conformal_quantile(part.conformal_scores.get(phase, []), 0.9) for phase in ("prefill", "decode"))
        found.append(f"{name} ×/÷ " + ", ".join(f"{math.exp(width):.2f}" for width in each))
    return "; ".join(found)


def markdown(table: Table) -> Iterator[str]:
    """A table as Markdown."""
    yield f"## {table.title}\n"
    yield "| " + " | ".join(table.columns) + " |"
    yield "|" + "---|" * len(table.columns)
    yield from ("| " + " | ".join(row) + " |" for row in table.rows)
    yield ""


def page(found: Sequence[Table]) -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for table in found:
        lines += markdown(table)
    return "\n".join([*lines, CAUTIONS])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/accuracy.md"))
    options = parser.parse_args()
    found = tables(PARTS, NVIDIA, options.seeds, options.data)
    options.out.write_text(
        page([profile_table(), board_table(), *whole_model_tables(options.data), *found]), encoding="utf-8"
    )
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
