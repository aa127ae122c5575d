"""Frontiers and predictions as data frames, and the predictor as a scikit-learn regressor.

pip install 'latmodel[examples]' && python examples/tables.py
"""

import argparse

import numpy as np
import pandas
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.metrics import mean_absolute_percentage_error

from latmodel import Predictor, SearchSpace, Workload, frontier


class LatencyRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Rows of shapes → seconds; `fit` only scales the profile's answer to times of one's own (one factor)."""

    def __init__(self, gpu: str = "3090", prompt_tokens: int = 512, new_tokens: int = 100) -> None:
        self.gpu, self.prompt_tokens, self.new_tokens = gpu, prompt_tokens, new_tokens

    def _times(self, shapes: pandas.DataFrame) -> np.ndarray:
        work = Workload(prompt_tokens=self.prompt_tokens, new_tokens=self.new_tokens)
        return np.asarray(Predictor.load(self.gpu).predict_many(dict(shapes), work).response_s)

    def fit(self, shapes: pandas.DataFrame, seconds: np.ndarray) -> "LatencyRegressor":
        """Learn the factor between one's own times and the profile's."""
        self.factor_ = float(np.exp(np.mean(np.log(seconds) - np.log(self._times(shapes)))))
        return self

    def predict(self, shapes: pandas.DataFrame) -> np.ndarray:
        """Seconds of each row."""
        return self.factor_ * self._times(shapes)


def main() -> None:
    """A frontier as a frame, grouped by depth; a regressor fitted to times 10 % above the profile's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="3090")
    options = parser.parse_args()
    frame = frontier(Predictor.load(options.gpu), SearchSpace(hidden_size=(1024, 2048, 4096)), budget_s=3.0).to_pandas()
    summary = frame.groupby("num_hidden_layers")["num_parameters"].agg(["count", "max"])
    print(summary.tail(5).to_string())
    names = [
        "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads",
        "head_dim", "vocab_size", "tie_word_embeddings",
    ]  # fmt: skip
    shapes, mine = frame[names], 1.1 * frame["response_s"].to_numpy()
    model = LatencyRegressor(options.gpu).fit(shapes[::2], mine[::2])
    error = mean_absolute_percentage_error(mine[1::2], model.predict(shapes[1::2]))
    print(f"factor {model.factor_:.3f}, error on the rows left out {100 * error:.2f} %")


if __name__ == "__main__":
    main()
