"""Observations as a CSV table: one a row, columns by the names of `record.Observation`; and a template to fill in."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from latmodel.errors import UsageError
from latmodel.model.config import describe
from latmodel.strict_json import read_text

from .record import MAX_FILE_BYTES, Observation

# Column → what it holds. The template has these, in this order; `Observation` has them all and checks them.
COLUMNS = {
    "gpu": "device: 3090, h100, cpu …",
    "runtime": "what ran it: transformers-eager, torch-eager, cuda-graph, torch-compile …",
    "phase": "prefill, decode (mean of the steps), or response (prefill and all steps)",
    "timing": "wall: synchronised before and after; loop: decode or response with its token loop",
    "seconds": "of one prefill, one decode step, or one response: SI, no milliseconds",
    "noise": "standard deviation of log(seconds) between repeats; 0.02 if left out",
    "dtype": "bfloat16, float16 or float32; bfloat16 if left out",
    "num_hidden_layers": "blocks", "hidden_size": "width", "intermediate_size": "FFN width",
    "num_attention_heads": "query heads", "num_key_value_heads": "key and value heads",
    "head_dim": "dimensions of a head: hidden_size / num_attention_heads as a rule",
    "vocab_size": "tokens in the vocabulary", "tie_word_embeddings": "true or false",
    "batch_size": "sequences; 1 if left out", "prompt_tokens": "of each sequence; 512 if left out",
    "new_tokens": "generated tokens: of a decode or a response",
    "logits": "last, or all if the prefill computes logits for every position",
    "name": "anything, for messages",
}  # fmt: skip
# Two runs of one shape, to be replaced: Baguettotron's on a made-up device speed.
EXAMPLE = {
    "gpu": "3090", "runtime": "transformers-eager", "timing": "wall", "noise": "0.02", "dtype": "bfloat16",
    "num_hidden_layers": "80", "hidden_size": "576", "intermediate_size": "1536", "num_attention_heads": "9",
    "num_key_value_heads": "3", "head_dim": "64", "vocab_size": "65536", "tie_word_embeddings": "true",
    "batch_size": "1", "prompt_tokens": "512", "logits": "last", "name": "80x576",
}  # fmt: skip
EXAMPLES = (
    {**EXAMPLE, "phase": "prefill", "seconds": "0.060", "new_tokens": "0"},
    {**EXAMPLE, "phase": "decode", "timing": "loop", "seconds": "0.053", "new_tokens": "100"},
)


def template() -> str:
    """A CSV file with two example rows, for `latmodel fit --observations`."""
    lines = [",".join(COLUMNS), *(",".join(row[name] for name in COLUMNS) for row in EXAMPLES)]
    return "\n".join(lines)


def column_lines() -> list[str]:
    """One line a column: its name and what it holds."""
    return [f"{name:20s} {meaning}" for name, meaning in COLUMNS.items()]


def read_table(path: Path) -> list[Observation]:
    """All observations of a CSV file.

    Raises:
        UsageError: it cannot be read, or a row is no observation; the row and the column are named.
    """
    reader = csv.DictReader(io.StringIO(read_text(path, MAX_FILE_BYTES), newline=""))
    try:
        return [_observation(row, f"{path}: row {n}") for n, row in enumerate(reader, 1)]
    except csv.Error as error:
        raise UsageError(f"{path}: {error}") from None


def _observation(row: Mapping[str | None, str | None], where: str) -> Observation:
    """A row whose cells are text, as pydantic reads numbers and truths of it; empty cells are left out."""
    cells: dict[str, Any] = {}
    for name, text in row.items():
        if name is None or text is None:
            raise UsageError(f"{where} has another number of fields than the heading")
        if text.strip():
            cells[name] = text.split() if name == "flags" else text.strip()
    try:
        return Observation.model_validate(cells, strict=False)
    except ValidationError as error:
        raise UsageError(f"{where}: {describe(error, 'observation')}") from None
