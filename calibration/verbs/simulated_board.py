"""A whole calibration of a simulated board, to try a fleet without one: `calibrate_fleet(..., calibrate=...)`."""

from dataclasses import dataclass, field
from typing import Any

from latmodel.device.profile import Profile, SheetPart
from latmodel.errors import NoisyError
from latmodel.laws.coefficients import Sheet
from latmodel.model.config import DType

from ..fit.make import Problem
from ..fit.outcome import About, calibrated
from ..fit.start import problem
from ..measure.plan import GPU, make_plan
from ..measure.rounds import measure
from ..measure.simulated import Disturbance, SimulatedLab
from ..measure.summary import combine, observations

RUNTIME = "transformers-eager"
DTYPE: DType = "bfloat16"
# Round figures: 100 TFLOP/s, 1 TB/s, 100 multiprocessors, 40 MB of cache.
SHEET = Sheet(1e14, 1e12, 100.0, 4e7)
# What boards of one device differ in, clocks and hosts: these are fitted, the rest is known. A fit takes a second.
RATES = ("gemm.compute_efficiency", "bandwidth_efficiency", "launch_s", "block_s")


@dataclass(frozen=True)
class SimulatedBoard:
    """A board like the prior but for noise of its own, and coefficients that are multiplied by something."""

    name: str
    seed: int
    factors: dict[str, float] = field(default_factory=dict)
    noise: float = 0.01
    broken: bool = False


def calibrate_simulated(board: SimulatedBoard) -> Profile:
    """Measure the plan of a quick calibration on the simulated board, and fit.

    Raises:
        NoisyError: the board is broken.
    """
    if board.broken:
        raise NoisyError(f"{board.name}: noise above --max-noise")
    whole = problem("cuda", SHEET, {RUNTIME: "transformers"})
    task = Problem(whole.start, {name: prior for name, prior in whole.free.items() if name.endswith(RATES)})
    truth = {name: task.free[name].value * factor for name, factor in board.factors.items()}
    target = task.start.moved(truth).target(RUNTIME)
    plan = make_plan("quick", RUNTIME, DTYPE, GPU, SHEET.cache_bytes)
    log = Records()
    lab = SimulatedLab(target, board.seed, Disturbance(noise=board.noise))
    measure(lab, plan.cases, plan.references, log, plan.rules)
    about = About(board.name, "simulated", "Simulated", "none", "simulated", (), {RUNTIME: "transformers"})
    sheet = SheetPart(
        peak_flops_per_s={DTYPE: SHEET.peak_flops_per_s}, bandwidth_bytes_per_s=SHEET.bandwidth_bytes_per_s,
        memory_bytes=8e10, sm_count=SHEET.sm_count, cache_bytes=SHEET.cache_bytes, source="made up",
    )  # fmt: skip
    return calibrated(task, sheet, observations(combine(log.records, plan.cases), "simulated"), about).profile


class Records:
    """A log in memory."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def append(self, record: dict[str, Any]) -> None:
        self.records.append(record)
