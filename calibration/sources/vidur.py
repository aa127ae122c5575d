"""Reader of the A100 and A40 layer timings of Vidur (github microsoft/vidur @ 7d47513, MIT).

Kernels of the dense operators of one layer (fp16), median over a Kineto trace of 20 layers: weights come from memory,
so rows are cold. Times are whole microseconds, which short rows' noise allows for. The shard of a tensor-parallel
rank is what ran: `qkv_out_rank` outputs, `ffn_rank` inner width; gate and up are one product where gated.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latmodel.device.datasheets import DataSheet
from latmodel.errors import UsageError

from ..observations.operators import OperatorObservation
from .tables import MICRO, FamilyRows, read_table, rounding_noise

COMMIT = "7d47513"
FILE = Path("operators") / "vidur_dense_ops_fp16.csv"
GPUS = {"nvidia-a100-sxm4-80gb": "A100", "nvidia-a40": "A40"}
RUNTIME = "vidur"
GEMMS = ("attn_pre_proj_us", "attn_post_proj_us", "mlp_up_proj_us", "mlp_down_proj_us")
POINTWISE = ("add_us",)
COLUMNS = ("gpu", "tokens", "hidden_size", "n_heads", "head_dim", "tp", "gated_mlp", "qkv_out_rank", "ffn_rank",
           *GEMMS, *POINTWISE)  # fmt: skip


def read(data: Path, card: DataSheet) -> dict[str, tuple[list[OperatorObservation], dict[str, int], str]]:
    """GEMM and pointwise rows of a card, by family.

    Raises:
        UsageError: no such card in the file, or the file cannot be read.
    """
    if card.name not in GPUS:
        raise UsageError(f"vidur has no timings of {card.title}; it has: {', '.join(GPUS)}")
    kept = FamilyRows(f"microsoft/vidur@{COMMIT} {FILE.name}")
    for row in read_table(data / FILE, COLUMNS):
        if row["gpu"] == GPUS[card.name]:
            for family, column, shape in _shapes(row):
                if not row[column] or float(row[column]) <= 0.0:
                    kept.drop("no time given")
                    continue
                seconds = float(row[column]) * MICRO
                kept.add(family, OperatorObservation(
                    seconds=seconds, noise=rounding_noise(seconds, MICRO), gpu=card.name, dtype="float16",
                    runtime=RUNTIME, source=kept.source, **shape,
                ))  # fmt: skip
    return kept.by_family()


def _shapes(row: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(family, column of the time, fields of the observation)."""
    tokens, hidden, inner = int(row["tokens"]), int(row["hidden_size"]), int(float(row["ffn_rank"]))
    queries = int(row["n_heads"]) * int(float(row["head_dim"])) // int(row["tp"])
    up = inner * (2 if row["gated_mlp"] == "True" else 1)
    sizes = ((int(float(row["qkv_out_rank"])), hidden), (hidden, queries), (up, hidden), (hidden, inner))
    for column, (n, k) in zip(GEMMS, sizes, strict=True):
        yield "gemm", column, {"op": "gemm", "m": tokens, "n": n, "k": k}
    for column, values in zip(POINTWISE, (3 * hidden,), strict=True):
        yield "pointwise", column, {"op": "pointwise", "moved_bytes": 2.0 * tokens * values}
