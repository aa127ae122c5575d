"""llama.cpp on an H100 that no published run of the fit is of: prompts through narrow layers, and own runs."""

import statistics
import sys
from pathlib import Path

import pytest

pytest.importorskip("scipy")

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from llama_cpp_board import CARD, compare, kept_runs, lines  # noqa: E402

from latmodel import Predictor, Workload  # noqa: E402
from latmodel.model.config import ModelConfig  # noqa: E402


def test_prompts_on_a_card_that_the_fit_never_saw() -> None:
    found = compare(kept_runs(), Predictor.load(CARD, "llama.cpp"))
    prompts = {width: some for (phase, width), some in found.items() if phase == "prefill"}
    assert sorted(prompts) == [1024, 2048, 3072, 4096]
    for some in prompts.values():  # 18, 7, 8 and 14 %; 54 % of 1024 before products of many rows had their own time
        assert statistics.median(abs(one.error) for one in some) < 0.22
    inside = [one.inside for some in prompts.values() for one in some]
    assert len(inside) == 52 and sum(inside) >= 45
    assert any("prefill  1024 wide" in line for line in lines(found))


def test_depth_costs_a_prompt_time_of_its_own() -> None:
    """At a few weights the layers of a prompt still take their seven products' time, however narrow they are."""
    predictor = Predictor.load(CARD, "llama.cpp")
    law = predictor.profile.device_coefficients("float16", "llama.cpp", "q4_0")[0]
    thin = [ModelConfig(num_hidden_layers=depth, hidden_size=256, intermediate_size=512) for depth in (12, 24)]
    few, many = (predictor.predict(one, Workload(prompt_tokens=512, weights="q4_0")).prefill_s for one in thin)
    assert many - few > 12 * 7 * law.prompt_launch_s > 0.0
