"""The exact search against Optuna's TPE and NSGA-II on the same predictor and space: quality reached against time.

    python benchmarks/search.py [--seconds 30] [--gpu 3090]

All maximise parameters within 5.5 s and the device's memory over the default space; the samplers draw depth, heads,
head_dim, KV heads and FFN size freely and are told of both constraints. Needs Optuna.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from latmodel import ModelConfig, Predictor, SearchSpace, Workload, frontier

BUDGET_S = 5.5
WORK = Workload()
REPORT_S = (1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Reached:
    """The most parameters that a method had found after so many seconds, and after how many shapes."""

    method: str
    seconds: float
    shapes: int
    parameters: float


def shape(trial: Any) -> ModelConfig:
    """A shape of the default space."""
    head_dim = trial.suggest_categorical("head_dim", [64, 128])
    hidden = head_dim * trial.suggest_int("heads", 256 // head_dim, 16384 // head_dim)
    heads = hidden // head_dim
    group = trial.suggest_int("group", 1, 8)
    while heads % group:  # the next smaller group that divides
        group -= 1
    ffn = round(hidden * trial.suggest_float("ffn_ratio", 2.0, 5.0) / 64) * 64
    return ModelConfig(
        num_hidden_layers=trial.suggest_int("layers", 4, 128), hidden_size=hidden, intermediate_size=max(ffn, 64),
        num_attention_heads=heads, num_key_value_heads=heads // group, head_dim=head_dim, vocab_size=65536,
        tie_word_embeddings=True,
    )  # fmt: skip


def sampled(predictor: Predictor, name: str, limit_s: float) -> Iterator[Reached]:
    """What one of Optuna's samplers reaches, as time goes by."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    samplers: dict[str, Callable[[], Any]] = {
        "TPE": lambda: optuna.samplers.TPESampler(seed=0),
        "NSGA-II": lambda: optuna.samplers.NSGAIISampler(seed=0),
        "random": lambda: optuna.samplers.RandomSampler(seed=0),
    }
    study = optuna.create_study(direction="maximize", sampler=samplers[name]())
    best, trials = 0.0, 0

    def objective(trial: Any) -> float:
        nonlocal best, trials
        predicted = predictor.predict(shape(trial), WORK)
        trial.set_constraint("response", predicted.response_s - BUDGET_S)
        trial.set_constraint("memory", (predicted.peak_memory_bytes - predictor.memory_bytes) / 1e9)
        trials += 1
        if predicted.response_s <= BUDGET_S and predicted.fits_memory:
            best = max(best, float(predicted.num_parameters))
        return float(predicted.num_parameters)

    start = time.perf_counter()
    for stop in (*(one for one in REPORT_S if one < limit_s), limit_s):
        study.optimize(objective, timeout=max(stop - (time.perf_counter() - start), 0.01))
        yield Reached(name, time.perf_counter() - start, trials, best)


def exact(predictor: Predictor) -> Reached:
    """The exact search: the best of the whole frontier, and how long all of it took."""
    start = time.perf_counter()
    found = frontier(predictor, SearchSpace(), WORK, budget_s=BUDGET_S, quality="params")
    return Reached("exact", time.perf_counter() - start, found.searched, float(found.quality[0]))


def main() -> None:
    """Print a table: method, seconds, shapes, parameters, share of the optimum."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--gpu", default="3090")
    options = parser.parse_args()
    predictor = Predictor.load(options.gpu)
    optimum = exact(predictor)
    print("| method | seconds | shapes | parameters | of the optimum |\n|---|---|---|---|---|")
    rows = [optimum]
    for name in ("TPE", "NSGA-II", "random"):
        rows += sampled(predictor, name, options.seconds)
    for row in rows:
        share = 100.0 * row.parameters / optimum.parameters
        print(f"| {row.method} | {row.seconds:.2f} | {row.shapes:,} | {row.parameters / 1e9:.2f}B | {share:.1f} % |")


if __name__ == "__main__":
    main()
