"""Results as data frames; pandas is loaded only here."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    import pandas


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
