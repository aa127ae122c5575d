"""Calibrate the GPU that is here, then run whole models that were never measured and compare. Needs CUDA.

    python benchmarks/verify_gpu.py --runtime torch-eager --runtime cuda-graph

Writes the profile, its observations and samples to --out, and prints predicted against measured with 90 % intervals.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

from calibration.devices.hardware import detect
from calibration.devices.lab import TorchLab
from calibration.engines.registry import find_engine
from calibration.verbs.calibrate import calibrate
from calibration.verbs.prepare import prepare
from calibration.verbs.request import Request
from calibration.verify.since import drift_since_calibration
from calibration.verify.whole_models import RULES, Drift, Verified, coverage, mape_percent, verify
from latmodel.device.datasheets import slug
from latmodel.errors import LatmodelError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor


def model(layers: int, hidden: int, ffn: int, heads: int, kv_heads: int, vocab: int = 65536) -> ModelConfig:
    """A config with heads of 64 or 128."""
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=vocab, tie_word_embeddings=True,
    )  # fmt: skip


# The shapes of the RTX 3090 study (80 × 576 to 40 × 5120) and two of other proportions.
MODELS = [
    ("80x576", model(80, 576, 1536, 9, 3)),
    ("24x2048", model(24, 2048, 5632, 16, 4)),
    ("10x4096", model(10, 4096, 11008, 32, 32)),
    ("40x5120", model(40, 5120, 13824, 40, 8)),
    ("12x1536 MQA", model(12, 1536, 7680, 12, 1)),
]


def main() -> None:
    """Calibrate, run, print; a model that does not fit is named and left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", action="append", default=None, help="repeatable [transformers-eager, cuda-graph]")
    parser.add_argument("--effort", choices=["quick", "normal", "rigorous"], default="normal")
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--generate", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("build/verify-gpu/gpu.json"))
    options = parser.parse_args()
    runtimes = tuple(options.runtime or ("transformers-eager", "cuda-graph"))
    name = slug(detect("cuda:0").name)
    ready = prepare(Request(name, "cuda:0", runtimes, options.dtype, options.effort, out=options.out, max_noise=0.3))
    done = calibrate(ready, print)
    work = Workload(prompt_tokens=options.prompt, new_tokens=options.generate, dtype=options.dtype)
    for one in runtimes:
        lab = TorchLab(ready.hardware, find_engine(one), options.dtype)
        with drift_since_calibration(lab, one, options.dtype, ready.samples_path) as drift:
            rows = verified(lab, Predictor(done.profile, one), work, drift)
        hits, total = coverage(rows)
        print(
            f"{one}: MAPE prefill {mape_percent(rows, 'prefill'):.1f} %, decode {mape_percent(rows, 'decode'):.1f} %; "
            f"90 % intervals cover {hits} of {total}"
        )


def verified(lab: TorchLab, predictor: Predictor, work: Workload, drift: Drift) -> list[Verified]:
    """Each model that fits, run and printed."""
    rows = []
    for label, config in MODELS:
        try:
            rows.append(verify(lab, predictor, config, work, replace(RULES, sample_s=1.0), drift))
        except LatmodelError as error:
            print(f"{predictor.runtime} {label}: {error}")
        else:
            print(line(predictor.runtime, label, rows[-1]), flush=True)
    return rows


def line(name: str, label: str, row: Verified) -> str:
    """One model: measured and predicted milliseconds."""
    p = row.prediction
    return (
        f"{name} {label}: prefill {row.prefill_s * 1e3:.2f} ms, predicted {p.prefill_s * 1e3:.2f} "
        f"({100 * row.error('prefill'):+.1f} %); decode {row.decode_s_per_token * 1e3:.3f} ms, "
        f"predicted {p.decode_s_per_token * 1e3:.3f} ({100 * row.error('decode'):+.1f} %); "
        f"pace taken out {100 * math.expm1(row.prefill_drift):+.1f} %, {100 * math.expm1(row.decode_drift):+.1f} %"
    )


if __name__ == "__main__":
    main()
