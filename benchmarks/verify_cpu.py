"""Five whole Transformers models that were never measured, predicted from a calibration of single blocks on this CPU.

    python benchmarks/verify_cpu.py --dtype float32 --effort normal

Calibrates (or continues), then runs each model in several rounds, the reference block re-timed around every run to take
out the drift of a shared machine, and prints predicted against measured with the 90 % interval.
"""

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

from calibration.devices.lab import TorchLab
from calibration.engines.registry import find_engine
from calibration.verbs.calibrate import calibrate
from calibration.verbs.prepare import prepare
from calibration.verbs.request import Request
from calibration.verify.since import drift_since_calibration
from calibration.verify.whole_models import RULES, Drift, Verified, coverage, mape_percent, verify
from latmodel.device.profile_file import read_profile
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

RUNTIME = "transformers-eager"


def model(
    layers: int, hidden: int, ffn: int, heads: int, kv_heads: int, head_dim: int, vocab: int, tie: bool
) -> ModelConfig:
    """A config by position, for a readable table below."""
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=head_dim, vocab_size=vocab, tie_word_embeddings=tie,
    )  # fmt: skip


# name, model, prompt: GQA, MHA and MQA; FFN ratio 2.0 to 5.0; deep and narrow to shallow and wide.
MODELS = [
    ("80x576 GQA 9/3", model(80, 576, 1536, 9, 3, 64, 32768, True), 96),
    ("16x512 MHA 8/8", model(16, 512, 1024, 8, 8, 64, 8192, False), 200),
    ("10x896 MQA 14/1", model(10, 896, 4480, 14, 1, 64, 16384, True), 64),
    ("30x320 MHA 5/5", model(30, 320, 1120, 5, 5, 64, 4096, True), 128),
    ("20x704 GQA 8/4", model(20, 704, 2304, 8, 4, 88, 12000, False), 80),
]


def main() -> None:
    """Calibrate, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--effort", choices=["quick", "normal", "rigorous"], default="normal")
    parser.add_argument("--rounds", type=int, default=3, help="times each model is run")
    parser.add_argument("--out", type=Path, default=None, help="profile to write [build/verify-DTYPE/cpu.json]")
    parser.add_argument("--reuse", action="store_true", help="verify the profile that --out holds already")
    options = parser.parse_args()
    out = options.out or Path(f"build/verify-{options.dtype}/cpu.json")
    ready = prepare(
        Request(
            "cpu", runtimes=(RUNTIME,), dtype=options.dtype, effort=options.effort, threads=1, out=out, max_noise=0.5
        )
    )
    if options.reuse and out.is_file():
        profile = read_profile(out)
    else:
        start = time.time()
        profile = calibrate(ready, print).profile
        print(f"calibrated in {time.time() - start:.0f} s, {time.process_time():.0f} s of CPU time", flush=True)
    lab = TorchLab(ready.hardware, find_engine(RUNTIME), options.dtype)
    with drift_since_calibration(lab, RUNTIME, options.dtype, ready.samples_path) as drift:
        rows = [_repeated(lab, Predictor(profile, RUNTIME), name, options, drift) for name, *_ in MODELS]
    print(report(rows))


def _repeated(
    lab: TorchLab, predictor: Predictor, name: str, options: argparse.Namespace, drift: Drift
) -> tuple[str, Verified]:
    """The median of several runs of one model, its spread between them."""
    config, prompt = next((config, prompt) for other, config, prompt in MODELS if other == name)
    work = Workload(prompt_tokens=prompt, new_tokens=8, dtype=options.dtype)
    runs = [verify(lab, predictor, config, work, replace(RULES, sample_s=1.5), drift) for _ in range(options.rounds)]
    return name, replace(
        runs[0],
        prefill_s=statistics.median(run.prefill_s for run in runs),
        decode_s_per_token=statistics.median(run.decode_s_per_token for run in runs),
        prefill_spread=_spread([run.prefill_s for run in runs]),
        decode_spread=_spread([run.decode_s_per_token for run in runs]),
    )


def _spread(values: list[float]) -> float:
    return max(values) / min(values) - 1.0


def report(rows: list[tuple[str, Verified]]) -> str:
    """The table and the three figures that matter."""
    columns = f"{'model':18s} {'phase':8s} {'measured':>10s} {'repeats':>8s} {'predicted':>10s} {'interval':>21s}"
    lines = [f"{columns} {'error':>7s}"]
    for title, row in rows:
        p = row.prediction
        for phase, name, measured, spread in (
            ("prefill", "prefill_s", row.prefill_s, row.prefill_spread),
            ("decode", "decode_s_per_token", row.decode_s_per_token, row.decode_spread),
        ):
            predicted, low, high = (getattr(p, f"{name}{end}") for end in ("", "_low", "_high"))
            inside = "" if p.holds(name, measured) else "  outside"
            lines.append(
                f"{title:18s} {phase:8s} {measured * 1e3:8.2f}ms {100 * spread:6.1f} % {predicted * 1e3:8.2f}ms "
                f"{low * 1e3:9.2f}–{high * 1e3:9.2f}ms {100 * (predicted / measured - 1):+6.1f} %{inside}"
            )
    verified = [row for _, row in rows]
    hits, total = coverage(verified)
    lines.append(
        f"MAPE prefill {mape_percent(verified, 'prefill'):.1f} %, decode {mape_percent(verified, 'decode'):.1f} %; "
        f"90 % intervals cover {hits} of {total}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
