"""Runtimes of a card whose host nobody measured: a prior over published hosts, and a width that says so."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from latmodel.device.hosts import block_launches, typical_host_s
from latmodel.device.profile import Coefficient, Phase, RangeName, RuntimePart
from latmodel.laws.correction_part import Family
from latmodel.laws.priors import DEVICE_PRIORS, ENGINE_PRIORS, RUNTIME_PRIORS, SERVED_ONLY, prior_values
from latmodel.model.config import DType

from .whole_blocks import BOARDS_APART, FRAMEWORKS_APART, Vector, block_scores

ENGINE_BATCH = 64.0  # sequences at once, the most that an engine's step was seen with (`laws.priors.ENGINE_PRIORS`)
HOST_SPREAD = 0.35  # standard deviation of log(host seconds) over hosts
MEMORY_OVERHEAD_BYTES = 0.6e9  # as in `rtx3090.OVERHEAD_BYTES`

EAGER_NOTE = (
    "host time is a prior over published hosts (0.4-1.4 ms a layer), not a measurement of yours: run "
    "`latmodel calibrate --gpu {gpu} --runtime transformers-eager`, "
    "or `latmodel fit --gpu {gpu} --observations FILE` on a run of your own"
)
GRAPH_NOTE = (
    "cuda-graph: kernels as published, launch of a graph assumed; no whole model was measured: run "
    "`latmodel calibrate --gpu {gpu} --runtime cuda-graph`"
)
VLLM_NOTE = (
    "vllm: that framework's kernels in a graph, as published one by one; its scheduler and sampler as on an A100 "
    "and an H100 (1.3 ms a pass and 0.04 ms a sequence); no whole model was measured"
)


# Published attention is vLLM's, timed with its write of the KV cache and its bookkeeping. PyTorch's own, alone in a
# graph on an H100 (cuDNN, torch 2.11, 1 to 64 positions): 3.2 to 3.9 us in decode, 6.5 to 7.9 us in prefill. Its second
# kernel, which merges the parts of a longer context, takes 3.6 us there as fitted to whole blocks (benchmarks/boards);
# a serving framework's takes 0.7 to 7 us by its version.
PYTORCH_ATTENTION = {"decode.floor_s": 3.5e-6, "prefill.floor_s": 7e-6, "decode.split_s": 3.6e-6}
# A pointwise kernel of PyTorch's in a graph, and the gap after it, on the H100 that this project calibrated
# (benchmarks/boards), the only such graph that was timed.
PYTORCH_POINTWISE_S, GRAPH_GAP_S = 1.48e-6, 0.26e-6


class Timed(NamedTuple):
    """What a source of kernels timed: PyTorch's pointwise kernels too, and with each kernel the gap to the next."""

    pointwise: bool = False
    gaps: bool = True


IN_GRAPHS = Timed()


def pytorch_kernels(timed: Timed = IN_GRAPHS) -> dict[str, Coefficient]:
    """What differs of the device's coefficients where PyTorch launches the kernels."""
    pointwise = PYTORCH_POINTWISE_S + (GRAPH_GAP_S if timed.gaps else 0.0)
    values = PYTORCH_ATTENTION | ({} if timed.pointwise else {"pointwise.floor_s": pointwise})
    shortest = {
        name: Coefficient(value=value, stderr_log=DEVICE_PRIORS[name].spread, status="prior")
        for name, value in values.items()
    }
    return shortest | dict.fromkeys(SERVED_ONLY, Coefficient(value=0.0))


def eager_coefficients(timed: Timed = IN_GRAPHS) -> dict[str, Coefficient]:
    """Transformers eager on an unknown host: the priors' proportions, scaled to the typical block."""
    values = prior_values(RUNTIME_PRIORS)
    scale = typical_host_s() / (block_launches() * values["launch_s"] + values["block_s"])
    table = {}
    for name, value in values.items():
        scaled = value * scale if name in ("launch_s", "block_s", "prefill_block_s") else value
        spread = max(RUNTIME_PRIORS[name].spread, HOST_SPREAD)
        table[name] = Coefficient(value=float(f"{scaled:.4g}"), stderr_log=spread, status="prior")
    return {**table, **_gap(timed)}


def graph_coefficients(timed: Timed = IN_GRAPHS) -> dict[str, Coefficient]:
    """A graph replay: hardly any host time. Launching one takes tens of microseconds in NVIDIA's guidance."""
    return {
        **{name: Coefficient(value=0.0) for name in ("launch_s", "block_s", "prefill_block_s")},
        "pass_s": Coefficient(value=4e-5, stderr_log=0.7, status="prior"),
        "token_s": Coefficient(value=1e-5, stderr_log=1.0, status="prior"),
        "overlap_loss": Coefficient(value=0.02, stderr_log=0.7, status="prior"),
        **_gap(timed),
    }


def engine_coefficients() -> dict[str, Coefficient]:
    """What vLLM does between two passes, on top of a graph replay."""
    return {
        name: Coefficient(value=prior.value, stderr_log=prior.spread, status="prior")
        for name, prior in ENGINE_PRIORS.items()
    }


def _gap(timed: Timed) -> dict[str, Coefficient]:
    # Kernels that were timed inside graphs: their floors hold the gap to the next one.
    if timed.gaps:
        return {"gap_s": Coefficient(value=0.0)}
    return {"gap_s": Coefficient(value=GRAPH_GAP_S, stderr_log=RUNTIME_PRIORS["gap_s"].spread, status="prior")}


def _seen(implementation: str, ranges: Mapping[RangeName, tuple[float, float]]) -> dict[RangeName, tuple[float, float]]:
    """What was measured of an implementation: the kernels' ranges, and of an engine no larger batch than its step's."""
    if implementation != "serving" or "batch_size" not in ranges:
        return dict(ranges)
    low, high = ranges["batch_size"]
    return {**ranges, "batch_size": (low, min(high, ENGINE_BATCH))}


def host_runtimes(
    gpu: str,
    residuals: Mapping[Phase, Vector],
    ranges: Mapping[RangeName, tuple[float, float]],
    corrected: Sequence[Family],
    *,
    beyond: float = 2.0,
    timed: Timed = IN_GRAPHS,
) -> dict[str, RuntimePart]:
    """The runtimes that a published card's profile offers.

    Args:
        gpu: name for the notes.
        residuals: log(predicted / measured) of blocks of held-out kernels by phase. They are the device's part of every
            interval; that of the host, which is a prior, follows from the known hosts (`latmodel.device.hosts`).
        ranges: what was measured, in a model's dimensions.
        corrected: families with a correction; only vLLM runs all those kernels, PyTorch shares its matrix products.
        beyond: factor on intervals outside the ranges.
        timed: what the source of the kernels timed.
    """

    def part(implementation: str, note: str, kernels: Sequence[Family]) -> RuntimePart:
        table = (eager_coefficients if implementation == "transformers" else graph_coefficients)(timed)
        if implementation == "serving":
            table |= engine_coefficients()
        host = "a prior over published hosts" if implementation == "transformers" else "a graph replay, launch assumed"
        # The published kernels are a serving framework's; PyTorch's are another's.
        apart = BOARDS_APART if implementation == "serving" else FRAMEWORKS_APART
        scores = {phase: block_scores(some, apart) for phase, some in residuals.items()}
        own: dict[DType, dict[str, Coefficient]] = (
            {} if implementation == "serving" else {"bfloat16": pytorch_kernels(timed)}
        )
        return RuntimePart(
            implementation=implementation, host=host, note=note.format(gpu=gpu), coefficients=table, device=own,
            corrected=list(kernels), conformal_scores=scores, ranges=_seen(implementation, ranges),
            memory_overhead_bytes=MEMORY_OVERHEAD_BYTES, extrapolation_factor=beyond,
        )  # fmt: skip

    products = [family for family in corrected if family == "gemm"]
    return {
        "transformers-eager": part("transformers", EAGER_NOTE, products),
        "cuda-graph": part("cuda-graph", GRAPH_NOTE, products),
        "vllm": part("serving", VLLM_NOTE, corrected),
    }
