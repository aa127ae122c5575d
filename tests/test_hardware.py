"""Names of devices: every spelling finds its own data sheet, anything else is refused with close matches."""

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latmodel.device.datasheets import MAX_MATCHES, DataSheet, datasheet, datasheets, slug
from latmodel.errors import UnknownDeviceError

SHEETS = datasheets()

RESOLUTIONS = [
    ("3090", "nvidia-geforce-rtx-3090"),
    ("rtx-3090", "nvidia-geforce-rtx-3090"),
    ("RTX3090", "nvidia-geforce-rtx-3090"),
    ("RTX 3090 24GB", "nvidia-geforce-rtx-3090"),
    ("GeForce_RTX_3090", "nvidia-geforce-rtx-3090"),
    ("NVIDIA GeForce RTX 3090", "nvidia-geforce-rtx-3090"),
    ("nvidia-geforce-rtx-3090", "nvidia-geforce-rtx-3090"),
    ("  rtx   3090  ", "nvidia-geforce-rtx-3090"),
    ("4090", "nvidia-geforce-rtx-4090"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", "nvidia-geforce-rtx-4090-laptop-gpu"),
    ("4090 laptop", "nvidia-geforce-rtx-4090-laptop-gpu"),
    ("a100", "nvidia-a100-sxm4-80gb"),
    ("A100-40GB", "nvidia-a100-sxm4-40gb"),
    ("NVIDIA A100-PCIE-40GB", "nvidia-a100-pcie-40gb"),
    ("NVIDIA A100 80GB PCIe", "nvidia-a100-80gb-pcie"),
    ("h100", "nvidia-h100-80gb-hbm3"),
    ("H100 SXM5 80GB", "nvidia-h100-80gb-hbm3"),
    ("h100-pcie", "nvidia-h100-pcie"),
    ("T4", "tesla-t4"),
    ("NVIDIA T4", "tesla-t4"),
    ("nvidia tesla t4", "tesla-t4"),
    ("v100 32gb", "tesla-v100-sxm2-32gb"),
    ("rtx a6000", "nvidia-rtx-a6000"),
    ("rtx 6000 ada", "nvidia-rtx-6000-ada-generation"),
    ("b60", "intel-arc-pro-b60-graphics"),
    ("Intel(R) Arc(TM) Pro B60 Graphics", "intel-arc-pro-b60-graphics"),
    ("MI300X", "amd-instinct-mi300x"),
    ("Radeon RX 7900 XTX", "amd-radeon-rx-7900-xtx"),
    ("m3-max", "apple-m3-max"),
    ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
    ("Intel(R) Xeon(R) Platinum 8480+", "intel-xeon-platinum-8480"),
]


@pytest.mark.parametrize(("name", "expected"), RESOLUTIONS)
def test_names_resolve(name: str, expected: str) -> None:
    assert datasheet(name).name == expected


def test_shared_names_mean_the_documented_device() -> None:
    assert datasheet("3080").memory_bytes == 10 * 2**30
    assert datasheet("3080 12GB").memory_bytes == 12 * 2**30
    assert datasheet("4060 ti").memory_bytes == 8 * 2**30
    assert datasheet("4060 ti 16gb").memory_bytes == 16 * 2**30
    assert datasheet("v100").name == "tesla-v100-sxm2-16gb"
    assert datasheet("rtx pro 6000").name == "nvidia-rtx-pro-6000-blackwell-server-edition"
    assert datasheet("orin").name == "nvidia-jetson-agx-orin-64gb"


@pytest.mark.parametrize(
    ("one", "other"),
    [("3090 ti", "3090"), ("4070 ti super", "4070 ti"), ("4070 super", "4070"), ("3080 laptop", "3080"),
     ("l40s", "l40"), ("a10g", "a10"), ("a100", "a10"), ("h200 nvl", "h200"), ("gb200", "b200"), ("m3 max", "m3")],
)  # fmt: skip
def test_a_longer_name_is_another_device(one: str, other: str) -> None:
    assert datasheet(one).name != datasheet(other).name


@pytest.mark.parametrize(
    "name",
    ["nvidia m1", "amd 3090", "geforce mi300x", "rtx 3090 laptop", "3090 12gb", "rtx", "nvidia", "", "../../etc"],
)
def test_names_of_no_device_are_refused(name: str) -> None:
    with pytest.raises(UnknownDeviceError):
        datasheet(name)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("3091", "nvidia-geforce-rtx-3090"), ("309O", "nvidia-geforce-rtx-3090"), ("rtx3009", "nvidia-geforce-rtx-3090"),
     ("h10", "nvidia-h100-80gb-hbm3"), ("a1000", "nvidia-a100-sxm4-80gb"), ("rtx 6000", "nvidia-rtx-a6000"),
     ("GeForce RTX 4099", "nvidia-geforce-rtx-4090"), ("mi301x", "amd-instinct-mi300x"),
     ("orin nanno", "nvidia-jetson-orin-nano-8gb"), ("epyc 7764", "amd-epyc-7763"), ("m3 maxx", "apple-m3-max")],
)  # fmt: skip
def test_typing_errors_get_close_matches(typed: str, meant: str) -> None:
    with pytest.raises(UnknownDeviceError) as caught:
        datasheet(typed)
    assert meant in caught.value.matches
    assert len(caught.value.matches) <= MAX_MATCHES
    assert "\n" not in str(caught.value)


def test_the_closest_match_comes_first_and_nonsense_matches_nothing() -> None:
    with pytest.raises(UnknownDeviceError) as caught:
        datasheet("rtx 3099")
    assert caught.value.matches[0] == "nvidia-geforce-rtx-3090"
    with pytest.raises(UnknownDeviceError) as caught:
        datasheet("rtx 3900")
    assert caught.value.matches[0].startswith("nvidia-geforce-rtx-30")
    with pytest.raises(UnknownDeviceError) as caught:
        datasheet("banana")
    assert not caught.value.matches


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_resolves_or_is_refused_with_real_names(text: str) -> None:
    try:
        offered = [datasheet(text).name]
    except UnknownDeviceError as error:
        offered = list(error.matches)
    assert len(offered) <= MAX_MATCHES
    assert set(offered) <= {sheet.name for sheet in SHEETS}


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, DataSheet]:
    """A name of some device with other capitals and other separators between its words."""
    sheet = draw(st.sampled_from(SHEETS))
    form = draw(st.sampled_from([sheet.name, sheet.title, *sheet.aliases]))
    parts = [part.upper() if draw(st.booleans()) else part.lower() for part in re.split(r"[ _-]", form)]
    return draw(st.sampled_from(["", " ", "-", "_", "  "])).join(parts), sheet


@settings(deadline=None)
@given(spellings())
def test_every_name_finds_its_own_device_however_spelled(spelling: tuple[str, DataSheet]) -> None:
    name, sheet = spelling
    assert datasheet(name) is sheet


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.name)
def test_name_title_and_aliases_find_their_own_device(sheet: DataSheet) -> None:
    for form in (sheet.name, sheet.title, *sheet.aliases):
        assert datasheet(form) is sheet


@given(st.text())
def test_slug_is_idempotent_and_plain(text: str) -> None:
    once = slug(text)
    assert slug(once) == once
    assert re.fullmatch(r"([a-z0-9]+(-[a-z0-9]+)*)?", once)


def test_slug_by_example() -> None:
    assert slug("NVIDIA GeForce RTX 3090") == "nvidia-geforce-rtx-3090"
    assert slug("Intel(R) Arc(TM) Pro B60 Graphics") == "intel-arc-pro-b60-graphics"


# --- Loading ------------------------------------------------------------------------------------


def test_importing_reads_no_data_and_no_heavy_package() -> None:
    code = (
        "import sys, latmodel.device.datasheets as h; print(h.datasheets.cache_info().currsize, "
        "len({'torch', 'scipy', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0", "0"]
