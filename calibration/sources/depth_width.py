"""Reader of the RTX 3090 depth and width study (github hbfreed/inference-pareto, results/raw @ 5c7fe60).

Whole Llama-style models, Transformers eager, bf16, logits for every position. `prefill` and `decode` are forward calls
alone, synchronised before and after; `response` is a free-running loop with argmax and append.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from latmodel.errors import UsageError

from ..observations.record import Observation, observation

COMMIT = "5c7fe60"
GPU = "nvidia-geforce-rtx-3090"
NOISE = {"prefill": 0.010, "decode": 0.025, "response": 0.020}  # the same model measured again (README of the data)
SHAPE = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
GENERATED = (50, 100, 200)
COLUMNS = (
    "experiment",
    "name",
    *SHAPE,
    "tie_word_embeddings",
    "num_parameters",
    "prefill_512_ms_mean",
    "decode_ms_mean",
    *(f"response_512_{new}_ms" for new in GENERATED),
    "peak_memory_gib",
    "decode_context",
)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows as text by column.

    Raises:
        UsageError: the file cannot be read or a column is missing.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise UsageError(f"{path}: column {missing[0]!r} is missing")
    return rows


def observations_of(row: dict[str, str], where: str) -> Iterator[Observation]:
    """The times of one measured model: prefill, decode, and the responses that were published."""
    common = {
        **{name: int(row[name]) for name in SHAPE}, "gpu": GPU, "runtime": "transformers-eager", "dtype": "bfloat16",
        "logits": "all",
        "head_dim": head_dim(row), "tie_word_embeddings": row["tie_word_embeddings"] == "True", "part": "model",
        "source": f"hbfreed/inference-pareto@{COMMIT}", "name": f"{row['experiment']}/{row['name']}",
    }  # fmt: skip
    first, last = (int(end) for end in row["decode_context"].split("-"))
    common["noise"] = NOISE["prefill"]
    yield _timed(common, row["prefill_512_ms_mean"], where, phase="prefill", timing="wall", prompt_tokens=512)
    common["noise"] = NOISE["decode"]
    yield _timed(
        common,
        row["decode_ms_mean"],
        where,
        phase="decode",
        timing="wall",
        prompt_tokens=first,
        new_tokens=last - first,
    )
    common["noise"] = NOISE["response"]
    for new in GENERATED:
        if row[f"response_512_{new}_ms"]:
            ms = row[f"response_512_{new}_ms"]
            yield _timed(common, ms, where, phase="response", timing="loop", prompt_tokens=512, new_tokens=new)


def head_dim(row: dict[str, str]) -> int:
    """hidden_size / heads; Gemma's shape was built with head_dim 240 = 3840 / 16 as well."""
    return int(row["hidden_size"]) // int(row["num_attention_heads"])


def _timed(common: dict[str, object], ms: str, where: str, **what: object) -> Observation:
    return observation({**common, **what, "seconds": float(ms) / 1e3}, where)
