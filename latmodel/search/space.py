"""`SearchSpace`: which shapes a search looks at, as values or ranges of every dimension; checked and countable."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array
from ..errors import UsageError
from ..model.config import MAX_DIMENSION

# More values than this of one dimension, or stems in all, would no longer fit a small memory.
MAX_VALUES = 1_000_000


class Span(NamedTuple):
    """Whole numbers `low`, `low + step`, ... up to `high`, both ends included."""

    low: int
    high: int
    step: int = 1


DEPTHS = Span(4, 128)
HIDDEN_SIZES = Span(256, 16384, 64)

Values = int | Span | range | Sequence[int]


class Stems(NamedTuple):
    """Every choice of hidden size, attention and vocabulary: all of a shape but its depth and its FFN size.

    One array each, ordered by hidden size, head_dim, KV heads, vocabulary and tying; `hidden_index` points into
    the hidden sizes that are left.
    """

    hidden_index: Array
    hidden_size: Array
    num_attention_heads: Array
    num_key_value_heads: Array
    head_dim: Array
    vocab_size: Array
    tie_word_embeddings: Array

    def __len__(self) -> int:
        return int(self.hidden_size.size)

    def take(self, rows: Any) -> "Stems":
        """Some of them: a slice, indices or a mask."""
        return Stems(*(column[rows] for column in self))


@dataclass(frozen=True)
class SearchSpace:
    """Shapes to search: each dimension one number, a list of numbers, or a `Span(low, high, step)`.

    Left out, `intermediate_size` takes the multiples of `intermediate_step` within `intermediate_ratio` times
    hidden_size; `num_key_value_heads` the divisors of the number of heads with a `group_size` (query heads to a KV
    head) within the range. The number of heads is hidden_size / head_dim; shapes where that is no whole number,
    or not among `num_attention_heads` if that is given, are left out.

    Raises:
        UsageError: a value is not a whole number in range, a range is empty, or nothing is left; the field is named.
    """

    num_hidden_layers: Values = DEPTHS
    hidden_size: Values = HIDDEN_SIZES
    intermediate_size: Values | None = None
    num_key_value_heads: Values | None = None
    head_dim: Values = (64, 128)
    num_attention_heads: Values | None = None
    vocab_size: Values = 65536
    tie_word_embeddings: bool | Sequence[bool] = True
    intermediate_ratio: tuple[float, float] = (2.0, 5.0)
    intermediate_step: int = 64
    group_size: tuple[int, int] = (1, 8)

    def __post_init__(self) -> None:
        for field in fields(self):
            given = getattr(self, field.name)
            if field.name == "tie_word_embeddings":
                checked: Any = _flags(given)
            elif field.name == "intermediate_ratio":
                checked = _ratio(given)
            elif field.name in ("group_size", "intermediate_step"):
                checked = _whole(field.name, given)
            else:
                checked = None if given is None else expand(field.name, given)
            object.__setattr__(self, field.name, checked)
        if not len(self.stems):
            raise UsageError(
                "hidden_size: no value has a whole number of heads of the head_dim and KV heads asked for; "
                "try multiples of 64"
            )
        if not self.ffn_counts.any():
            raise UsageError("intermediate_size: no multiple of the step lies within the ratio; widen the range")

    def pin(self, **values: Any) -> "SearchSpace":
        """The same space with some dimensions set anew."""
        unknown = values.keys() - {field.name for field in fields(self)}
        if unknown:
            raise UsageError(f"{min(unknown)}: no such dimension of a search space")
        return replace(self, **values)

    def in_multiples(self, step: int, why: str) -> "SearchSpace":
        """The shapes whose hidden and FFN sizes are multiples of `step`, so that heads × head_dim are too.

        Raises:
            UsageError: nothing is left; `why` says what needs the multiples.
        """
        changes: dict[str, Any] = {"intermediate_step": math.lcm(self._step, step)}
        for name in ("hidden_size", "intermediate_size"):
            given = getattr(self, name)
            if given is not None:
                changes[name] = tuple(value for value in given if value % step == 0)
                if not changes[name]:
                    raise UsageError(f"{name}: no value is a multiple of {step}, as {why} needs")
        return self.pin(**changes)

    @property
    def depths(self) -> Array:
        """The depths, rising."""
        return np.asarray(self.num_hidden_layers, dtype=np.int64)

    @cached_property
    def hiddens(self) -> Array:
        """The hidden sizes, rising."""
        return np.asarray(self.hidden_size, dtype=np.int64)

    @cached_property
    def stems(self) -> Stems:
        """Everything but depth and FFN size, in order."""
        return _stems(self)

    @cached_property
    def ffn_counts(self) -> Array:
        """How many FFN sizes each hidden size has."""
        if self.intermediate_size is not None:
            return np.full(self.hiddens.size, len(self.intermediate_size))  # type: ignore[arg-type]
        first, last = self._ffn_ends()
        return np.maximum(last - first + 1, 0)

    def ffn_sizes(self, hidden_index: int) -> Array:
        """FFN sizes of one hidden size, rising."""
        if self.intermediate_size is not None:
            return np.asarray(self.intermediate_size, dtype=np.int64)
        first, last = self._ffn_ends()
        return np.arange(first[hidden_index], last[hidden_index] + 1) * self._step

    def _ffn_ends(self) -> tuple[Array, Array]:
        low, high = self.intermediate_ratio
        # A hair of slack: 8/3 × 1536 is 4096 although the product rounds below it.
        first = np.ceil(self.hiddens * low / self._step - 1e-9).astype(np.int64)
        last = np.floor(self.hiddens * high / self._step + 1e-9).astype(np.int64)
        return np.maximum(first, 1), last

    @property
    def _step(self) -> int:
        return int(self.intermediate_step[0])  # type: ignore[index]  # checked: kept as a tuple

    def __len__(self) -> int:
        """Number of shapes."""
        return int(self.ffn_counts[self.stems.hidden_index].sum()) * int(self.depths.size)


def expand(name: str, given: Values) -> tuple[int, ...]:
    """Values of one dimension, rising and each once.

    Raises:
        UsageError: not whole numbers from 1 to 1e7, an empty range, or too many values.
    """
    if isinstance(given, Span):
        low, high, step = _whole(name, given)
        if low > high:
            raise UsageError(f"{name}: the range {low} to {high} is empty; put the smaller end first")
        if (high - low) // step >= MAX_VALUES:
            raise UsageError(f"{name}: more than {MAX_VALUES} values; use a larger step")
        return tuple(range(low, high + 1, step))
    if isinstance(given, range) and len(given) > MAX_VALUES:
        raise UsageError(f"{name}: more than {MAX_VALUES} values; use a larger step")
    values = _whole(name, given)
    if not values:
        raise UsageError(f"{name}: no values given")
    return tuple(sorted(set(values)))


def _whole(name: str, given: Any) -> tuple[int, ...]:
    values = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (given,)
    for value in values:
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or not 1 <= value <= MAX_DIMENSION:
            raise UsageError(f"{name}: {str(value)[:40]!r} is not a whole number from 1 to {MAX_DIMENSION}")
    return tuple(int(value) for value in values)


def _flags(given: Any) -> tuple[bool, ...]:
    values = tuple(given) if isinstance(given, Iterable) else (given,)
    if not values or any(value not in (True, False) for value in values):
        raise UsageError(f"tie_word_embeddings: {str(given)[:40]!r} is neither true nor false")
    return tuple(sorted({bool(value) for value in values}))


def _ratio(given: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        raise UsageError(f"intermediate_ratio: {str(given)[:40]!r} is not a pair of numbers (low, high)") from None
    if not 0.0 < low <= high <= 1e4:
        raise UsageError(f"intermediate_ratio: {low:g} to {high:g} is no range of positive numbers")
    return low, high


def _stems(space: SearchSpace) -> Stems:
    """All combinations of the dimensions but depth and FFN size, without those that do not divide."""
    given = space.num_key_value_heads
    low, high = (*space.group_size, *space.group_size)[:2]  # checked: one number or two
    last = np.asarray(given) if given is not None else np.arange(low, high + 1)
    combinations = space.hiddens.size * len(space.head_dim) * last.size * len(space.vocab_size)  # type: ignore[arg-type]
    if combinations > 20 * MAX_VALUES:
        raise UsageError(f"hidden_size: {combinations:.1e} combinations with attention choices; use a larger step")
    index, head_dim, choice = np.meshgrid(
        np.arange(space.hiddens.size), np.asarray(space.head_dim), last, indexing="ij"
    )
    hidden = space.hiddens[index]
    heads = hidden // head_dim
    kv_heads = choice if given is not None else heads // choice
    fits = (heads * head_dim == hidden) & (kv_heads > 0)
    fits &= np.where(kv_heads > 0, heads % np.maximum(kv_heads, 1) == 0, False)
    if given is None:
        fits &= kv_heads * choice == heads
    if space.num_attention_heads is not None:
        fits &= np.isin(heads, np.asarray(space.num_attention_heads))
    columns = [column[fits] for column in (index, hidden, heads, kv_heads, head_dim)]
    tails = [(vocab, tie) for vocab in space.vocab_size for tie in space.tie_word_embeddings]  # type: ignore[union-attr]
    rows = columns[0].size
    columns = [np.repeat(column, len(tails)) for column in columns]
    columns += [np.tile(np.asarray(tail), rows) for tail in zip(*tails, strict=True)]
    order = np.lexsort((columns[6], columns[5], columns[3], columns[4], columns[0]))
    return Stems(*(column[order] for column in columns))
