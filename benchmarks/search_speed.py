"""Time and memory of exact searches, each in a process of its own: `python benchmarks/search_speed.py [GPU]`.

The default space, and one of about 1e9 shapes, within 5.5 s and the device's memory; one core.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

LARGE: dict[str, object] = {
    "num_hidden_layers": (1, 256, 1), "intermediate_ratio": (1.0, 8.3), "intermediate_step": 16,
}  # fmt: skip
# Space, quality, target seconds, target bytes. Memory is that of the whole process, Python and NumPy included.
CASES: dict[str, tuple[dict[str, object], str, float, float]] = {
    "default space": ({}, "params", 0.5, 200e6),
    "1e9 shapes": (LARGE, "params", 3.0, 200e6),
    "1e9 shapes, effective-params": (LARGE, "effective-params", 4.0, 500e6),
}
PROGRAM = """
import json, resource, sys, time
from latmodel import Predictor
from latmodel.search.run import frontier
from latmodel.search.scored import quality_from
from latmodel.search.space import SearchSpace, Span
given = json.loads(sys.argv[1])
given = {name: Span(*value) if name == "num_hidden_layers" else value for name, value in given.items()}
predictor = Predictor.load(sys.argv[2])
start, begin = time.perf_counter(), time.process_time()
quality, _ = quality_from(sys.argv[3], None)
found = frontier(predictor, SearchSpace(**given), budget_s=5.5, quality=quality)
wall, busy = time.perf_counter() - start, time.process_time() - begin
print(json.dumps({
    "shapes": found.searched, "front": len(found), "boxes": found.effort.boxes, "priced": found.effort.priced,
    "wall_s": wall, "cpu_s": busy, "peak_bytes": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
}))
"""


@dataclass(frozen=True)
class Measured:
    """One search: shapes in the space and on the front, seconds, peak bytes of the process, and the targets."""

    name: str
    shapes: int
    front: int
    boxes: int
    priced: int
    wall_s: float
    cpu_s: float
    peak_bytes: float
    target_s: float
    target_bytes: float

    def line(self) -> str:
        """For people."""
        return (
            f"{self.name}: {self.shapes:.3g} shapes, {self.front} on the front, {self.boxes:.3g} boxes and "
            f"{self.priced:.3g} shapes priced; {self.cpu_s:.2f} s of one core ({self.wall_s:.2f} s wall, target "
            f"{self.target_s:g}), {self.peak_bytes / 1e6:.0f} MB (target {self.target_bytes / 1e6:.0f})"
        )


def search_speed(gpu: str = "3090") -> list[Measured]:
    """Measure every case on one core; the median of three runs by wall time."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    measured = []
    for name, (space, quality, seconds, nbytes) in CASES.items():
        runs = []
        for _ in range(3):
            command = [sys.executable, "-c", PROGRAM, json.dumps(space), gpu, quality]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            runs.append(json.loads(done.stdout))
        run = sorted(runs, key=lambda one: float(one["wall_s"]))[1]
        measured.append(Measured(name, **run, target_s=seconds, target_bytes=nbytes))
    return measured


if __name__ == "__main__":
    for result in search_speed(*sys.argv[1:2]):
        print(result.line())
