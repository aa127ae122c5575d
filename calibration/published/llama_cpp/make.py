"""`python -m calibration.published.llama_cpp.make DATA`: fit the published speeds and write what the package reads.

Every device with rows gets its coefficients by weight format, every generation those of a device that nobody measured;
both with the held-out errors that their intervals are made of.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import latmodel
from latmodel.device.datasheets import datasheets
from latmodel.device.llama_cpp import BY_FORMAT
from latmodel.laws.coefficients import GGML_FITTED
from latmodel.laws.priors import GGML_PRIORS
from latmodel.model.gguf import GGUF_FORMATS
from latmodel.predict.intervals import conformal_quantile

from ...sources.llama_bench import DeviceFigures, read_devices
from .devices import Device, identify
from .folds import Folds, HeldOut, by_device, fit_rows, leave_devices_out, scores
from .hierarchy import Fitted
from .law import Row, ggml_of
from .read import GPU_BACKENDS, published_rows

TARGET = Path(latmodel.__file__).parent / "device" / "llama_cpp.json"
# Where a device was measured under several, the one that its maker's own toolkit gives comes first.
PREFERENCE = ("CUDA", "ROCm", "Metal", "Vulkan", "OpenCL", "CPU")
NATIVE = {"nvidia": "CUDA", "amd": "ROCm", "apple": "Metal", "intel": "Vulkan"}
ENOUGH_DEVICES = 9  # of a backend, for an interval of its own: of fewer the tenth may be worse than all
SHOWN_BY = 3  # devices that must have run a width, for it to count as measured
DIGITS = 4


class Side(NamedTuple):
    """GPUs or CPUs: their rows, the fit over all of them, and the folds that its errors are from."""

    rows: list[Row]
    fitted: Fitted
    folds: Folds


def fit_side(data: Path, backends: Sequence[str]) -> Side:
    """Fit and folds of some backends."""
    rows = published_rows(data, backends, whole_models=True)
    return Side(rows, fit_rows(rows), leave_devices_out(rows))


def rounded(value: float) -> float:
    """A few significant digits, which is more than is known."""
    return float(f"{value:.{DIGITS}g}")


def tables_of(side: Side, device: Device) -> dict[str, Any]:
    """Coefficients of one device: of the runtime, and of the law by weight format."""
    like = [row for row in side.rows if row.device.backend == device.backend]
    plain = [row for row in like if not row.test.build] or like
    # Builds since September 2025 use flash attention where they can, unless told otherwise.
    flash = True if any(row.test.flash_attention for row in plain) else None
    template = plain[0]
    rows = [
        template._replace(
            device=device,
            test=template.test._replace(weights=name, build="", setup="", one_by_one=False, flash_attention=flash),
        )
        for name in GGUF_FORMATS
    ]  # fmt: skip
    values = side.fitted.coefficients(rows)
    if flash:
        values["score_bytes"] = 0.0 * values["score_bytes"]
    law = ggml_of(values, device.cores)._asdict()
    known = [key for key in GGML_FITTED if key not in BY_FORMAT and np.ndim(law[key])]  # the others are a CPU's
    shared = {key: _bounded(key, float(law[key][0])) for key in known}
    formats = {
        name: [_bounded(key, float(law[key][index])) for key in BY_FORMAT] for index, name in enumerate(GGUF_FORMATS)
    }
    return {"pass_s": rounded(float(values["pass_s"][0])), "shared": shared, "formats": formats}


def _bounded(name: str, value: float) -> float:
    prior = GGML_PRIORS[f"ggml.{name}"]
    return rounded(min(max(value, prior.low), prior.high)) if value else 0.0


def device_entries(side: Side) -> dict[str, Any]:
    """Every device with rows, under its preferred backend."""
    found: dict[str, list[Row]] = {}
    for backend in PREFERENCE:
        for row in side.rows:
            if row.device.backend == backend and (
                row.device.name not in found or found[row.device.name][0].device.backend == backend
            ):
                found.setdefault(row.device.name, []).append(row)
    entries = {}
    for name, rows in sorted(found.items()):
        entries[name] = _entry(rows[0].device, rows, side)
    return entries


def _entry(device: Device, rows: Sequence[Row], side: Side) -> dict[str, Any]:
    numbers = [row.test.number for row in rows if row.test.number]
    return {
        "title": device.title, "backend": device.backend, "generation": device.generation.name,
        "bandwidth_bytes_per_s": device.bandwidth_bytes_per_s, "memory_bytes": device.memory_bytes,
        "cores": device.cores, "sheet_source": device.source, "rows": len(rows),
        "sources": sorted({row.test.source.split(" via ")[0][:60] for row in rows})[:4],
        **({"builds": [min(numbers), max(numbers)]} if numbers else {}), **tables_of(side, device),
    }  # fmt: skip


def unmeasured_entries(side: Side, figures: Mapping[str, DeviceFigures], known: set[str]) -> dict[str, Any]:
    """GPUs with a data sheet, or with figures in the table, that nobody ran llama.cpp on: as their generation does."""
    entries = {}
    for title in [*(sheet.title for sheet in datasheets() if sheet.kind != "cpu"), *figures]:
        device = identify(title, "", figures)
        if device is None or device.name in known or device.generation.maker not in NATIVE:
            continue
        entries[device.name] = _entry(device._replace(backend=NATIVE[device.generation.maker]), [], side)
    return entries


def backend_scores(side: Side, backend: str) -> dict[str, dict[str, list[float]]]:
    """|log ratio| of devices without rows of their own, and of those with one, by phase.

    Where too few devices have a row of one setup to leave out, those with rows are as unsure as those without.
    """
    unseen = _by_phase(side.folds.unseen, backend) or _by_phase(side.folds.unseen, None)
    return {"unseen": unseen, "own": _by_phase(side.folds.one_own_row, backend) or unseen}


def _by_phase(held_out: Sequence[HeldOut], backend: str | None) -> dict[str, list[float]]:
    some = [one for one in held_out if backend in (None, one.row.device.backend)]
    found = {}
    for phase in ("prefill", "decode"):
        of_phase = [one for one in some if one.row.test.phase == phase]
        if len(by_device(of_phase)) < ENOUGH_DEVICES:
            return {}
        found[phase] = [rounded(value) for value in scores(of_phase)]
    return found  # none of a response, which is as far off as its parts (`predict.intervals`)


def narrowest(rows: Sequence[Row]) -> dict[str, float]:
    """By backend of GPUs the least width of a model, per core of its device, that several devices have run.

    Of narrower ones products have too few tiles for the cores, and most of the time is `prompt_launch_s`, which is
    known by backend and hardly by device: an H100's prompts through layers of 1024 are 18 % off
    (`benchmarks/llama_cpp_board.py`).
    """
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.test.phase == "prefill":
            of_backend, name = found.setdefault(row.device.backend, {}), row.device.name
            width = row.test.config.hidden_size / row.device.cores
            of_backend[name] = min(of_backend.get(name, width), width)
    return {
        backend: rounded(sorted(widths.values())[SHOWN_BY - 1])
        for backend, widths in found.items()
        if len(widths) >= ENOUGH_DEVICES
    }


def main() -> None:
    """Fit and write, and say how many devices there are and how wide their intervals."""
    data = Path(sys.argv[1])
    gpus, cpus = fit_side(data, GPU_BACKENDS), fit_side(data, ("CPU",))
    devices = device_entries(gpus) | device_entries(cpus)
    figures = read_devices(data / "llama_bench" / "devices.csv")
    devices |= unmeasured_entries(gpus, figures, set(devices))
    backends = {name: backend_scores(cpus if name == "CPU" else gpus, name) for name in PREFERENCE}
    made = {
        "made_by": "python -m calibration.published.llama_cpp.make",
        "date": str(date.today()),
        "source": "llama-bench and LocalScore figures in issues, discussions and repositories, named at each device",
        "scores": backends,
        "narrowest": narrowest(gpus.rows),
        "devices": dict(sorted(devices.items())),
    }
    TARGET.write_text(json.dumps(made, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")
    measured = sum(1 for entry in devices.values() if entry["rows"])
    print(f"{measured} devices with rows, {len(devices)} in all, {TARGET.stat().st_size / 1e3:.0f} kB")
    for name, table in backends.items():
        widths = {
            f"{kind} {phase}": round(conformal_quantile(values, 0.9), 2)
            for kind, phases in table.items()
            for phase, values in phases.items()
        }
        print(name, widths)


if __name__ == "__main__":
    main()
