"""Passes of several tokens over a cache through llama.cpp on this CPU: models never measured, by a profile at hand.

    latmodel calibrate --gpu cpu --runtime llama.cpp --weights q4_0 --effort quick
    python benchmarks/steps_llama_cpp.py --weights q4_0 --profile profiles/cpu.json

The server keeps the beginning of a prompt (`cache_prompt`) and reads what follows in one pass, logits for its last
token alone. Each model is loaded three times, since where its cache lands in memory changes the speed of attention: the
truth is the median of the loads, its spread half their range. `--models FOLDER` keeps the written models, `--times
FILE` what was measured, so that it can be done in parts.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from verify_engines import model

from calibration.engines.whole.whole_model import Child
from latmodel import Predictor, Step, Workload
from latmodel.device.engine_options import EngineOptions
from latmodel.device.profile_file import read_profile
from latmodel.runtimes.llama_cpp import LLAMA_CPP

SHAPES = ((24, 1280), (40, 768), (32, 1024))
NEW, CACHED, LOADS, REPEATS = (1, 2, 4, 8, 32), (128, 1024, 4096), 3, 2
Times = dict[tuple[int, int], float]  # cached and new tokens → seconds


def measure(path: Path, shape: tuple[int, int], weights: str) -> Times:
    """Every pass of one model in one load, written to `path` unless it is there."""
    with Child(LLAMA_CPP.name) as engine:
        if not path.exists():
            engine.write_whole(path, model(*shape), weights)
        engine.open(path, EngineOptions(), max(CACHED) + 2 * max(NEW))
        engine.prefill(max(NEW))  # warm
        return {
            (cached, new): min(engine.behind(cached, new) for _ in range(REPEATS)) for cached in CACHED for new in NEW
        }


def kept_or_measured(kept: Path, path: Path, shape: tuple[int, int], weights: str, load: int) -> Times:
    """The passes of one model in one load as kept, or measured now and kept."""
    key = [weights, *shape, load]
    if kept.exists():
        for line in kept.read_text().splitlines():
            row = json.loads(line)
            if row["key"] == key:
                return {(cached, new): seconds for cached, new, seconds in row["times"]}
    found = measure(path, shape, weights)
    with kept.open("a") as file:
        file.write(json.dumps({"key": key, "times": [[*which, seconds] for which, seconds in found.items()]}) + "\n")
    return found


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="q4_0")
    parser.add_argument("--profile", type=Path, default=Path("profiles/cpu.json"))
    parser.add_argument("--models", type=Path, help="folder that keeps the written models")
    parser.add_argument("--times", type=Path, help="file that keeps the times")
    options = parser.parse_args()
    predictor = Predictor(read_profile(options.profile), LLAMA_CPP.name)
    work = Workload(weights=options.weights)
    errors: dict[int, list[float]] = {new: [] for new in NEW}
    with tempfile.TemporaryDirectory(prefix="latmodel-") as folder:
        models, kept = options.models or Path(folder), options.times or Path(folder) / "times"
        for shape in SHAPES:
            path = models / f"{LLAMA_CPP.name}-{options.weights}-{shape[0]}x{shape[1]}"
            loads = [kept_or_measured(kept, path, shape, options.weights, load) for load in range(LOADS)]
            for cached, new in loads[0]:
                times = sorted(load[cached, new] for load in loads)
                measured = statistics.median(times)
                expected = float(predictor.step(model(*shape), Step(new, cached), work).seconds)
                errors[new].append(100.0 * (expected / measured - 1.0))
                print(
                    f"{shape[0]:3} × {shape[1]:<5} {new:3} new over {cached:5} cached {1e3 * measured:8.2f} ms "
                    f"(± {50 * (times[-1] - times[0]) / measured:.1f} %), predicted {1e3 * expected:8.2f} ms "
                    f"({errors[new][-1]:+.1f} %)", flush=True,
                )  # fmt: skip
    for new, some in errors.items():
        print(f"{new} new tokens: {statistics.fmean(map(abs, some)):.1f} % off")
    every = [abs(error) for some in errors.values() for error in some]
    print(f"{len(every)} passes: {statistics.fmean(every):.1f} % off")


if __name__ == "__main__":
    main()
