"""Kernels of a block of the published `LlamaForCausalLM`: what `implementation` says, in all and by kind."""

import itertools
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toy import TWO_BYTES, model

from calibration.engines.cache_argument import cache_argument
from latmodel.model.implementation import Implementation
from latmodel.model.step import Step
from latmodel.model.transformer import context_ops, dense_ops
from latmodel.runtimes.registry import IMPLEMENTATIONS
from latmodel.runtimes.transformers_eager import TRANSFORMERS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # importing is theirs, and warns of what concerns nobody here
    from transformers import LlamaConfig, LlamaForCausalLM

# Operators that launch nothing: they make another view of the same memory.
NO_KERNEL = ("lift_fresh", "detach", "alias", "_unsafe_view")


class Kernels(TorchDispatchMode):
    """Counts operators that compute something: whatever returns memory that is not one of its operands'."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        same = isinstance(result, torch.Tensor) and any(result is a for a in args if isinstance(a, torch.Tensor))
        if not view and not same and not func.__name__.startswith(NO_KERNEL):
            self.counted[func.__name__.split(".")[0]] += 1
        return result


def counted(layers: int, phase: str, attention: str = "sdpa", head_dim: int = 64) -> Counter[str]:
    config = LlamaConfig(
        num_hidden_layers=layers, hidden_size=256, intermediate_size=512, num_attention_heads=4,
        num_key_value_heads=2, head_dim=head_dim, vocab_size=64,
        attn_implementation=attention,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    with torch.no_grad():
        before, name = theirs(torch.ones(1, 16, dtype=torch.long), use_cache=True), cache_argument(theirs)
        with Kernels() as mode:
            if phase == "decode":
                theirs(torch.ones(1, 1, dtype=torch.long), use_cache=True, **{name: before[name]})
            else:
                theirs(torch.ones(1, 16, dtype=torch.long), use_cache=True)
    return mode.counted


def block_of(phase: str, attention: str = "sdpa") -> Counter[str]:
    """Operators of one more block."""
    many, few = counted(3, phase, attention), counted(2, phase, attention)
    return Counter({name: many[name] - few[name] for name in many if many[name] != few[name]})


def ours(phase: str, implementation: Implementation = TRANSFORMERS) -> dict[str, float]:
    tokens = 1.0 if phase == "decode" else 16.0
    architecture = model()
    block, step = architecture.groups[0].block, Step(tokens, 16.0 if phase == "decode" else 0.0)
    ops = [
        *dense_ops(block, architecture.hidden_size, tokens, implementation, TWO_BYTES),
        *context_ops(block, step, implementation, TWO_BYTES),
    ]
    return {op.name: op.kernels for op in ops}


@pytest.fixture(scope="module")
def decode() -> Counter[str]:
    return block_of("decode")


def test_a_decode_step_of_a_block_launches_what_the_table_says(decode: Counter[str]) -> None:
    assert sum(decode.values()) == sum(ours("decode").values()), dict(decode)


CHECKS: list[tuple[str, Callable[[Counter[str]], int]]] = [
    # Seven products: q, k, v, o, gate, up, down.
    ("gemms", lambda c: c["mm"] + c["addmm"] + c["linear"]),
    # pow, mean and rsqrt stand in norms alone: one of each a norm, two norms a block.
    ("norms", lambda c: c["rsqrt"]),
    ("activations", lambda c: c["silu"]),
    # Queries and keys are negated by halves in rotary alone.
    ("rotaries", lambda c: c["neg"]),
]


def test_each_kind_of_kernel_is_there_as_often_as_we_say(decode: Counter[str]) -> None:
    table = dict(CHECKS)
    assert table["gemms"](decode) == 7 == sum(v for k, v in ours("decode").items() if k.endswith("proj"))
    assert table["norms"](decode) == 2
    assert table["activations"](decode) == 1
    assert table["rotaries"](decode) == 2
    # Concatenations: two halves of rotary (queries, keys), and keys and values appended to the cache.
    assert decode["cat"] == 2 + TRANSFORMERS.cache_kernels


def test_prefill_launches_as_many() -> None:
    assert sum(block_of("prefill").values()) == sum(ours("prefill").values())


BETWEEN = ("norm", "rope", "activation", "residual", "cache")


def test_fused_implementations_launch_no_more_than_those_they_replace() -> None:
    slow_to_fast = [IMPLEMENTATIONS[name] for name in ("transformers", "torch", "compiled")]
    for slow, fast in itertools.pairwise(slow_to_fast):
        for name in BETWEEN:
            assert getattr(fast, f"{name}_kernels") <= getattr(slow, f"{name}_kernels"), name
        assert fast.attention.kernels <= slow.attention.kernels


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_attention_that_writes_its_scores_launches_what_the_table_says(phase: str) -> None:
    """And repeats grouped keys and values. A CPU converts to float32 before the softmax, a GPU in it; the output of
    one token lies in order as it is and is not copied."""
    eager = block_of(phase, "eager")
    said = ours(phase, TRANSFORMERS.with_attention("eager"))
    assert sum(eager.values()) == sum(said.values()) + 1 - (phase == "decode"), dict(eager)
