"""The law of llama.cpp over published tests: what each computes, and the hierarchy of what devices make of it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from latmodel.laws.coefficients import GgmlCoefficients, Sheet
from latmodel.laws.ggml import GGML_LAWS
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.formats import Numbers, WeightFormat
from latmodel.model.gguf import GGUF_FORMATS, GGUF_PARTS
from latmodel.model.ops import GEMM, OpCost, OpKind
from latmodel.model.step import Step
from latmodel.model.transformer import context_ops, dense_ops, head_ops
from latmodel.runtimes.llama_cpp import LLAMA_CPP

from ...sources.llama_bench import SpeedTest
from .devices import Device
from .hierarchy import Effect, Floats

# Formats that others published and latmodel does not offer: mean bits a weight, and of the LM head. From the sizes of
# the blocks in ggml; the unsloth mixtures ("ud") and Bonsai's from the sizes of the files that the table's notes state.
OTHER_BITS = {
    "q3_k_s": (3.44, 6.56), "q4_k_s": (4.55, 6.56), "q4_1": (5.0, 6.56), "q5_0": (5.5, 6.56), "q5_k_s": (5.5, 6.56),
    "ud-q4_k_xl": (4.85, 6.56), "ud-q8_k_xl": (9.8, 9.8), "q1_0": (1.125, 1.125), "q2_0": (2.125, 2.125),
}  # fmt: skip
ACTIVATION_BYTES = 2.0
WINDOWED, OF = 5.0, 6.0  # Gemma 3: five layers in six see a window


class Row(NamedTuple):
    """A published test with its device, and what it computes: `products` of the blocks, the head's, and attention."""

    test: SpeedTest
    device: Device
    products: OpCost
    head: OpCost
    attention: OpCost


def row_of(test: SpeedTest, device: Device) -> Row | None:
    """The test with its costs; None for a format whose bytes are unknown."""
    form = format_of(test.weights)
    if form is None:
        return None
    numbers = Numbers(form.bytes_each, ACTIVATION_BYTES, ACTIVATION_BYTES, form, GGUF_PARTS.get(form.name, ()))
    decode = test.phase == "decode"
    # A step of the generation as it is on the average: its context has grown by half of the new tokens.
    context = test.depth + (0.5 * (test.tokens + 1.0) if decode else float(test.tokens))
    new = 1.0 if decode else float(test.tokens)
    step = Step(new, context - new)
    model = _architecture(test)
    ops: list[tuple[float, OpCost]] = []
    for group in model.groups:
        block = [*dense_ops(group.block, model.hidden_size, step.rows, LLAMA_CPP, numbers)]
        block += context_ops(group.block, step, LLAMA_CPP, numbers)
        ops += [(float(group.count), op) for op in block]
    head = next(op for op in head_ops(model, step.rows, 1.0, LLAMA_CPP, numbers) if op.name == "lm_head")
    kind = step.attention_kind
    return Row(test, device, _joined(ops, GEMM, step.rows), head, _joined(ops, kind, step.rows))


def _joined(ops: Sequence[tuple[float, OpCost]], kind: OpKind, rows: float) -> OpCost:
    """Operators of one kind as one, which the law, being linear in each of its totals, times as their sum."""
    some = [(count, op) for count, op in ops if op.kind == kind]
    launches = sum(count * op.repeat for count, op in some)
    weights = sum(count * op.repeat * op.n * op.k for count, op in some)
    return OpCost(
        "all", kind, flops=sum(count * op.flops for count, op in some),
        weight_bytes=sum(count * op.weight_bytes for count, op in some),
        cache_bytes=sum(count * op.cache_bytes for count, op in some),
        m=rows, n=weights / launches, k=1.0, repeat=launches,
    )  # fmt: skip


def format_of(weights: str) -> WeightFormat | None:
    """Bytes of a published format."""
    if weights in GGUF_FORMATS:
        return GGUF_FORMATS[weights]
    if weights in OTHER_BITS:
        bits, head = OTHER_BITS[weights]
        return WeightFormat(weights, bits, None, None, 0.0, head_bits=head)
    return None


def _architecture(test: SpeedTest) -> Architecture:
    c = test.config
    shape = (float(c.num_attention_heads), float(c.num_key_value_heads), float(c.head_dim))
    layer = FeedForward(float(c.intermediate_size))
    depth, window = float(c.num_hidden_layers), test.window
    groups = [Group(depth, Block(Attention(*shape), layer))]
    if window is not None:
        groups = [
            Group(depth * WINDOWED / OF, Block(Attention(*shape, window=float(window)), layer)),
            Group(depth * (OF - WINDOWED) / OF, Block(Attention(*shape), layer)),
        ]
    return Architecture(tuple(groups), float(c.hidden_size), float(c.vocab_size), float(c.tie_word_embeddings))


class Problem:
    """Rows stacked as arrays, and their times for given coefficients."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = list(rows)
        self.seconds = np.array([row.test.seconds for row in rows])
        self.cores = np.array([row.device.cores for row in rows])
        self._sheet = Sheet(1.0, np.array([row.device.bandwidth_bytes_per_s for row in rows]), 1.0, 1.0)  # type: ignore[arg-type]
        self._products = _stacked([row.products for row in rows], GEMM)
        self._heads = _stacked([row.head for row in rows], GEMM)
        self._decode = np.array([row.attention.kind == OpKind.DECODE for row in rows])
        share = [LLAMA_CPP.prompt_share(float(row.test.config.num_hidden_layers), False) for row in rows]
        self._share = np.where(self._decode, 1.0, np.array(share))
        self._tokens = _stacked([row.attention for row in rows], OpKind.DECODE)
        self._prompts = _stacked([row.attention for row in rows], OpKind.PREFILL)

    def predict(self, values: dict[str, Floats]) -> Floats:
        """Seconds of each row."""
        c, sheet = ggml_of(values, self.cores), self._sheet
        prompt, token = (GGML_LAWS[op.kind](op, c, sheet)[0] for op in (self._prompts, self._tokens))
        (work, floor, _), (head, head_floor, _) = (
            GGML_LAWS[op.kind](op, c, sheet) for op in (self._products, self._heads)
        )
        blocks = (work + floor + np.where(self._decode, token, prompt)) * self._share
        return np.asarray(values["pass_s"] + blocks + head + head_floor)


def ggml_of(values: dict[str, Any], cores: Any) -> GgmlCoefficients:
    """Coefficients of the law from those of the hierarchy, whose rates are a core's and whose cache is relative."""
    return GgmlCoefficients(
        bandwidth_efficiency=values["bandwidth_efficiency"],
        vector_flops_per_s=values["vector_flops_per_core"] * cores,
        product_flops_per_s=values["product_flops_per_core"] * cores,
        attention_ratio=values["attention_ratio"],
        cache_efficiency=values["bandwidth_efficiency"] * values["cache_ratio"],
        token_attention_flops_per_s=values["token_attention_flops_per_core"] * cores,
        unpack_passes=values["unpack_passes"],
        launch_s=values["launch_s"],
    )


def _stacked(ops: Sequence[OpCost], kind: OpKind) -> OpCost:
    fields = ("flops", "weight_bytes", "cache_bytes", "m", "n", "k", "repeat")
    arrays: dict[str, Any] = {name: np.array([float(getattr(op, name)) for op in ops]) for name in fields}
    return OpCost("all", kind, **arrays)


# Where the fit starts: round figures of a data-centre card; the backends' effects are wide.
START = {
    "bandwidth_efficiency": 0.7,
    "vector_flops_per_core": 3e10,
    "product_flops_per_core": 4e11,
    "attention_ratio": 0.5,
    "cache_ratio": 0.5,
    "token_attention_flops_per_core": 1e11,
    "unpack_passes": 0.5,
    "launch_s": 3e-6,
    "pass_s": 3e-4,
}


def _backend(row: Row) -> Any:
    return row.device.backend


def _maker(row: Row) -> Any:
    return row.device.backend, row.device.generation.maker


def _generation(row: Row) -> Any:
    return row.device.backend, row.device.generation.name


def _hardware(row: Row) -> Any:
    return row.device.generation.name


def _device(row: Row) -> Any:
    return row.device.backend, row.device.title


def _format(row: Row) -> Any:
    return row.test.weights


def _backend_format(row: Row) -> Any:
    return row.device.backend, row.test.weights


def _generation_format(row: Row) -> Any:
    return (*_generation(row), row.test.weights)


def _build(row: Row) -> Any:
    return (row.device.backend, row.test.build) if row.test.build else None


def _generation_build(row: Row) -> Any:
    return (*_generation(row), row.test.build) if row.test.build else None


def _attention(row: Row) -> Any:
    return row.device.backend, row.test.flash_attention, row.test.build


def _core_rate(row: Row) -> float:
    return float(np.log(row.device.generation.core_tflops))


def _all(_row: Row) -> Any:
    return "all"


# Spreads in log units, chosen by hand: how unlike each other backends, generations, devices and formats are. Terms and
# spreads were chosen with devices left out in view, on the very rows that `benchmarks/llama_bench.py` reports first;
# those of its other source no choice saw.
EFFECTS = (
    Effect("bandwidth_efficiency", "backend", _backend, 0.3),
    Effect("bandwidth_efficiency", "maker", _maker, 0.15),
    Effect("bandwidth_efficiency", "hardware", _hardware, 0.15),
    Effect("bandwidth_efficiency", "generation", _generation, 0.15),
    Effect("bandwidth_efficiency", "device", _device, 0.12),
    Effect("bandwidth_efficiency", "format", _format, 0.15),
    Effect("bandwidth_efficiency", "backend and format", _backend_format, 0.15),
    Effect("bandwidth_efficiency", "generation and format", _generation_format, 0.08),
    Effect("bandwidth_efficiency", "build", _build, 0.3),
    Effect("vector_flops_per_core", "backend", _backend, 0.5),
    Effect("vector_flops_per_core", "hardware", _hardware, 0.4),
    Effect("vector_flops_per_core", "generation", _generation, 0.3),
    Effect("vector_flops_per_core", "device", _device, 0.1),
    Effect("vector_flops_per_core", "format", _format, 0.2),
    Effect("vector_flops_per_core", "backend and format", _backend_format, 0.3),
    Effect("vector_flops_per_core", "build", _build, 0.3),
    Effect("product_flops_per_core", "core rate", _all, 0.4, _core_rate),
    Effect("product_flops_per_core", "core rate by backend", _backend, 0.3, _core_rate),
    Effect("product_flops_per_core", "backend", _backend, 0.5),
    Effect("product_flops_per_core", "maker", _maker, 0.4),
    Effect("product_flops_per_core", "hardware", _hardware, 0.5),
    Effect("product_flops_per_core", "generation", _generation, 0.35),
    Effect("product_flops_per_core", "device", _device, 0.2),
    Effect("product_flops_per_core", "format", _format, 0.15),
    Effect("product_flops_per_core", "backend and format", _backend_format, 0.15),
    Effect("product_flops_per_core", "generation and format", _generation_format, 0.1),
    Effect("product_flops_per_core", "build", _build, 0.5),
    Effect("product_flops_per_core", "generation and build", _generation_build, 0.2),
    Effect("attention_ratio", "backend", _backend, 0.5),
    Effect("attention_ratio", "flash attention", _attention, 0.5),
    Effect("attention_ratio", "device", _device, 0.3),
    Effect("cache_ratio", "flash attention", lambda row: (row.device.backend, row.test.flash_attention), 0.5),
    Effect("cache_ratio", "device", _device, 0.3),
    Effect("token_attention_flops_per_core", "backend", _backend, 0.5),
    Effect("token_attention_flops_per_core", "generation", _generation, 0.3),
    Effect("unpack_passes", "build", lambda row: (row.device.backend, row.test.build), 0.7),
    Effect("launch_s", "backend", _backend, 0.7),
    Effect("launch_s", "generation", _generation, 0.4),
    Effect("launch_s", "device", _device, 0.2),
    Effect("launch_s", "build", _build, 0.5),
    Effect("pass_s", "backend", _backend, 0.7),
    Effect("pass_s", "device", _device, 0.3),
)
# What a device's own rows move while its neighbours stay: how far it may lie from what its generation says.
OWN_EFFECTS = tuple(
    Effect(coefficient, "own", _device, spread)
    for coefficient, spread in (
        ("bandwidth_efficiency", 0.3),
        ("vector_flops_per_core", 0.3),
        ("product_flops_per_core", 0.6),
        ("attention_ratio", 0.3),
        ("cache_ratio", 0.3),
        ("launch_s", 0.3),
        ("pass_s", 0.3),
    )
)
# Of a CPU nobody states cores in use or memory, so that the rates are each device's own.
CPU_EFFECTS = tuple(
    effect._replace(spread=0.8) if effect.name == "device" and effect.coefficient not in ("launch_s", "pass_s")
    else effect
    for effect in EFFECTS
)  # fmt: skip
CPU_START = {
    **START,
    "vector_flops_per_core": 1e11,
    "product_flops_per_core": 1e11,
    "token_attention_flops_per_core": 1e10,
}
NOISE = 0.06  # scatter of a row in log units where nothing else is known
ROWS_THAT_COUNT = 10  # of one device: more of them share the weight of so many, for they repeat the device's own ways


def noise_of(rows: Sequence[Row]) -> Floats:
    """Each row's scatter in log units, larger for the many rows of one device."""
    counts: dict[Any, int] = {}
    for row in rows:
        counts[_device(row)] = counts.get(_device(row), 0) + 1
    return np.array([NOISE * max(1.0, counts[_device(row)] / ROWS_THAT_COUNT) ** 0.5 for row in rows])
