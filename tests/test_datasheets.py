"""Figures of the data sheets: the arithmetic of the hardware, and tables that others keep."""

import math
import re
from pathlib import Path

import pytest

from latmodel.device.datasheets import DTYPES, KINDS, DataSheet, datasheet, datasheets, slug

SHEETS = datasheets()
each_sheet = pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)


def test_names_are_unique_and_there_are_enough() -> None:
    assert len({sheet.name for sheet in SHEETS}) == len({sheet.title for sheet in SHEETS}) == len(SHEETS)
    assert len(SHEETS) >= 40
    assert {sheet.kind for sheet in SHEETS} == set(KINDS)


@each_sheet
def test_entry_is_complete_and_of_the_right_types(sheet: DataSheet) -> None:
    assert sheet.name == slug(sheet.title)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", sheet.name)  # the rule for profile names
    assert sheet.kind in KINDS
    assert sheet.architecture
    assert re.search(r"20\d\d", sheet.source), "a source names its year"
    assert sheet.aliases
    assert all(isinstance(alias, str) and alias for alias in sheet.aliases)
    assert all(type(count) is int for count in (sheet.memory_bytes, sheet.sm_count, sheet.l2_bytes))
    assert {"float32"} <= set(sheet.peak_flops_per_s) <= set(DTYPES)
    assert sheet.accumulate.keys() == sheet.peak_flops_per_s.keys()
    for dtype, wide in sheet.accumulate.items():
        assert wide == ("int32" if dtype.startswith("int") else "float32")
    hash(sheet)


@each_sheet
def test_figures_are_plausible(sheet: DataSheet) -> None:
    rates = sheet.peak_flops_per_s
    assert all(math.isfinite(rate) and 0.2e12 <= rate <= 20e15 for rate in rates.values())
    assert 50e9 <= sheet.bandwidth_bytes_per_s <= 10e12
    assert 4 * 2**30 <= sheet.memory_bytes <= 1024 * 2**30
    assert 4 <= sheet.sm_count <= 400
    assert 2**20 <= sheet.l2_bytes <= 512 * 2**20
    if sheet.boost_clock_hz is not None:
        assert 0.5e9 <= sheet.boost_clock_hz <= 6.5e9
    # Reading all of the memory takes an accelerator 5 ms to a second; a CPU's holds more for its speed.
    longest_s = 2.0 if sheet.kind == "cpu" else 1.0
    assert 5e-3 < sheet.memory_bytes / sheet.bandwidth_bytes_per_s < longest_s
    for dtype in ("float32", "tfloat32", "float16", "bfloat16"):
        assert 1 < rates.get(dtype, 100 * sheet.bandwidth_bytes_per_s) / sheet.bandwidth_bytes_per_s < 1000


@each_sheet
def test_narrower_types_are_not_slower(sheet: DataSheet) -> None:
    rates = sheet.peak_flops_per_s
    assert rates.get("float16", math.inf) >= rates["float32"]
    assert rates.get("bfloat16", math.inf) >= rates["float32"]
    if {"float16", "bfloat16"} <= rates.keys():
        assert rates["float16"] == rates["bfloat16"]
    if sheet.architecture != "sm_103":  # Blackwell Ultra gave its int8 units up for 4-bit ones
        assert rates.get("int8", math.inf) >= rates.get("bfloat16", rates["float32"])


# FLOP per clock per SM (CU, Xe core), dense, accumulating in float32 or int32: NVIDIA's white papers of
# each architecture; AMD's CDNA, RDNA 3 and RDNA 4 instruction set documents.
FLOP_PER_CLOCK = {
    "sm_60": {"float32": 128, "float16": 128},
    "sm_70": {"float32": 128, "float16": 1024},
    "sm_75": {"float32": 128, "float16": 1024, "int8": 2048, "int4": 4096},
    "sm_80": {"float32": 128, "tfloat32": 1024, "float16": 2048, "int8": 4096, "int4": 8192},
    "sm_86": {"float32": 256, "tfloat32": 512, "float16": 1024, "int8": 2048, "int4": 4096},
    "sm_87": {"float32": 256, "float16": 2048, "int8": 4096},
    "sm_89": {"float32": 256, "tfloat32": 512, "float16": 1024, "float8": 2048, "int8": 2048, "int4": 4096},
    "sm_90": {"float32": 256, "tfloat32": 2048, "float16": 4096, "float8": 8192, "int8": 8192},
    "sm_100": {"float32": 256, "tfloat32": 4096, "float16": 8192, "float8": 16384, "int8": 16384},
    "sm_120": {"float32": 256, "tfloat32": 512, "float16": 1024, "float8": 2048, "int8": 2048},
    "gfx90a": {"float32": 256, "float16": 1024, "int8": 1024},
    "gfx942": {"float32": 256, "tfloat32": 1024, "float16": 2048, "float8": 4096, "int8": 4096},
    "gfx950": {"float32": 256, "float16": 4096, "float8": 8192, "int8": 8192},
    "gfx1100": {"float32": 256, "float16": 512, "int8": 512, "int4": 1024},
    "gfx1201": {"float32": 256, "float16": 1024, "float8": 2048, "int8": 2048, "int4": 4096},
    "xe2": {"float32": 256, "float16": 2048, "int8": 4096},
    "xe-hpg": {"float32": 256, "float16": 2048, "int8": 4096},
}


def flop_per_clock(sheet: DataSheet, dtype: str) -> float:
    """The architecture's rate, halved on the cards that are cut down."""
    rate = FLOP_PER_CLOCK[sheet.architecture]["float16" if dtype == "bfloat16" else dtype]
    if sheet.name in ("nvidia-l40", "nvidia-a10g") and dtype != "float32":
        return rate / 2  # for every type that the tensor cores take
    floats = ("tfloat32", "float16", "bfloat16", "float8")
    return rate / 2 if sheet.name.startswith("nvidia-geforce") and dtype in floats else rate


CLOCKED = [s for s in SHEETS if s.architecture in FLOP_PER_CLOCK and s.boost_clock_hz is not None]


@pytest.mark.parametrize("sheet", CLOCKED, ids=lambda sheet: sheet.name)
def test_rates_are_units_times_clock_times_width(sheet: DataSheet) -> None:
    assert sheet.boost_clock_hz is not None
    for dtype, rate in sheet.peak_flops_per_s.items():
        expected = sheet.sm_count * sheet.boost_clock_hz * flop_per_clock(sheet, dtype)
        assert rate == pytest.approx(expected, rel=0.12), dtype


def test_nearly_every_nvidia_and_amd_card_is_checked_by_its_clock() -> None:
    unchecked = {s.name for s in SHEETS if s.kind in ("cuda", "rocm", "xpu")} - {s.name for s in CLOCKED}
    assert unchecked == {"nvidia-h100-nvl", "nvidia-h200-nvl", "nvidia-b300-sxm6-ac", "nvidia-gb300"}


# Bus width in bits and data rate per pin in Gbit/s, as the makers' tables give them.
MEMORY_BUS = {
    "t4": (256, 10), "2080 ti": (352, 14), "titan rtx": (384, 14), "3060": (192, 15), "3070": (256, 14),
    "3080": (320, 19), "3080 12gb": (384, 19), "3080 ti": (384, 19), "3090": (384, 19.5), "3090 ti": (384, 21),
    "4060": (128, 17), "4060 ti": (128, 18), "4070": (192, 21), "4070 ti super": (256, 21), "4080": (256, 22.4),
    "4080 super": (256, 23), "4090": (384, 21), "5060 ti": (128, 28), "5070": (192, 28), "5070 ti": (256, 28),
    "5080": (256, 30), "5090": (512, 28), "3080 laptop": (256, 14), "4070 laptop": (128, 16),
    "4080 laptop": (192, 18), "4090 laptop": (256, 18), "5090 laptop": (256, 28), "a40": (384, 14.5),
    "a10": (384, 12.5), "l4": (192, 12.5), "l40s": (384, 18), "a6000": (384, 16), "rtx 6000 ada": (384, 20),
    "rtx pro 6000 workstation": (512, 28), "a100": (5120, 3.186), "v100": (4096, 1.758), "h100": (5120, 5.235),
    "agx orin": (256, 6.4), "orin nx": (128, 6.4), "orin nano": (128, 4.266), "b580": (192, 19), "a770": (256, 17.5),
    "mi210": (4096, 3.2), "mi300x": (8192, 5.2), "7900 xtx": (384, 20), "9070 xt": (256, 20),
    "m1 max": (512, 6.4), "m2": (128, 6.4), "m3 pro": (192, 6.4), "m4 max": (512, 8.533),
    "epyc 7763": (512, 3.2), "epyc 9654": (768, 4.8), "xeon 8380": (512, 3.2), "xeon 8480+": (512, 4.8),
    "ryzen 9 7950x": (128, 5.2), "i9 14900k": (128, 5.6),
}  # fmt: skip


@pytest.mark.parametrize("name", MEMORY_BUS)
def test_bandwidth_is_bus_width_times_data_rate(name: str) -> None:
    bits, gigabit_per_s = MEMORY_BUS[name]
    assert datasheet(name).bandwidth_bytes_per_s == pytest.approx(bits / 8 * gigabit_per_s * 1e9, rel=0.01)


def test_the_3090_reads_as_its_white_paper() -> None:
    card = datasheet("3090")
    assert card.peak_flops_per_s["bfloat16"] == 71.2e12  # not 142: that accumulates in float16
    assert card.accumulate["bfloat16"] == "float32"
    assert (card.bandwidth_bytes_per_s, card.memory_bytes) == (936.2e9, 24 * 2**30)
    assert (card.sm_count, card.l2_bytes) == (82, 6 * 2**20)


# --- Other people's tables ----------------------------------------------------------------------

AICONFIGURATOR = {
    "a100_sxm": "a100", "a100_pcie": "a100 pcie", "a30": "a30", "h100_sxm": "h100", "h100_pcie": "h100 pcie",
    "h200_sxm": "h200", "b200_sxm": "b200", "b300_sxm": "b300", "gb200": "gb200", "gb300": "gb300", "l4": "l4",
    "l40s": "l40s", "b60": "b60", "rtx_pro_6000_server": "rtx pro 6000 server",
}  # fmt: skip
# Where the maker's own document says otherwise; the notes of each data sheet say what.
DIFFERS = {
    ("h100_pcie", "mem_bw"),  # 2 TB/s, rounded; the white paper gives 2039 GB/s
    ("rtx_pro_6000_server", "mem_bw"),  # the Workstation Edition's
    ("b60", "fp8_tc_flops"),  # a stand-in there: the card has no float8
    ("l40s", "mem_capacity"),  # what the driver leaves of 48 GiB
}
YAML_KEYS = {"bfloat16_tc_flops": "bfloat16", "int8_tc_flops": "int8", "fp8_tc_flops": "float8"}


@pytest.mark.parametrize("system", AICONFIGURATOR)
def test_agrees_with_aiconfigurator(system: str) -> None:
    package = pytest.importorskip("aiconfigurator_core")
    yaml = pytest.importorskip("yaml")
    path = Path(package.__path__[0]) / "systems" / f"{system}.yaml"
    theirs = yaml.safe_load(path.read_text(encoding="utf-8"))["gpu"]
    sheet = datasheet(AICONFIGURATOR[system])
    ours = {"mem_bw": sheet.bandwidth_bytes_per_s, "mem_capacity": sheet.memory_bytes}
    ours |= {key: sheet.peak_flops_per_s[d] for key, d in YAML_KEYS.items() if d in sheet.peak_flops_per_s}
    compared = {key for key in theirs.keys() & (ours.keys() | YAML_KEYS.keys()) if (system, key) not in DIFFERS}
    assert {"bfloat16_tc_flops", "int8_tc_flops"} <= compared
    for key in compared:
        assert ours[key] == pytest.approx(theirs[key], rel=0.005), key
    for key in ours.keys() - compared:  # an exception that no longer is one must go
        assert ours[key] != pytest.approx(theirs[key], rel=0.005), key


@pytest.mark.parametrize(
    ("title", "name"), [("NVIDIA A100", "a100"), ("NVIDIA H100", "h100"), ("AMD MI300X", "mi300x"),
                        ("AMD MI300A", "mi300a"), ("AMD MI350X", "mi350x"), ("AMD MI210X", "mi210")],
)  # fmt: skip
def test_agrees_with_the_table_of_pytorch(title: str, name: str) -> None:
    torch = pytest.importorskip("torch")
    table = pytest.importorskip("torch._inductor.analysis.device_info")
    theirs, sheet = table.lookup_device_info(title), datasheet(name)
    assert sheet.memory_bytes / 2**30 == theirs.dram_gb
    assert sheet.bandwidth_bytes_per_s == pytest.approx(theirs.dram_bw_gbs * 1e9, rel=0.03)  # 1600 for 1638.4
    for dtype in ("bfloat16", "float16", "int8"):
        dense = theirs.tops[getattr(torch, dtype)] * 1e12 / theirs.tops_sparsity_factor
        assert sheet.peak_flops_per_s[dtype] == pytest.approx(dense, rel=0.005)


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_tensor_core_widths_agree_with_pytorch(capability: int) -> None:
    torch = pytest.importorskip("torch")
    module = pytest.importorskip("torch.cuda._device_limits")
    limits = object.__new__(module.GPULimits)  # its constructor asks for a GPU
    limits.compute_capability = capability
    for dtype in ("float16", "int8"):
        multiply_adds = limits.get_fma_per_cycle_per_sm_tensor_cores(getattr(torch, dtype))
        assert FLOP_PER_CLOCK[f"sm_{capability}"][dtype] == 2 * multiply_adds
