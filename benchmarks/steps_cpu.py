"""Passes of several tokens over a cache of whole Transformers models that were never measured, on this CPU.

    python benchmarks/steps_cpu.py --dtype float32 --effort normal

Calibrates single blocks (or continues, or takes the profile that is there with `--reuse`), then times each model with
1, 2, 4, 8 and 32 new tokens over 128, 1024 and 4096 cached ones, logits at every new position, and prints predicted
against measured. Times are kept as they come: the same command goes on where it stopped.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from verify_cpu import MODELS, RUNTIME

from calibration.devices.lab import TorchLab
from calibration.engines.registry import find_engine
from calibration.measure.cases import Case
from calibration.observations.record import append_record, read_records
from calibration.verbs.calibrate import calibrate
from calibration.verbs.prepare import Prepared, prepare
from calibration.verbs.request import Request
from calibration.verify.since import drift_since_calibration
from calibration.verify.whole_models import RULES, Drift, timed
from latmodel import Predictor, Step, Workload
from latmodel.device.profile import Profile
from latmodel.device.profile_file import read_profile

NEW, CACHED = (1, 2, 4, 8, 32), (128, 1024, 4096)
DECODE_STEPS = 4  # of a generation that grows its cache: one token alone would be the first of a new one
ENOUGH = replace(RULES, sample_s=0.8)


def options_of(text: str | None) -> argparse.Namespace:
    """What the benchmarks of passes share."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--effort", choices=["quick", "normal", "rigorous"], default="normal")
    parser.add_argument("--out", type=Path, default=None, help="profile to write [build/steps-DTYPE/cpu.json]")
    parser.add_argument("--reuse", action="store_true", help="take the profile that --out holds already")
    parser.add_argument("--rounds", type=int, default=2, help="times each pass is measured")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop measuring after so long; run again to go on")
    return parser.parse_args()


def calibrated(options: argparse.Namespace) -> tuple[Prepared, Profile]:
    """The profile of this CPU, measured now or kept."""
    out = options.out or Path(f"build/steps-{options.dtype}/cpu.json")
    request = Request(
        "cpu", runtimes=(RUNTIME,), dtype=options.dtype, effort=options.effort, threads=1, out=out, max_noise=0.5
    )
    ready = prepare(request)
    if options.reuse and out.is_file():
        return ready, read_profile(out)
    start = time.time()
    profile = calibrate(ready, print).profile
    print(f"calibrated in {time.time() - start:.0f} s", flush=True)
    return ready, profile


@contextmanager
def measuring(ready: Prepared, dtype: str) -> Iterator[tuple[TorchLab, Drift]]:
    """The lab, and what tells the drift since the calibration."""
    lab = TorchLab(ready.hardware, find_engine(RUNTIME), dtype)
    with drift_since_calibration(lab, RUNTIME, dtype, ready.samples_path) as drift:
        yield lab, drift


def pass_case(name: str, new: int, cached: int, dtype: str) -> Case:
    """A model's pass: a decode loop for one token, else a prompt behind a cache."""
    config = next(config for other, config, _ in MODELS if other == name)
    if new == 1:
        work = Workload(prompt_tokens=cached, new_tokens=DECODE_STEPS, dtype=dtype)  # type: ignore[arg-type]
        return Case(name, "model", "decode", config, work, RUNTIME)
    work = Workload(prompt_tokens=new, cached_tokens=cached, new_tokens=1, dtype=dtype, logits="all")  # type: ignore[arg-type]
    return Case(name, "model", "prefill", config, work, RUNTIME)


def measure(ready: Prepared, options: argparse.Namespace, path: Path) -> list[dict[str, Any]]:
    """Every pass in every round, those that are kept left out."""
    kept = read_records(path).records if path.exists() else []
    done = {(row["model"], row["new"], row["cached"], row["round"]) for row in kept}
    end = time.time() + options.seconds
    with measuring(ready, options.dtype) as (lab, drift):
        for one in range(options.rounds):
            for name, *_ in MODELS:
                for cached in CACHED:
                    for new in NEW:
                        if (name, new, cached, one) in done or time.time() > end:
                            continue
                        case = pass_case(name, new, cached, options.dtype)
                        found = timed(lab, case, ENOUGH, lambda phase=case.phase: drift()[phase])  # type: ignore[misc]
                        row = {"model": name, "new": new, "cached": cached, "round": one, "seconds": found.seconds,
                               "spread": found.spread, "drift": found.drift}  # fmt: skip
                        append_record(path, row)
                        kept.append(row)
    return kept


def predicted(profile: Profile, name: str, new: int, cached: int, dtype: str) -> float:
    """Seconds of a pass, of the mean one of a decode loop."""
    config = next(config for other, config, _ in MODELS if other == name)
    work = pass_case(name, new, cached, dtype).workload
    predictor = Predictor(profile, RUNTIME)
    if new == 1:
        return float(predictor.predict(config, work).decode_s_per_token)
    return float(predictor.step(config, Step(new, cached), work).seconds)


def report(profile: Profile, rows: list[dict[str, Any]], dtype: str) -> str:
    """A line for each pass, then the mean error by new tokens, by cached ones, by model, and of all."""
    times: dict[tuple[str, int, int], list[float]] = {}
    for row in rows:
        times.setdefault((row["model"], row["new"], row["cached"]), []).append(row["seconds"])
    lines, errors = [], {}
    for key, some in sorted(times.items()):
        measured, expected = statistics.median(some), predicted(profile, *key, dtype)
        errors[key] = 100.0 * (expected / measured - 1.0)
        spread = 100.0 * (max(some) / min(some) - 1.0)
        lines.append(
            f"{key[0]:16s} {key[1]:3d} new over {key[2]:5d} cached {measured * 1e3:8.2f} ms (repeats {spread:4.1f} %) "
            f"predicted {expected * 1e3:8.2f} ms {errors[key]:+6.1f} %"
        )
    for column, what in enumerate(("model", "new", "cached")):
        for value in sorted({key[column] for key in errors}):
            some = [error for key, error in errors.items() if key[column] == value]
            lines.append(
                f"{what} {value}: {statistics.fmean(map(abs, some)):.1f} % off, {statistics.fmean(some):+.1f} %"
            )
    lines.append(f"{len(errors)} passes: {statistics.fmean(map(abs, errors.values())):.1f} % off")
    return "\n".join(lines)


def main() -> None:
    """Calibrate, measure, print."""
    options = options_of(__doc__)
    ready, profile = calibrated(options)
    rows = measure(ready, options, ready.path.with_suffix(".steps.jsonl"))
    print(report(profile, rows, options.dtype))


if __name__ == "__main__":
    main()
