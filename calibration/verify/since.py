"""How much slower a device runs now than when it was calibrated: the calibration's own reference, timed again."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..devices.lab import TorchLab
from ..measure.plan import CPU, GPU, make_plan
from ..measure.reference import Reference
from ..measure.session import read_samples
from ..measure.summary import Level, reference_level
from .whole_models import Drift, no_drift


@contextmanager
def drift_since_calibration(lab: TorchLab, runtime: str, dtype: str, samples: Path | None) -> Iterator[Drift]:
    """A function that times the reference and gives log(now / undisturbed) by clock.

    Gives `no_drift` where the calibration's samples are not kept at `samples`, are of another device, dtype or number
    of threads.
    """
    level = _level(lab, runtime, dtype, samples)
    if level is None:
        yield no_drift
        return
    scale = CPU if lab.hardware.kind == "cpu" else GPU
    plan = make_plan("quick", runtime, dtype, scale, lab.hardware.cache_bytes)  # references do not depend on the effort
    reference = Reference(lab, plan.references)
    try:
        yield lambda: {
            clock: level.share * math.log(now / level.seconds[clock]) for clock, now in reference.seconds().items()
        }
    finally:
        reference.close()


def _level(lab: TorchLab, runtime: str, dtype: str, path: Path | None) -> Level | None:
    if path is None or not path.is_file():
        return None
    kept = read_samples(path)
    wanted = {"device": lab.hardware.name, "threads": lab.hardware.threads, "dtype": dtype}
    records = [record for record in kept.records if record.get("runtime") == runtime]
    return reference_level(records) if records and wanted.items() <= kept.header.items() else None
