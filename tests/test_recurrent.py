"""Recurrent layers and experts against what PyTorch's dispatcher sees in one layer of Transformers."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache

from calibration.engines.cache_argument import cache_argument
from latmodel.configs.huggingface import read_decoder
from latmodel.model.architecture import Experts
from latmodel.model.formats import Numbers
from latmodel.model.implementation import Implementation
from latmodel.model.layers.experts import touched_experts
from latmodel.model.ops import OpCost
from latmodel.model.step import Step
from latmodel.model.transformer import context_ops, dense_ops
from latmodel.runtimes.torch_eager import TORCH
from latmodel.runtimes.transformers_eager import TRANSFORMERS

BFLOAT16 = Numbers(2.0, 2.0, 2.0)
# Operators that move nothing: views, and tensors without values.
VIEWS = frozenset(
    ["view", "_unsafe_view", "t", "transpose", "expand", "slice", "select", "unsqueeze", "squeeze", "permute", "split",
     "split_with_sizes", "detach", "alias", "reshape", "as_strided", "_reshape_alias", "unbind", "chunk", "empty",
     "empty_like", "new_empty", "new_empty_strided", "empty_strided", "unfold", "lift_fresh"]
)  # fmt: skip


class Counted(TorchDispatchMode):
    """Launches, and bytes of all operands that are read or written, expanded dimensions once."""

    def __init__(self) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.nbytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.split("::")[1].rstrip("_")
        if name not in VIEWS and not func._schema.name.startswith("prim"):
            self.launches[name] += 1
            tensors = [t for t in tree_flatten((args, kwargs, out))[0] if isinstance(t, torch.Tensor)]
            self.nbytes += sum(map(held_bytes, tensors))
        return out


def held_bytes(tensor: torch.Tensor) -> int:
    sizes = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return torch.Size(sizes).numel() * tensor.element_size()


MAMBA = {
    "hidden_size": 256, "vocab_size": 128, "layers_block_type": ["linear_attention"], "mamba_num_heads": 16,
    "mamba_head_dim": 32, "ssm_state_size": 32, "n_groups": 2, "chunk_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 128,
}  # fmt: skip
DELTA = {
    "hidden_size": 256, "vocab_size": 128, "num_hidden_layers": 1, "layer_types": ["linear_attention"],
    "linear_num_key_heads": 4, "linear_num_value_heads": 8, "linear_key_head_dim": 64, "linear_value_head_dim": 32,
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64, "shared_expert_intermediate_size": 64,
}  # fmt: skip
KIMI = {
    "hidden_size": 256, "vocab_size": 128, "num_hidden_layers": 2, "layer_types": ["linear_attention", "full_attention"],
    "linear_num_heads": 4, "linear_head_dim": 64, "num_experts": 4, "num_experts_per_token": 1, "pad_token_id": 0,
    "moe_intermediate_size": 16, "intermediate_size": 64,
}  # fmt: skip
MAMBA_1 = {
    "hidden_size": 256, "intermediate_size": 512, "state_size": 16, "num_hidden_layers": 1, "vocab_size": 128,
    "time_step_rank": 16,
}  # fmt: skip
LAYERS = {
    "nemotron_h": (MAMBA, "mixer"), "qwen3_next": (DELTA, "linear_attn"), "kimi_linear": (KIMI, "self_attn"),
    "mamba": (MAMBA_1, "mixer"),
}  # fmt: skip


def layer_of(family: str) -> tuple[Any, Any, Any]:
    settings, name = LAYERS[family]
    config = CONFIG_MAPPING[family](**settings)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
    return config, getattr(model.base_model.layers[0], name), read_decoder(config).architecture.groups[0].block


def our_ops(block: Any, step: Step, implementation: Implementation = TRANSFORMERS) -> list[OpCost]:
    alone = block.__class__(block.attention, None, 0)
    ops = dense_ops(alone, 256.0, step.rows, implementation, BFLOAT16) + context_ops(
        alone, step, implementation, BFLOAT16
    )
    return [op for op in ops if op.name not in ("norm", "residual")]


@pytest.mark.parametrize("tokens", [128, 1])
@pytest.mark.parametrize("family", LAYERS)
def test_launches_and_traffic_of_a_recurrent_layer(family: str, tokens: int) -> None:
    """Launches to within 10 %, bytes to within 25 %: a few hundred lines of tensor operators in six coefficients."""
    config, layer, block = layer_of(family)
    cache = DynamicCache(config=config)
    prompt, token = torch.randn(1, 128, 256, dtype=torch.bfloat16), torch.randn(1, 1, 256, dtype=torch.bfloat16)
    with torch.no_grad():
        with Counted() as prefill:
            layer(prompt, **{cache_argument(layer): cache})
        with Counted() as decode:
            layer(token, **{cache_argument(layer): cache})
    seen = prefill if tokens > 1 else decode
    step = Step(float(tokens), 128.0 - tokens if tokens > 1 else 128.0)
    ops = our_ops(block, step)
    assert sum(op.kernels for op in ops) == pytest.approx(sum(seen.launches.values()), rel=0.10)
    assert sum(op.bytes for op in ops) == pytest.approx(seen.nbytes, rel=0.25)


@pytest.mark.parametrize("tokens", [64, 128, 200])
@pytest.mark.parametrize("family", LAYERS)
def test_products_of_a_scan_equal_the_flop_counter(family: str, tokens: int) -> None:
    """Written as tensor operators, padding to whole chunks included; the triangular solve is no product."""
    config, layer, block = layer_of(family)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        layer(torch.randn(1, tokens, 256, dtype=torch.bfloat16), **{cache_argument(layer): DynamicCache(config=config)})
    seen = {str(op): flops for op, flops in counter.get_flop_counts()["Global"].items()}
    ops = our_ops(block, Step(float(tokens)))
    assert sum(op.flops for op in ops if op.name in ("scan", "scan_products")) == pytest.approx(
        seen["aten.bmm"], rel=1e-12
    )


def test_touched_experts_equal_a_simulation_of_uniform_routing() -> None:
    layer = Experts(60.0, 4.0, 32.0)
    generator = torch.Generator().manual_seed(0)
    for rows in (1, 7, 40):
        chosen = [
            torch.rand(rows, 60, generator=generator).topk(4, dim=1).indices.unique().numel() for _ in range(4000)
        ]
        assert touched_experts(layer, float(rows)) == pytest.approx(sum(chosen) / len(chosen), rel=0.005)


def test_experts_that_are_not_touched_are_not_read() -> None:
    """One token reads two of eight experts: 2 · 3 · 64 · 48 weights; a thousand read all eight."""
    block = read_decoder(
        {"model_type": "mixtral", "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 1,
         "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100}
    ).architecture.groups[0].block  # fmt: skip

    def read(rows: float) -> float:
        ops = dense_ops(block, 64.0, rows, TRANSFORMERS, BFLOAT16)
        return sum(op.weight_bytes for op in ops if op.name.startswith("experts")) / 2.0

    assert read(1.0) == pytest.approx(2 * 3 * 64 * 48)
    assert read(1000.0) == pytest.approx(8 * 3 * 64 * 48)


@pytest.mark.parametrize(("experts", "implementation"), [("grouped_mm", TRANSFORMERS), ("eager", TORCH)])
@pytest.mark.parametrize("rows", [1, 64])
def test_launches_of_experts(experts: str, implementation: Implementation, rows: int) -> None:
    config = CONFIG_MAPPING["mixtral"](
        hidden_size=256, intermediate_size=128, num_attention_heads=4, num_key_value_heads=2, vocab_size=128,
        num_hidden_layers=1,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, experts_implementation=experts)
    with torch.no_grad(), Counted() as seen:
        model.model.layers[0].mlp(torch.randn(1, rows, 256, dtype=torch.bfloat16))
    block = read_decoder(config).architecture.groups[0].block
    alone = block.__class__(None, block.feed_forward, 0)
    ops = [
        op
        for op in dense_ops(alone, 256.0, float(rows), implementation, BFLOAT16)
        if op.name not in ("norm", "residual")
    ]
    assert sum(op.kernels for op in ops) == pytest.approx(sum(seen.launches.values()), rel=0.05)
