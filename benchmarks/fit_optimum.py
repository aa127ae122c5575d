"""Whether a fit reaches its optimum: random starts of one fit, and where each ends.

    python benchmarks/fit_optimum.py                      # the kept observations of an H100, and a simulated CPU
    python benchmarks/fit_optimum.py --cpu profiles/cpu.json --starts 20 --seed 0

Every start draws all coefficients from their priors. The law's own error is that of the first fit, so that costs
compare. "one descent" is the plain solver from the priors and from the same starts. `--cpu` names a calibrated profile
with its observations beside it. Held-out errors are those of cold folds, which make all choices themselves. Standard
errors are held against a bootstrap: shapes drawn with replacement, and prior means drawn from the priors, for a
standard error counts what a prior does not know.
"""

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from calibration.fit import make
from calibration.fit.anneal import annealed_fit
from calibration.fit.fit import Fitted, fit
from calibration.fit.make import Problem
from calibration.fit.objective import Objective
from calibration.fit.outcome import folds, independent, is_scored, measured_layers
from calibration.fit.start import problem
from calibration.measure.plan import CPU, make_plan
from calibration.measure.rounds import measure
from calibration.measure.simulated import Disturbance, SimulatedLab
from calibration.measure.summary import combine, observations
from calibration.observations.evidence import evidence
from calibration.observations.record import Observation, read_observations, shape_of
from calibration.published.boards import BOARDS, board_problem, read_board, read_models
from calibration.verbs.simulated_board import Records
from latmodel.device.profile_file import read_profile
from latmodel.laws.coefficients import Sheet
from latmodel.laws.priors import Prior

BOOTSTRAPS = 40
WITHIN = 0.005  # of one cost: the acceptance


def random_start(free: Mapping[str, Prior], generator: np.random.Generator) -> dict[str, float]:
    """Every coefficient drawn from its prior, inside its bounds."""
    drawn = {name: prior.value * np.exp(generator.normal() * prior.spread) for name, prior in free.items()}
    return {name: float(np.clip(value, 1.01 * free[name].low, 0.99 * free[name].high)) for name, value in drawn.items()}


def starts(name: str, task: Problem, rows: Sequence[Observation], count: int, seed: int) -> Fitted:
    """Fit from random starts, print each end, and return the fit from the priors."""
    pieces, generator = evidence(rows), np.random.default_rng(seed)
    begun = time.perf_counter()
    first = annealed_fit(pieces, task.start, task.free)
    print(
        f"{name}: {len(rows)} rows, {len(task.free)} coefficients, law off by {100 * first.law_error:.1f} %; "
        f"cost {first.cost:.2f}, optimality {first.stop.optimality:.2g} ({first.stop.message}), "
        f"{time.perf_counter() - begun:.1f} s"
    )
    ends, plain = [first.cost], []
    for number in range(count):
        begin = random_start(task.free, generator)
        ends.append(annealed_fit(pieces, task.start, task.free, begin, first.law_error).cost)
        plain.append(fit(pieces, task.start, task.free, begin).cost)
        print(f"  start {number + 1:2d}: cost {ends[-1]:9.2f}; one descent, noise of the rows alone: {plain[-1]:9.2f}")
    spread = max(ends) / min(ends) - 1.0
    print(f"  {len(ends)} starts within {100 * spread:.2f} % ({'reached' if spread <= WITHIN else 'MISSED'}: 0.5 %)")
    print(f"  one descent: within {100 * (max(plain) / min(plain) - 1.0):.1f} %")
    return first


def bootstrap(task: Problem, rows: Sequence[Observation], first: Fitted, count: int, seed: int) -> None:
    """Print the stated standard errors over the scatter of fits to shapes drawn anew."""
    generator, shapes = np.random.default_rng(seed), sorted({shape_of(row) for row in rows})
    begin = {name: one.value for name, one in first.coefficients.items()}
    logs = []
    for _ in range(count):
        drawn = generator.choice(shapes, len(shapes))
        some = [row for shape in drawn for row in rows if shape_of(row) == shape]
        free = {name: prior._replace(value=value) for (name, prior), value in
                zip(task.free.items(), random_start(task.free, generator).values(), strict=True)}  # fmt: skip
        pieces = Objective(evidence(some), task.start, free).blurred(first.law_error).pieces
        logs.append([math.log(one.value) for one in fit(pieces, task.start, free, begin).coefficients.values()])
    scatter = np.std(np.array(logs), axis=0, ddof=1)
    known = [one.status == "fitted" for one in first.coefficients.values()]
    ratios = (np.array([one.stderr_log for one in first.coefficients.values()]) / scatter)[known]
    low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
    print(
        f"  standard errors over the scatter of {count} bootstrap fits, of {len(ratios)} coefficients that the rows "
        f"determine: median {middle:.2f}, {low:.2f} to {high:.2f} for four of five"
    )


def cold_errors(task: Problem, rows: Sequence[Observation]) -> None:
    """Print held-out errors by phase, from folds that start at the priors."""
    held_out = make.leave_out(task, rows, folds(rows), warm=False)
    scored = [i for i, row in enumerate(rows) if is_scored(row)]
    for row in make.error_rows("cold folds", [rows[i] for i in scored], [held_out[i] for i in scored]):
        print(f"  {row.split}, {row.phase}: {row.mape_percent:.2f} % of {row.rows}")


def board(count: int, seed: int) -> None:
    """The first calibrated board: its fit, and whole models that were never fitted."""
    one = BOARDS[0]
    rows = independent(read_board(one))
    task = board_problem(one, rows)
    first = starts(one.card, task, rows, count, seed)
    bootstrap(task, rows, first, BOOTSTRAPS, seed)
    cold_errors(task, rows)
    models = read_models(one)
    off = make.residuals_of(first, models)
    for runtime in task.start.runtimes:
        mine = [i for i, row in enumerate(models) if row.runtime == runtime]
        for row in make.error_rows(f"whole models, {runtime}", [models[i] for i in mine], [off[i] for i in mine]):
            print(f"  {row.split}, {row.phase}: {row.mape_percent:.2f} % of {row.rows}")


def cpu(path: Path, count: int, seed: int) -> None:
    """A CPU's calibration that is kept beside its profile."""
    profile = read_profile(path)
    rows = read_observations(path.with_suffix(".observations.jsonl"))
    implementations = {name: part.implementation for name, part in profile.runtimes.items()}
    task = problem("cpu", profile.sheet(rows[0].dtype), implementations, measured_layers(rows))
    starts(profile.title, Problem(task.start, task.free, task.solver), rows, count, seed)
    cold_errors(task, rows)


def simulated_cpu(count: int, seed: int) -> None:
    """A simulated CPU with 2 % of noise and 5 % of outliers."""
    sheet = Sheet(1e11, 2e10, 1.0, 8e6)
    task = problem("cpu", sheet, {"transformers-eager": "transformers-cpu"})
    plan = make_plan("quick", "transformers-eager", "float32", CPU, sheet.cache_bytes)
    log = Records()
    lab = SimulatedLab(
        task.start.target("transformers-eager"), seed, Disturbance(noise=0.02, outliers=0.05), replay=False
    )
    measure(lab, plan.cases, plan.references, log, plan.rules)
    rows = observations(combine(log.records, plan.cases), "simulated")
    first = starts("simulated CPU", task, rows, count, seed)
    bootstrap(task, rows, first, BOOTSTRAPS, seed)
    cold_errors(task, rows)


def main() -> None:
    """Run the fits asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu", type=Path, help="a calibrated CPU's profile, its observations beside it")
    options = parser.parse_args()
    if options.cpu is not None:
        cpu(options.cpu, options.starts, options.seed)
        return
    simulated_cpu(options.starts, options.seed)
    board(options.starts, options.seed)


if __name__ == "__main__":
    main()
