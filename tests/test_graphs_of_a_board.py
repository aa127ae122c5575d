"""What a profiler saw in 80 CUDA graphs of an H100, against what the laws say of splitting and of views.

Each line of `benchmarks/boards/…-graphs.jsonl` is one graph of identical blocks (torch 2.11, CUDA 13.0): its wall time
without the profiler, kernels and their seconds under it, how many of them cuBLAS names `splitK`, and the median seconds
of each kernel over views (`elementwise_kernel<128, 4>`) of a block, in their order.
"""

import json
import statistics
from pathlib import Path
from typing import Any

from latmodel.device.store import load_profile
from latmodel.laws.pointwise import walked
from latmodel.laws.splitting import unsplit
from latmodel.model.config import CONFIG_FIELDS, ModelConfig
from latmodel.model.formats import Numbers
from latmodel.model.transformer import dense_ops
from latmodel.runtimes.cuda_graph import CUDA_GRAPH

PATH = Path(__file__).parent.parent / "benchmarks/boards/nvidia-h100-80gb-hbm3-graphs.jsonl"
GRAPHS: list[dict[str, Any]] = [json.loads(line) for line in PATH.read_text().splitlines()]
DECODE = [graph for graph in GRAPHS if graph["phase"] == "decode"]
NUMBERS = Numbers(2.0, 2.0, 2.0)


def splits(graph: dict[str, Any]) -> bool:
    """Whether the law says that a product of its block splits k."""
    config = ModelConfig(**{name: graph[name] for name in CONFIG_FIELDS if name in graph}).architecture()
    rows = graph["batch_size"] * (graph["prompt_tokens"] if graph["phase"] == "prefill" else 1)
    ops = dense_ops(config.groups[0].block, config.hidden_size, float(rows), CUDA_GRAPH, NUMBERS)
    return not unsplit(ops)


def test_which_blocks_split_a_product() -> None:
    assert len(GRAPHS) == 80 and len(DECODE) == 40
    assert [splits(graph) for graph in DECODE] == [graph["split_products"] > 0 for graph in DECODE]
    assert 5 <= sum(not splits(graph) for graph in DECODE) <= 35  # both are there
    prompts = [graph for graph in GRAPHS if graph["phase"] == "prefill"]
    assert not any(map(splits, prompts))
    off = [graph for graph in prompts if graph["split_products"]]
    assert len(off) == 4 and min(graph["hidden_size"] for graph in off) > 4096


def test_kernels_follow_each_other_later_where_none_does() -> None:
    """Of short graphs, in which what the profiler adds to long kernels does not hide it."""
    gaps: dict[bool, list[float]] = {True: [], False: []}
    for graph in GRAPHS:
        if graph["seconds"] < 6e-4:
            gaps[graph["split_products"] > 0].append((graph["seconds"] - graph["kernels_s"]) / graph["kernels"])
    assert min(map(len, gaps.values())) >= 20
    apart = statistics.median(gaps[False]) - statistics.median(gaps[True])
    assert 2.5e-7 < apart < 4e-7
    fitted = load_profile("h100").runtimes["cuda-graph"].coefficients["unsplit_gap_s"]
    assert abs(fitted.value - apart) < 2e-7  # by the times of blocks alone


def test_a_kernel_over_a_view_takes_what_its_threads_walk() -> None:
    """Of keys: the two products with cosine and sine."""
    by_steps: dict[float, list[float]] = {}
    for graph in DECODE:
        if len(graph["view_kernels_s"]) == 8:
            values = float(graph["num_key_value_heads"] * graph["head_dim"] * graph["batch_size"])
            by_steps.setdefault(walked(values), []).append(statistics.mean(graph["view_kernels_s"][4:6]))
    times = [statistics.median(by_steps[steps]) for steps in sorted(by_steps)]
    assert min(by_steps) == 1.0 and max(by_steps) == 4.0 and times == sorted(times)
    assert times[0] < 1.4e-6 < 1.8e-6 < times[-1]
    each = (times[-1] - times[0]) / 3.0
    fitted = load_profile("h100").runtimes["cuda-graph"].device["bfloat16"]["pointwise.walked_s"]
    assert 0.5 * each < fitted.value < 1.5 * each
