"""Passes of several tokens over a cache through llama.cpp on this CPU: models never measured, by a profile at hand.

    latmodel calibrate --gpu cpu --runtime llama.cpp --weights q4_0 --effort quick
    python benchmarks/steps_llama_cpp.py --weights q4_0 --profile profiles/cpu.json

The server keeps the beginning of a prompt (`cache_prompt`) and reads what follows in one pass, logits for its last
token alone. Nothing of such a pass is in the calibration, which times prompts and single tokens.
"""

import argparse
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
NEW, CACHED, REPEATS = (2, 4, 8, 32), (128, 1024, 4096), 3


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="q4_0")
    parser.add_argument("--profile", type=Path, default=Path("profiles/cpu.json"))
    options = parser.parse_args()
    predictor = Predictor(read_profile(options.profile), LLAMA_CPP.name)
    work = Workload(weights=options.weights)
    errors: dict[int, list[float]] = {new: [] for new in NEW}
    for shape in SHAPES:
        config = model(*shape)
        with tempfile.TemporaryDirectory() as folder, Child(LLAMA_CPP.name) as engine:
            path = Path(folder) / "model.gguf"
            engine.write(path, config, options.weights, 0)
            engine.open(path, EngineOptions(), max(CACHED) + 2 * max(NEW))
            for cached in CACHED:
                for new in NEW:
                    measured = statistics.median(engine.behind(cached, new) for _ in range(REPEATS))
                    expected = float(predictor.step(config, Step(new, cached), work).seconds)
                    errors[new].append(100.0 * (expected / measured - 1.0))
                    print(
                        f"{shape[0]:3} × {shape[1]:<5} {new:3} new over {cached:5} cached {1e3 * measured:8.2f} ms, "
                        f"predicted {1e3 * expected:8.2f} ms ({errors[new][-1]:+.1f} %)", flush=True,
                    )  # fmt: skip
    for new, some in errors.items():
        print(f"{new} new tokens: {statistics.fmean(map(abs, some)):.1f} % off")
    every = [abs(error) for some in errors.values() for error in some]
    print(f"{len(every)} passes: {statistics.fmean(every):.1f} % off")


if __name__ == "__main__":
    main()
