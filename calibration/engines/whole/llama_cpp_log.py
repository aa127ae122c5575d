"""What llama.cpp's log says of the memory that it holds."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

MIB = 2.0**20
LINE = re.compile(r"(\S+)\s+(model|KV|compute|output) buffer size =\s*([\d.]+) MiB")
REPACKED = "CPU_REPACK"  # copies of weights in the order that the CPU's kernels read


def buffers(log: str) -> dict[str, float]:
    """Bytes by what they hold: "weights", "repacked", "cache", "compute", "output".

    Weights are counted where the file is mapped; of those that were packed anew the pages of the file are not read
    again, and the system may take them back.
    """
    names = {"model": "weights", "KV": "cache", "compute": "compute", "output": "output"}
    held = dict.fromkeys(("weights", "repacked", "cache", "compute", "output"), 0.0)
    for place, kind, size in LINE.findall(log):
        held["repacked" if place == REPACKED else names[kind]] += float(size) * MIB
    return held


@contextmanager
def standard_error() -> Iterator[list[str]]:
    """What is written to this process's standard error, libraries in C included, as the one item of a list."""
    found: list[str] = []
    before = os.dup(2)
    with tempfile.TemporaryFile(mode="w+", errors="replace") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            found.append(file.read())
