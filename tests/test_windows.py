"""Windows that fill during the generation: the mean decode step against the sum over all steps, one by one."""

import numpy as np
import pytest

from latmodel import Predictor, Workload
from latmodel.configs.huggingface import read_config


def mean_of_steps(predictor: Predictor, name: str, prompt: int, new: int, batch: int, every: int) -> float:
    """Seconds of a step, from each step of the generation priced alone; trapezoids between every few."""
    model = read_config(name)
    contexts = np.unique(np.append(np.arange(prompt, prompt + new, every), prompt + new - 1))
    seconds = [
        predictor.predict(model, Workload(prompt_tokens=int(c), new_tokens=1, batch_size=batch)).decode_s_per_token
        for c in contexts
    ]
    return float(np.trapezoid(seconds, contexts) / (contexts[-1] - contexts[0]))


@pytest.mark.parametrize(("gpu", "runtime"), [("h100", "vllm"), ("h100", "cuda-graph"), ("3090", "transformers-eager")])
def test_a_window_that_fills_is_the_sum_over_steps(gpu: str, runtime: str) -> None:
    """phi-3-mini sees 2047 positions: half of 4096 steps cost more than those before them, the rest as many."""
    predictor = Predictor.load(gpu, runtime)
    work = Workload(prompt_tokens=1, new_tokens=4096, batch_size=16)
    found = predictor.predict(read_config("phi-3-mini"), work).decode_s_per_token
    assert found == pytest.approx(mean_of_steps(predictor, "phi-3-mini", 1, 4096, 16, 32), rel=5e-3)


@pytest.mark.parametrize("prompt", [1, 1000, 2047, 5000])
def test_whatever_the_prompt(prompt: int) -> None:
    predictor = Predictor.load("h100", "vllm")
    work = Workload(prompt_tokens=prompt, new_tokens=1500, batch_size=8)
    found = predictor.predict(read_config("phi-3-mini"), work).decode_s_per_token
    assert found == pytest.approx(mean_of_steps(predictor, "phi-3-mini", prompt, 1500, 8, 25), rel=5e-3)
