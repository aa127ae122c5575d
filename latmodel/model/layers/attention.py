"""Softmax attention with grouped keys and values."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from ...arrays import Array, indicator, is_array, minimum
from ..alignment import misfit
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import FLOAT32_BYTES, AttentionShape, OpCost, OpKind, pointwise
from ..step import Step, attended_pairs, seen_positions
from .kv_cache import append_op
from .layer import Layer, Linear, part_of
from .norm import RMS


@dataclass(frozen=True, slots=True)
class Attention(Layer):
    """Softmax attention with grouped keys and values (MHA if `kv_heads == heads`, MQA if 1)."""

    always_measured: ClassVar[bool] = True
    sizes: ClassVar[tuple[str, ...]] = ("head_dim",)

    heads: Array
    kv_heads: Array
    head_dim: Array
    window: Array | None = None  # positions a query sees; None: all before it
    qkv_bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["", "head", "width"] = ""  # weights shared by the heads, or one for each element
    qk_norm_vectors: float = 1.0  # 2 where these norms have a bias
    rotary: float = 1.0  # share of head_dim that is rotated; 0: no rotary positions
    output_gate: bool = False  # queries come with a gate of their own size on the output
    sinks: bool = False  # one learned logit a head
    fused: bool = False  # queries, keys and values come from one product
    value_dim: Array | None = None  # of a head's values, where it is not head_dim
    tied_values: bool = False  # values are the keys before their norm: no product of their own
    gate_bias: bool = True  # an output gate has biases where the queries have
    head_gate: bool = False  # a gate of one value a head on the output, from a product of its own
    query_width: Array = field(init=False, repr=False, compare=False)  # of the queries of all heads
    projected_width: Array = field(init=False, repr=False, compare=False)  # of their product, the gate included
    key_width: Array = field(init=False, repr=False, compare=False)  # of the keys of all heads
    value_width: Array = field(init=False, repr=False, compare=False)  # of the values of all heads
    output_width: Array = field(init=False, repr=False, compare=False)  # of what all heads give

    def __post_init__(self) -> None:
        # Worked out once: a dozen formulas ask for them.
        object.__setattr__(self, "query_width", self.heads * self.head_dim)
        object.__setattr__(self, "projected_width", self.query_width * 2.0 if self.output_gate else self.query_width)
        keys = self.kv_heads * self.head_dim
        object.__setattr__(self, "key_width", keys)
        object.__setattr__(self, "value_width", keys if self.value_dim is None else self.kv_heads * self.value_dim)
        given = self.query_width if self.value_dim is None else self.heads * self.value_dim
        object.__setattr__(self, "output_width", given)

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """Queries, keys, values (or all from one product) and the output."""
        rest = [Linear("o_proj", self.output_width, hidden)]
        if self.head_gate:
            rest.append(Linear("gate_proj", hidden, self.heads))
        if fused or self.fused:
            return [Linear("qkv_proj", hidden, self.projected_width + self._key_value_outputs), *rest]
        queries = Linear("q_proj", hidden, self.projected_width)
        if self.value_dim is None:
            return [queries, Linear("kv_proj", hidden, self.key_width, 1.0 if self.tied_values else 2.0), *rest]
        return [queries, Linear("k_proj", hidden, self.key_width), Linear("v_proj", hidden, self.value_width), *rest]

    @property
    def _key_value_outputs(self) -> Array:
        if self.tied_values:
            return self.key_width
        return 2.0 * self.key_width if self.value_dim is None else self.key_width + self.value_width

    def vectors(self, hidden: Array) -> list[Array]:
        """Biases, norms of queries and keys, sinks."""
        sizes: list[Array] = []
        if self.qkv_bias:
            queries = self.projected_width if self.gate_bias else self.query_width
            sizes.append(queries + self._key_value_outputs)
        if self.out_bias:
            sizes.append(hidden)
        if self.qk_norm:
            normed = 2.0 * self.head_dim if self.qk_norm == "head" else self.query_width + self.key_width
            sizes.append(self.qk_norm_vectors * normed)
        if self.sinks:
            sizes.append(self.heads)
        return sizes

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Projections, rotary embedding, norms of queries and keys, the output's gate."""
        each = numbers.activation_bytes
        ops = [one.op(rows, numbers) for one in self.linears(hidden, fused=implementation.fuses_projections)]
        if self.rotary:
            ops.append(implementation.rope(self.query_width, self.key_width, rows * self.rotary, each))
        if self.qk_norm:
            elements = (self.query_width + self.key_width) * (0.5 * rows)
            ops.append(RMS.op("qk_norm", elements, self.head_dim, implementation, numbers, count=2.0))
        if self.output_gate or self.head_gate:
            ops.append(pointwise("gate", self.output_width * rows, moves=5.0, kernels=2.0, bytes_each=each))
        return ops

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Attention and the upkeep of its KV cache; affine in the context unless a window caps it."""
        ops = [attention_op(self, step, implementation, numbers), append_op(self, step, implementation, numbers)]
        path = implementation.attention
        written = path.expanded(step, self.kv_heads)
        if not (path.score_moves or is_array(written) or written):
            return ops
        return ops + written_ops(self, step, implementation, numbers)

    @property
    def elements_per_position(self) -> Array:
        """Keys and values of one position."""
        return 2.0 * self.key_width if self.value_dim is None else self.key_width + self.value_width

    @property
    def fills_at(self) -> Array | None:
        """Where its window is full."""
        return self.window

    def kept_positions(self, positions: Array, implementation: Implementation) -> Array:
        """Positions held once `positions` have been seen.

        A sliding window caps them: at `window` in place, at `window − 1` where the cache grows by concatenation
        (the newest one joins for the pass alone).
        """
        if self.window is None:
            return positions
        return minimum(positions, self.window - 1.0 if implementation.cache_copies else self.window)

    def written_bytes(
        self, batch: Array, prompt: Array, positions: Array, implementation: Implementation, numbers: Numbers
    ) -> Array:
        """Keys and values repeated for each query head, and scores in float32 beside their copy in the dtype."""
        path, held = implementation.attention, 0.0 * batch
        if path.expand_kernels:
            seen = positions if self.window is None else minimum(positions, self.window)
            shared = indicator(self.heads > self.kv_heads, self.heads)
            held = held + shared * self.query_width * (2.0 * batch * seen * numbers.cache_bytes)
        if path.score_moves:
            held = held + self.heads * (batch * prompt * prompt * (FLOAT32_BYTES + numbers.activation_bytes))
        return held

    @property
    def live_width(self) -> Array:
        """Queries, keys, values and output."""
        return 2.0 * (self.query_width + self.key_width)

    def dimensions(self) -> dict[str, Array]:
        """Heads and their width."""
        return {
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
        }

    def fewer_heads(self, share: float) -> "Attention":
        """Queries go with the keys and values that they share."""
        kept = part_of(self.kv_heads, share)
        return replace(self, kv_heads=kept, heads=self.heads / self.kv_heads * kept)

    def gated_by_head(self) -> "Attention":
        """A product of the gate's own."""
        return replace(self, head_gate=True)


def attention_op(attention: Attention, step: Step, implementation: Implementation, numbers: Numbers) -> OpCost:
    """Scores, softmax and weighted sum: 4 · heads · head_dim FLOPs a query-key pair, causal pairs only.

    Reads the keys and values that are seen, the queries, and writes the output; grouped heads share what they read,
    unless the runtime wrote it out for each (`written_ops`).
    """
    path, window, width = implementation.attention, attention.window, attention.query_width
    pairs, seen = step.batch_size * attended_pairs(step, window), seen_positions(step, window)
    kv_heads, key_width = attention.kv_heads, attention.key_width
    expanded = path.expanded(step, attention.kv_heads)
    if is_array(expanded) or expanded:
        kv_heads = kv_heads + expanded * (attention.heads - kv_heads)
        key_width = key_width + expanded * (width - key_width)
    if attention.value_dim is not None:  # widths of keys and values on average
        key_width = 0.5 * (key_width + kv_heads * attention.value_dim)
        width = 0.5 * (width + attention.output_width)
    cache = key_width * (2.0 * numbers.cache_bytes * step.batch_size * seen)
    moved = width * (2.0 * step.rows * numbers.activation_bytes)
    padding = implementation.padding_kernels * misfit(attention.head_dim)
    shape = AttentionShape(
        step.batch_size, attention.heads, kv_heads, attention.head_dim,
        step.new_tokens, step.context, seen, window, path.splits,
    )  # fmt: skip
    kernels = path.kernels + padding
    return OpCost("attention", step.attention_kind, width * (4.0 * pairs), 0.0, cache, moved, kernels, attention=shape)


def written_ops(attention: Attention, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
    """What attention writes out that others keep on the chip: keys and values once a query head, and the scores.

    Keys and values are read once and written heads / kv_heads times, where that is more than once. Scores are of all
    positions, masked ones too; their products are counted as those of attention that skips what is masked.
    """
    path, ops = implementation.attention, []
    expanded, kernels = path.expanded(step, attention.kv_heads), path.expand_kernels or path.mask_expand_kernels
    if is_array(expanded) or expanded:
        seen = step.batch_size * seen_positions(step, attention.window)
        shared = expanded * indicator(attention.heads > attention.kv_heads, attention.heads)
        moved = (attention.key_width + attention.query_width) * shared * (2.0 * numbers.cache_bytes * seen)
        ops.append(OpCost("repeat_kv", OpKind.COPY, 0.0, 0.0, 0.0, moved, kernels * shared))
    if path.score_moves:
        scores, each = attention.heads * (step.batch_size * step.new_tokens * step.context), numbers.activation_bytes
        ops.append(pointwise("scores", scores, moves=path.score_moves, kernels=path.score_kernels, bytes_each=each))
    return ops
