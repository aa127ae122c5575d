"""What joins devices of one node: the time of an all-reduce, from published NCCL times (`links.json`)."""

import json
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..arrays import Array
from ..errors import UsageError

PATH = Path(__file__).with_name("links.json")


class Link(NamedTuple):
    """An all-reduce between so many devices takes latency_s + bytes / bytes_per_s, `error_percent` off on its table."""

    devices: int
    latency_s: float
    bytes_per_s: float
    error_percent: float
    source: str

    def all_reduce_s(self, nbytes: Array) -> Array:
        """Seconds to sum `nbytes` of each device over all of them."""
        return self.latency_s + nbytes * (1.0 / self.bytes_per_s)


def link_of(gpu: str, devices: int) -> Link:
    """The link between `devices` of a kind.

    Raises:
        UsageError: no time of a link between them is known.
    """
    known = _table().get(gpu)
    if known is None:
        raise UsageError(f"--devices: no link between devices of {gpu} is known, only of {', '.join(_table())}")
    found = known["devices"].get(str(devices))
    if found is None:
        raise UsageError(f"--devices {devices}: of {gpu} links of {', '.join(known['devices'])} devices are known")
    return Link(devices, found["latency_s"], found["bytes_per_s"], found["error_percent"], known["source"])


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(PATH.read_text(encoding="utf-8"))
    return table
