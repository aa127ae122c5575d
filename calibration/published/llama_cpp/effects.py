"""The hierarchy of what devices make of llama.cpp's law: groups of rows, and how unlike each other they are."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...sources.llama_bench import OLD_BUILD
from .formats import kernels_of
from .generations import VECTOR_TFLOPS
from .hierarchy import Effect, Floats
from .law import Row
from .power import excess_watts, is_portable

USUAL_BANDWIDTH = 400e9
USUAL_BUILD, YEAR_OF_BUILDS = 6000, 3000.0  # of August 2025, for rows that state a commit alone

# Where the fit starts: round figures of a data-centre card; the backends' effects are wide.
START = {
    "bandwidth_efficiency": 0.7,
    "vector_flops_per_core": 3e10,
    "product_flops_per_core": 4e11,
    "attention_ratio": 0.5,
    "cache_ratio": 0.5,
    "token_attention_flops_per_core": 1e11,
    "unpack_passes": 0.5,
    "launch_s": 3e-6,
    "prompt_launch_s": 1e-5,
    "score_bytes": 20.0,
    "pass_s": 3e-4,
}


def _backend(row: Row) -> Any:
    return row.device.backend


def _maker(row: Row) -> Any:
    return row.device.backend, row.device.generation.maker


def _generation(row: Row) -> Any:
    return row.device.backend, row.device.generation.name


def _hardware(row: Row) -> Any:
    return row.device.generation.name


def _device(row: Row) -> Any:
    return row.device.backend, row.device.title


def _format(row: Row) -> Any:
    return kernels_of(row.test.weights, row.test.config.hidden_size)


def _backend_format(row: Row) -> Any:
    return row.device.backend, _format(row)


def _generation_format(row: Row) -> Any:
    return (*_generation(row), _format(row))


def _hardware_format(row: Row) -> Any:
    return row.device.generation.name, _format(row)


def _build(row: Row) -> Any:
    return (row.device.backend, row.test.build) if row.test.build else None


def _build_format(row: Row) -> Any:
    return (row.device.backend, row.test.build, _format(row)) if row.test.build else None


def _setup(row: Row) -> Any:
    return (*_device(row), row.test.setup) if row.test.setup else None


def _one_by_one(row: Row) -> Any:
    return row.device.backend if row.test.one_by_one else None


def _llamafile_on_metal(row: Row) -> Any:
    return "llamafile" if row.device.backend == "Metal" and row.test.build == "llamafile" else None


def _generation_build(row: Row) -> Any:
    return (*_generation(row), row.test.build) if row.test.build else None


def _attention(row: Row) -> Any:
    return row.device.backend, row.test.flash_attention, row.test.build


def _flash(row: Row) -> Any:
    # llamafile has matrix kernels of its own in place of cuBLAS and rocBLAS, not of Metal's.
    backend = row.device.backend
    return backend, row.test.flash_attention is True, "" if backend == "Metal" else row.test.build


def _width(row: Row) -> float:
    return math.log(row.device.bandwidth_bytes_per_s / USUAL_BANDWIDTH)


def _watts(row: Row) -> float:
    return excess_watts(row.device.generation.maker, row.device.watts, row.device.cores)


def _power_bound(row: Row) -> Any:
    return row.device.backend if row.device.backend in ("CUDA", "ROCm") else None


def _power_bound_generation(row: Row) -> Any:
    return _generation(row) if _power_bound(row) else None


def _portable(row: Row) -> Any:
    return _power_bound(row) if is_portable(row.device.title) else None


def _age(row: Row) -> float:
    number = row.test.number
    return (number - USUAL_BUILD) / YEAR_OF_BUILDS if number and number >= OLD_BUILD else 0.0


def _core_rate(row: Row) -> float:
    generation = row.device.generation
    rate = VECTOR_TFLOPS.get(generation.name) if row.device.backend == "Vulkan" else None
    return float(np.log(rate or generation.core_tflops))


def _all(_row: Row) -> Any:
    return "all"


# Spreads in log units, chosen by hand: how unlike each other backends, generations, devices and formats are. Terms and
# spreads were chosen with devices left out in view, on the very rows that `benchmarks/llama_bench.py` and
# `benchmarks/whole_models.py --runtime llama.cpp` report.
EFFECTS = (
    Effect("bandwidth_efficiency", "backend", _backend, 0.3),
    Effect("bandwidth_efficiency", "maker", _maker, 0.15),
    Effect("bandwidth_efficiency", "hardware", _hardware, 0.15),
    Effect("bandwidth_efficiency", "generation", _generation, 0.15),
    Effect("bandwidth_efficiency", "device", _device, 0.12),
    Effect("bandwidth_efficiency", "format", _format, 0.15),
    Effect("bandwidth_efficiency", "backend and format", _backend_format, 0.15),
    Effect("bandwidth_efficiency", "generation and format", _generation_format, 0.08),
    Effect("bandwidth_efficiency", "build", _build, 0.3),
    # One machine differs from the next of its kind by clocks, drivers and what else runs: one test in two setups
    # is 10 to 18 % apart (`folds.setups_apart`). Many rows of one must not speak for a format or a generation. A few
    # machines are far slower than their kind: they save power, or something else runs.
    Effect("bandwidth_efficiency", "setup", _setup, 0.1, wild=True),
    # The wider a memory, the more must be under way at once: the kernels of one row draw less of a large chip's.
    Effect("bandwidth_efficiency", "width in a generation", _hardware, 0.1, _width),
    Effect("vector_flops_per_core", "backend", _backend, 0.5),
    Effect("vector_flops_per_core", "hardware", _hardware, 0.4),
    Effect("vector_flops_per_core", "generation", _generation, 0.3),
    Effect("vector_flops_per_core", "device", _device, 0.1),
    Effect("vector_flops_per_core", "format", _format, 0.2),
    Effect("vector_flops_per_core", "backend and format", _backend_format, 0.3),
    Effect("vector_flops_per_core", "build", _build, 0.3),
    Effect("vector_flops_per_core", "setup", _setup, 0.15),
    # Integers of a few bits are unpacked by arithmetic, whose speed is the generation's.
    Effect("vector_flops_per_core", "hardware and format", _hardware_format, 0.3),
    Effect("product_flops_per_core", "core rate", _all, 0.4, _core_rate),
    Effect("product_flops_per_core", "core rate by backend", _backend, 0.3, _core_rate),
    # Kernels that keep the matrix units busy run into the board's power; Vulkan's leave them idle for the most part.
    Effect("product_flops_per_core", "watts a core", _power_bound, 0.4, _watts),
    Effect("product_flops_per_core", "watts a core in a generation", _power_bound_generation, 0.2, _watts),
    Effect("product_flops_per_core", "portable", _portable, 0.4),
    Effect("product_flops_per_core", "backend", _backend, 0.5),
    Effect("product_flops_per_core", "maker", _maker, 0.4),
    Effect("product_flops_per_core", "hardware", _hardware, 0.5),
    Effect("product_flops_per_core", "generation", _generation, 0.35),
    Effect("product_flops_per_core", "device", _device, 0.2),
    Effect("product_flops_per_core", "format", _format, 0.15),
    Effect("product_flops_per_core", "backend and format", _backend_format, 0.15),
    Effect("product_flops_per_core", "generation and format", _generation_format, 0.1),
    Effect("product_flops_per_core", "build", _build, 0.5),
    # Vulkan's and ROCm's kernels became quicker; those until 2024 are a build of their own.
    Effect("product_flops_per_core", "age of the build", _backend, 0.4, _age),
    Effect("product_flops_per_core", "build and format", _build_format, 0.2),
    Effect("product_flops_per_core", "generation and build", _generation_build, 0.2),
    Effect("attention_ratio", "backend", _backend, 0.5),
    Effect("attention_ratio", "flash attention", _attention, 0.5),
    # LocalScore's speeds fall with the prompt on every backend as if attention were many times dearer.
    Effect("attention_ratio", "build", lambda row: row.test.build or None, 3.0),
    Effect("attention_ratio", "device", _device, 0.3),
    Effect("score_bytes", "backend", _backend, 0.5),
    Effect("score_bytes", "stated", _attention, 0.2),
    Effect("cache_ratio", "flash attention", _flash, 0.5),
    Effect("cache_ratio", "device", _device, 0.3),
    Effect("cache_ratio", "build", _llamafile_on_metal, 1.0),  # LocalScore's speeds fall with the context too
    Effect("token_attention_flops_per_core", "backend", _backend, 0.5),
    Effect("token_attention_flops_per_core", "generation", _generation, 0.3),
    # Without flash attention each query head reads its keys and values by itself, however many share them.
    Effect("token_attention_flops_per_core", "flash attention", _flash, 0.7),
    Effect("unpack_passes", "build", lambda row: (row.device.backend, row.test.build), 0.7),
    Effect("launch_s", "backend", _backend, 0.7),
    Effect("launch_s", "generation", _generation, 0.4),
    Effect("launch_s", "device", _device, 0.2),
    Effect("launch_s", "build", _build, 0.5),
    Effect("launch_s", "one by one", _one_by_one, 0.7),  # Metal's kernels until 2025, and more of them
    Effect("prompt_launch_s", "backend", _backend, 0.7),
    Effect("prompt_launch_s", "generation", _generation, 0.4),
    Effect("prompt_launch_s", "build", _build, 0.5),
    Effect("pass_s", "backend", _backend, 0.7),
    Effect("pass_s", "device", _device, 0.3),
)
# What a device's own rows move while its neighbours stay: how far it may lie from what its generation says.
OWN_EFFECTS = tuple(
    Effect(coefficient, "own", _device, spread)
    for coefficient, spread in (
        ("bandwidth_efficiency", 0.3),
        ("vector_flops_per_core", 0.6),  # what a device's kernels do is less sure than what its memory does
        ("product_flops_per_core", 0.6),
        ("attention_ratio", 0.3),
        ("cache_ratio", 0.3),
        ("launch_s", 0.3),
        ("prompt_launch_s", 0.3),
        ("pass_s", 0.3),
    )
)
# Of a CPU nobody states cores in use or memory, so that the rates are each device's own.
CPU_EFFECTS = tuple(
    effect._replace(spread=0.8) if effect.name == "device" and effect.coefficient not in ("launch_s", "pass_s")
    else effect
    for effect in EFFECTS
)  # fmt: skip
CPU_START = {
    **START,
    "vector_flops_per_core": 1e11,
    "product_flops_per_core": 1e11,
    "token_attention_flops_per_core": 1e10,
    "score_bytes": 0.01,  # a CPU's softmax works on what its cache holds
    "prompt_launch_s": 1e-9,  # none: what a CPU does around a product of many rows, it does to each row
}
NOISE = 0.06  # scatter of a row in log units where nothing else is known
ROWS_THAT_COUNT = 10  # of one device: more of them share the weight of so many, for they repeat the device's own ways


def noise_of(rows: Sequence[Row]) -> Floats:
    """Each row's scatter in log units, larger for the many rows of one device."""
    counts: dict[Any, int] = {}
    for row in rows:
        counts[_device(row)] = counts.get(_device(row), 0) + 1
    return np.array([NOISE * max(1.0, counts[_device(row)] / ROWS_THAT_COUNT) ** 0.5 for row in rows])
