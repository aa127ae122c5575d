"""A user's own score: `package.module:function`, loaded, guarded and tried on a small grid."""

import difflib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from .scores import NAMES
from .shapes import Array, Bools, Shapes, common_shape

UserFunction = Callable[[Shapes], Any]

_GRID_LAYERS = np.array([4, 8, 16, 24, 32, 48, 64], dtype=np.int64)
_GRID_HIDDEN = np.array([256, 512, 1024, 2048, 4096], dtype=np.int64)
_GRID_VOCAB = 32_000


@dataclass(frozen=True)
class UserScore:
    """A user's function behind the same interface as the built-in scores.

    `warnings` says what the trial on a small grid found; the function is used all the same.
    """

    name: str
    function: UserFunction
    monotone_in_depth: bool
    warnings: tuple[str, ...]

    def __call__(self, shapes: Shapes) -> Array:
        return call_checked(self.name, self.function, shapes)

    def corners(self, shapes: Shapes) -> Array:
        return self(shapes)[np.newaxis]

    def size_corners(self, shapes: Shapes) -> Array:
        return self.corners(shapes)

    def extrapolated(self, shapes: Shapes) -> Bools:
        return np.zeros(common_shape(shapes), dtype=np.bool_)

    def capped(self, shapes: Shapes) -> Bools:
        return np.zeros(common_shape(shapes), dtype=np.bool_)


def user_score(spec: str) -> UserScore:
    """Load `package.module:function` (the current folder is importable) and try it on a small grid.

    Raises:
        UsageError: the module or function is missing or fails, or returns NaN or the wrong shape.
    """
    function = load_function(spec)
    grid = trial_grid()
    scores = call_checked(spec, function, grid)  # [layers, hidden]
    by_depth, by_width = np.diff(scores, axis=0), np.diff(scores, axis=1)
    warnings = tuple(
        _falling(spec, what, steps) for what, steps in (("depth", by_depth), ("width", by_width)) if np.any(steps < 0)
    )
    if not warnings and np.ptp(scores) == 0:
        warnings = (f"{spec} gives the same score to every shape tried",)
    return UserScore(spec, function, monotone_in_depth=not np.any(by_depth < 0), warnings=warnings)


def load_function(spec: str, what: str = "--quality", known: Sequence[str] = NAMES) -> UserFunction:
    """Import the function named by `package.module:function`; `what` names it in errors, `known` are the other names.

    Raises:
        UsageError: malformed, not found, its module fails to import, or it cannot be called.
    """
    module_name, _, attribute = spec.partition(":")
    parts = [*module_name.split("."), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        close = difflib.get_close_matches(spec, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(known)}"
        raise UsageError(f"{what} {spec[:80]!r} is neither a known name nor package.module:function; {hint}")
    try:
        with _current_folder_importable():
            target: Any = importlib.import_module(module_name)
        for part in attribute.split("."):
            target = getattr(target, part)
    except Exception as error:  # a user's module may raise anything while it is imported
        raise UsageError(f"{what} {spec}: cannot import it ({_line(error)}); try it in Python") from error
    if not callable(target):
        raise UsageError(f"{what} {spec}: {attribute} is not a function")
    function: UserFunction = target
    return function


def call_checked(name: str, function: UserFunction, shapes: Shapes) -> Array:
    """Call a user's function; its result, broadcast over the shapes.

    Raises:
        UsageError: it fails, returns no numbers, the wrong shape, or NaN or infinity (first shape named).
    """
    expected = common_shape(shapes)
    try:
        result = np.asarray(function(shapes))
    except Exception as error:  # a user's function may raise anything
        raise UsageError(f"{name} failed ({_line(error)}); try it on one shape") from error
    if not (np.issubdtype(result.dtype, np.integer) or np.issubdtype(result.dtype, np.floating)):
        raise UsageError(f"{name} returned {result.dtype} where numbers are needed; return floats")
    try:
        scores = np.broadcast_to(result.astype(np.float64), expected)
    except ValueError as error:
        raise UsageError(
            f"{name} returned an array of shape {result.shape} for {expected} models; use array arithmetic"
        ) from error
    bad = ~np.isfinite(scores)
    if bad.any():
        first = np.unravel_index(int(bad.argmax()), expected)
        raise UsageError(
            f"{name} returned {scores[first]} for {_describe(shapes, expected, first)} "
            f"({int(bad.sum())} in all); return a finite number for every shape"
        )
    return scores


def trial_grid() -> dict[str, Any]:
    """Plain Llama-like shapes, 4-64 layers by hidden 256-4096; columns broadcast to [layers, hidden]."""
    layers, hidden = _GRID_LAYERS[:, np.newaxis], _GRID_HIDDEN[np.newaxis, :]
    heads, ffn = hidden // 64, 3 * hidden
    kv_heads = np.maximum(heads // 4, 1)
    attention = 2 * hidden * 64 * (heads + kv_heads)
    block = attention + 3 * hidden * ffn + 2 * hidden
    non_embedding = layers * block + hidden
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": np.full_like(hidden, 64),
        "vocab_size": np.full_like(hidden, _GRID_VOCAB),
        "num_parameters": non_embedding + 2 * _GRID_VOCAB * hidden,
        "non_embedding_parameters": non_embedding,
    }


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _falling(spec: str, what: str, steps: Array) -> str:
    """Name the first step of the trial grid (depth on axis 0, width on axis 1) that lowers the score."""
    row, col = (int(i) for i in np.unravel_index(int((steps < 0).argmax()), steps.shape))
    next_row, next_col = (row + 1, col) if what == "depth" else (row, col + 1)
    smaller = f"{_GRID_LAYERS[row]} x {_GRID_HIDDEN[col]}"
    larger = f"{_GRID_LAYERS[next_row]} x {_GRID_HIDDEN[next_col]}"
    return f"{spec} does not rise with {what}: it falls from {smaller} to {larger} (layers x hidden)"


def _describe(shapes: Shapes, expected: tuple[int, ...], index: tuple[Any, ...]) -> str:
    named = [name for name in ("num_hidden_layers", "hidden_size") if name in shapes]
    values = (np.broadcast_to(np.asarray(shapes[name]), expected)[index] for name in named)
    return ", ".join(f"{name} {value}" for name, value in zip(named, values, strict=True)) or f"entry {index}"


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}"
