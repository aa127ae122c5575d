"""Every family against its Transformers class: parameters to the last one, cache bytes, matrix-product FLOPs."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_models import CHOICES, varied
from torch.utils.flop_counter import FlopCounterMode
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache

from calibration.engines.cache_argument import cache_argument
from latmodel.configs.families.table import FAMILIES
from latmodel.configs.huggingface import read_decoder
from latmodel.model.architecture import Architecture, Attention
from latmodel.model.formats import Numbers
from latmodel.model.memory import cache_bytes
from latmodel.model.ops import OpCost
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
GEMMS = ("mm", "addmm", "bmm", "baddbmm", "_grouped_mm")
# Products that Transformers makes as batched ones, in which the counter does not tell them from attention's; Llama 4
# runs all experts for every token there, Gemma 3n mixes its streams so.
BATCHED = ("scan_products", "index", "recurrence_gates", "o_a_proj")
BATCHED_OF: dict[str, tuple[str, ...]] = {"llama4_text": ("experts_up", "experts_down"), "gemma3n_text": ()}


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


def counted(module: Any, tokens: int, cache: Any) -> dict[str, int]:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.ones(BATCH, tokens, dtype=torch.long), **{cache_argument(module): cache})
    totals = counter.get_flop_counts()["Global"]
    return {str(op).split(".")[1]: flops for op, flops in totals.items()}


def operators(model: Architecture, step: Step) -> list[OpCost]:
    ops = head_ops(model, step.rows, step.rows, TRANSFORMERS, NUMBERS)
    for group in model.groups:
        for op in (
            *dense_ops(group.block, model.hidden_size, step.rows, TRANSFORMERS, NUMBERS),
            *context_ops(group.block, step, TRANSFORMERS, NUMBERS),
        ):
            ops.append(op._replace(flops=op.flops * group.count))
    return ops


def attention_is_plain(model: Architecture) -> bool:
    return all(g.block.attention is None or isinstance(g.block.attention, Attention) for g in model.groups)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", BUILT)
def test_prefill_products_equal_the_flop_counter(family: str, seed: int) -> None:
    """Products with weights. Attention itself is left to the next test: the eager one computes the whole square."""
    module, model = small(family, seed)
    flops = counted(module, PROMPT, new_cache(module))
    ops = operators(model, Step(float(PROMPT), batch_size=BATCH))
    batched = (*BATCHED, *BATCHED_OF.get(family, ()))
    ours = sum(op.flops for op in ops if op.kind == "gemm" and op.name not in batched)
    assert ours == sum(flops.get(op, 0) for op in ("mm", "addmm", "_grouped_mm"))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", BUILT)
def test_decode_products_and_attention_equal_the_flop_counter(family: str, seed: int) -> None:
    module, model = small(family, seed)
    cache = new_cache(module)
    with torch.no_grad():
        module(torch.ones(BATCH, PROMPT, dtype=torch.long), **{cache_argument(module): cache})
    flops = counted(module, 1, cache)
    batched = (*BATCHED, *BATCHED_OF.get(family, ()))
    plain = attention_is_plain(model) and family not in BATCHED_OF
    wanted, kinds = (GEMMS, ("gemm", "decode")) if plain else (("mm", "addmm", "_grouped_mm"), ("gemm",))
    ops = operators(model, Step(1.0, float(PROMPT), BATCH))
    ours = sum(op.flops for op in ops if op.kind in kinds and op.name not in batched)
    assert ours == sum(flops.get(op, 0) for op in wanted)
