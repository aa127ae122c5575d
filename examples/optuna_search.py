"""Optuna with the predicted latency as a constraint: most parameters that answer within 2 s on an RTX 3090.

pip install 'latmodel[examples]' && python examples/optuna_search.py --trials 300
"""

import argparse

import optuna

from latmodel import ModelConfig, Predictor, SearchSpace, Span, Workload, frontier

BUDGET_S = 2.0
WORK = Workload(prompt_tokens=512, new_tokens=100)


def shape(trial: optuna.Trial) -> ModelConfig:
    """A Llama-style shape: heads of 64, four query heads to a KV head."""
    heads = 4 * trial.suggest_int("kv_heads", 2, 24)
    hidden = 64 * heads
    return ModelConfig(
        num_hidden_layers=trial.suggest_int("layers", 4, 80), hidden_size=hidden,
        intermediate_size=64 * round(hidden * trial.suggest_float("ffn_ratio", 2.0, 5.0) / 64),
        num_attention_heads=heads, num_key_value_heads=heads // 4, vocab_size=65536, tie_word_embeddings=True,
    )  # fmt: skip


def search(predictor: Predictor, trials: int) -> optuna.Study:
    """Maximise parameters; a trial that answers too late or does not fit is infeasible, not bad."""

    def objective(trial: optuna.Trial) -> float:
        predicted = predictor.predict(shape(trial), WORK)
        over_s = predicted.response_s - BUDGET_S
        over_bytes = predicted.peak_memory_bytes - predictor.memory_bytes
        trial.set_constraint("response", over_s)  # kept where it is zero or less
        trial.set_constraint("memory", over_bytes / 1e9)
        return float(predicted.num_parameters)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=trials)
    return study


def main() -> None:
    """Search, and compare with the exact answer of the same space."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="3090")
    parser.add_argument("--trials", type=int, default=300)
    options = parser.parse_args()
    predictor = Predictor.load(options.gpu)
    best = search(predictor, options.trials).best_trial
    print(f"Optuna, {options.trials} trials: {(best.value or 0.0) / 1e9:.2f}B parameters, {best.params}")
    space = SearchSpace(num_hidden_layers=Span(4, 80), hidden_size=Span(512, 6144, 256), head_dim=64, group_size=(4, 4))
    exact = frontier(predictor, space, WORK, budget_s=BUDGET_S, quality="params").take(slice(0, 1)).to_rows()[0]
    print(f"Exact: {exact['num_parameters'] / 1e9:.2f}B, {exact['num_hidden_layers']} × {exact['hidden_size']}")


if __name__ == "__main__":
    main()
