"""Agreement with "Shortened LLaMA" (arXiv 2402.02834): `python benchmarks/shortened_llama.py [--data ../shared/data]`.

The runtime's memory (copies of the growing KV cache at the peak, and a constant) is fitted on the fp16 rows of the
original model. Of the throughput one number is fitted for each method and GPU, on the method's least pruned row; every
error is of other rows. The number is a factor on the host's time: the width-pruned models launch as many kernels as the
original and take 1.2 to 1.4 times its host time whatever their width, by method: what their modules cost (LLM-Pruner's
whole pickled models, Wanda-sp's and FLAP's sizes that differ from block to block, FLAP's biases). The original is the
least pruned row of depth pruning. Of the Vicuna rows the number is a token's time, on LLaMA's host: that model's
generation samples (temperature, top-p), where LLaMA's takes the likeliest.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from latmodel.configs.huggingface import read_config
from latmodel.errors import LatmodelError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.config import Workload
from latmodel.model.memory import Memory, peak_memory
from latmodel.predict.forward import forecast
from latmodel.predict.inputs import work_of
from latmodel.predict.predictor import Predictor
from latmodel.predict.target import Target
from latmodel.pruning.ways import fewer_blocks
from latmodel.report.text import table
from latmodel.runtimes.transformers_eager import TRANSFORMERS

GIB = 2.0**30  # the paper's "GB": its 12.8 for 13.5e9 bytes of weights can be nothing else
WEIGHTS: dict[str, str | None] = {"fp16": None, "gptq-int4": "int4-gptq"}
GPUS = {"h100_tokens_per_s": "h100", "rtx3090_tokens_per_s": "3090"}
ORIGINAL_LAYERS = 32
HOST = ("launch_s", "block_s", "prefill_block_s", "pass_s", "token_s")
H100_BYTES = 80e9


class MemoryRow(NamedTuple):
    """One published VRAM figure; None is out of memory."""

    layers: int
    weights: str
    workload: Workload
    bytes: float | None


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def memory_rows(data: Path) -> list[MemoryRow]:
    """The published rows, those that two tables share once."""
    found: dict[tuple[str, ...], MemoryRow] = {}
    for row in read_rows(data / "shortened_llama" / "memory.csv"):
        key = tuple(row[name] for name in ("num_hidden_layers", "weights", "new_tokens", "batch"))
        workload = Workload(
            prompt_tokens=int(row["input_tokens"]), new_tokens=int(row["new_tokens"]), batch_size=int(row["batch"]),
            dtype="float16", weights=WEIGHTS[row["weights"]],
        )  # fmt: skip
        shown = None if row["vram_gb"] == "OOM" else float(row["vram_gb"]) * GIB
        found[key] = MemoryRow(int(row["num_hidden_layers"]), row["weights"], workload, shown)
    return list(found.values())


def parts(row: MemoryRow) -> Memory:
    """Weights, cache, transients and workspace of a row, with one copy of the cache and no constant of the runtime."""
    model = fewer_blocks(read_config("llama-7b"), row.layers / ORIGINAL_LAYERS)
    work = work_of(row.workload)
    return peak_memory(
        model, batch=work.batch, prompt=work.prompt, new=work.new, logits_all=False, numbers=work.numbers,
        implementation=TRANSFORMERS,
    )  # fmt: skip


def fit_memory(rows: Sequence[MemoryRow]) -> tuple[float, float]:
    """(copies of the cache, constant bytes) by least squares of relative errors."""
    costs = [parts(row) for row in rows]
    seen = np.array([row.bytes or np.nan for row in rows])
    design = np.array([[cost.cache_bytes, 1.0] for cost in costs]) / seen[:, None]
    known = np.array([cost.weight_bytes + cost.transient_bytes for cost in costs]) / seen
    copies, constant = np.linalg.lstsq(design, 1.0 - known, rcond=None)[0]
    return float(copies), float(constant)


def predicted_bytes(row: MemoryRow, copies: float, constant: float) -> float:
    """Peak bytes of a row under the fitted runtime."""
    cost = parts(row)
    fixed = cost.weight_bytes + cost.transient_bytes + cost.overhead_bytes
    return float(fixed + copies * cost.cache_bytes + constant)


def memory_report(rows: Sequence[MemoryRow]) -> list[list[str]]:
    """Fitted coefficients and errors by group of rows; out-of-memory rows told apart."""
    fitted = [row for row in rows if row.layers == ORIGINAL_LAYERS and row.weights == "fp16" and row.bytes is not None]
    copies, constant = fit_memory(fitted)
    groups: dict[str, Callable[[MemoryRow], bool]] = {
        "fp16, original (fitted on)": lambda row: row.weights == "fp16" and row.layers == ORIGINAL_LAYERS,
        "fp16, depth-pruned": lambda row: row.weights == "fp16" and row.layers != ORIGINAL_LAYERS,
        "fp16, all rows": lambda row: row.weights == "fp16",
        "GPTQ int4, all rows": lambda row: row.weights == "gptq-int4",
    }
    lines = [["copies of the cache", "", f"{copies:.2f}"], ["constant", "", f"{constant / GIB:.2f} GiB"]]
    for name, belongs in groups.items():
        some = [row for row in rows if belongs(row) and row.bytes is not None]
        errors = [abs(predicted_bytes(row, copies, constant) / (row.bytes or 1.0) - 1.0) for row in some]
        lines.append([f"VRAM, {name}", str(len(some)), f"{100 * np.mean(errors):.1f} %"])
    told = [(predicted_bytes(row, copies, constant) > H100_BYTES) == (row.bytes is None) for row in rows]
    lines.append(["out of memory told apart", str(len(rows)), f"{sum(told)} of {len(told)}"])
    return lines


def shape_of(row: dict[str, str]) -> Architecture:
    """The shape of a throughput row; mean sizes of unevenly pruned models rounded to whole heads and columns."""
    base = read_config("llama-7b")
    heads = float(round(float(row["num_attention_heads"])))
    block = Block(Attention(heads, heads, 128.0), FeedForward(float(round(float(row["intermediate_size"])))))
    return replace(base, groups=(Group(float(row["num_hidden_layers"]), block),))


def tokens_per_s(model: Architecture, target: Target) -> float:
    """Throughput as the paper has it: new tokens over the time of the whole response, batch 1, 12 + 128 tokens."""
    workload = Workload(prompt_tokens=12, new_tokens=128, dtype="float16")
    return float(128.0 / forecast(model, work_of(workload), target).response_s)


def scaled_host(target: Target, factor: float) -> Target:
    """The same target on a host that takes `factor` times as long."""
    slower: dict[str, Any] = {name: getattr(target.runtime, name) * factor for name in HOST}
    return target._replace(runtime=target.runtime._replace(**slower))


def fit_host(model: Architecture, seen: float, target: Target) -> float:
    """The factor on all host times at which the original row is met; bisection in log space."""
    low, high = 1e-3, 1e3
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        low, high = (middle, high) if tokens_per_s(model, scaled_host(target, middle)) > seen else (low, middle)
    return low


def slower_token(target: Target, seconds: float) -> Target:
    """The same target with a token's own time, beside its layers."""
    return target._replace(runtime=target.runtime._replace(token_s=seconds))


def fitted(knob: Callable[[Target, float], Target], row: dict[str, str], column: str, target: Target) -> float:
    """What to turn a knob to so that a row is met: more is slower; bisection in log space."""
    low, high = 1e-6, 1e3
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        too_quick = tokens_per_s(shape_of(row), knob(target, middle)) > float(row[column])
        low, high = (middle, high) if too_quick else (low, middle)
    return low


def method_of(row: dict[str, str]) -> str:
    """Depth pruning removes blocks of the original and changes nothing else: its rows are of one method."""
    method = "depth" if row["method"].startswith(("original", "depth")) else row["method"]
    return f"{row['source_model']}, {method}"


def throughput_report(rows: Sequence[dict[str, str]], column: str, gpu: str) -> tuple[list[list[str]], list[list[str]]]:
    """The fitted number and the errors of every method on one GPU, and every row."""
    try:
        target = Predictor.load(gpu, "transformers-eager").target("float16")
    except LatmodelError as error:
        return [[f"throughput, {gpu}", "", f"skipped: {error}"]], []
    methods: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row[column]:
            methods.setdefault(method_of(row), []).append(row)
    original = scaled_host(target, fitted(scaled_host, methods["LLaMA-7B, depth"][0], column, target))
    summary, lines = [], []
    for name, (first, *others) in methods.items():
        samples = name.startswith("Vicuna")
        base, knob = (original, slower_token) if samples else (target, scaled_host)
        number = fitted(knob, first, column, base)
        there = knob(base, number)
        errors = [tokens_per_s(shape_of(row), there) / float(row[column]) - 1.0 for row in others]
        shown = f"a token's time {1e3 * number:.2f} ms" if samples else f"host × {number:.2f}"
        worst = f"{100 * max(map(abs, errors)):.1f} %"
        summary.append([f"throughput, {gpu}, {name}: {shown}, worst of the others", str(len(errors)), worst])
        for row, off in zip((first, *others), (None, *errors), strict=True):
            plain = tokens_per_s(shape_of(row), original) / float(row[column]) - 1.0
            lines.append(
                [
                    gpu, row["source_model"], row["parameters"], row["method"], f"{float(row[column]):.1f}",
                    f"{100 * plain:+.1f} %", "fitted" if off is None else f"{100 * off:+.1f} %",
                ]
            )  # fmt: skip
    return summary, lines


def main() -> int:
    """Print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data: Path = parser.parse_args().data
    summary = memory_report(memory_rows(data))
    rows = read_rows(data / "shortened_llama" / "throughput.csv")
    details: list[list[str]] = []
    for column, gpu in GPUS.items():
        more, lines = throughput_report(rows, column, gpu)
        summary, details = summary + more, details + lines
    print(table(["what", "rows", "value"], summary))
    print()
    print(
        table(["GPU", "model", "params", "method", "published tok/s", "host of the original", "of the method"], details)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
