"""Calibrations of simulated devices with planted coefficients: are they found, and do the intervals hold?

    python benchmarks/calibrate_sim.py --seeds 200

Every seed plants other coefficients and draws 2 % noise and 5 % outliers (60 % slower); with --disturbed also drift of
up to 30 % and throttled spells of 40 %. Prints the median error of unseen whole models, of the coefficients that the
fit calls well determined, and how often the 90 % intervals hold.
"""

import argparse
import math
import statistics

import numpy as np

from calibration.fit.make import Problem
from calibration.fit.outcome import About, Calibrated, calibrated
from calibration.fit.start import problem
from calibration.measure.plan import CPU, make_plan
from calibration.measure.rounds import measure
from calibration.measure.simulated import Disturbance, SimulatedLab, true_seconds
from calibration.measure.summary import combine, observations
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
    """Errors (log) of ten whole models never measured, and whether a noisy measurement of each is covered."""
    rng, predictor = np.random.default_rng(1000 + seed), Predictor(done.profile, RUNTIME)
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


def main() -> None:
    """Run the seeds and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--effort", choices=["quick", "normal"], default="quick")
    parser.add_argument("--disturbed", action="store_true", help="drift and throttling as well")
    options = parser.parse_args()
    coefficients: list[float] = []
    covered: list[bool] = []
    errors: list[float] = []
    inside: list[bool] = []
    for seed in range(options.seeds):
        lab, done, truth = one(seed, options.effort, options.disturbed)
        for name, item in done.fitted.coefficients.items():
            away = abs(math.log(item.value / truth[name]))
            covered.append(away <= 1.645 * item.stderr_log)
            if item.stderr_log < SURE:
                coefficients.append(away)
        some, hits = unseen(lab, done, seed)
        errors += some
        inside += hits
    print(f"{options.seeds} seeds, {options.effort}{', disturbed' if options.disturbed else ''}")
    sure = 100 * statistics.median(coefficients)
    print(f"well-determined coefficients: median error {sure:.2f} % of {len(coefficients)}")
    print(f"90 % intervals of coefficients cover {100 * statistics.fmean(covered):.1f} % of {len(covered)}")
    print(f"unseen models: median error {100 * statistics.median(map(abs, errors)):.2f} % of {len(errors)} times")
    print(f"90 % intervals of predictions cover {100 * statistics.fmean(inside):.1f} % of {len(inside)}")


if __name__ == "__main__":
    main()
