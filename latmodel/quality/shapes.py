"""Columns that a quality score reads, under the names of the rest of the project."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from ..model.architecture import uniform
from ..model.config import CONFIG_FIELDS
from ..model.totals import embedding_parameters, num_parameters

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]
# Arrays that broadcast together, by name: `num_hidden_layers, hidden_size, intermediate_size, num_attention_heads,
# num_key_value_heads, head_dim, vocab_size, num_parameters, non_embedding_parameters`. A score reads the few it
# needs.
Shapes = Mapping[str, ArrayLike]


def column(shapes: Shapes, name: str) -> Array:
    """One column as floats.

    Raises:
        UsageError: the column is missing.
    """
    if name not in shapes:
        raise UsageError(f"the quality score needs the column {name}; given: {', '.join(sorted(shapes))}")
    return np.asarray(shapes[name], dtype=np.float64)


def common_shape(shapes: Shapes) -> tuple[int, ...]:
    """The array shape all columns broadcast to."""
    return np.broadcast_shapes(*(np.shape(values) for values in shapes.values()))


def with_counts(shapes: Shapes) -> dict[str, Any]:
    """Shapes with their parameter counts, which scores read."""
    columns: dict[str, Any] = {name: np.asarray(shapes[name], dtype=np.float64) for name in CONFIG_FIELDS}
    model = uniform(**columns)
    total = num_parameters(model)
    rest = total - embedding_parameters(model)
    return {**columns, "num_parameters": total, "non_embedding_parameters": rest}
