"""A whole pass from its operators: growing contexts in closed form, additivity, depth."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from toy import RUNTIME, TARGET, model, work

from latmodel.model.architecture import Architecture, Group
from latmodel.model.step import Step
from latmodel.model.transformer import context_ops, dense_ops
from latmodel.predict.forward import block_cost, forecast, head_cost, load
from latmodel.predict.target import Target, Work
from latmodel.predict.timeline import overlapped

FREE_HOST = TARGET._replace(runtime=RUNTIME._replace(launch_s=0.0, block_s=0.0, pass_s=0.0, token_s=0.0))


def step_by_step(architecture: Architecture, asked: Work, known: Target) -> float:
    """Seconds of the generation, each step costed at its own context."""
    group, runtime = architecture.groups[0], known.runtime
    head = head_cost(architecture, asked, known).first
    seconds = 0.0
    for position in range(1, int(asked.new) + 1):
        step = Step(1.0, asked.prompt + position - 1.0, asked.batch)
        ops = [
            *dense_ops(group.block, architecture.hidden_size, asked.batch, known.implementation, asked.numbers),
            *context_ops(group.block, step, known.implementation, asked.numbers),
        ]
        cost = load(ops, known).times(group.count)
        host = cost.kernels * runtime.launch_s + group.count * runtime.block_s
        host += head.kernels * runtime.launch_s + runtime.pass_s + runtime.token_s
        seconds += overlapped(host, cost.seconds + head.seconds, runtime.overlap_loss)
    return seconds


@pytest.mark.parametrize("new", [1.0, 2.0, 32.0, 700.0])
@pytest.mark.parametrize("batch", [1.0, 8.0])
@pytest.mark.parametrize("target", [TARGET, FREE_HOST], ids=["host", "device"])
def test_decode_in_closed_form_equals_the_loop(new: float, batch: float, target: Target) -> None:
    """Exact where the device time is affine in the context and one timeline rules; the toy keeps to both."""
    asked = work(new=new, batch=batch)
    found = forecast(model(), asked, target)
    assert found.step_s * new == pytest.approx(step_by_step(model(), asked, target), rel=1e-9)


def test_the_response_is_the_prefill_and_its_steps() -> None:
    found = forecast(model(), work(new=32.0), TARGET)
    assert found.response_s == pytest.approx(found.prefill_s + 32 * found.step_s)
    assert forecast(model(), work(new=0.0), TARGET).response_s == pytest.approx(found.prefill_s)


def test_a_host_bound_step_by_hand() -> None:
    """One-row matrices of a tiny model cost the device next to nothing, so the host's sum is the answer.

    A block launches 40 kernels (`test_implementation` counts them), embedding, norm and LM head 1 + 8 + 1 = 10.
    4 · (40 · 1e-6 + 1e-5) + 10 · 1e-6 + 1e-4 (pass) + 1e-3 (token) = 1.31e-3 s.
    """
    instant = TARGET._replace(sheet=TARGET.sheet._replace(peak_flops_per_s=1e18, bandwidth_bytes_per_s=1e18))
    found = forecast(model(), work(), instant)
    assert found.step_s == pytest.approx(1.31e-3, rel=1e-6)
    # A synchronised forward has no token loop around it: the same without 1e-3.
    assert found.forward_s == pytest.approx(0.31e-3, rel=1e-6)
    assert found.prefill_s == pytest.approx(0.31e-3, rel=1e-6)


def test_a_block_is_its_two_layers() -> None:
    architecture = model()
    block = architecture.groups[0].block
    halves = [replace(block, feed_forward=None, norms=1), replace(block, attention=None, norms=1)]
    whole = block_cost(block, 256.0, work(), TARGET)
    attention, feed_forward = (block_cost(half, 256.0, work(), TARGET) for half in halves)
    summed = attention.plus(feed_forward)
    for found, expected in zip(astuple(summed), astuple(whole), strict=True):
        assert found == pytest.approx(expected, rel=1e-12)


def test_groups_of_alike_blocks_are_one_group() -> None:
    one = model()
    block = one.groups[0].block
    two = replace(one, groups=(Group(1.0, block), Group(3.0, block)))
    assert tuple(forecast(two, work(), TARGET)) == pytest.approx(tuple(forecast(one, work(), TARGET)), rel=1e-12)


@pytest.mark.parametrize("target", [TARGET, FREE_HOST], ids=["host", "device"])
def test_affine_in_depth(target: Target) -> None:
    """Exact while one timeline rules at every depth."""
    depths = np.array([1.0, 2.0, 10.0, 100.0])
    found = forecast(model(num_hidden_layers=depths), work(), target).response_s
    slope = (found[-1] - found[0]) / 99.0
    assert found.tolist() == pytest.approx((found[0] + slope * (depths - 1.0)).tolist(), rel=1e-12)
    assert slope > 0


def test_logits_for_all_positions_cost_their_products() -> None:
    """128 positions · 1024 tokens · 256: 127 rows more, which only the prefill's head sees."""
    last, every = (head_cost(model(), work(logits_all=flag), TARGET) for flag in (False, True))
    assert every.prefill.compute_s > last.prefill.compute_s
    assert every.first == last.first


def test_batched_rows_equal_one_by_one() -> None:
    generator = np.random.default_rng(1)
    hidden, prompt, new = (64.0 * generator.integers(1, 20, 30) for _ in range(3))
    together = forecast(model(hidden_size=hidden), work(prompt=prompt, new=new), TARGET)
    for i in range(30):
        alone = forecast(model(hidden_size=float(hidden[i])), work(prompt=float(prompt[i]), new=float(new[i])), TARGET)
        assert together.response_s[i] == pytest.approx(alone.response_s, rel=1e-12)


def test_a_changed_copy_of_a_configuration_is_another_architecture() -> None:
    from latmodel.model.config import ModelConfig

    config = ModelConfig(
        num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=1, vocab_size=100
    )  # fmt: skip
    assert config.architecture().num_hidden_layers == 2
    assert config.model_copy(update={"num_hidden_layers": 9}).architecture().num_hidden_layers == 9
