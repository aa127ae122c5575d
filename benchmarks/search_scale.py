"""Time and memory of exact searches against the size of the space: `python benchmarks/search_scale.py`.

Each space in a process of its own on one core. Fits seconds = a · shapes^b to what was measured, and for a space of
1e12 shapes runs some parts of the sweep and projects the whole from them.
"""

import argparse
import json
import os
import subprocess
import sys
from typing import Any

# Name → space. Depth 1 to 256 with finer FFN sizes, then hidden sizes up to 65536.
SPACES: dict[str, dict[str, Any]] = {
    "1e6": {"num_hidden_layers": (8, 80, 8), "hidden_size": (512, 8192, 128), "intermediate_step": 128},
    "1e7": {"num_hidden_layers": (4, 64, 2), "hidden_size": (256, 16384, 128)},
    "5e7": {},
    "2e8": {"intermediate_step": 16},
    "1e9": {"num_hidden_layers": (1, 256, 1), "intermediate_ratio": (1.0, 8.3), "intermediate_step": 16},
    "4e9": {"num_hidden_layers": (1, 256, 1), "intermediate_ratio": (1.0, 8.3), "intermediate_step": 4},
    "1.6e10": {"num_hidden_layers": (1, 256, 1), "intermediate_ratio": (1.0, 8.3), "intermediate_step": 1},
    "1e12": {
        "num_hidden_layers": (1, 1000, 1), "hidden_size": (64, 65536, 64), "intermediate_ratio": (1.0, 8.3),
        "intermediate_step": 1,
    },
}  # fmt: skip
THREE = (["params", "prefill", "decode"], ["params", "response", "memory"])
PROGRAM = """
import json, resource, sys, time
from latmodel import Predictor, SearchSpace, Span, Workload, frontier
given, gpu, objectives, some = json.loads(sys.argv[1])
given = {name: Span(*value) if name in ("num_hidden_layers", "hidden_size") else value for name, value in given.items()}
predictor, space = Predictor.load(gpu), SearchSpace(**given)
begin, wall = time.process_time(), time.perf_counter()
told = {}
if some:
    from latmodel.search.run import job_of
    from latmodel.search.sweep import shards
    job = job_of(predictor, space, Workload(), 5.5, None, "params", objectives, (), (), False)
    parts, front = shards(job), job.look()
    chosen = parts[:: max(len(parts) // some, 1)]
    spent = []
    for part in chosen:
        start = time.process_time()
        front = job.search(part, front)
        spent.append(time.process_time() - start)
    told = {"parts": len(parts), "ran": len(chosen), "projected_s": sum(spent) / len(spent) * len(parts)}
    boxes, priced, rows = job.effort.boxes, job.effort.priced, len(front)
else:
    found = frontier(predictor, space, budget_s=5.5, objectives=objectives)
    boxes, priced, rows = found.effort.boxes, found.effort.priced, len(found)
print(json.dumps({
    "shapes": space.count if hasattr(space, "count") else len(space), "front": rows, "boxes": boxes, "priced": priced,
    "cpu_s": time.process_time() - begin, "wall_s": time.perf_counter() - wall,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, **told,
}))
"""


def measure(space: dict[str, Any], gpu: str, objectives: list[str] | None = None, some: int = 0) -> dict[str, Any]:
    """One search, or some of its parts, in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, json.dumps([space, gpu, objectives, some])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def power_law(rows: list[dict[str, Any]], name: str) -> tuple[float, float]:
    """(a, b) of value = a · shapes^b, by least squares of logarithms."""
    import numpy as np

    slope, offset = np.polyfit(np.log([row["shapes"] for row in rows]), np.log([row[name] for row in rows]), 1)
    return float(np.exp(offset)), float(slope)


def main() -> None:
    """Print one line a space, the law, and the projection."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="3090")
    parser.add_argument("--largest", type=float, default=2e9, help="largest space to search whole")
    parser.add_argument("--parts", type=int, default=4, help="parts of the space of 1e12 shapes to run")
    options = parser.parse_args()
    rows = []
    for name, space in SPACES.items():
        if float(name) <= options.largest:
            rows.append(measure(space, options.gpu))
            print(name, json.dumps(rows[-1]), flush=True)
    a, b = power_law(rows, "cpu_s")
    print(f"seconds = {a:.3g} · shapes^{b:.3f}; at 1e12 shapes {a * 1e12**b:.0f} s")
    for objectives in THREE:
        print(f"1e9, {', '.join(objectives)}", json.dumps(measure(SPACES["1e9"], options.gpu, objectives)), flush=True)
    if options.parts:
        print("1e12 in part", json.dumps(measure(SPACES["1e12"], options.gpu, some=options.parts)))


if __name__ == "__main__":
    main()
