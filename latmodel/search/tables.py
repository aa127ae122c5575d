"""What the layers of a space cost, each costed once: time, memory and parameters of a shape are looked up and added.

A shape is a stem (hidden size, attention, vocabulary), an FFN size and a depth. Tables of a few numbers for each stem
and for each (hidden size, FFN size) hold all that millions of shapes cost.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..arrays import Array
from ..laws.splitting import unsplit
from ..model.architecture import Architecture, Attention, Block, FeedForward, Group
from ..model.config import MAX_DIMENSION
from ..model.memory import Memory, workspace_of
from ..model.totals import Workspace, num_parameters
from ..model.transformer import dense_ops
from ..predict.forward import Cost, Forecast, Load, block_cost, head_cost, respond
from ..predict.predictor import Predictor
from ..predict.target import Target, Work
from .space import SearchSpace, Stems
from .tabled import Blocks, TabledLayer, at, blocks, tabled, workspace_at

# FFN entries tabled at once: a space is cut by hidden size into parts of about this many, so memory stays flat.
PART_ENTRIES = 250_000
# FFN sizes costed at a time.
CHUNK = 16_384
# Room for rounding: bounds and values add the same numbers in another order.
SLACK = 1e-9


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
        each, h = self.blocks(stem, ffn, least), self.head
        kernels = each.decode_kernels * depth
        together = Cost(
            Load(each.prefill_kernels * depth, each.prefill_s * depth, 0.0),
            Load(kernels, each.first_s * depth, 0.0),
            Load(kernels, each.last_s * depth, 0.0),
        )
        decode = Load(at(h.decode_kernels, stem), h.first_s[stem], 0.0)
        head = Cost(Load(at(h.prefill_kernels, stem), h.prefill_s[stem], 0.0), decode, decode)
        return respond(depth, together, head, self.work, self.target)

    def blocks(self, stem: Array, ffn: Array, least: bool = False) -> Blocks:
        """One block of each shape; `least` as in `forecast`."""
        of_ffn = self.ffn_least if least else self.ffn
        return blocks(self.attention, stem, of_ffn, ffn, self.target.runtime.unsplit_gap_s)

    def device_s(self, stem: Array, ffn: Array, depth: Array, least: bool = False) -> Array:
        """Seconds of kernels in a whole response of shapes; `least` as in `forecast`."""
        each, h = self.blocks(stem, ffn, least), self.head
        step = 0.5 * (each.first_s + each.last_s) * depth + h.first_s[stem]
        return each.prefill_s * depth + h.prefill_s[stem] + self.work.new * step

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
        held = workspace_at(a, stem).joined(workspace_at(f, ffn)).total_bytes
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
        # What the products of both layers of a block decide together is added to their sums (`tabled.blocks`).
        self.alone = target._replace(runtime=target.runtime._replace(unsplit_gap_s=0.0))

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
        cost = block_cost(block, hidden, self.work, self.alone)
        one, none = (Architecture((Group(count, block),), hidden, vocab, tie) for count in (1.0, 0.0))
        memory, without = (self.predictor.memory(model, self.work) for model in (one, none))
        held = memory._replace(weight_bytes=memory.weight_bytes - without.weight_bytes)
        parameters = num_parameters(one) - num_parameters(none)
        space = workspace_of(one, self.work.numbers, self.target.implementation)
        return tabled(cost, self._unsplit(block, hidden), hidden, parameters, held, space)

    def _unsplit(self, block: Block, hidden: Array) -> tuple[Array, Array]:
        """1 where none of a layer's products splits k, in a prefill and in a decode step; 0 where nothing asks."""
        if not self.target.waits_unsplit:
            return 0.0, 0.0
        implementation, numbers = self.target.implementation, self.work.numbers
        at_prompt, at_step = (
            unsplit(dense_ops(block, hidden, rows, implementation, numbers), aligned=block.aligned)
            for rows in (self.work.prefill().rows, self.work.batch)
        )
        return at_prompt, at_step

    def head(self, hidden: Array, vocab: Array, tie: Array) -> tuple[TabledLayer, float]:
        """Embedding, final norm and LM head; and the runtime's own memory."""
        model = Architecture((), hidden, vocab, tie)
        memory = self.predictor.memory(model, self.work)
        cost = head_cost(model, self.work, self.target)
        layer = tabled(cost, (0.0, 0.0), hidden, num_parameters(model), memory._replace(cache_bytes=0.0), Workspace())
        return layer, float(memory.overhead_bytes)
