"""Where the seconds of a response go, as parts that add up to it."""

from collections.abc import Mapping
from typing import NamedTuple

from ..model.architecture import Architecture
from ..model.config import ModelConfig, Workload
from ..model.step import Step
from .breakdown import Run, block_operators, operators
from .forward import blocks_cost, engine_seconds, head_cost, host_seconds
from .inputs import work_of
from .predictor import Predictor
from .target import Target

HOST_PARTS = ("kernel launches", "blocks", "pass", "token loop", "engine step")
DEVICE_PARTS = ("weights", "KV cache", "activations", "arithmetic", "kernel floors")
# Part → what it is.
MEANING = {
    "kernel launches": "the host dispatches operators",
    "blocks": "the host's work for each block beyond its operators: module calls, cache bookkeeping",
    "pass": "the host's work for each pass: masks, positions, synchronisation",
    "token loop": "the host picks the token and appends it",
    "engine step": "a serving engine schedules and samples between passes; nothing hides it",
    "weights": "the device reads weights",
    "KV cache": "the device reads and writes the KV cache",
    "activations": "the device moves activations",
    "arithmetic": "the device multiplies",
    "kernel floors": "the shortest time of a kernel, and the gaps between kernels",
}
Seconds = dict[str, float]


class Waterfall(NamedTuple):
    """Seconds of each part, of the prefill and of all decode steps; together they are the response."""

    prefill: Seconds
    decode: Seconds
    kernels_per_step: float
    host_share: float  # of the response

    def total(self, part: str) -> float:
        """Seconds of one part in the whole response."""
        return self.prefill.get(part, 0.0) + self.decode.get(part, 0.0)


def waterfall(predictor: Predictor, model: ModelConfig | Architecture, workload: Workload) -> Waterfall:
    """The parts of one response.

    A pass takes the longer of its two timelines and `overlap_loss` of the shorter. Its seconds go to the parts of the
    longer timeline, and `overlap_loss` of those of the shorter: a part that hides wholly behind the other timeline
    costs nothing. On the device an operator's time goes to its arithmetic where that takes half of it or more, and to
    the bytes that it moves, in their proportions, where not; floors and gaps are apart.
    """
    architecture = model.architecture() if isinstance(model, ModelConfig) else model
    work, target = work_of(workload), predictor.target(workload.dtype, workload.numbers().format)
    r, loss, depth = target.runtime, target.runtime.overlap_loss, float(architecture.num_hidden_layers)
    blocks, head = blocks_cost(architecture, work, target), head_cost(architecture, work, target)
    prefill_host, decode_host = (float(seconds) for seconds in host_seconds(depth, blocks, target))
    logit_rows = work.prefill().rows if target.every_logit(work) else work.batch
    at_prompt = _device(architecture, work.prefill(), logit_rows, target, workload)
    at_first, at_last = (_device(architecture, step, work.batch, target, workload) for step in work.decode())
    launches = float(blocks.prefill.kernels) * r.launch_s
    in_blocks = _shared({"kernel launches": launches, "blocks": prefill_host - launches}, at_prompt.blocks, loss)
    around = _shared({"kernel launches": float(head.prefill.kernels) * r.launch_s}, at_prompt.around, loss)
    engine = {"engine step": float(engine_seconds(work, target))}
    prefill = _sum(in_blocks, around, {"pass": r.pass_s}, engine)
    launches = float(blocks.first.kernels) * r.launch_s
    host = {
        "kernel launches": launches + float(head.first.kernels) * r.launch_s, "blocks": decode_host - launches,
        "pass": r.pass_s, "token loop": r.token_s,
    }  # fmt: skip
    step = _shared_mean(host, _sum(*at_first, engine), _sum(*at_last, engine), loss)
    decode = {part: float(work.new) * seconds for part, seconds in step.items()}
    total = sum(prefill.values()) + sum(decode.values())
    share = sum(prefill.get(part, 0.0) + decode.get(part, 0.0) for part in HOST_PARTS) / total
    return Waterfall(prefill, decode, float(blocks.first.kernels + head.first.kernels), share)


class _Device(NamedTuple):
    """Device seconds by part: of the blocks, and of what lies around them."""

    blocks: Seconds
    around: Seconds


def _device(model: Architecture, step: Step, logit_rows: float, target: Target, workload: Workload) -> _Device:
    each = [_op_parts(run, target) for run in operators(model, step, logit_rows, target, workload)]
    inside = sum(1 for _ in block_operators(model, step, target, workload))
    return _Device(_sum(*each[:inside]), _sum(*each[inside:]))


def _op_parts(run: Run, target: Target) -> Seconds:
    count, op, _ = run
    time = run.time(target)
    work, fixed = count * float(time.work_s), count * float(time.fixed_s)
    if 2.0 * float(time.compute_s) >= float(time.seconds):
        return {"arithmetic": work, "kernel floors": fixed}
    moved = {"weights": op.weight_bytes, "KV cache": op.cache_bytes, "activations": op.activation_bytes}
    whole = float(op.bytes)
    if whole <= 0.0:
        return {"kernel floors": work + fixed}
    return {**{part: work * float(nbytes) / whole for part, nbytes in moved.items()}, "kernel floors": fixed}


def _sum(*tables: Mapping[str, float]) -> Seconds:
    total: Seconds = {}
    for table in tables:
        for part, seconds in table.items():
            total[part] = total.get(part, 0.0) + seconds
    return total


def _shared(host: Mapping[str, float], device: Mapping[str, float], loss: float) -> Seconds:
    """Parts of two timelines that overlap: those of the longer, and `loss` of those of the shorter."""
    host_binds = sum(host.values()) >= sum(device.values())
    of_host, of_device = (1.0, loss) if host_binds else (loss, 1.0)
    return _sum(_scaled(host, of_host), _scaled(device, of_device))


def _shared_mean(
    host: Mapping[str, float], first: Mapping[str, float], last: Mapping[str, float], loss: float
) -> Seconds:
    """The same in the mean over steps whose device time grows evenly from `first` to `last`, the host's constant.

    The host binds in the share p of the steps before the two timelines cross; its parts count p + loss · (1 − p) of
    themselves, the device's what they take in the other steps, and `loss` of what they take in those.
    """
    h, d1, d2 = sum(host.values()), sum(first.values()), sum(last.values())
    p = min(max((h - d1) / (d2 - d1), 0.0), 1.0) if d2 > d1 else float(h >= d1)
    before = p * (d1 + 0.5 * p * (d2 - d1))
    whole = 0.5 * (d1 + d2)
    exposed = (whole - before) + loss * before
    mean = _scaled(_sum(first, last), 0.5)
    return _sum(_scaled(host, p + loss * (1.0 - p)), _scaled(mean, exposed / whole if whole > 0.0 else 0.0))


def _scaled(table: Mapping[str, float], factor: float) -> Seconds:
    return {part: factor * seconds for part, seconds in table.items()}
