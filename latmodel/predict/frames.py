"""Results as data frames; pandas is loaded only here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UsageError

if TYPE_CHECKING:
    import pandas

    from ..arrays import Array

FIELDS = (
    "num_parameters", "prefill_s", "decode_s_per_token", "response_s", "prefill_s_per_layer", "decode_s_per_layer",
    "peak_memory_bytes", "fits_memory", "bound", "extrapolated",
)  # fmt: skip
TIMES = {"prefill_s": "prefill", "decode_s_per_token": "decode", "response_s": "response"}


class Columns(Protocol):
    """Many predictions, by the names of `FIELDS`, and the ends of their intervals by phase."""

    def low_high(self, phase: str) -> "tuple[Array, Array]":
        """Lower and upper ends, in seconds."""


def prediction_frame(many: Columns) -> "pandas.DataFrame":
    """A row for each model; NaN where an interval cannot be had.

    Raises:
        UsageError: pandas is not installed.
    """
    columns = {name: getattr(many, name) for name in FIELDS}
    for name, phase in TIMES.items():
        columns[f"{name}_low"], columns[f"{name}_high"] = many.low_high(phase)
    return data_frame(columns)


def data_frame(table: "Sequence[Mapping[str, Any]] | Mapping[str, Any]") -> "pandas.DataFrame":
    """A data frame of rows, or of columns by name.

    Raises:
        UsageError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise UsageError("to_pandas needs pandas; run `pip install pandas`") from None
    return pandas.DataFrame(table)
