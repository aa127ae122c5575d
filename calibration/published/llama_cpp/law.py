"""The law of llama.cpp over published tests: what each computes, and its time for given coefficients."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latmodel.laws.attention import shape_of
from latmodel.laws.coefficients import ONE_PASS, GgmlCoefficients, Sheet
from latmodel.laws.ggml import GGML_LAWS
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.formats import Numbers
from latmodel.model.gguf import GGUF_PARTS
from latmodel.model.implementation import Implementation
from latmodel.model.ops import GEMM, OpCost, OpKind
from latmodel.model.step import Step
from latmodel.model.transformer import context_ops, dense_ops, head_ops
from latmodel.runtimes.llama_cpp import LLAMA_CPP

from ...sources.llama_bench import SpeedTest
from .devices import Device
from .formats import format_of
from .hierarchy import Floats

ACTIVATION_BYTES = 2.0
FEW_ROWS = ("two_rows_flops_per", "four_rows_flops_per", "eight_rows_flops_per")  # a second, or a core's
WINDOWED, OF = 5.0, 6.0  # Gemma 3: five layers in six see a window


class Run(NamedTuple):
    """What one pass computes: `rows` tokens at once, `products` of the blocks, the head's, and attention."""

    rows: float
    products: OpCost
    head: OpCost
    attention: OpCost


class Row(NamedTuple):
    """A published test with its device, and what it computes: one run, or several whose speeds were averaged."""

    test: SpeedTest
    device: Device
    runs: tuple[Run, ...]
    runtime: Implementation = LLAMA_CPP


def row_of(
    test: SpeedTest, device: Device, runtime: Implementation = LLAMA_CPP, cache_bytes: float = ACTIVATION_BYTES
) -> Row | None:  # fmt: skip
    """The test with its costs as a runtime has them, `cache_bytes` for each value of the KV cache; None for a format
    whose bytes are unknown."""
    form = format_of(test.weights)
    if form is None:
        return None
    numbers = Numbers(form.bytes_each, ACTIVATION_BYTES, cache_bytes, form, GGUF_PARTS.get(form.name, ()))
    model, decode = _architecture(test), test.phase == "decode"
    runs = [_run(model, decode, depth, tokens, numbers, runtime) for depth, tokens in test.lengths]
    return Row(test, device, tuple(runs), runtime)


def _run(
    model: Architecture, decode: bool, depth: int, tokens: int, numbers: Numbers, runtime: Implementation
) -> Run:  # fmt: skip
    # A step of the generation as it is on the average: its context has grown by half of the new tokens.
    context = depth + (0.5 * (tokens + 1.0) if decode else float(tokens))
    new = 1.0 if decode else float(tokens)
    step = Step(new, context - new)
    ops: list[tuple[float, OpCost]] = []
    for group in model.groups:
        block = [*dense_ops(group.block, model.hidden_size, step.rows, runtime, numbers)]
        block += context_ops(group.block, step, runtime, numbers)
        ops += [(float(group.count), op) for op in block]
    head = next(op for op in head_ops(model, step.rows, 1.0, runtime, numbers) if op.name == "lm_head")
    kind = step.attention_kind
    return Run(new, _joined(ops, GEMM, step.rows), head, _joined(ops, kind, step.rows))


def _joined(ops: Sequence[tuple[float, OpCost]], kind: OpKind, rows: float) -> OpCost:
    """Operators of one kind as one, which the law, being linear in each of its totals, times as their sum."""
    some = [(count, op) for count, op in ops if op.kind == kind]  # their heads, if any, are of one width
    launches = sum(count * op.repeat for count, op in some)
    weights = sum(count * op.repeat * op.n * op.k for count, op in some)
    shape = some[0][1].attention
    if shape is not None:
        shape = shape._replace(heads=sum(count * shape_of(op).heads for count, op in some))
    return OpCost(
        "all", kind, flops=sum(count * op.flops for count, op in some),
        weight_bytes=sum(count * op.weight_bytes for count, op in some),
        cache_bytes=sum(count * op.cache_bytes for count, op in some),
        m=rows, n=weights / launches, k=1.0, repeat=launches, attention=shape,
    )  # fmt: skip


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

    def __init__(self, rows: Sequence[Row], tiles: Mapping[str, float] | None = None) -> None:
        self.rows = list(rows)
        self._tiles = tiles or {}  # `row_tile` and `query_tile` of the law, where they are known
        self.seconds = np.array([row.test.seconds for row in rows])
        runs = [run for row in rows for run in row.runs]
        self._row = np.repeat(np.arange(len(rows)), [len(row.runs) for row in rows])  # of each run
        self._starts = np.cumsum([0, *(len(row.runs) for row in rows[:-1])])
        self._tokens_of_run = np.array([run.rows for run in runs])
        self._tokens_of_row = np.array([1.0 if row.test.phase == "decode" else float(row.test.tokens) for row in rows])
        self._count = np.array([float(len(row.runs)) for row in rows])
        self._cores = np.array([row.device.cores for row in rows])[self._row]
        bandwidth = np.array([row.device.bandwidth_bytes_per_s for row in rows])[self._row]
        self._sheet = Sheet(1.0, bandwidth, 1.0, 1.0)  # type: ignore[arg-type]
        self._products = _stacked([run.products for run in runs], GEMM)
        self._heads = _stacked([run.head for run in runs], GEMM)
        self._decode = np.array([run.attention.kind == OpKind.DECODE for run in runs])
        self._writes_scores = np.array([float(row.test.flash_attention is not True) for row in rows])[self._row]
        shares = [
            row.runtime.prompt_share(float(row.test.config.num_hidden_layers), run.rows, False)
            for row in rows
            for run in row.runs
        ]
        self._share = np.where(self._decode, 1.0, np.array(shares))
        self._micro_batch = np.array([row.runtime.micro_batch or ONE_PASS for row in rows])[self._row]
        tokens = _stacked([run.attention for run in runs], OpKind.DECODE)
        readers = np.array([_readers(row) for row in rows])[self._row]
        self._tokens = tokens._replace(cache_bytes=tokens.cache_bytes * readers)
        self._prompts = _stacked([run.attention for run in runs], OpKind.PREFILL)

    def predict(self, values: dict[str, Floats]) -> Floats:
        """Seconds of each row; of several runs, the time at the mean of their speeds in tokens a second."""
        of_run = {name: value[self._row] for name, value in values.items()}
        of_run["score_bytes"] = of_run["score_bytes"] * self._writes_scores
        c = ggml_of(of_run, self._cores)._replace(micro_batch_rows=self._micro_batch, **self._tiles)
        sheet = self._sheet
        prompt, token = (GGML_LAWS[op.kind](op, c, sheet)[0] for op in (self._prompts, self._tokens))
        (work, floor, _), (head, head_floor, _) = (
            GGML_LAWS[op.kind](op, c, sheet) for op in (self._products, self._heads)
        )
        blocks = (work + floor + np.where(self._decode, token, prompt)) * self._share
        speeds = self._tokens_of_run / (of_run["pass_s"] + blocks + head + head_floor)
        return np.asarray(self._tokens_of_row * self._count / np.add.reduceat(speeds, self._starts))


def _readers(row: Row) -> float:
    """How often a token's attention reads each key.

    Without flash attention Metal's matrix-vector kernel works for one query head at a time and reads its keys and
    values anew (ggml-metal, kernel_mul_mv); CUDA's does so too, out of a cache. Found in runs that
    `benchmarks/whole_models.py --runtime llama.cpp` holds out.
    """
    config = row.test.config
    if row.device.backend != "Metal" or row.test.flash_attention is True:
        return 1.0
    return config.num_attention_heads / config.num_key_value_heads


def ggml_of(values: dict[str, Any], cores: Any) -> GgmlCoefficients:
    """Coefficients of the law from those of the hierarchy, whose rates are a core's and whose cache is relative."""
    few_rows = {f"{name}_s": values[f"{name}_core"] * cores for name in FEW_ROWS if f"{name}_core" in values}
    return GgmlCoefficients(
        bandwidth_efficiency=values["bandwidth_efficiency"],
        vector_flops_per_s=values["vector_flops_per_core"] * cores,
        product_flops_per_s=values["product_flops_per_core"] * cores,
        attention_ratio=values["attention_ratio"],
        cache_efficiency=values["bandwidth_efficiency"] * values["cache_ratio"],
        token_attention_flops_per_s=values["token_attention_flops_per_core"] * cores,
        unpack_passes=values["unpack_passes"],
        launch_s=values["launch_s"],
        prompt_launch_s=values.get("prompt_launch_s", 0.0),
        score_bytes=values["score_bytes"],
        narrow_cache=values.get("narrow_cache", 0.0),
        **few_rows,
    )


def _stacked(ops: Sequence[OpCost], kind: OpKind) -> OpCost:
    fields = ("flops", "weight_bytes", "cache_bytes", "m", "n", "k", "repeat")
    arrays: dict[str, Any] = {name: np.array([float(getattr(op, name)) for op in ops]) for name in fields}
    if ops[0].attention is not None:
        shapes = [shape_of(op) for op in ops]
        sizes: dict[str, Any] = {
            name: np.array([getattr(shape, name) for shape in shapes])
            for name in ("heads", "kv_heads", "head_dim", "tokens")
        }
        arrays["attention"] = shapes[0]._replace(**sizes)
    return OpCost("all", kind, **arrays)
