"""Reader of per-operator kernel times of one Llama layer (github casys-kaist/LLMServingSim @ 5daddb2, MIT).

Transformers eager, fp16, PyTorch profiler: device time of all kernels of one operator, summed, 30 repeats.
The source has no residual sum; its decoding attention has no history, so those rows say little.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latmodel.errors import UsageError

from ..observations.operators import OperatorObservation

COMMIT = "5daddb2"
SOURCE = f"casys-kaist/LLMServingSim@{COMMIT}"
GEMMS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")


def read_operators(path: Path, gpu: str) -> list[OperatorObservation]:
    """Every row that a formula predicts, as operator observations of `gpu`.

    Raises:
        UsageError: the file cannot be read, or a column is missing.
    """
    try:
        with path.open(newline="") as file:
            return [kernel for row in csv.DictReader(file) for kernel in _observations(row, gpu)]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except KeyError as error:
        raise UsageError(f"{path}: column {error} is missing") from None


def _observations(row: dict[str, str], gpu: str) -> Iterator[OperatorObservation]:
    tokens, hidden, inner = int(row["tokens"]), int(row["hidden_size"]), int(row["ffn_size"])
    heads, kv_heads, head_dim = int(row["n_heads"]), int(row["n_kv_heads"]), int(row["head_dim"])
    common: dict[str, Any] = {"gpu": gpu, "runtime": "transformers-eager", "dtype": "float16", "source": SOURCE,
              "seconds": float(row["time_us"]) / 1e6}  # fmt: skip
    op = row["op"]
    if op in GEMMS:
        n, k = int(float(row["gemm_n"])), int(float(row["gemm_k"]))
        yield OperatorObservation(op="gemm", m=tokens, n=n, k=k, **common)
    elif op.endswith("layernorm"):
        yield OperatorObservation(op="norm", m=tokens, n=hidden, **common)
    elif op == "rope":
        yield OperatorObservation(op="rope", m=tokens, n=(heads + kv_heads) * head_dim, **common)
    elif op == "act_fn":
        yield OperatorObservation(op="activation", m=tokens, n=inner, **common)
    elif op == "attn" and tokens > 1:
        yield OperatorObservation(op="attention", m=1, heads=heads, kv_heads=kv_heads, head_dim=head_dim,
                                  tokens=tokens, context=tokens, **common)  # fmt: skip
