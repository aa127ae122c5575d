"""What is made of single times, by hand: ends of intervals, prices of a step, thinned frontiers, notes, training."""

import math

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import ModelConfig, Predictor, Workload
from latmodel.laws.coefficients import ENGINE_TERMS, HOST_TERMS
from latmodel.model.formats import FORMATS
from latmodel.model.kernels import Way
from latmodel.predict.acceptance import break_even_acceptance, expected_tokens
from latmodel.predict.ends import ends_of
from latmodel.predict.generation import Draft, generate
from latmodel.predict.training import TrainingPlan, training
from latmodel.runtimes.kernels import AWQ_MODULE
from latmodel.search.frontier import thin_indices
from latmodel.search.steps import OneStep, prices

SHAPE = ModelConfig(num_hidden_layers=12, hidden_size=1024, num_attention_heads=16, num_key_value_heads=4)


@pytest.mark.parametrize(("acceptance", "lookahead"), [(0.5, 1), (0.7, 4), (0.2, 2)])
def test_expected_tokens_are_a_geometric_sum_and_break_even_its_inverse(acceptance: float, lookahead: int) -> None:
    whole = sum(acceptance**n for n in range(lookahead + 1))
    assert expected_tokens(acceptance, lookahead) == pytest.approx(whole, rel=1e-12)
    assert break_even_acceptance(whole * 0.02, 0.02, lookahead) == pytest.approx(acceptance, abs=1e-9)
    assert break_even_acceptance(0.02 * (lookahead + 1.001), 0.02, lookahead) is None


def test_a_slower_host_is_slower_in_all_that_is_the_host_s_and_nothing_else() -> None:
    target = Predictor.load("h100", "vllm").targets("bfloat16")[0]
    slower = target.on_slower_host(1.5, 3.0)
    for name, value in target.runtime._asdict().items():
        factor = 1.5 if name in HOST_TERMS else 3.0 if name in ENGINE_TERMS else 1.0
        assert getattr(slower.runtime, name) == pytest.approx(factor * value)
    assert slower.sheet == target.sheet and slower.device == target.device


def test_what_a_kernel_costs_beside_the_bytes_is_none_at_one_end_and_twice_at_the_other() -> None:
    """AWQ's module was timed on an A100: there its ends are itself, elsewhere 1 launch and 2.97 + 1.97."""
    predictor = Predictor.load("3090")
    own, form = predictor.targets("bfloat16", FORMATS["int4-awq"])[0], FORMATS["int4-awq"]
    ends = ends_of(own, predictor._hosts, form, "nvidia-geforce-rtx-3090")
    assert ends is not None
    fast, slow = (end.implementation.kernel(form) for end in ends)
    assert (fast.launches, fast.floors, fast.instructions) == (1.0, 0.0, 0.0)
    assert slow.launches == pytest.approx(2 * AWQ_MODULE.launches - 1.0)
    assert (slow.floors, slow.instructions) == (2 * AWQ_MODULE.floors, 2 * AWQ_MODULE.instructions)
    there = ends_of(own, predictor._hosts, form, "nvidia-a100-sxm4-80gb")
    assert there is not None and all(end.implementation.kernel(form) == AWQ_MODULE for end in there)


def step(dimension: str, response_s: float, nbytes: float, quality: float) -> OneStep:
    return OneStep(dimension, 1, 2, 1.0, response_s, nbytes, 0.0, quality)


def test_one_per_cent_buys_what_the_best_step_gives_for_it() -> None:
    steps = [
        step("num_hidden_layers", 0.1, 4e6, 50.0),  # 500 a second, 12.5 a MB
        step("hidden_size", 0.2, 1e6, 80.0),  # 400 a second, 80 a MB
        step("prompt_tokens", 0.001, 1.0, 99.0),  # of the workload: no price
        step("intermediate_size", -0.1, -1e6, 10.0),  # saves: no price
        step("vocab_size", 0.001, 1.0, -1.0),  # worse
    ]
    response, memory = prices(steps, 2.0, 1e9, 1000.0)
    assert (response.limit, response.step.dimension) == ("response", "num_hidden_layers")
    assert (memory.limit, memory.step.dimension) == ("memory", "hidden_size")
    assert response[1:4] == pytest.approx((0.02, 1000.0, 0.02 * 500.0)) and response.spent == 0.1
    assert memory[1:4] == pytest.approx((1e7, 1000.0, 1e7 * 80e-6)) and memory.spent == 1e6


def test_thinned_rows_keep_both_ends_and_are_even_in_the_logarithm() -> None:
    assert thin_indices(np.array([3.0, 2.0, 1.0]), 3).tolist() == [0, 1, 2]
    falling = np.array([16.0, 15.0, 8.0, 7.0, 4.0, 2.0, 1.0])
    assert thin_indices(falling, 5).tolist() == [0, 2, 4, 5, 6]  # within 16, 8, 4, 2, 1
    rising = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert thin_indices(rising, 3).tolist() == [0, 2, 4]  # of no order in time: even in number


def test_notes_of_8_bit_floats_tell_blocks_from_one_scale() -> None:
    predictor = Predictor.load("h100", "vllm")
    assert all(predictor.targets("bfloat16", FORMATS[name])[0].implementation.kernel(FORMATS[name]).way is Way.FLOAT8
               for name in ("fp8", "fp8-block"))  # fmt: skip
    one, blocks = (predictor.predict(SHAPE, Workload(weights=name)).notes for name in ("fp8", "fp8-block"))
    assert any("block" in note for note in blocks) and not any("block" in note for note in one)


def test_a_draft_s_rounds_are_the_tokens_over_those_of_a_round() -> None:
    work, predictor = Workload(prompt_tokens=64, new_tokens=60), toy_predictor()
    small = ModelConfig(num_hidden_layers=2, hidden_size=512)
    found = generate(predictor, SHAPE.architecture(), work, way=Draft("s", small.architecture(), work, 3, 0.5))
    assert found.details["tokens_per_round"] == pytest.approx(1.875)
    assert found.fits_memory and found.peak_memory_bytes < predictor.memory_bytes
    tight = Predictor(predictor.profile, predictor.runtime, memory_bytes=0.5 * found.peak_memory_bytes)
    assert not generate(
        tight, SHAPE.architecture(), work, way=Draft("s", small.architecture(), work, 3, 0.5)
    ).fits_memory


@pytest.mark.parametrize("memory", [0.0, -1.0, 1e16, math.inf])
def test_a_memory_that_is_none_is_refused(memory: float) -> None:
    with pytest.raises(Exception, match="give a positive size"):
        Predictor(toy_predictor().profile, memory_bytes=memory)


def test_training_takes_three_forward_passes_and_a_fourth_with_checkpoints() -> None:
    """6·N·D and attention besides, which PyTorch's counter gives as well (`tests/test_training.py`)."""
    plain = training(SHAPE.architecture(), TrainingPlan(1e9, 0.4, checkpointing=False), 1e15, "bfloat16")
    again = training(SHAPE.architecture(), TrainingPlan(1e9, 0.4), 1e15, "bfloat16")
    assert again.hardware_flops == pytest.approx(4.0 / 3.0 * plain.hardware_flops)
    assert again.flops == plain.flops == plain.hardware_flops
    assert plain.device_hours == pytest.approx(plain.flops / 0.4e15 / 3600.0)
