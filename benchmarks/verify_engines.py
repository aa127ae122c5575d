"""Five models that were never measured, predicted from a calibration of small ones under an engine on this CPU.

    latmodel calibrate --gpu cpu --runtime llama.cpp --weights q4_0 --effort quick
    python benchmarks/verify_engines.py --runtime llama.cpp --weights q4_0

Each model is written with random weights, loaded three times, and each phase repeated; the spread is half the range of
the loads' medians. With one thread the clock is the processor's, so that other processes cost little but cache.
Where the calibration's samples lie beside the profile, its reference is timed around every load, and the drift since
then is taken out; the errors of the times as they were are printed too. `--models FOLDER` keeps the written models, and
with `--write-only` nothing else is done; `--times FILE` keeps what was measured, so that it can be done in parts.
"""

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path

from calibration.engines.whole.whole_model import Child
from calibration.verify.engine import Timed, drift_of_engine, run_engine, weights_of
from calibration.verify.whole_models import Verified
from latmodel.device.engine_options import EngineOptions
from latmodel.device.profile_file import read_profile
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

SHAPES = ((24, 1280), (28, 1536), (16, 2048), (40, 768), (32, 1024))
VOCABULARY = 8192
PROMPT, NEW = 128, 64
LIMIT_S = 2.0  # of repeats of a phase in each load


def model(layers: int, hidden: int) -> ModelConfig:
    """Heads of 64, four queries a key, FFN ratio 3 in multiples of 256."""
    heads = hidden // 64
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=3 * hidden // 256 * 256,
        num_attention_heads=heads, num_key_value_heads=heads // 4, vocab_size=VOCABULARY, tie_word_embeddings=False,
    )  # fmt: skip


def timed(
    path: Path, runtime: str, config: ModelConfig, workload: Workload, setup: EngineOptions, kept: Path, profile: Path
) -> Timed:  # fmt: skip
    """What the model takes: as kept, or measured now and kept; drift is since the calibration of the profile."""
    weights = weights_of(runtime, workload)
    key = [
        runtime, weights, setup.model_dump(), config.num_hidden_layers, config.hidden_size, str(profile.resolve()),
    ]  # fmt: skip
    if kept.exists():
        for line in kept.read_text().splitlines():
            row = json.loads(line)
            if row["key"] == key:
                return Timed(**row["times"])
    drift = drift_of_engine(runtime, workload, setup, profile, path.with_name(f"{runtime}-{weights}-reference"))
    found = run_engine(runtime, config, workload, setup, LIMIT_S, path, drift)
    with kept.open("a") as file:
        file.write(json.dumps({"key": key, "times": found._asdict()}) + "\n")
    return found


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="llama.cpp")
    parser.add_argument("--weights", default="q4_0")
    parser.add_argument("--dtype", default=None, help="default: what the profile says of the runtime, or bfloat16")
    parser.add_argument("--profile", type=Path, default=Path("profiles/cpu.json"))
    parser.add_argument("--models", type=Path, help="folder that keeps the written models")
    parser.add_argument("--write-only", action="store_true")
    parser.add_argument("--times", type=Path, help="file that keeps the times")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="latmodel-") as folder:
        models = options.models or Path(folder)
        models.mkdir(parents=True, exist_ok=True)
        paths = {shape: models / f"{options.runtime}-{options.weights}-{shape[0]}x{shape[1]}" for shape in SHAPES}
        if options.write_only:
            for shape, path in paths.items():
                if not path.exists():
                    with Child(options.runtime) as child:
                        child.write_whole(path, model(*shape), options.weights)
            return
        report(options, paths, options.times or Path(folder) / "times")


def report(options: argparse.Namespace, paths: dict[tuple[int, int], Path], kept: Path) -> None:
    """Measure what is not kept, compare with the profile, print."""
    predictor = Predictor(read_profile(options.profile), options.runtime)
    part = predictor.profile.runtimes[options.runtime]
    setup, dtype = part.engine or EngineOptions(), options.dtype or (part.dtypes or ["bfloat16"])[0]
    workload = Workload(
        prompt_tokens=PROMPT, new_tokens=NEW, dtype=dtype, kv_cache=setup.kv_cache,
        weights=None if options.weights == dtype else options.weights,
    )  # fmt: skip
    errors: dict[str, list[float]] = {"prefill": [], "decode": []}
    with_drift: dict[str, list[float]] = {"prefill": [], "decode": []}
    inside = 0
    for shape in SHAPES:
        config = model(*shape)
        times = timed(paths[shape], options.runtime, config, workload, setup, kept, options.profile)
        row = Verified(config, workload, predictor.predict(config, workload), *times)
        told = []
        for phase, spread, drift in (
            ("prefill", row.prefill_spread, row.prefill_drift), ("decode", row.decode_spread, row.decode_drift)
        ):  # fmt: skip
            error = row.error(phase)  # type: ignore[arg-type]
            errors[phase].append(abs(error))
            with_drift[phase].append(abs((1.0 + error) * math.exp(-drift) - 1.0))
            inside += row.inside(phase)  # type: ignore[arg-type]
            told.append(
                f"{phase} {100 * error:+6.1f} % (spread of the measured {100 * spread:.1f} %, "
                f"drift {100 * math.expm1(drift):+.1f} %)"
            )
        print(f"{shape[0]:3} × {shape[1]:<5} {'   '.join(told)}", flush=True)
    print(f"mean absolute error: {_means(errors)}; {inside} of {2 * len(SHAPES)} inside 90 %")
    print(f"drift not taken out: {_means(with_drift)}")


def _means(errors: dict[str, list[float]]) -> str:
    return ", ".join(f"{phase} {100 * statistics.fmean(values):.1f} %" for phase, values in errors.items())


if __name__ == "__main__":
    main()
