"""Data sheets of devices, each figure with its source, and the names people give the devices.

The figures are in `datasheets.json`, read on first use. A data sheet promises a ceiling; what a device
reaches of it is a profile's business.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from ..errors import UnknownDeviceError

KINDS = ("cuda", "rocm", "xpu", "mps", "cpu")
DTYPES = ("float32", "tfloat32", "float16", "bfloat16", "float8", "int8", "int4")

# Architectures without matrix units: a P100 (NVIDIA WP-08019) and Apple's GPUs up to the family of the M4.
NO_MATRIX_UNITS = ("sm_60", "apple7", "apple8", "apple9")
MATRIX_ROWS = 16.0  # of an instruction of the others', tensor cores' first of all

MAX_MATCHES = 5
# How alike a name must be to be offered after a typing error (difflib's ratio, 0 to 1).
MATCH_CUTOFF = 0.6
# Longer names are no device's; cutting them bounds the search for close matches.
MAX_NAME_LENGTH = 80

# Words a user may leave out or add in front, by maker: "3090" is "NVIDIA GeForce RTX 3090".
_OPTIONAL_WORDS = {
    "nvidia": ("nvidia", "tesla", "geforce", "rtx", "gtx"),
    "amd": ("amd", "instinct"),
    "intel": ("intel",),
    "apple": ("apple",),
}
_OPTIONAL_ENDINGS = ("graphics", "gpu")
_TRADEMARK = re.compile(r"\((?:r|tm)\)")
_NOT_ALPHANUMERIC = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class DataSheet:
    """What the maker promises of one device, in SI units.

    Attributes:
        name: the slug of the title, which is also the name of the device's profile.
        title: the name that the driver reports, with the memory size where the driver's is ambiguous.
        kind: one of `KINDS`.
        peak_flops_per_s: dense matrix-product rate by dtype (`DTYPES`); a dtype that the device does not
            accelerate is missing. `float32` is the full-precision rate, without tensor cores on NVIDIA.
        accumulate: dtype in which that rate accumulates, by the same keys.
        bandwidth_bytes_per_s: of the main memory.
        memory_bytes: capacity.
        sm_count: streaming multiprocessors, compute units, Xe cores, GPU cores or CPU cores.
        l2_bytes: last-level cache; the notes say which one it is where that is not the L2.
        aliases: names that `datasheet` takes beside name and title.
        source: the documents the figures come from.
        notes: what was derived, and how; what to beware of.
        boost_clock_hz: the clock behind the tensor rates; None where the maker's figures imply none.
        power_limit_w: board power in watts; None where it is not known.
        power_source: where that is from; empty where it was recalled and no document was at hand.
        architecture: CUDA compute capability ("sm_86"), LLVM target ("gfx942") or family ("zen4").
    """

    name: str
    title: str
    kind: str
    peak_flops_per_s: Mapping[str, float] = field(hash=False)
    accumulate: Mapping[str, str] = field(hash=False)
    bandwidth_bytes_per_s: float
    memory_bytes: int
    sm_count: int
    l2_bytes: int
    aliases: tuple[str, ...]
    source: str
    notes: str = ""
    boost_clock_hz: float | None = None
    architecture: str = ""
    power_limit_w: float | None = None
    power_source: str = ""

    @property
    def peak_16_bit(self) -> float:
        """Dense rate in bfloat16, else in float16, else in float32, FLOP/s."""
        rates = self.peak_flops_per_s
        return rates.get("bfloat16") or rates.get("float16") or rates["float32"]

    @property
    def matrix_rows(self) -> float:
        """Rows that one instruction works on."""
        return 1.0 if self.architecture in NO_MATRIX_UNITS else MATRIX_ROWS

    def is_ahead_of(self, other: "DataSheet") -> bool:
        """Whether this is a device of the same maker with no less bandwidth, 16-bit peak, multiprocessors and power.

        Where the power of one alone is known the two are not compared.
        """
        mine, theirs = (
            (one.bandwidth_bytes_per_s, one.peak_16_bit, one.sm_count, one.power_limit_w or 0.0)
            for one in (self, other)
        )
        known = (self.power_limit_w is None) == (other.power_limit_w is None)
        return known and self.kind == other.kind and all(a >= b for a, b in zip(mine, theirs, strict=True))


def slug(name: str) -> str:
    """Name in lower case with "-" between words: "NVIDIA GeForce RTX 3090" -> "nvidia-geforce-rtx-3090"."""
    return _NOT_ALPHANUMERIC.sub("-", _TRADEMARK.sub("", name.lower())).strip("-")


@cache
def datasheets() -> tuple[DataSheet, ...]:
    """All data sheets, in the order of the file."""
    import pkgutil  # reads from a zipped package too; imported here because it loads `typing` and more

    raw = pkgutil.get_data("latmodel.device", "datasheets.json")
    if raw is None:  # only a loader that cannot read data gives None
        raise FileNotFoundError("latmodel/device/datasheets.json is missing: reinstall latmodel")
    return tuple(DataSheet(**{**entry, "aliases": tuple(entry["aliases"])}) for entry in json.loads(raw))


def datasheet(name: str) -> DataSheet:
    """The data sheet of the device that `name` stands for.

    Case, spaces, "-" and "_" do not count, nor do the maker's and family's words in front ("NVIDIA",
    "GeForce", "RTX", "Tesla"...) or the memory size behind. A name that several devices share means:
    "a100" the SXM4 80GB, "h100" the SXM5, "v100" the SXM2 16GB, "p100" the PCIe card, "3080" the 10 GB,
    "4060 ti" and "5060 ti" the 8 GB, "rtx pro 6000" the Server Edition, "orin" the AGX 64GB, "mi300"
    the MI300X, "mi250x" one of its two dies, "m3" the plain chip.

    Raises:
        UnknownDeviceError: no device goes by that name; carries up to `MAX_MATCHES` profile names alike.
    """
    key = _squeeze(name)
    index = _index()
    for maker in _OPTIONAL_WORDS:
        found = index.get(_core(key, maker))
        if found is not None and _maker(found) == maker:
            return found
    raise UnknownDeviceError(name, _close_matches(key))


def short_names(name: str) -> set[str]:
    """What is left of a name, squeezed, without the words that each maker's devices may leave out.

    Two names of one device share one of these.
    """
    key = _squeeze(name)
    return {_core(key, maker) for maker in _OPTIONAL_WORDS}


def _squeeze(name: str) -> str:
    """Letters and digits of a name alone, in lower case."""
    return slug(name).replace("-", "")


def _core(key: str, maker: str) -> str:
    """A squeezed name without the words that may be left out."""
    shorter = key
    for word in _OPTIONAL_WORDS[maker]:
        shorter = shorter.removeprefix(word)
    for ending in _OPTIONAL_ENDINGS:
        shorter = shorter.removesuffix(ending)
    return shorter


def _maker(sheet: DataSheet) -> str:
    first = sheet.name.split("-", 1)[0]
    return "nvidia" if first == "tesla" else first


@cache
def _index() -> dict[str, DataSheet]:
    """Every name without its optional words -> device."""
    index: dict[str, DataSheet] = {}
    for sheet in datasheets():
        for form in (sheet.name, sheet.title, *sheet.aliases):
            index[_core(_squeeze(form), _maker(sheet))] = sheet
    for core, sheet in list(index.items()):
        # setdefault: "a100" + "40gb" must stay the 40 GB card's.
        index.setdefault(f"{core}{round(sheet.memory_bytes / 2**30)}gb", sheet)
    return index


def _close_matches(key: str) -> tuple[str, ...]:
    """Names of the devices that go by something like a squeezed name, the closest first."""
    from difflib import SequenceMatcher  # not needed by anyone who types the name right

    key = key[:MAX_NAME_LENGTH]
    typed = {maker: _core(key, maker) for maker in _OPTIONAL_WORDS}
    scored = []
    for core, sheet in _index().items():
        alike = SequenceMatcher(None, typed[_maker(sheet)], core).ratio()
        if alike >= MATCH_CUTOFF:
            # Between equals the whole name decides: "rtx 3900" is rather an RTX than a B300.
            whole = SequenceMatcher(None, key, _squeeze(sheet.name)).ratio()
            scored.append((-alike, -whole, sheet.name))
    return tuple(dict.fromkeys(name for _, _, name in sorted(scored)))[:MAX_MATCHES]
