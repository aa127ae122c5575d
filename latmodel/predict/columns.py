"""A table of shapes as columns: checked, defaults filled in, each a float or a float64 array."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..arrays import Array
from ..errors import UsageError
from ..model.config import CONFIG_FIELDS, MAX_DIMENSION
from ..model.defaults import fill_dimensions

# Columns of the work asked of each row → the field of `Work` that they replace.
WORK_COLUMNS = {"prompt_tokens": "prompt", "new_tokens": "new", "batch_size": "batch"}
KEPT_BYTES = 1 << 24  # twice this much freed memory is kept, more than the temporaries of a chunk of rows take


def check_columns(columns: Mapping[str, Any]) -> tuple[int, dict[str, Array]]:
    """Number of rows, and each column as a float or a float64 array, checked; defaults filled in.

    Raises:
        UsageError: naming the column, and the row where it is one row's fault.
    """
    unknown = sorted(columns.keys() - {*CONFIG_FIELDS, *WORK_COLUMNS})
    if unknown:
        raise UsageError(f"unknown column {unknown[0]!r}; known: {', '.join((*CONFIG_FIELDS, *WORK_COLUMNS))}")
    table: dict[str, Array] = {}
    for name, given in columns.items():
        table[name] = _check_column(name, given)
    for name in ("num_hidden_layers", "hidden_size"):
        if name not in table:
            raise UsageError(f"column {name!r} is missing")
    table = {name: float(v) if isinstance(v, int) else v for name, v in fill_dimensions(table).items()}
    grouped = table["num_attention_heads"] / table["num_key_value_heads"]
    _refuse(grouped != np.floor(grouped), "num_attention_heads is not divisible by num_key_value_heads")
    lengths = {value.shape[0] for value in table.values() if not isinstance(value, float)}
    if len(lengths) > 1:
        raise UsageError(f"columns have different lengths: {sorted(lengths)}")
    return (lengths.pop() if lengths else 1), table


def _check_column(name: str, given: Any) -> Array:
    try:
        value = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"column {name!r} holds something that is not a number") from None
    if value.ndim > 1:
        raise UsageError(f"column {name!r} has {value.ndim} dimensions; give one value a row")
    if name == "tie_word_embeddings":
        _refuse((value != 0.0) & (value != 1.0), "tie_word_embeddings is neither true nor false")
    else:
        low = 0.0 if name == "new_tokens" else 1.0
        wrong = ~((value >= low) & (value <= MAX_DIMENSION)) | (value != np.floor(value))
        _refuse(wrong, f"{name} must be a whole number from {low:.0f} to {MAX_DIMENSION}")
    return float(value) if value.ndim == 0 else value


def _refuse(wrong: Array, message: str) -> None:
    if np.any(wrong):
        raise UsageError(f"row {int(np.argmax(np.atleast_1d(wrong)))}: {message}")


def keep_freed_memory() -> None:
    """Tell the C library's allocator that large blocks come and go here, so that it keeps what is freed for the next.

    glibc gives freed memory back to the system beyond a threshold that is low at first; every temporary array is then
    paid for in page faults, a third of the time of `predict_many`. The threshold follows the largest block that was
    freed, so one that is never touched raises it. Other allocators pay a microsecond.
    """
    np.empty(KEPT_BYTES, dtype=np.uint8)
