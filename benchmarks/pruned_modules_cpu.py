"""What pruned checkpoints cost beyond their shape, host alone: `python benchmarks/pruned_modules_cpu.py`. One core.

A Llama too narrow for its arithmetic to count, in Transformers on the CPU: time of a decode step as the model comes,
with a bias on every linear layer (FLAP's), with sizes that differ from block to block (Wanda-sp, FLAP), and with a hook
before and after every module, as loaders that place weights by module leave them (`device_map`), that does nothing and
that looks through its arguments as those do. Rounds in turn; the median of each against that of the plain model.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicCache

from latmodel.report.text import table

LAYERS, HIDDEN, INNER = 16, 64, 128
ROUNDS, STEPS = 7, 12
PROMPT = 12


def _model(**changes: Any) -> LlamaForCausalLM:
    """A narrow Llama."""
    sizes: dict[str, Any] = {
        "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "vocab_size": 256,
    }
    config = LlamaConfig(vocab_size=256, num_attention_heads=4, num_key_value_heads=4, **sizes, **changes)
    model = LlamaForCausalLM(config)
    model.requires_grad_(requires_grad=False)
    return model


def plain() -> LlamaForCausalLM:
    """As it comes."""
    return _model()


def biased() -> LlamaForCausalLM:
    """A bias on every linear layer."""
    return _model(attention_bias=True, mlp_bias=True)


def uneven() -> LlamaForCausalLM:
    """Another FFN size in every block."""
    model = plain()
    for index, layer in enumerate(model.model.layers):
        inner = INNER - 2 * index
        layer.mlp.gate_proj = torch.nn.Linear(HIDDEN, inner, bias=False)
        layer.mlp.up_proj = torch.nn.Linear(HIDDEN, inner, bias=False)
        layer.mlp.down_proj = torch.nn.Linear(inner, HIDDEN, bias=False)
    return model


def hooked() -> LlamaForCausalLM:
    """Hooks before and after every module that do nothing."""
    model = plain()
    for module in model.modules():
        module.register_forward_pre_hook(lambda _module, _args: None)
        module.register_forward_hook(lambda _module, _args, _output: None)
    return model


def placing() -> LlamaForCausalLM:
    """Hooks before and after every module that walk through its arguments for tensors on another device."""
    model = plain()
    for module in model.modules():
        module.register_forward_pre_hook(_before, with_kwargs=True)
        module.register_forward_hook(_after)
    return model


def _before(_module: torch.nn.Module, args: Any, kwargs: Any) -> None:
    _placed(args)
    _placed(kwargs)


def _after(_module: torch.nn.Module, _args: Any, output: Any) -> None:
    _placed(output)


def _placed(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to("cpu", non_blocking=True)
    if isinstance(value, tuple):
        return tuple(_placed(one) for one in value)
    if isinstance(value, dict):
        return {name: _placed(one) for name, one in value.items()}
    return value


VARIANTS: dict[str, Callable[[], LlamaForCausalLM]] = {
    "as it comes": plain, "a bias on every linear layer": biased, "another FFN size in every block": uneven,
    "empty hooks on every module": hooked, "hooks that place arguments": placing,
}  # fmt: skip


def step_seconds(model: LlamaForCausalLM) -> float:
    """A decode step, the mean of some behind a short prompt."""
    tokens, one = torch.zeros((1, PROMPT), dtype=torch.long), torch.zeros((1, 1), dtype=torch.long)
    cache = DynamicCache()
    model(tokens, past_key_values=cache)
    start = time.perf_counter()
    for _ in range(STEPS):
        model(one, past_key_values=cache)
    return (time.perf_counter() - start) / STEPS


def main() -> int:
    """Print the time of a block in a decode step, and against the plain model's."""
    torch.set_num_threads(1)
    models = {name: make() for name, make in VARIANTS.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for round_ in range(ROUNDS + 1):
            for name, model in models.items():
                seconds = step_seconds(model)
                if round_:  # the first warms up
                    times[name].append(seconds)
    base = statistics.median(times["as it comes"])
    lines = []
    for name, some in times.items():
        middle = statistics.median(some)
        spread = (max(some) - min(some)) / middle
        lines.append([name, f"{1e6 * middle / LAYERS:.0f} µs", f"{middle / base:.2f}×", f"{100 * spread:.0f} %"])
    print(table(["model", "a block", "against the first", "spread"], lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
