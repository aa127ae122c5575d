"""What is promised of the devices in the published tables: a data sheet's figures, or unsourced ones that say so."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from latmodel.device.datasheets import DataSheet, datasheet, slug
from latmodel.errors import UnknownDeviceError

from ...sources.llama_bench import DeviceFigures
from .generations import Generation, generation_of
from .power import RECALLED

CORES = re.compile(r" \((\d+)-core GPU\)")
REMARK = re.compile(r" \([^)]*\)")
UNSTATED = re.compile(r"not stated|GB module")


class Device(NamedTuple):
    """A device under one backend. `cores` scale its rates; `chip` is what its variants have in common."""

    name: str
    title: str
    chip: str
    backend: str
    generation: Generation
    bandwidth_bytes_per_s: float
    cores: float
    memory_bytes: float | None
    source: str
    watts: float | None = None


# Variants with fewer GPU cores and a narrower memory than the chip's data sheet says (Apple's own, recalled).
NARROWER = {"Apple M3 Max (30-core GPU)": 300e9, "Apple M4 Max (32-core GPU)": 410e9}
# Neither is stated for most CPUs: rates are then the device's own, in units of these round figures.
NOMINAL_BANDWIDTH, NOMINAL_CORES = 60e9, 1.0


def identify(title: str, backend: str, figures: Mapping[str, DeviceFigures]) -> Device | None:
    """The device of that name; None where nobody says its bandwidth (a CPU gets a nominal one)."""
    stated = figures.get(title)
    cores_in_name = CORES.search(title)
    sheet = None if stated else _sheet(CORES.sub("", title))
    architecture = sheet.architecture if sheet else ""
    chip = REMARK.sub("", sheet.title if sheet else title).replace(" Laptop GPU", "")
    name = sheet.name if sheet and not cores_in_name and not UNSTATED.search(title) else slug(title)
    if backend == "CPU":
        bandwidth = stated.bandwidth_bytes_per_s if stated else sheet.bandwidth_bytes_per_s if sheet else None
        return Device(
            name, title, chip, backend, Generation(_cpu_kind(title), "cpu", 1.0), bandwidth or NOMINAL_BANDWIDTH,
            NOMINAL_CORES, stated.memory_bytes if stated else None,
            (stated.source if stated else sheet.source if sheet else f"none: {NOMINAL_BANDWIDTH:.3g} B/s stands in"),
        )  # fmt: skip
    generation = generation_of(sheet.title if sheet else title, architecture)
    if stated and stated.bandwidth_bytes_per_s and stated.cores:
        return Device(
            name, title, chip, backend, generation, stated.bandwidth_bytes_per_s, stated.cores, stated.memory_bytes,
            stated.source, RECALLED.get(title),
        )  # fmt: skip
    if stated and stated.bandwidth_bytes_per_s and backend == "OpenCL":
        return Device(
            name, title, chip, backend, generation, stated.bandwidth_bytes_per_s, 8.0, stated.memory_bytes,
            stated.source,
        )  # fmt: skip
    if sheet is None:
        return None
    cores = float(cores_in_name[1]) if cores_in_name else float(sheet.sm_count)
    memory = float(sheet.memory_bytes)
    bandwidth, source = sheet.bandwidth_bytes_per_s, sheet.source[:300]
    if title in NARROWER:
        bandwidth, source = NARROWER[title], f"{source}; bandwidth of this variant recalled"
    return Device(
        name, title, chip, backend, generation, bandwidth, cores, memory, source, sheet.power_limit_w
    )  # fmt: skip


def _sheet(title: str) -> DataSheet | None:
    try:
        return datasheet(REMARK.sub("", title) if UNSTATED.search(title) else title)
    except UnknownDeviceError:
        return None


def _cpu_kind(title: str) -> str:
    for kind, pattern in (
        ("server", r"Xeon|EPYC|Threadripper|Opteron"), ("arm", r"Apple|Kirin|Raspberry|Cortex|CIX"),
        ("old", r"Core2|Phenom|FX|i[357]-[2-7]\d{3}|Pentium|KaiXian|M-5Y"),
    ):  # fmt: skip
        if re.search(pattern, title):
            return kind
    return "mobile" if re.search(r"\d(U|H|HX|HS|P|G\d)\b|Ultra", title) else "desktop"
