"""Adaptive calibration of simulated devices: samples until the answer is as sure as after `--effort normal`.

    python benchmarks/adaptive_sim.py --devices 50

Every device has coefficients drawn from the priors, 2 % of noise and 5 % of outliers (`calibrate_sim.planted`). The
question is the best shape within the time that 12 x 768 takes on it. `--effort normal` measures its plan; the adaptive
one measures what narrows the best row's response most, until the half-width of its 90 % interval is that of the normal
one ("as sure"), and by its own rule ("by its rule"). Both half-widths are of one formula, the fit's covariance; both
fits are told that the formulas are exact, as they are here. The last line says how often they hold the true response.
"""

import argparse
import math
import statistics
from functools import partial
from typing import NamedTuple

from calibrate_sim import NOISE, OUTLIERS, RUNTIME, SHEET, Log, planted

from calibration.adaptive.belief import belief, half_width
from calibration.adaptive.steps import Answer, Ask, Course, samples_in
from calibration.fit.anneal import annealed_fit
from calibration.fit.fit import Fitted
from calibration.fit.make import Problem
from calibration.fit.outcome import About, fitted_profile
from calibration.measure.plan import CPU, make_plan
from calibration.measure.rounds import measure
from calibration.measure.simulated import Disturbance, SimulatedLab
from calibration.measure.summary import combine, observations
from calibration.observations.evidence import FORMULAS, model_of, work_of
from calibration.verbs.adaptive import plans_for
from latmodel.device.profile import Profile, SheetPart
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor
from latmodel.predict.target import Target
from latmodel.search.run import frontier
from latmodel.search.scored import best_row
from latmodel.search.space import SearchSpace

WORK = Workload(prompt_tokens=64, new_tokens=16)
SPACE = SearchSpace(num_hidden_layers=(2, 48), hidden_size=(128, 2048))
TYPICAL = ModelConfig(
    num_hidden_layers=12, hidden_size=768, intermediate_size=2304, num_attention_heads=12, num_key_value_heads=4,
    vocab_size=32768,
)  # fmt: skip
ABOUT = About("sim", "sim", "Simulated", "here", "simulated", (), {RUNTIME: "transformers"})
PART = SheetPart(
    peak_flops_per_s={"bfloat16": SHEET.peak_flops_per_s}, bandwidth_bytes_per_s=SHEET.bandwidth_bytes_per_s,
    memory_bytes=1e10, sm_count=1.0, cache_bytes=SHEET.cache_bytes, source="simulated",
)  # fmt: skip


class Outcome(NamedTuple):
    """One device: samples and half-widths (log units) of the plan and of the adaptive calibration, and the errors."""

    planned: int
    width: float
    as_sure: int | None  # samples of the adaptive one when its interval was as narrow; None: it ended before
    by_rule: int
    rule_width: float
    errors: tuple[tuple[float, float], ...]  # |log error| and half-width of the answers that were given


def asker(budget_s: float) -> Ask:
    """The question: the best shape within the budget."""

    def ask(profile: Profile) -> Answer:
        front = frontier(Predictor(profile, RUNTIME), SPACE, WORK, budget_s=budget_s)
        row = best_row(front)
        return Answer(front.config(row), WORK, float(front.response_s[row]))

    return ask


def true_response(answer: Answer, target: Target) -> float:
    """Seconds that the simulated device takes for the answer."""
    row = answer.observation("sim", RUNTIME)
    return float(FORMULAS["model", "response", "loop"](model_of([row]), work_of([row], False), target)[0])


def one(seed: int) -> Outcome:
    """Both calibrations of one device."""
    some, truth = planted(seed)
    task = Problem(some.start, some.free, partial(annealed_fit, law_error=0.0))
    target = task.start.moved(truth).target(RUNTIME)
    plan = make_plan("normal", RUNTIME, "bfloat16", CPU, SHEET.cache_bytes, seed=seed)
    ask = asker(true_response(Answer(TYPICAL, WORK, 1.0), target))

    def lab() -> SimulatedLab:
        return SimulatedLab(target, seed, Disturbance(noise=NOISE, outliers=OUTLIERS), replay=False)

    def profile_of(fitted: Fitted, rows: object) -> Profile:
        return fitted_profile(fitted, PART, "bfloat16", rows, ABOUT)  # type: ignore[arg-type]

    log = Log()
    measure(lab(), plan.cases, plan.references, log, plan.rules, seed)
    rows = observations(combine(log.records, plan.cases), "sim")
    fitted = task.solve(rows)
    answer = ask(profile_of(fitted, rows))
    width = half_width(belief(fitted), answer.observation("sim", RUNTIME))
    errors = [(abs(math.log(answer.response_s / true_response(answer, target))), width)]

    near = plans_for(plan, lambda like: make_plan("normal", RUNTIME, "bfloat16", CPU, SHEET.cache_bytes, like, seed))
    course, own = Course(ask, task, profile_of, near, "sim", RUNTIME), Log()
    course.run(lab(), own, seed, 1.0)
    last = course.steps[-1]
    errors.append((abs(math.log(last.answer.response_s / true_response(last.answer, target))), last.half_width))
    reached = [step.samples for step in course.steps if step.half_width <= width]
    further = Course(ask, task, profile_of, near, "sim", RUNTIME)
    as_sure = reached[0] if reached else _as_sure(further, lab(), seed, width)
    return Outcome(samples_in(log), width, as_sure, last.samples, last.half_width, tuple(errors))


def _as_sure(course: Course, lab: SimulatedLab, seed: int, width: float) -> int | None:
    """Samples of a calibration that goes on until its interval is as narrow."""
    course.run(lab, Log(), seed, 1.0, until=lambda step: step.half_width <= width)
    return course.steps[-1].samples if course.steps[-1].half_width <= width else None


def main() -> None:
    """Run the devices and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="seed of the first device")
    options = parser.parse_args()
    done = []
    for seed in range(options.first, options.first + options.devices):
        done.append(found := one(seed))
        sure = "never" if found.as_sure is None else str(found.as_sure)
        print(
            f"device {seed:2d}: plan {found.planned} samples ± {100 * found.width:.2f} %; as sure after {sure}; "
            f"by its rule {found.by_rule} samples ± {100 * found.rule_width:.2f} %", flush=True,
        )  # fmt: skip
    halves = [one.as_sure is not None and 2 * one.as_sure <= one.planned for one in done]
    shares = [one.as_sure / one.planned for one in done if one.as_sure is not None]
    middle = f"{statistics.median(shares):.2f}" if shares else "none"
    print(f"as sure in at most half of the samples: {sum(halves)} of {len(done)}; median share {middle}")
    kept = [error <= width for one in done for error, width in one.errors]
    print(f"half-widths at 90 % hold the true response in {100 * statistics.fmean(kept):.0f} % of {len(kept)} answers")


if __name__ == "__main__":
    main()
