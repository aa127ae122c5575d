"""Which machine this is, so that a profile made here is known again: a hash, nothing that tells who it is."""

import hashlib
import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

IDENTITIES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
LENGTH = 16  # hexadecimal digits kept


@cache
def machine_key() -> str:
    """A hash of the machine's id, its processor's model and the ids of its NVIDIA cards, as far as Linux tells them.

    Two containers on one machine may have two; elsewhere the name of the host stands for the id.
    """
    parts = [_first_line(IDENTITIES) or platform.node(), cpu_model(), *sorted(_card_ids())]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:LENGTH]


def cpu_model() -> str:
    """The processor's model name."""
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    if platform.system() == "Darwin":  # "Apple M2 Max", where the platform says "arm"
        import subprocess

        with suppress(OSError, subprocess.SubprocessError):
            asked = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            told = subprocess.run(asked, capture_output=True, text=True, timeout=5.0, check=True).stdout.strip()
            if told:
                return told
    return platform.processor() or platform.machine() or "CPU"


def _first_line(paths: tuple[str, ...]) -> str:
    for path in paths:
        with suppress(OSError, UnicodeDecodeError):
            text = Path(path).read_text(encoding="utf-8").strip()
            if text:
                return text
    return ""


def _card_ids() -> list[str]:
    """UUIDs of the NVIDIA cards that the driver lists; reading them loads no library."""
    ids = []
    for path in Path("/proc/driver/nvidia/gpus").glob("*/information"):
        with suppress(OSError, UnicodeDecodeError):
            ids += [
                line.split(":", 1)[1].strip()
                for line in path.read_text(encoding="utf-8").splitlines()
                if line.startswith("GPU UUID")
            ]
    return ids
