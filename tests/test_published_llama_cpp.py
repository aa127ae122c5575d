"""How published runs of llama.cpp are grouped: setups, power, formats, and devices that count once."""

import math

import pytest
from shapes import LLAMA_7B

from calibration.published.llama_cpp.devices import Device, identify
from calibration.published.llama_cpp.folds import HeldOut, coverage, scores, setups_apart
from calibration.published.llama_cpp.formats import format_of, kernels_of
from calibration.published.llama_cpp.generations import UNKNOWN
from calibration.published.llama_cpp.law import row_of
from calibration.published.llama_cpp.power import excess_watts, is_portable
from calibration.sources.llama_bench import SpeedTest, _setup
from latmodel.predict.intervals import conformal_quantile


def _held_out(title: str, log_ratio: float) -> HeldOut:
    device = Device(title, title, title, "CUDA", UNKNOWN, 1e12, 100.0, None, "")
    row = row_of(SpeedTest("", title, "CUDA", "", None, "", LLAMA_7B, "q4_0", None, "decode", 0, 128, 1.0), device)
    assert row is not None
    return HeldOut(row, log_ratio)


def test_a_device_of_many_rows_counts_as_one_of_few() -> None:
    single = [_held_out(f"d{number}", 0.01 * number) for number in range(1, 20)]
    many = [_held_out("d5", 0.05) for _ in range(500)]
    assert scores(single + many) == pytest.approx(scores(single))
    # Nineteen devices and the next: nine in ten of twenty are eighteen.
    assert conformal_quantile(scores(single), 0.9) == pytest.approx(0.18)


def test_coverage_is_a_mean_over_devices() -> None:
    # Nine in ten of nineteen others and one more are the eighteen nearest: the two widest lie outside.
    some = [_held_out(f"d{number}", 0.01 * number) for number in range(1, 20)]
    assert coverage(some + [_held_out("wild", 3.0) for _ in range(1000)]) == pytest.approx(18 / 20)


def test_the_same_test_in_two_setups_tells_the_floor() -> None:
    row = _held_out("x", 0.0).row
    slow = row._replace(test=row.test._replace(setup="other", seconds=math.e))
    longer = row._replace(test=row.test._replace(setup="third", tokens=256))
    assert setups_apart([row, row, longer]) == {}
    assert setups_apart([row, slow, longer]) == pytest.approx({"x": 1.0})


def test_a_setup_is_a_publisher_a_build_and_a_driver() -> None:
    def row(source: str, build: str, note: str) -> str:
        return _setup({"source": source, "build": build, "note": note})

    radv = row("kyuz0/x@d1a3 docs/results.json", "0253fb21f (9187)", "env vulkan_radv; file 3.56 GiB")
    deeper = "env vulkan_radv; file 3.56 GiB; on top of 32768 tokens in the cache"
    assert row("kyuz0/x@d1a3 docs/results.json", "0253fb21f (9187)", deeper) == radv
    assert row("kyuz0/x@d1a3 docs/results.json", "0253fb21f (9187)", "env vulkan_amdvlk; file 3.56 GiB") != radv
    assert row("kyuz0/x@d1a3 docs/results.json", "1a68ec937 (9193)", "env vulkan_radv; file 3.56 GiB") != radv
    assert row("lhl/y@5ee1 llm-bench/model", "0253fb21f (9187)", "env vulkan_radv") != radv


def test_power_is_the_data_sheets_or_recalled() -> None:
    l4, rtx = identify("NVIDIA L4", "CUDA", {}), identify("NVIDIA GeForce RTX 4090", "CUDA", {})
    assert l4 is not None and rtx is not None
    assert (l4.watts, rtx.watts) == (72, 450)  # as NVIDIA states them
    assert excess_watts("nvidia", 72, 58) == pytest.approx(math.log(72 / 58 / 3.5))
    assert excess_watts("nvidia", None, 58) == excess_watts("apple", 60, 40) == 0.0
    assert is_portable("NVIDIA GeForce RTX 4090 Laptop GPU") and not is_portable("NVIDIA GeForce RTX 4090")


def test_mixtures_share_the_kernels_of_their_main_type() -> None:
    assert kernels_of("ud-q4_k_xl", 2048) == kernels_of("q4_k_m", 2048) == "q4_k"
    assert kernels_of("f16", 1152) == "f16"
    # Gemma 3 1B: blocks of 256 do not divide its width, so that its tensors are of three types.
    assert kernels_of("q4_k_m", 1152) == "q4_k, not divided" != kernels_of("q4_0", 1152) == "q4_0"
    sizes = [format_of(name) for name in ("q4_k_m", "ud-q4_k_xl")]
    assert all(sizes) and sizes[0] != sizes[1]  # their bytes stay apart
