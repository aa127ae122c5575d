"""Whole models that others timed, against packaged profiles and profiles that never saw them: coverage and error.

    python benchmarks/whole_models.py --runtime llama.cpp       # llama.cpp alone, see `whole_models_llama_cpp`
    python benchmarks/whole_models.py [--data ../shared/data/whole_models] [--cases ../shared/cases/measured.csv]

Three tables. *As packaged*: the profile in the package, its error and the share of rows inside its 90 % interval;
constants of some runtimes were fitted to some of these rows, which `seen` says. *Left out*: the host's terms fitted
(`calibration.fit`) to the 16-bit rows of the other models, or of the other device. *Cases*: single figures that people
reported, by the command that asks for them. Figures are by source, device, runtime and format, never pooled alone.
*Over all rows left out*: with the model left out (intervals for the host of the others, which the fit saw), with the
device left out (any host), and of cards known by data sheet, to whose rows nothing was fitted (any host).
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import whole_models_llama_cpp
from reported_cases import case_table
from whole_model_rows import Row, read_rows

from calibration.fit import make
from calibration.fit.few_rows import joined_ranges, joined_scores
from calibration.fit.start import refinement, subject
from calibration.observations.record import Observation
from latmodel.device.hosts import Host
from latmodel.device.profile import Profile
from latmodel.device.store import load_profile
from latmodel.errors import LatmodelError
from latmodel.laws import pointwise
from latmodel.model.config import CONFIG_FIELDS
from latmodel.predict.predictor import Predictor
from latmodel.report.text import table

COPY_RATES = (0.2, 0.24, 0.28, 0.31, 0.34, 0.37, 0.4, 0.45, 0.5, 0.6, 0.8, 1.0)
RUNTIMES = ("transformers-eager", "vllm")
# What of the packaged profile was fitted to a source's rows; a figure of such rows is no prediction.
SEEN = {
    ("QwenLM", "transformers-eager"): "repeated heads; kernels of quantised weights",
    ("QwenLM", "vllm"): "engine's step; Marlin's",
    ("argonne-lcf", "vllm"): "engine's step",
}


class Compared(NamedTuple):
    """One measured time beside its prediction, seconds; no interval where None."""

    row: Row
    predicted_s: float
    low_s: float | None
    high_s: float | None

    @property
    def error(self) -> float:
        """(predicted − measured) / measured."""
        return self.predicted_s / self.row.seconds - 1.0

    @property
    def inside(self) -> bool:
        """Whether the measured time lies in the interval."""
        return self.low_s is not None and self.high_s is not None and self.low_s <= self.row.seconds <= self.high_s


def compared(row: Row, profile: Profile, host: Host | None = None) -> Compared:
    """A row with what a profile predicts of it."""
    p = Predictor(profile, row.runtime, host=host, attention=row.attention).predict(row.config, row.workload)
    found = {
        "prefill": (p.prefill_s, p.prefill_s_low, p.prefill_s_high),
        "decode": (p.decode_s_per_token, p.decode_s_per_token_low, p.decode_s_per_token_high),
        "response": (p.response_s, p.response_s_low, p.response_s_high),
        "prefill_per_layer": (p.prefill_s_per_layer, p.prefill_s_low, p.prefill_s_high),
    }
    seconds, low, high = found[row.phase]
    if row.phase == "prefill_per_layer" and low is not None and high is not None:
        low, high = seconds * low / p.prefill_s, seconds * high / p.prefill_s
    return Compared(row, seconds, low, high)


def as_packaged(rows: Sequence[Row], host: Host | None = None) -> Iterator[Compared]:
    """Every row that a packaged profile has the runtime of; intervals are for any host, or for the profile's alone."""
    for row in rows:
        if row.runtime == "llama.cpp":  # of devices without a data sheet too
            continue
        profile = load_profile(row.gpu)
        if row.runtime in profile.runtimes:
            yield compared(row, profile, host)


def observation(row: Row) -> Observation:
    """A 16-bit row as a fit takes it."""
    config, work = row.config, row.workload
    return Observation(
        part="model", phase="response", timing="loop", seconds=row.seconds, gpu=row.gpu, runtime=row.runtime,
        dtype=work.dtype, name=row.model, batch_size=work.batch_size, prompt_tokens=work.prompt_tokens,
        new_tokens=work.new_tokens, source=row.source, **{name: getattr(config, name) for name in CONFIG_FIELDS},
    )  # fmt: skip


def fitted_profile(rows: Sequence[Row], of: Callable[[Row], str] | None = None) -> Profile:
    """The packaged profile with its runtime's host terms fitted to rows; the device's kernels stay as they are.

    With `of`, intervals are the fit's own: from residuals of each group of the rows in a fit without it.
    """
    first, profile = rows[0], load_profile(rows[0].gpu)
    task = refinement(subject(first.gpu, profile), first.workload.dtype, [first.runtime], profile)
    coefficients, implementation = task.start.runtimes[first.runtime]
    if first.attention is not None:
        implementation = implementation.with_attention(first.attention)
    start = replace(task.start, runtimes={first.runtime: (coefficients, implementation)})
    free = {name: prior for name, prior in task.free.items() if name.startswith("runtime.")}
    part = profile.runtimes[first.runtime]
    # What a graph replay does not have is held at zero.
    free = {name: prior for name, prior in free.items() if _is_positive(coefficients, name)}
    problem, seen = make.Problem(start, free), [observation(row) for row in rows]
    fitted = problem.solve(seen)
    groups = [] if of is None else [of(row) for row in rows]
    held_out = make.leave_out(problem, seen, groups) if len(set(groups)) > 1 else None
    table = {**part.coefficients, **make.runtime_part(fitted, first.runtime, host="fitted").coefficients}
    scores = joined_scores(part, seen, held_out)
    ranges = joined_ranges(part, seen)  # what the rows show was measured, as `latmodel fit` has it
    changed = part.model_copy(
        update={"coefficients": table, "conformal_scores": scores or part.conformal_scores, "ranges": ranges}
    )
    runtimes = {**profile.runtimes, first.runtime: changed}
    return profile.model_copy(update={"runtimes": runtimes})


def _is_positive(coefficients: object, name: str) -> bool:
    return bool(getattr(coefficients, name.rsplit(".", 1)[1]) > 0.0)


def left_out(rows: Sequence[Row], of: Callable[[Row], str], host: Host) -> Iterator[Compared]:
    """Each row from a profile that saw the 16-bit rows of the other groups, `of` a row's model or device.

    The rate at which heads are repeated, a constant of the laws, is chosen anew on the others too. `host` is whose the
    intervals are for: "published" where the others were timed on the same machine.
    """
    packaged = pointwise.COPY_RATE
    for group in sorted({of(row) for row in rows}):
        others = [row for row in rows if of(row) != group and row.workload.weights is None]
        rates = COPY_RATES if others[0].runtime == "transformers-eager" else (packaged,)
        try:
            pointwise.COPY_RATE = min((_at_rate(others, rate) for rate in rates), key=lambda found: found.error).rate
            profile = fitted_profile(others, of)
            for row in rows:
                if of(row) == group:
                    yield compared(row, _moved(profile, row), host)
        finally:
            pointwise.COPY_RATE = packaged


class AtRate(NamedTuple):
    """A rate of repeated heads, and the mean error on what a profile saw that was fitted with it."""

    rate: float
    error: float


def _at_rate(rows: Sequence[Row], rate: float) -> AtRate:
    pointwise.COPY_RATE = rate
    profile = fitted_profile(rows)
    return AtRate(rate, statistics.fmean(abs(compared(row, _moved(profile, row)).error) for row in rows))


def _moved(profile: Profile, row: Row) -> Profile:
    """A runtime fitted on one device, on the device of `row`."""
    if profile.gpu == row.gpu:
        return profile
    own = load_profile(row.gpu)
    part = own.runtimes[row.runtime].model_copy(update={"coefficients": profile.runtimes[row.runtime].coefficients})
    return own.model_copy(update={"runtimes": {**own.runtimes, row.runtime: part}})


def summary(found: Sequence[Compared]) -> list[list[str]]:
    """A line for each source, device, runtime, format and phase."""
    groups: dict[tuple[str, ...], list[Compared]] = {}
    for one in found:
        row = one.row
        key: tuple[str, ...] = (row.owner, row.gpu.removeprefix("nvidia-"), row.runtime, row.format_name, row.phase)
        groups.setdefault(key, []).append(one)
    lines = []
    for key, some in sorted(groups.items()):
        errors = [one.error for one in some]
        mape = 100 * statistics.fmean(map(abs, errors))
        worst = max(errors, key=abs)
        inside = sum(one.inside for one in some)
        widths = [one.high_s / one.predicted_s for one in some if one.high_s is not None]
        lines.append([
            *key, str(len(some)), f"{mape:.1f} %", f"{100 * statistics.fmean(errors):+.1f} %", f"{100 * worst:+.0f} %",
            f"{inside}/{len(some)}", f"×/÷ {statistics.median(widths):.2f}" if widths else "unknown",
        ])  # fmt: skip
    return lines


HEADING = ["source", "device", "runtime", "weights", "phase", "rows", "MAPE", "bias", "worst", "inside", "interval"]


class Results(NamedTuple):
    """Rows against packaged profiles, and against profiles that saw neither their model nor their device."""

    packaged: list[Compared]
    own_host: list[Compared]  # the same, with intervals for the profile's host alone
    models: list[Compared]
    devices: list[Compared]


PACKAGED = "Whole models of others, as packaged (A100 of 40 GB: derived from the 80 GB card's, as `--gpu` gives it)"
MODEL_OUT = (
    "Whole models of others, the model left out: host and repeated heads fitted to the others' 16-bit rows; "
    "constants of weight formats as packaged, which saw them"
)
DEVICE_OUT = "Whole models of others, the device left out: the engine's step fitted to the rows of the other"


def results(rows: Sequence[Row]) -> Results:
    """Every row, in each of the ways that there are enough others for."""
    qwen = {runtime: [r for r in rows if (r.owner, r.runtime) == ("QwenLM", runtime)] for runtime in RUNTIMES}
    models = [one for some in qwen.values() for one in left_out(some, _model, "published")]
    devices = list(left_out([r for r in rows if r.owner == "argonne-lcf"], _device, "any"))
    return Results(list(as_packaged(rows)), list(as_packaged(rows, "published")), models, devices)


def report(rows: Sequence[Row], cases: Path) -> str:
    """All tables."""
    found = results(rows)
    priced = {id(one.row) for one in found.packaged}
    unpriced: dict[str, int] = {}
    for row in rows:
        if id(row) not in priced:
            unpriced[row.runtime] = unpriced.get(row.runtime, 0) + 1
    return "\n".join([
        PACKAGED, table(HEADING, summary(found.packaged)), *coverage(found), *seen(),
        *(f"not priced, no such runtime in a packaged profile: {name}, {n} rows" for name, n in unpriced.items()), "",
        MODEL_OUT, table(HEADING, summary(found.models)), "",
        DEVICE_OUT, table(HEADING, summary(found.devices)), "",
        "Cases that people reported", case_table(cases),
    ])  # fmt: skip


def seen() -> list[str]:
    """What of the packaged profiles was fitted to these rows."""
    return [f"seen: {owner}, {runtime}: {what}" for (owner, runtime), what in SEEN.items()]


def coverage(found: Results) -> list[str]:
    """Rows inside their intervals and the median width of those: by what was known of the device, and left out."""
    sheets = {gpu: load_profile(gpu).quality.kind == "data-sheet" for gpu in {one.row.gpu for one in found.packaged}}
    unseen = [one for one in found.packaged if sheets[one.row.gpu] and (one.row.owner, one.row.runtime) not in SEEN]
    parts = {
        "as packaged, any host, device measured": [one for one in found.packaged if not sheets[one.row.gpu]],
        "as packaged, by data sheet": [one for one in found.packaged if sheets[one.row.gpu]],
        "as packaged, without the spread of hosts": found.own_host,
        "the model left out, on the host of the others": found.models,
        "the device left out, any host": found.devices,
        "over all rows left out (model, device, data sheet)": [*found.models, *found.devices, *unseen],
    }
    return [_covered(name, some) for name, some in parts.items() if some]


def _covered(name: str, found: Sequence[Compared]) -> str:
    inside = sum(one.inside for one in found)
    width = statistics.median(one.high_s / one.predicted_s for one in found if one.high_s is not None)
    machines, share = len({(one.row.owner, one.row.gpu) for one in found}), 100 * inside / len(found)
    rows = f"{inside} of {len(found)} inside ({share:.1f} %) on {machines} machine{'s' if machines > 1 else ''}"
    return f"{name}: {rows}, median interval ×/÷ {width:.2f}"


def _model(row: Row) -> str:
    return row.model


def _device(row: Row) -> str:
    return row.gpu


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = Path(__file__).parent.parent.parent / "shared"
    parser.add_argument("--data", type=Path, default=shared / "data" / "whole_models")
    parser.add_argument("--cases", type=Path, default=shared / "cases" / "measured.csv")
    parser.add_argument("--runtime", choices=["llama.cpp"], help="llama.cpp alone, on devices left out")
    given: Mapping[str, Any] = vars(parser.parse_args())
    try:
        if given["runtime"] is not None:
            print("\n".join(whole_models_llama_cpp.lines(given["data"].parent)))
            return 0
        print(report(read_rows(given["data"] / "measurements.csv"), given["cases"]))
    except (LatmodelError, OSError) as error:
        print(f"whole_models: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
