"""Training: FLOPs against PyTorch's counter over forward and backward, hours and memory by hand, limits of a search."""

import json
import warnings

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from search_toy import toy_predictor
from shapes import LLAMA_7B
from torch.utils.flop_counter import FlopCounterMode

from latmodel import ModelConfig, SearchSpace, frontier
from latmodel.cli.verbs import group
from latmodel.errors import UsageError
from latmodel.predict.training import STATE_BYTES, TrainingPlan, training
from latmodel.search.trained import training_objective

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing is theirs, and warns of what concerns nobody here
    from transformers import LlamaConfig, LlamaForCausalLM

SHAPE = ModelConfig(
    num_hidden_layers=3, hidden_size=96, intermediate_size=256, num_attention_heads=6, num_key_value_heads=2, head_dim=16,
    vocab_size=320, tie_word_embeddings=False,
)  # fmt: skip


@pytest.mark.parametrize("tokens", [24, 128])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_flops_equal_pytorchs_counter_forward_and_backward(tokens: int, checkpointing: bool) -> None:
    """Products agree exactly; of attention PyTorch counts the whole square where we count the causal half."""
    fields = SHAPE.model_dump(exclude={"vocab_size"})
    model = LlamaForCausalLM(LlamaConfig(**fields, vocab_size=320, attn_implementation="eager"))
    if checkpointing:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its name changes in version 6
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.train()
    words = torch.zeros(1, tokens, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(words, labels=words, use_cache=False).loss.backward()
    counted = {str(op): float(flops) for op, flops in counter.get_flop_counts()["Global"].items()}

    plan = TrainingPlan(float(tokens), 1.0, sequence_tokens=tokens, checkpointing=checkpointing)
    found = training(SHAPE.architecture(), plan, 1e12, "float32")
    causal = 3 * 3 * 4 * 96 * tokens * (tokens + 1) / 2  # three layers, three times, 4 FLOPs a pair and value
    square = causal * 2 * tokens / (tokens + 1)
    assert counted["aten.bmm"] == pytest.approx(square * (4 / 3 if checkpointing else 1), rel=1e-12)
    products = found.flops - causal
    # Not computed again: the head, and each block's last product, after which PyTorch stops.
    once = 2 * tokens * 96 * (320 + 3 * 256)
    if checkpointing:
        assert counted["aten.mm"] == pytest.approx(products * 4 / 3 - once, rel=1e-12)
        assert found.hardware_flops == pytest.approx(found.flops * 4 / 3, rel=1e-12)
    else:
        assert counted["aten.mm"] == pytest.approx(products, rel=1e-12)
        assert found.hardware_flops == found.flops


def test_a_7b_model_takes_about_six_flops_a_parameter_and_token() -> None:
    found = training(LLAMA_7B.architecture(), TrainingPlan(1e12, 0.4, 2048), 312e12, "bfloat16")
    parameters = 6738415616 - 32000 * 4096  # those of products: the embedding is looked up
    attention = 3 * 32 * 4 * 4096 * 2049 / 2  # FLOPs a token
    assert found.flops == pytest.approx((6 * parameters + attention) * 1e12, rel=1e-3)
    # 4.2e22 FLOPs at 0.4 · 312e12 a second: 9.4e4 hours of an A100 (LLaMA 7B's paper: 82,432 at another share).
    assert found.device_hours == pytest.approx(found.flops / (0.4 * 312e12) / 3600, rel=1e-12)
    assert 8e4 < found.device_hours < 1e5


def test_memory_by_hand() -> None:
    small = ModelConfig(
        num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        vocab_size=100,
    )  # fmt: skip
    model, tokens = small.architecture(), 3 * 10
    states = 16 * float(model.num_parameters)
    # Two layers of a block: two widths of 64 each; q, k, v, output 2 · (64 + 32); gate, up, product 3 · 128.
    block, head = 4 * 64 + 2 * 96 + 3 * 128, 2 * 64 * 2 + 100 * (2 + 4)
    plain = TrainingPlan(1e9, 0.5, 10, 3, checkpointing=False)
    assert training(model, plain, 1e12, "bfloat16").memory_bytes == states + tokens * (2 * block * 2 + head)
    again = plain._replace(checkpointing=True)
    assert training(model, again, 1e12, "bfloat16").memory_bytes == states + tokens * ((2 * 64 + block) * 2 + head)
    lean = again._replace(optimizer="adamw-8bit")
    assert training(model, lean, 1e12, "bfloat16").memory_bytes == (
        training(model, again, 1e12, "bfloat16").memory_bytes - 6 * float(model.num_parameters)
    )
    assert STATE_BYTES["adamw"] == 16


def test_limits_of_training_are_kept_and_equal_brute_force() -> None:
    predictor, plan = toy_predictor(), TrainingPlan(1e11, 0.4, 1024)
    space = SearchSpace(num_hidden_layers=(4, 12, 24), hidden_size=(512, 1024), head_dim=(64,), intermediate_ratio=(2, 4),
                        intermediate_step=512)  # fmt: skip
    hours = training_objective("gpu-hours", predictor, plan, "bfloat16")
    memory = training_objective("training-memory", predictor, plan, "bfloat16")
    found = frontier(predictor, space, limits=[hours.at_most(700.0), memory.at_most(6e9)], quality="params")
    every = frontier(predictor, space, quality="params")
    for front in (found, every):
        costs = [training(front.config(row).architecture(), plan, 71e12, "bfloat16") for row in range(len(front))]
        kept = np.array([cost.device_hours <= 700.0 and cost.memory_bytes <= 6e9 for cost in costs])
        assert kept.all() == (front is found)
    largest = [front.num_parameters.max() for front in (found, every)]
    assert largest[0] < largest[1]


@pytest.mark.parametrize(
    ("plan", "word"),
    [(TrainingPlan(1e12, 1.2), "--mfu"), (TrainingPlan(0.0, 0.4), "--tokens"), (TrainingPlan(1e12, 0.4, optimizer="x"), "adamw")],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused(plan: TrainingPlan, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        plan.checked()


def test_the_command_line() -> None:
    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(group, words)
        return result.exit_code, result.output or str(result.exception)

    code, text = run("predict", "80x576", "--tokens", "2e12", "--mfu", "0.4", "--format", "json")
    row = json.loads(text[text.index("{") :])
    assert code == 0
    model = ModelConfig(num_hidden_layers=80, hidden_size=576).architecture()
    assert row["training_flops"] == pytest.approx(training(model, TrainingPlan(2e12, 0.4), 1.0, "bfloat16").flops)
    code, text = run("predict", "80x576", "--mfu", "0.4")
    assert code != 0
    assert "--tokens" in text
    code, text = run("frontier", "--limit", "gpu-hours<=1000")
    assert code != 0
    assert "--mfu" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predict", "80x576", "--tokens", "1e12"], "give --mfu too"),
        (["predict", "80x576", "--optimizer", "sgd"], "--optimizer is of a training"),
        (["frontier", "--budget", "2s", "--mfu", "0.4", "--tokens", "2e12"], "name training-flops"),
        (["frontier", "--budget", "2s", "--micro-batch", "4"], "--micro-batch is of a training"),
        (["frontier", "--budget", "2s", "--price", "1/h"], "--price is what cost is made of"),
    ],
)
def test_options_of_a_cost_that_nothing_asks_for_are_refused(words: list[str], said: str) -> None:
    found = CliRunner().invoke(group, words)
    assert isinstance(found.exception, UsageError) and said in str(found.exception)


def test_a_limit_of_training_goes_with_a_quality_that_knows_no_tokens() -> None:
    words = ["frontier", "--gpu", "h100", "--budget", "2s", "--layers", "8,16", "--hidden", "1024", "--format", "json",
             "--tokens", "2e12", "--mfu", "0.4"]  # fmt: skip
    rows = {}
    for hours in ("2e3", "1e9"):
        found = CliRunner().invoke(group, [*words, "--limit", f"gpu-hours<={hours}"])
        assert found.exit_code == 0, found.output
        rows[hours] = {row["num_hidden_layers"] for row in json.loads(found.stdout)}
    assert rows["2e3"] == {8} and 16 in rows["1e9"]


def test_bytes_a_parameter_by_optimiser() -> None:
    """Weights and gradients in 16 bits, a float32 copy, and two float32 moments, two of 8 bits, or one momentum."""
    assert STATE_BYTES == {"adamw": 4 + 4 + 2 * 4, "adamw-8bit": 4 + 4 + 2 * 1, "sgd": 4 + 4 + 4}
