"""Every family against its Transformers class: parameters to the last one, cache bytes, matrix-product FLOPs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_models import CHOICES, varied
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache

from calibration.engines.cache_argument import cache_argument
from latmodel.configs.families.table import FAMILIES
from latmodel.configs.huggingface import read_decoder
from latmodel.model.architecture import Architecture
from latmodel.model.formats import Numbers
from latmodel.model.memory import cache_bytes
from latmodel.model.ops import OpCost, OpKind
from latmodel.model.step import Step
from latmodel.model.totals import num_parameters
from latmodel.model.transformer import context_ops, dense_ops, head_ops
from latmodel.runtimes.transformers_eager import TRANSFORMERS

# Arguments without which Transformers 5.23 cannot build a class.
NEEDED: dict[str, dict[str, Any]] = {
    "ministral": {"head_dim": 128}, "hunyuan_v1_dense": {"head_dim": 128}, "hunyuan_v1_moe": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 48}, "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
}  # fmt: skip
# Those whose class is not in Transformers, or not for a decoder alone; tests/test_configs.py has hand counts.
OUTSIDE = (
    "baichuan",
    "chatglm",
    "dbrx",
    "emu3_text_model",
    "internlm2",
    "mimo",
    "molmo",
    "nemotron-nas",
    "openelm",
    "qwen",
)
BUILT = [family for family in FAMILIES if family not in OUTSIDE]
NUMBERS = Numbers(4.0, 4.0, 4.0)  # float32
BATCH, PROMPT = 2, 9
# Positions after which products are counted: whole stretches of those that DeepSeek-V4 pools.
CONTEXT, CONTEXT_OF = 10, {"deepseek_v4": 128}


def solve_flops(system: tuple[int, ...], sides: tuple[int, ...], *_: Any, **__: Any) -> int:
    """A triangular system of n unknowns with m right-hand sides: n² · m (LAPACK Working Note 41, TRSM), each batch."""
    return torch.Size(system[:-1]).numel() * system[-1] * sides[-1]


SOLVE = {torch.ops.aten.linalg_solve_triangular: solve_flops}


def configuration(family: str, seed: int | None) -> Any:
    """The class's own default, or a small variation of it."""
    if seed is not None:
        return CONFIG_MAPPING[family](**varied(family, seed))
    return CONFIG_MAPPING[family](**NEEDED.get(family, {}))


def test_there_are_at_least_100_families() -> None:
    assert len(FAMILIES) >= 100
    assert CHOICES.keys() == set(BUILT)


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
@pytest.mark.parametrize("family", BUILT)
def test_parameters_equal_the_module_on_the_meta_device(family: str, seed: int | None) -> None:
    config = configuration(family, seed)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    decoder = read_decoder(config)
    assert num_parameters(decoder.architecture) == sum(p.numel() for p in module.parameters())
    assert type(config).__name__ == FAMILIES[family].source
    assert not [note for note in decoder.notes if "not understood" in note]


def small(family: str, seed: int) -> tuple[Any, Architecture]:
    config = configuration(family, seed)
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    return module, read_decoder(config).architecture


def new_cache(module: Any) -> Any:
    """MiniMax has a class of its own."""
    if module.config.model_type != "minimax":
        return DynamicCache(config=module.config)
    from transformers.models.minimax.modeling_minimax import MiniMaxCache

    return MiniMaxCache()


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """All of an object's tensors, in dictionaries and lists too."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from tensors(one)


def held_bytes(cache: Any, module: Any) -> int:
    """Bytes of a cache's floating-point tensors, each storage once, and of states that modules keep themselves."""
    holders = [*cache.layers, *([cache] if hasattr(cache, "linear_cache") else [])]
    states = [getattr(one, name, None) for one in module.modules() for name in ("conv1d_state", "recurrent_states")]
    found = [one for holder in holders for one in tensors(list(vars(holder).values())) if one.is_floating_point()]
    found += [one for one in states if isinstance(one, torch.Tensor)]
    return sum({one.data_ptr(): one.nbytes for one in found if one.numel()}.values())


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", BUILT)
def test_cache_bytes_equal_the_cache_after_a_real_forward(family: str, seed: int) -> None:
    module, architecture = small(family, seed)
    cache = new_cache(module)
    with torch.no_grad():
        module(torch.ones(BATCH, PROMPT, dtype=torch.long), **{cache_argument(module): cache})
    assert held_bytes(cache, module) == BATCH * cache_bytes(architecture, float(PROMPT), TRANSFORMERS, NUMBERS)


def counted(module: Any, tokens: int, cache: Any) -> int:
    """FLOPs of every matrix product, batched ones and attention's included, and of triangular systems."""
    with FlopCounterMode(display=False, custom_mapping=SOLVE) as counter, torch.no_grad():
        module(torch.ones(BATCH, tokens, dtype=torch.long), **{cache_argument(module): cache})
    totals = counter.get_flop_counts()["Global"]
    return sum(flops for op, flops in totals.items() if "convolution" not in str(op))


def operators(model: Architecture, step: Step) -> list[OpCost]:
    ops = head_ops(model, step.rows, step.rows, TRANSFORMERS, NUMBERS)
    for group in model.groups:
        for op in (
            *dense_ops(group.block, model.hidden_size, step.rows, TRANSFORMERS, NUMBERS),
            *context_ops(group.block, step, TRANSFORMERS, NUMBERS),
        ):
            ops.append(op._replace(flops=op.flops * group.count))
    return ops


def without_window(layer: Any) -> Any:
    """The layer with a window wider than any prompt, and so each part of it."""
    inner = {"attention": without_window(layer.attention)} if hasattr(layer, "attention") else {}
    return replace(layer, **inner, **({"window": 1e6} if getattr(layer, "window", None) is not None else {}))


def square_attention(model: Architecture, tokens: int) -> float:
    """FLOPs of a prompt's attention as the eager classes compute it: each token to all others, masked ones too."""
    step, every = Step(1.0, tokens - 1.0, BATCH), 0.0
    for group in model.groups:
        if group.block.attention is not None:
            ops = without_window(group.block.attention).context_ops(step, TRANSFORMERS, NUMBERS)
            every += tokens * group.count * sum(op.flops for op in ops if op.kind is OpKind.DECODE)
    return every


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", BUILT)
def test_products_of_a_prompt_equal_the_flop_counter(family: str, seed: int) -> None:
    """All of them: projections, experts, attention, scores of an indexer, gates, streams, scans, triangular systems."""
    module, model = small(family, seed)
    tokens = CONTEXT_OF.get(family, CONTEXT)
    ops = operators(model, Step(float(tokens), batch_size=BATCH))
    products = sum(op.flops for op in ops if op.kind is not OpKind.PREFILL)
    assert products + square_attention(model, tokens) == counted(module, tokens, new_cache(module))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", BUILT)
def test_products_of_a_token_equal_the_flop_counter(family: str, seed: int) -> None:
    """Attention included, to the positions that a cache with windows keeps."""
    module, model = small(family, seed)
    cache, cached = new_cache(module), CONTEXT_OF.get(family, CONTEXT) - 1
    with torch.no_grad():
        module(torch.ones(BATCH, cached, dtype=torch.long), **{cache_argument(module): cache})
    ops = operators(model, Step(1.0, float(cached), BATCH))
    assert sum(op.flops for op in ops) == counted(module, 1, cache)
