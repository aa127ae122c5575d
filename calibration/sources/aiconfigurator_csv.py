"""Reader of the older aiconfigurator tables in CSV (github ai-dynamo/aiconfigurator @ 095f58a, Apache-2.0).

A100 and L40S with vLLM 0.14, RTX PRO 6000 with vLLM 0.19: the same method as the package's Parquet, fewer rows.
"""

from pathlib import Path

import numpy as np

from latmodel.device.datasheets import DataSheet
from latmodel.errors import UsageError

from ..observations.operators import OperatorObservation
from . import aiconfigurator
from .aiconfigurator import FIRST_TOKENS, NOISE, RUNTIME, WIDEST_HEAD
from .tables import MICRO, FamilyRows, read_table

COMMIT = "095f58a"
GPUS = {
    "nvidia-a100-sxm4-80gb": "NVIDIA A100-SXM4-80GB",
    "nvidia-l40s": "NVIDIA L40S",
    "nvidia-rtx-pro-6000-blackwell-server-edition": "NVIDIA RTX PRO 6000 Blackwell Server Edition",
}
FILES = {
    "gemm": "aiconfigurator_gemm_bf16.csv",
    "prefill": "aiconfigurator_attention_context_bf16.csv",
    "decode": "aiconfigurator_attention_generation_bf16.csv",
}
COLUMNS = {
    "gemm": {"m": "m_tokens", "n": "n_out", "k": "k_in"},
    "prefill": {"batch_size": "batch", "isl": "seq_len", "num_heads": "n_heads", "num_key_value_heads": "n_kv_heads",
                "head_dim": "head_dim", "window_size": "window_size"},
    "decode": {"batch_size": "batch", "step": "context_len", "num_heads": "n_heads",
               "num_key_value_heads": "n_kv_heads", "head_dim": "head_dim", "window_size": "window_size"},
}  # fmt: skip


def read(data: Path, card: DataSheet) -> dict[str, tuple[list[OperatorObservation], dict[str, int], str]]:
    """Rows of a card by family; those that the package's reader would leave out are left out and counted here too.

    Raises:
        UsageError: no such card in the files, or one cannot be read.
    """
    if card.name not in GPUS:
        raise UsageError(f"these tables have no timings of {card.title}; they have: {', '.join(GPUS)}")
    kept = FamilyRows(f"ai-dynamo/aiconfigurator@{COMMIT} CSV")
    for family, name in FILES.items():
        for row in read_table(data / "operators" / name, ("gpu", "time_us", *COLUMNS[family].values())):
            if row["gpu"] == GPUS[card.name]:
                _add(kept, card, family, row)
    return kept.by_family()


def _add(kept: FamilyRows, card: DataSheet, family: str, row: dict[str, str]) -> None:
    sizes = {ours: int(float(row[theirs])) for ours, theirs in COLUMNS[family].items()}
    seconds = float(row["time_us"]) * MICRO
    columns = {name: np.array([float(value)]) for name, value in sizes.items()} | {"seconds": np.array([seconds])}
    if family == "decode":
        columns["step"] -= 1.0  # the tables count the new position in the context
    if family != "gemm" and (sizes["head_dim"] > WIDEST_HEAD or (family == "prefill" and sizes["isl"] < FIRST_TOKENS)):
        kept.drop(f"{family}: single tokens or head_dim above 256")
    elif aiconfigurator.implausible(card, family, columns)[0]:
        kept.drop(f"{family}: faster than the data sheet")
    elif family == "gemm":
        kept.add(family, OperatorObservation(
            op="gemm", seconds=seconds, noise=NOISE["gemm"], gpu=card.name, runtime=RUNTIME, hot=True,
            source=kept.source, m=sizes["m"], n=sizes["n"], k=sizes["k"],
        ))  # fmt: skip
    else:
        tokens = sizes["isl"] if family == "prefill" else 1
        kept.add(family, OperatorObservation(
            op="attention", seconds=seconds, noise=NOISE["attention"], gpu=card.name, runtime=RUNTIME, hot=True,
            source=kept.source, m=sizes["batch_size"], heads=sizes["num_heads"],
            kv_heads=sizes["num_key_value_heads"], head_dim=sizes["head_dim"], window=max(sizes["window_size"], 0),
            tokens=tokens, context=tokens if family == "prefill" else sizes["step"],
        ))  # fmt: skip
