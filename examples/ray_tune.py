"""Ray Tune with the predicted latency in the loop: each trial prices a shape before it would be trained.

pip install 'latmodel[examples,ray]' && python examples/ray_tune.py --samples 8
"""

import argparse
import tempfile
from typing import Any

import ray
from ray import tune

from latmodel import ModelConfig, Predictor, Workload

BUDGET_S = 2.0
WORK = Workload(prompt_tokens=512, new_tokens=100)


def trial(config: dict[str, Any]) -> dict[str, float]:
    """Price one shape; a real trial would go on to train those within the budget."""
    heads = config["heads"]
    model = ModelConfig(
        num_hidden_layers=config["layers"], hidden_size=64 * heads, intermediate_size=256 * heads,
        num_attention_heads=heads, num_key_value_heads=heads // 4, vocab_size=65536, tie_word_embeddings=True,
    )  # fmt: skip
    predicted = config["predictor"].predict(model, WORK)
    within = predicted.response_s <= BUDGET_S and predicted.fits_memory
    return {"parameters": float(predicted.num_parameters) if within else 0.0, "response_s": predicted.response_s}


def search(predictor: Predictor, samples: int, folder: str) -> Any:
    """The result of the best sample; Ray keeps its records in the folder."""
    space = {
        "layers": tune.randint(4, 80),
        "heads": tune.choice(list(range(8, 97, 4))),
        "predictor": predictor,
    }
    tuner = tune.Tuner(
        trial,
        param_space=space,
        tune_config=tune.TuneConfig(num_samples=samples, metric="parameters", mode="max", max_concurrent_trials=2),
        run_config=tune.RunConfig(verbose=0, storage_path=folder),
    )
    return tuner.fit().get_best_result()


def main() -> None:
    """Search and print the best shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="3090")
    parser.add_argument("--samples", type=int, default=8)
    options = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        best = search(Predictor.load(options.gpu), options.samples, folder)
    shape = {name: best.config[name] for name in ("layers", "heads")}
    size, seconds = best.metrics["parameters"], best.metrics["response_s"]
    print(f"best of {options.samples}: {size / 1e9:.2f}B, {seconds:.2f} s, {shape}")
    ray.shutdown()


if __name__ == "__main__":
    main()
