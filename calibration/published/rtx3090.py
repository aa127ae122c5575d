"""Fit the packaged RTX 3090 profile from published measurements.

Run `python -m calibration.published.rtx3090 --data ../shared/data`.

Kernels first (per-operator times of one Llama layer), whole models after (the depth and width study), the first fit
being the prior of the second. Nothing here is measured by this project.
"""

import argparse
import datetime
from pathlib import Path

from latmodel.device.datasheets import datasheet
from latmodel.device.profile import Coefficient, DevicePart, ErrorRow, Profile, Provenance, Quality, RuntimePart
from latmodel.device.profile_file import write_profile
from latmodel.device.uncalibrated import derived_scores
from latmodel.laws.priors import DEVICE_PRIORS, PYTORCH_ONLY, RUNTIME_PRIORS

from ..fit import make
from ..fit.fit import fit
from ..observations.evidence import Evidence
from ..observations.operators import operator_evidence
from ..observations.record import Observation
from ..sources import depth_width, layer_ops
from .compiled import with_compiled
from .hosts import PYTORCH_ATTENTION

RUNTIME = "transformers-eager"
CARD = "3090"
FILE = "nvidia-geforce-rtx-3090.json"
# CUDA context, library workspaces and allocator slack of a PyTorch process on Ampere: what a driver counts beyond
# torch.cuda.max_memory_allocated. An assumption of this project, on the safe side; not part of the published peaks.
OVERHEAD_BYTES = 0.6e9
# 225 empty kernels in a CUDA graph take 0.83 us each (MegaQwen experiments/RESULTS.md, RTX 3090; in the shared data as
# operators/launch_overhead_rtx3090.csv). That is an empty kernel and the gap after it; a kernel's own floor is the
# device's, so half is taken for the gap.
GRAPH_GAP_S = 0.83e-6 / 2
# Launching a graph that exists already, copying the token in and synchronising: tens of microseconds in NVIDIA's
# guidance on CUDA graphs; nobody published it for this card.
GRAPH_PASS_S = 4e-5


# As fitted to published kernels of the A40, the same chip (profiles/nvidia-a40.json), the second with its error there.
# The share of a partly filled wave that is lost: 0.4 to 1 on other Ampere and Ada cards, 0.2 to 0.5 on later ones. And
# columns of k that fill and drain a tile: prompts of 512 tokens, which is all that was measured here, are a few waves
# and cannot tell them from other costs of a short kernel; in batches of prompts they would cost every wave.
WAVE_ROUNDING = 0.52
PROLOGUE_K, PROLOGUE_ERROR = 138.0, 0.19

# What an eager stream shows as the shortest kernel holds what lies between two of its kernels; in a graph the chip's
# own count, as fitted to the A40's (in a profiler's trace, profiles/nvidia-a40.json). So does what one multiprocessor
# loads, which eager runs do not show: 38 GB/s, of this card's 11.4 by its sheet. What merges the parts of a context is
# PyTorch's as it was timed in a graph, on an H100.
GRAPH_KERNELS = {
    "decode.split_s": (PYTORCH_ATTENTION["decode.split_s"], DEVICE_PRIORS["decode.split_s"].spread),
    "gemm.floor_s": (1.83e-6, 0.15),
    "pointwise.floor_s": (1.46e-6, 0.04),
    "gemm.tile_bandwidth": (3.35, 0.25),
}

# How far kernels of one card differ between frameworks, in log units: 3 to 8 % on the same shapes (docs/accuracy.md).
# The kernels here are another board's and another framework's than the models'.
KERNELS_APART = 0.055


def operators(data: Path) -> list[Evidence]:
    """The RTX 3090's kernels as evidence."""
    path = data / "operators" / "llmservingsim_layer_ops_fp16_rtx3090.csv"
    return operator_evidence(layer_ops.read_operators(path, datasheet(CARD).name))


def models(data: Path) -> list[Observation]:
    """The study's whole models as observations: prefill, decode, responses of 50, 100 and 200 tokens."""
    path = data / "rtx3090_depth_width" / "measurements.csv"
    rows = depth_width.read_rows(path)
    return [seen for i, row in enumerate(rows, 2) for seen in depth_width.observations_of(row, f"{path}:{i}")]


def problem(data: Path) -> make.Problem:
    """The fit to whole models, with priors from the kernels."""
    start = make.setup_at_priors(make.sheet_of(datasheet(CARD), "bfloat16"), {RUNTIME: "transformers"})
    unseen = {f"device.{name}" for name in PYTORCH_ONLY}
    start = start.moved(dict.fromkeys(unseen, 0.0))
    priors = {name: prior for name, prior in make.device_priors().items() if name not in unseen}
    wave, prologue = "device.gemm.wave_rounding", "device.gemm.prologue_k"
    priors[wave] = priors[wave]._replace(value=WAVE_ROUNDING)
    priors[prologue] = priors[prologue]._replace(value=PROLOGUE_K, spread=PROLOGUE_ERROR)
    kernels = fit(operators(data), start, priors)
    free = make.tightened(priors, kernels.coefficients, apart=KERNELS_APART) | make.runtime_priors(RUNTIME)
    return make.Problem(kernels.setup, free)


def headline(observations: list[Observation]) -> list[int]:
    """Rows that errors are reported on: one a phase and model, responses of 100 tokens as the study's."""
    return [i for i, row in enumerate(observations) if row.phase != "response" or row.new_tokens == 100]


def graph_runtime(eager: RuntimePart) -> RuntimePart:
    """The same kernels replayed from a CUDA graph: hardly any host time, a shorter gap, a cache written in place."""
    values = {
        **{name: Coefficient(value=0.0) for name in ("launch_s", "block_s", "prefill_block_s")},
        "pass_s": Coefficient(value=GRAPH_PASS_S, stderr_log=0.7, status="prior"),
        "token_s": Coefficient(value=1e-5, stderr_log=1.0, status="prior"),
        "gap_s": Coefficient(value=GRAPH_GAP_S, stderr_log=0.2, status="prior"),
        "overlap_loss": eager.coefficients["overlap_loss"],
    }  # fmt: skip
    assert values.keys() == RUNTIME_PRIORS.keys()
    return RuntimePart(
        implementation="cuda-graph",
        host="a graph replay: kernel gap published for one RTX 3090, launch of the graph assumed",
        note="cuda-graph was derived, not measured: rates of the eager runs, the chip's shortest kernels, published "
        "gap between graph nodes; run `latmodel calibrate --gpu 3090 --runtime cuda-graph` to measure it",
        memory_overhead_bytes=eager.memory_overhead_bytes,
        coefficients=values,
        device={
            "bfloat16": {
                name: Coefficient(value=value, stderr_log=error, status="prior")
                for name, (value, error) in GRAPH_KERNELS.items()
            }
        },
        conformal_scores=derived_scores(eager),
        ranges=eager.ranges,
        extrapolation_factor=eager.extrapolation_factor,
    )  # fmt: skip


def build(data: Path) -> Profile:
    """The whole profile."""
    card, observations, task = datasheet(CARD), models(data), problem(data)
    fitted = task.solve(observations)
    held_out = make.leave_out(task, observations, [row.name for row in observations])
    shown = headline(observations)
    rows = [observations[i] for i in shown]
    errors: list[ErrorRow] = [
        *make.error_rows("in sample", rows, [fitted.residuals[i] for i in shown]),
        *make.error_rows("out of sample (leave one model out)", rows, [held_out[i] for i in shown]),
    ]
    eager = make.runtime_part(
        fitted, RUNTIME, host="one machine with an RTX 3090 (hbfreed/inference-pareto)",
        memory_overhead_bytes=OVERHEAD_BYTES,
        conformal_scores=make.conformal_scores(rows, [held_out[i] for i in shown]),
        ranges=make.measured_ranges(observations),
    )  # fmt: skip
    profile = Profile(
        schema_version=2,
        name=card.name,
        gpu=card.name,
        title=card.title,
        device=DevicePart(sheet=make.sheet_part(card), coefficients={"bfloat16": make.device_table(fitted)}),
        runtimes={RUNTIME: eager, "cuda-graph": graph_runtime(eager)},
        quality=Quality(kind="published", errors=errors),
        provenance=Provenance(
            source="github hbfreed/inference-pareto (models), casys-kaist/LLMServingSim (kernels), MegaQwen (graph)",
            commit=f"{depth_width.COMMIT}, {layer_ops.COMMIT}",
            date=datetime.date.today().isoformat(),
            rows=f"{len(observations)} times of {len({row.name for row in observations})} models, 293 kernels",
            made_by="python -m calibration.published.rtx3090",
            notes=["kernels are float16, models bfloat16: the card runs both at the same rate"],
        ),
    )
    return with_compiled(profile)


def write(data: Path, path: Path) -> None:
    """Fit and write the profile, print its errors."""
    profile = build(data)
    write_profile(profile, path)
    for row in profile.quality.errors:
        print(f"{row.split:40s} {row.phase:10s} {row.rows:3d} rows  {row.mape_percent:.2f} %")


def main() -> None:
    """Write the profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("profiles") / FILE)
    options = parser.parse_args()
    write(options.data, options.out)


if __name__ == "__main__":
    main()
