"""What the layers of a space cost, each costed once: time, memory and parameters of a shape are looked up and added.

A shape is a stem (hidden size, attention, vocabulary), an FFN size and a depth. Tables of a few numbers for each stem
and for each (hidden size, FFN size) hold all that millions of shapes cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..arrays import Array
from ..model.architecture import Architecture, Attention, Block, FeedForward, Group
from ..model.config import MAX_DIMENSION
from ..model.memory import Memory, workspace_of
from ..model.totals import Workspace, num_parameters
from ..predict.forward import Cost, Forecast, Load, block_cost, head_cost, respond
from ..predict.predictor import Predictor
from ..predict.target import Target, Work
from .space import SearchSpace, Stems

# FFN entries tabled at once: a space is cut by hidden size into parts of about this many, so memory stays flat.
PART_ENTRIES = 250_000
# FFN sizes costed at a time.
CHUNK = 16_384
# Room for rounding: bounds and values add the same numbers in another order.
SLACK = 1e-9


class TabledLayer(NamedTuple):
    """What one layer (or the head) of each row of a table costs; a number where all rows share it."""

    prefill_kernels: Array
    decode_kernels: Array
    prefill_s: Array
    first_s: Array
    last_s: Array
    parameters: Array
    weight_bytes: Array
    cache_bytes: Array
    transient_bytes: Array
    output_bytes: Array  # `layers.weights.Workspace` of this layer: the wider of a block's two counts
    unpacked_bytes: Array

    def prefill_kernels_at(self, rows: Array) -> Array:
        """Kernels of the pass over a prompt of some rows."""
        return _at(self.prefill_kernels, rows)

    def joined(self, others: Sequence["TabledLayer"]) -> "TabledLayer":
        """Rows of this and the others, one after another; shared numbers stay numbers."""
        parts = (self, *others)
        return TabledLayer(
            *(np.concatenate(columns) if np.ndim(columns[0]) else columns[0] for columns in zip(*parts, strict=True))
        )

    def suffix_minima(self, ends: Array) -> "TabledLayer":
        """The least of each row and the later rows of its segment (`ends`: where each segment ends)."""
        return TabledLayer(*(_suffix_minima(column, ends) if np.ndim(column) else column for column in self))


def _suffix_minima(column: Array, ends: Array) -> Array:
    falls = np.diff(column) < 0.0
    falls[ends[:-1] - 1] = False  # from one segment to the next
    if not falls.any():
        return column
    least = np.empty_like(column)
    for start, end in zip((0, *ends[:-1]), ends, strict=True):
        least[start:end] = np.minimum.accumulate(column[start:end][::-1])[::-1]
    return least


@dataclass(frozen=True)
class Tables:
    """All that the shapes of one part of a space cost: stems, and FFN sizes by hidden size.

    `offset[s]` is where the FFN sizes of stem `s` begin in `ffn_sizes`, `ffn_count[s]` how many there are.
    """

    stems: Stems
    offset: Array
    ffn_count: Array
    ffn_sizes: Array
    attention: TabledLayer
    ffn: TabledLayer
    ffn_least: TabledLayer
    head: TabledLayer
    overhead_bytes: float
    work: Work
    target: Target

    def forecast(self, stem: Array, ffn: Array, depth: Array, least: bool = False) -> Forecast:
        """Times of shapes; with `least`, but for rounding no more than those of any shape with as large an FFN."""
        a, f, h = self.attention, self.ffn_least if least else self.ffn, self.head
        kernels = (_at(a.decode_kernels, stem) + _at(f.decode_kernels, ffn)) * depth
        decode_s = f.first_s[ffn]  # an FFN costs every decode step the same
        blocks = Cost(
            _load(
                (_at(a.prefill_kernels, stem) + _at(f.prefill_kernels, ffn)) * depth,
                (a.prefill_s[stem] + f.prefill_s[ffn]) * depth,
            ),
            _load(kernels, (a.first_s[stem] + decode_s) * depth),
            _load(kernels, (a.last_s[stem] + decode_s) * depth),
        )
        decode = _load(_at(h.decode_kernels, stem), h.first_s[stem])
        head = Cost(_load(_at(h.prefill_kernels, stem), h.prefill_s[stem]), decode, decode)
        return respond(depth, blocks, head, self.work, self.target)

    def device_s(self, stem: Array, ffn: Array, depth: Array, least: bool = False) -> Array:
        """Seconds of kernels in a whole response of shapes; `least` as in `forecast`."""
        a, f, h = self.attention, self.ffn_least if least else self.ffn, self.head
        step = (0.5 * (a.first_s[stem] + a.last_s[stem]) + f.first_s[ffn]) * depth + h.first_s[stem]
        return (a.prefill_s[stem] + f.prefill_s[ffn]) * depth + h.prefill_s[stem] + self.work.new * step

    def parameters(self, stem: Array, ffn: Array, depth: Array) -> tuple[Array, Array]:
        """All parameters of shapes, and those outside embedding and LM head."""
        blocks = (self.attention.parameters[stem] + self.ffn.parameters[ffn]) * depth
        hidden = self.stems.hidden_size[stem]
        return blocks + self.head.parameters[stem], blocks + hidden

    def memory_bytes(self, stem: Array, ffn: Array, depth: Array) -> Array:
        """Peak memory of shapes."""
        return self.memory(stem, ffn, depth).peak_bytes

    def memory(self, stem: Array, ffn: Array, depth: Array) -> Memory:
        """What fills the memory at the peak of shapes."""
        a, f = self.attention, self.ffn
        held = _workspace(a, stem).joined(_workspace(f, ffn)).total_bytes
        return Memory(
            (a.weight_bytes[stem] + f.weight_bytes[ffn]) * depth + self.head.weight_bytes[stem],
            a.cache_bytes[stem] * depth,
            np.maximum(a.transient_bytes[stem], f.transient_bytes[ffn]),
            held + self.overhead_bytes,
        )

    def rows_of(self, columns: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        """Stem, FFN and depth of shapes that are in these tables, by their Hugging Face names."""
        names = [field for field in Stems._fields if field != "hidden_index"]
        known = {
            key: row for row, key in enumerate(zip(*(getattr(self.stems, n).tolist() for n in names), strict=True))
        }
        stem = np.array([known[key] for key in zip(*(columns[n].tolist() for n in names), strict=True)])
        first, count = self.offset[stem], self.ffn_count[stem]
        sizes = zip(first.tolist(), count.tolist(), columns["intermediate_size"].tolist(), strict=True)
        ffn = np.array(
            [start + int(np.searchsorted(self.ffn_sizes[start : start + n], size)) for start, n, size in sizes]
        )
        return stem, ffn, columns["num_hidden_layers"].astype(np.float64)

    def columns(self, stem: Array, ffn: Array, depth: Array) -> dict[str, Array]:
        """Shapes by their Hugging Face names."""
        chosen = self.stems.take(stem)
        return {
            "num_hidden_layers": depth,
            "hidden_size": chosen.hidden_size,
            "intermediate_size": self.ffn_sizes[ffn],
            "num_attention_heads": chosen.num_attention_heads,
            "num_key_value_heads": chosen.num_key_value_heads,
            "head_dim": chosen.head_dim,
            "vocab_size": chosen.vocab_size,
            "tie_word_embeddings": chosen.tie_word_embeddings,
        }

    def counted(self, stem: Array, ffn: Array, depth: Array) -> dict[str, Array]:
        """The same with their parameter counts, under the names that scores of quality read."""
        every, inner = self.parameters(stem, ffn, depth)
        return {**self.columns(stem, ffn, depth), "num_parameters": every, "non_embedding_parameters": inner}


def _at(column: Array, rows: Array) -> Array:
    """Entries of a column, or the number that all rows share."""
    return column[rows] if np.ndim(column) else column


def _load(kernels: Array, seconds: Array) -> Load:
    return Load(kernels, seconds, 0.0)


def parts(space: SearchSpace, entries: int = PART_ENTRIES) -> list[tuple[int, int]]:
    """The space cut into ranges of hidden sizes (first, end) of at most about `entries` FFN sizes each."""
    cuts, held = [0], 0
    for index, count in enumerate(space.ffn_counts):
        if held and held + count > entries:
            cuts.append(index)
            held = 0
        held += int(count)
    return list(zip(cuts, [*cuts[1:], space.hiddens.size], strict=True))


def tables(
    predictor: Predictor, space: SearchSpace, work: Work, dtype: str, part: tuple[int, int], keep: int = MAX_DIMENSION
) -> Tables:
    """Cost every layer of one part of a space once, of each hidden size `keep` FFN sizes at most, the ends included."""
    first, end = part
    inside = (space.stems.hidden_index >= first) & (space.stems.hidden_index < end)
    inside &= space.ffn_counts[space.stems.hidden_index] > 0
    stems = space.stems.take(inside)
    sizes = [thinned(space.ffn_sizes(index), keep) for index in range(first, end)]
    counts = np.array([len(some) for some in sizes], dtype=np.int64)
    ends = np.cumsum(counts)
    ffn_sizes = np.concatenate(sizes)
    target = predictor.target(dtype, work.numbers.format)
    vocab, tie = stems.vocab_size.astype(float), stems.tie_word_embeddings.astype(float)
    hidden = stems.hidden_size.astype(float)
    price = _Pricing(predictor, work, target)
    ffn = price.feed_forward(np.repeat(space.hiddens[first:end], counts), ffn_sizes)
    head, overhead = price.head(hidden, vocab, tie)
    local = stems.hidden_index - first
    return Tables(
        stems=stems,
        offset=(ends - counts)[local],
        ffn_count=counts[local],
        ffn_sizes=ffn_sizes,
        attention=price.attention(stems, hidden, vocab, tie),
        ffn=ffn,
        ffn_least=ffn.suffix_minima(ends),
        head=head,
        overhead_bytes=overhead,
        work=work,
        target=target,
    )


def thinned(values: Array, keep: int) -> Array:
    """`keep` of some values at most, evenly spaced, the first and the last included."""
    if values.size <= keep:
        return values
    return values[np.linspace(0, values.size - 1, keep).astype(np.int64)]


class _Pricing:
    """Costs layers with the model's own formulas, one layer at a time."""

    def __init__(self, predictor: Predictor, work: Work, target: Target) -> None:
        self.predictor, self.work, self.target = predictor, work, target

    def attention(self, stems: Stems, hidden: Array, vocab: Array, tie: Array) -> TabledLayer:
        """Every stem's attention; the transient memory of its model goes with it."""
        heads, kv_heads, head_dim = (
            column.astype(float) for column in (stems.num_attention_heads, stems.num_key_value_heads, stems.head_dim)
        )
        return self._layer(Block(Attention(heads, kv_heads, head_dim), None, norms=1), hidden, vocab, tie)

    def feed_forward(self, hidden: Array, sizes: Array) -> TabledLayer:
        """Feed-forward layers, some at a time: temporaries then stay in the cache."""
        layers = []
        for start in range(0, max(sizes.size, 1), CHUNK):
            some = slice(start, start + CHUNK)
            block = Block(None, FeedForward(sizes[some].astype(float)), norms=1)
            layers.append(self._layer(block, hidden[some].astype(float), 0.0, 1.0))
        joined = layers[0].joined(layers[1:])
        return joined._replace(last_s=joined.first_s)  # no context in it

    def _layer(self, block: Block, hidden: Array, vocab: Array, tie: Array) -> TabledLayer:
        cost = block_cost(block, hidden, self.work, self.target)
        one, none = (Architecture((Group(count, block),), hidden, vocab, tie) for count in (1.0, 0.0))
        memory, without = (self.predictor.memory(model, self.work) for model in (one, none))
        held = memory._replace(weight_bytes=memory.weight_bytes - without.weight_bytes)
        parameters = num_parameters(one) - num_parameters(none)
        return _layer(cost, hidden, parameters, held, workspace_of(one, self.work.numbers, self.target.implementation))

    def head(self, hidden: Array, vocab: Array, tie: Array) -> tuple[TabledLayer, float]:
        """Embedding, final norm and LM head; and the runtime's own memory."""
        model = Architecture((), hidden, vocab, tie)
        memory = self.predictor.memory(model, self.work)
        cost = head_cost(model, self.work, self.target)
        layer = _layer(cost, hidden, num_parameters(model), memory._replace(cache_bytes=0.0), Workspace())
        return layer, float(memory.overhead_bytes)


def _workspace(layer: TabledLayer, rows: Array) -> Workspace:
    return Workspace(_at(layer.output_bytes, rows), _at(layer.unpacked_bytes, rows))


def _layer(cost: Cost, like: Array, parameters: Array, held: Memory, space: Workspace) -> TabledLayer:
    def full(value: Array) -> Array:
        return np.array(np.broadcast_to(value, like.shape), dtype=np.float64)

    return TabledLayer(
        cost.prefill.kernels, cost.first.kernels, full(cost.prefill.seconds), full(cost.first.seconds),
        full(cost.last.seconds), full(parameters), full(held.weight_bytes), held.cache_bytes,
        full(held.transient_bytes), *space,
    )  # fmt: skip
