"""llama.cpp of another publisher, on devices left out: what `whole_models.py --runtime llama.cpp` prints.

`XiongjieDai/GPU-Benchmarks-on-LLM-Inference`: builds of May 2024 without flash attention, LLaMA-3 8B and 70B, F16 and
Q4_K_M, prompts of 512 to 8192 tokens. Neither these rows nor any row of these chips is in the fit; then each row once
with each other row of its device and phase. Terms of the law were found while looking at these rows, so that they are
no untouched test.

Coverage is of a random row of a random device. It is counted twice: inside the intervals that the other eight devices'
errors give, and inside those of the package's kind, from the errors of the other publishers' devices left out in folds,
by backend.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from calibration.published.llama_cpp.folds import (
    HeldOut,
    by_device,
    coverage,
    fit_rows,
    leave_devices_out,
    log_ratios,
    median_error,
    median_error_by_device,
    scores,
    with_each_own_row,
)
from calibration.published.llama_cpp.read import GPU_BACKENDS, published_rows
from latmodel.predict.intervals import conformal_quantile

SOURCE = "XiongjieDai/GPU-Benchmarks-on-LLM-Inference"
MAKERS = {"CUDA": "NVIDIA", "Metal": "Apple"}
LIMITS = {"decode": (12.0, 6.0), "prefill": (20.0, 10.0)}  # percent: unseen, with one row of the device's own


def lines(data: Path) -> Iterator[str]:
    """The report; `data` holds `llama_bench` and `whole_models`.

    Raises:
        UsageError: a table cannot be read.
    """
    rows = published_rows(data, GPU_BACKENDS, whole_models=True)
    left_out = [row for row in rows if row.test.source.startswith(SOURCE)]
    chips = {row.device.chip for row in left_out}
    others = [row for row in rows if row.device.chip not in chips]
    fitted = fit_rows(others)
    unseen = [HeldOut(row, ratio) for row, ratio in zip(left_out, log_ratios(fitted, left_out), strict=True)]
    own = with_each_own_row(fitted, left_out)
    yield f"{SOURCE}: median error in percent over rows, and over devices; coverage of 90 % intervals in percent"
    for backend, maker in MAKERS.items():
        for phase, (limit, limit_own) in LIMITS.items():
            for what, some, at_most in (("unseen", unseen, limit), ("one own row", own, limit_own)):
                yield f"{maker:7} {phase:8} {what:12} (at most {at_most:3.0f}) {_figures(some, backend, phase)}"
    folds = leave_devices_out(others)
    for what, some, known in (("unseen", unseen, folds.unseen), ("one own row", own, folds.one_own_row)):
        for phase in LIMITS:
            every, errors = ([one for one in these if one.row.test.phase == phase] for these in (some, known))
            yield (
                f"all devices, {phase:8} {what:12} {100 * coverage(every):3.0f} covered by the other eight's errors, "
                f"{100 * _covered_by(errors, every):3.0f} by other publishers'"
            )
    for title in sorted(by_device(unseen)):
        yield f"{title:35} " + "; ".join(_device(phase, title, unseen, own) for phase in LIMITS)


def _figures(some: Sequence[HeldOut], backend: str, phase: str) -> str:
    mine = [one for one in some if one.row.device.backend == backend and one.row.test.phase == phase]
    devices = len(by_device(mine))
    return f"{100 * median_error(mine):5.1f} {100 * median_error_by_device(mine):5.1f}   {devices} devices"


def _covered_by(errors: Sequence[HeldOut], some: Sequence[HeldOut]) -> float:
    """Share of rows, each device counting once, inside the intervals that others' errors on its backend give."""
    inside = []
    for backend in MAKERS:
        width = conformal_quantile(scores([one for one in errors if one.row.device.backend == backend]), 0.9)
        mine = by_device([one for one in some if one.row.device.backend == backend])
        inside += [float(np.mean(np.abs(logs) <= width)) for logs in mine.values()]
    return float(np.mean(inside))


def _device(phase: str, title: str, unseen: Sequence[HeldOut], own: Sequence[HeldOut]) -> str:
    errors = [
        100 * float(np.median([abs(np.expm1(-one.log_ratio)) for one in some if _is(one, phase, title)]))
        for some in (unseen, own)
    ]
    return f"{phase} {errors[0]:5.1f}, one own row {errors[1]:5.1f}"


def _is(one: HeldOut, phase: str, title: str) -> bool:
    return one.row.test.phase == phase and one.row.device.title == title
