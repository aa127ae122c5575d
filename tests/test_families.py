"""Every family against its Transformers class: parameters to the last one, cache bytes, matrix-product FLOPs."""

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

NUMBERS = Numbers(4.0, 4.0, 4.0)  # float32
BATCH, PROMPT = 2, 9
GEMMS = ("mm", "addmm", "bmm", "_grouped_mm")


def configuration(family: str, seed: int | None) -> Any:
    """The class's own default, or a small variation of it."""
    if seed is not None:
        return CONFIG_MAPPING[family](**varied(family, seed))
    # Transformers 5.23 cannot build Ministral without a head_dim.
    return CONFIG_MAPPING[family](head_dim=128) if family == "ministral" else CONFIG_MAPPING[family]()


def test_there_are_at_least_25_families() -> None:
    assert len(FAMILIES) >= 25
    assert CHOICES.keys() == FAMILIES.keys()


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
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


def held_bytes(cache: DynamicCache) -> int:
    total = 0
    for layer in cache.layers:
        for name in ("keys", "values"):
            tensor = getattr(layer, name, None)
            total += 0 if tensor is None else tensor.nbytes
        for name in ("conv_states", "recurrent_states"):
            total += sum(t.nbytes for t in getattr(layer, name, {}).values() if t is not None)
    return total


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_cache_bytes_equal_the_cache_after_a_real_forward(family: str, seed: int) -> None:
    module, architecture = small(family, seed)
    cache = DynamicCache(config=module.config)
    with torch.no_grad():
        module(torch.ones(BATCH, PROMPT, dtype=torch.long), **{cache_argument(module): cache})
    assert held_bytes(cache) == BATCH * cache_bytes(architecture, float(PROMPT), TRANSFORMERS, NUMBERS)


def counted(module: Any, tokens: int, cache: DynamicCache) -> dict[str, int]:
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
@pytest.mark.parametrize("family", FAMILIES)
def test_prefill_products_equal_the_flop_counter(family: str, seed: int) -> None:
    """Products with weights. Attention itself is left to the next test: the eager one computes the whole square."""
    module, model = small(family, seed)
    flops = counted(module, PROMPT, DynamicCache(config=module.config))
    ops = operators(model, Step(BATCH, float(PROMPT), float(PROMPT), "prefill"))
    ours = sum(op.flops for op in ops if op.kind == "gemm" and op.name != "scan_products")
    assert ours == sum(flops.get(op, 0) for op in ("mm", "addmm", "_grouped_mm"))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_decode_products_and_attention_equal_the_flop_counter(family: str, seed: int) -> None:
    module, model = small(family, seed)
    cache = DynamicCache(config=module.config)
    with torch.no_grad():
        module(torch.ones(BATCH, PROMPT, dtype=torch.long), **{cache_argument(module): cache})
    flops = counted(module, 1, cache)
    wanted = GEMMS if attention_is_plain(model) else ("mm", "addmm", "_grouped_mm")
    kinds = ("gemm", "decode") if attention_is_plain(model) else ("gemm",)
    ours = sum(op.flops for op in operators(model, Step(BATCH, 1.0, PROMPT + 1.0, "decode")) if op.kind in kinds)
    assert ours == sum(flops.get(op, 0) for op in wanted)
