"""Calibrations of simulated devices with planted coefficients: are they found, and do the intervals hold?

    python benchmarks/calibrate_sim.py --seeds 200 --keep seeds.jsonl

Every seed plants other coefficients and draws 2 % noise and 5 % outliers (60 % slower); with --disturbed also drift of
up to 30 % and throttled spells of 40 %. Prints the median error of unseen whole models, of the coefficients that the
fit calls well determined, and how often the 90 % intervals hold.
"""

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from calibration.fit.make import Problem
from calibration.fit.outcome import About, Calibrated, calibrated
from calibration.fit.start import problem
from calibration.measure.plan import CPU, make_plan
from calibration.measure.rounds import Record, measure
from calibration.measure.simulated import Disturbance, SimulatedLab, true_seconds
from calibration.measure.summary import combine, observations
from calibration.observations.record import append_record
from calibration.verify.whole_models import model_cases
from latmodel.device.profile import SheetPart
from latmodel.laws.coefficients import Sheet
from latmodel.laws.priors import Prior
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

RUNTIME = "transformers-eager"
SHEET = Sheet(1e11, 1e10, 1.0, 3.2e7)
NOISE, OUTLIERS = 0.02, 0.05
SURE = 0.05  # standard error (log) below which a coefficient is well determined


class Log:
    """Records in a list."""

    def __init__(self) -> None:
        self.records: list[dict[str, object]] = []

    def append(self, record: dict[str, object]) -> None:
        """Keep a record."""
        self.records.append(record)


def planted(seed: int) -> tuple[Problem, dict[str, float]]:
    """A problem and the truth, drawn from the priors within their bounds.

    As wide as the fit takes them to be: errors count what a prior knows, so truths that lie nearer to it than it says
    would make every interval look too wide (Talts et al. 2018, simulation-based calibration).
    """
    task, rng = problem("cpu", SHEET, {RUNTIME: "transformers"}), np.random.default_rng(seed)
    return Problem(task.start, task.free, task.solver), {name: _drawn(prior, rng) for name, prior in task.free.items()}


def _drawn(prior: Prior, rng: np.random.Generator) -> float:
    while True:
        value = prior.value * math.exp(prior.spread * rng.normal())
        if prior.low < value < prior.high:
            return value


def one(seed: int, effort: str, disturbed: bool) -> tuple[SimulatedLab, Calibrated, dict[str, float]]:
    """One calibration of one simulated device."""
    task, truth = planted(seed)
    spoiled = Disturbance(
        noise=NOISE, outliers=OUTLIERS, drift=0.3 if disturbed else 0.0, drift_period_s=60.0,
        throttled=((20.0, 30.0), (50.0, 60.0)) if disturbed else (),
    )  # fmt: skip
    lab = SimulatedLab(task.start.moved(truth).target(RUNTIME), seed, spoiled, replay=False)
    plan, log = make_plan(effort, RUNTIME, "bfloat16", CPU, SHEET.cache_bytes, seed=seed), Log()
    measure(lab, plan.cases, plan.references, log, plan.rules, seed)
    rows = observations(combine(log.records, plan.cases), "simulated")
    sheet = SheetPart(
        peak_flops_per_s={"bfloat16": SHEET.peak_flops_per_s}, bandwidth_bytes_per_s=SHEET.bandwidth_bytes_per_s,
        memory_bytes=1e10, sm_count=1.0, cache_bytes=SHEET.cache_bytes, source="simulated",
    )  # fmt: skip
    about = About("sim", "sim", "Simulated", "here", "simulated", (), {RUNTIME: "transformers"})
    return lab, calibrated(task, sheet, rows, about), truth


def unseen(lab: SimulatedLab, done: Calibrated, seed: int) -> tuple[list[float], list[bool]]:
    """Errors (log) of ten whole models never measured, and whether a noisy measurement of each is covered.

    They run where the device was calibrated, so that the interval holds that host alone.
    """
    rng, predictor = np.random.default_rng(1000 + seed), Predictor(done.profile, RUNTIME, host="published")
    errors, inside = [], []
    for _ in range(10):
        heads = int(rng.integers(2, 14))
        config = ModelConfig(
            num_hidden_layers=int(rng.integers(4, 80)), hidden_size=64 * heads,
            intermediate_size=int(64 * heads * rng.uniform(2, 5)), num_attention_heads=heads,
            num_key_value_heads=int(rng.choice([d for d in range(1, heads + 1) if heads % d == 0])), vocab_size=8192,
        )  # fmt: skip
        work = Workload(prompt_tokens=int(rng.integers(40, 400)), new_tokens=20)
        prediction = predictor.predict(config, work)
        for case in model_cases(config, work, RUNTIME):
            true = true_seconds(case, lab.target)[0]
            name = "prefill_s" if case.phase == "prefill" else "decode_s_per_token"
            errors.append(math.log(getattr(prediction, name) / true))
            seen = true * math.exp(NOISE * rng.normal())
            inside.append(getattr(prediction, f"{name}_low") <= seen <= getattr(prediction, f"{name}_high"))
    return errors, inside


def record(seed: int, effort: str, disturbed: bool) -> Record:
    """What one seed shows, as a line of a file keeps it: errors (log) and standard errors by coefficient, models."""
    lab, done, truth = one(seed, effort, disturbed)
    errors, inside = unseen(lab, done, seed)
    fitted = done.fitted.coefficients
    return {
        "seed": seed, "effort": effort, "disturbed": disturbed,
        "errors": {name: math.log(item.value / truth[name]) for name, item in fitted.items()},
        "stderrs": {name: item.stderr_log for name, item in fitted.items()},
        "unseen": errors, "inside": inside,
    }  # fmt: skip


def kept(path: Path | None, effort: str, disturbed: bool) -> dict[int, Record]:
    """Seeds that a file holds already."""
    if path is None or not path.exists():
        return {}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {r["seed"]: r for r in records if (r["effort"], r["disturbed"]) == (effort, disturbed)}


def report(records: Sequence[Record]) -> None:
    """Print the figures of some seeds."""
    pairs = [(abs(r["errors"][name]), error) for r in records for name, error in r["stderrs"].items()]
    sure = [away for away, error in pairs if error < SURE]
    errors, inside = ([value for r in records for value in r[key]] for key in ("unseen", "inside"))
    print(
        f"well-determined coefficients ({100 * len(sure) / len(pairs):.0f} % of {len(pairs)}: standard error below "
        f"{100 * SURE:.0f} %): median error {100 * statistics.median(sure):.2f} %"
    )
    _coverage("coefficients", [away <= 1.645 * error for away, error in pairs])
    _coverage("well-determined ones", [away <= 1.645 * error for away, error in pairs if error < SURE])
    print(f"unseen models: median error {100 * statistics.median(map(abs, errors)):.2f} % of {len(errors)} times")
    _coverage("predictions", inside)


def _coverage(what: str, inside: Sequence[bool]) -> None:
    print(f"90 % intervals of {what} cover {100 * statistics.fmean(inside):.1f} % of {len(inside)}")


def main() -> None:
    """Run the seeds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--effort", choices=["quick", "normal"], default="quick")
    parser.add_argument("--disturbed", action="store_true", help="drift and throttling as well")
    parser.add_argument("--keep", type=Path, help="JSON Lines: seeds in it are not run again, others are added")
    options = parser.parse_args()
    records = kept(options.keep, options.effort, options.disturbed)
    seeds = range(options.first, options.first + options.seeds)
    for seed in seeds:
        if seed in records:
            continue
        records[seed] = record(seed, options.effort, options.disturbed)
        if options.keep is not None:
            append_record(options.keep, records[seed])
    print(f"{options.seeds} seeds, {options.effort}{', disturbed' if options.disturbed else ''}")
    report([records[seed] for seed in seeds])


if __name__ == "__main__":
    main()
