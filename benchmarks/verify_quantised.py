"""Transformers with weights quantised by bitsandbytes, timed on a GPU and compared with what is predicted.

    python benchmarks/verify_quantised.py                            # the runs that are kept, of one H100
    pip install bitsandbytes
    python benchmarks/verify_quantised.py --out build/quantised.jsonl   # on the GPU that is here; needs CUDA

Llamas with random weights whose products are nf4 or LLM.int8 modules (heads stay in 16 bits, as
`AutoModelForCausalLM.from_pretrained(quantization_config=…)` leaves them), and the same in 16 bits beside them. What a
format costs the host is told by the ratio to 16 bits, which a slow host shares: launches a product = 1 + (time · 16
bits predicted / 16 bits measured - 16 bits predicted) / (products · launch_s). NF4's constants are the medians of the
kept runs, so that those are no test of them; LLM.int8's are not.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from calibration.devices.hardware import detect
from calibration.devices.lab import TorchLab
from calibration.engines.block import Arena
from calibration.engines.engine import Engine, Run
from calibration.engines.llama import llama, model_run
from calibration.measure.cases import Case
from calibration.measure.samples import Rules, sample
from calibration.verify.whole_models import model_cases
from latmodel.device.datasheets import slug
from latmodel.model.config import CONFIG_FIELDS, ModelConfig, Workload
from latmodel.predict.predictor import Predictor

KEPT = Path(__file__).parent / "boards/nvidia-h100-80gb-hbm3-quantised.jsonl"
FORMATS = (None, "nf4", "int8")
PRODUCTS = 7  # of a layer
RULES = Rules(block_s=0.0, sample_s=0.6)


def model(layers: int, hidden: int, ffn: int, heads: int, kv_heads: int) -> ModelConfig:
    """A Llama with a vocabulary of 32,000."""
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=32000, tie_word_embeddings=False,
    )  # fmt: skip


MODELS = (
    model(12, 1024, 2816, 16, 4), model(24, 2048, 5632, 32, 8), model(16, 3072, 8192, 24, 8),
    model(16, 4096, 11008, 32, 32),
)  # fmt: skip
# Prompt, new tokens, batch: a prompt's rows, one row, and a few.
WORKLOADS = ((512, 6, 1), (64, 6, 1), (128, 6, 4), (128, 6, 16))


def nf4(linear: Any) -> Any:
    """The module that `load_in_4bit` puts in the place of a product."""
    import bitsandbytes as bnb

    made = bnb.nn.Linear4bit(
        linear.in_features, linear.out_features, bias=False, compute_dtype=linear.weight.dtype, quant_type="nf4",
        device="meta",
    )  # fmt: skip
    made.weight = bnb.nn.Params4bit(linear.weight.data.cpu(), requires_grad=False, quant_type="nf4")
    return made.to(linear.weight.device)


def int8(linear: Any) -> Any:
    """The module that `load_in_8bit` puts in the place of a product."""
    import bitsandbytes as bnb

    made = bnb.nn.Linear8bitLt(
        linear.in_features, linear.out_features, bias=False, has_fp16_weights=False, threshold=6.0, device="meta"
    )
    made.weight = bnb.nn.Int8Params(linear.weight.data.cpu(), requires_grad=False, has_fp16_weights=False)
    return made.to(linear.weight.device)


MODULES: dict[str, Callable[[Any], Any]] = {"nf4": nf4, "int8": int8}


def quantised(weights: str | None) -> Callable[[Case, Arena, torch.device], Run]:
    """How Transformers builds a model with these weights; the cases of one shape share it."""
    made: dict[ModelConfig, Any] = {}

    def build(case: Case, arena: Arena, device: torch.device) -> Run:
        if case.shape not in made:
            arena.rewind()
            made[case.shape] = llama(case.shape, arena, device)
            if weights is not None:
                for layer in made[case.shape].model.layers:
                    swap(layer.self_attn, weights)
                    swap(layer.mlp, weights)
        return model_run(case, made[case.shape], device)

    return build


def swap(part: torch.nn.Module, weights: str) -> None:
    """Put quantised modules in the place of products."""
    for name, child in list(part.named_children()):
        if isinstance(child, torch.nn.Linear):
            setattr(part, name, MODULES[weights](child))


def measured(path: Path, dtype: str) -> None:
    """Time each model, format and workload on the GPU that is here; each time is appended to `path`."""
    hardware = detect("cuda:0")
    for config in MODELS:
        for weights in FORMATS:
            lab = TorchLab(hardware, Engine("transformers-eager", "transformers", quantised(weights)), dtype)
            for prompt, new, batch in WORKLOADS:
                work = Workload(prompt_tokens=prompt, new_tokens=new, batch_size=batch, dtype=dtype)  # type: ignore[arg-type]
                for case in model_cases(config, work, "transformers-eager"):
                    opened = lab.open(case)
                    times = sample(opened, lab.now, RULES).times
                    opened.close()
                    seen = case.observation(slug(hardware.name), "wall", times.wall_s / case.units, 0.02, ())
                    row = {**seen.model_dump(), "weights": weights, "device_s": (times.device_s or 0.0) / case.units}
                    with path.open("a") as file:
                        file.write(json.dumps(row) + "\n")
                    print(f"{case.name} {config.hidden_size} {weights}: {seen.seconds * 1e3:.3f} ms", flush=True)
            del lab
            torch.cuda.empty_cache()


def predicted(predictor: Predictor, row: dict[str, Any], weights: str | None) -> tuple[float, bool]:
    """Seconds of a row's run with these weights, and whether the row's time is inside the interval."""
    decode = row["phase"] == "decode"
    p = predictor.predict(
        ModelConfig(**{name: row[name] for name in CONFIG_FIELDS}),
        Workload(
            prompt_tokens=row["prompt_tokens"], new_tokens=row["new_tokens"] if decode else 0,
            batch_size=row["batch_size"], dtype=row["dtype"], weights=weights,
        ),
    )  # fmt: skip
    name = "decode_s_per_token" if decode else "prefill_s"
    return getattr(p, name), p.holds(name, row["seconds"])


def compare(rows: list[dict[str, Any]]) -> None:
    """Errors and coverage by format; launches a product by format, of up to 4 rows and of more."""
    predictor = Predictor.load(rows[0]["gpu"], "transformers-eager")
    launch_s = predictor.profile.runtime_coefficients("transformers-eager").launch_s
    key = (*CONFIG_FIELDS, "phase", "prompt_tokens", "batch_size")
    plain = {tuple(row[name] for name in key): row["seconds"] for row in rows if row["weights"] is None}
    for weights in FORMATS:
        some = [row for row in rows if row["weights"] == weights]
        told = [predicted(predictor, row, weights) for row in some]
        errors = [seconds / row["seconds"] - 1.0 for row, (seconds, _) in zip(some, told, strict=True)]
        print(
            f"{weights or '16 bits'}: median error {100 * statistics.median(map(abs, errors)):.0f} %, bias "
            f"{100 * statistics.median(errors):+.0f} %, {sum(inside for _, inside in told)} of {len(some)} inside"
        )
        launches: dict[str, list[float]] = {"up to 4 rows": [], "more rows": []}
        for row in some if weights is not None else ():
            usual, _ = predicted(predictor, row, None)
            extra_s = row["seconds"] * usual / plain[tuple(row[name] for name in key)] - usual
            tokens = row["batch_size"] * (1 if row["phase"] == "decode" else row["prompt_tokens"])
            launches["up to 4 rows" if tokens <= 4 else "more rows"].append(
                1.0 + extra_s / (PRODUCTS * row["num_hidden_layers"] * launch_s)
            )
        for name, values in launches.items():
            if values:
                low, middle, high = statistics.quantiles(values, n=4)
                print(f"  launches a product, {name}: {middle:.0f} (quartiles {low:.0f} and {high:.0f})")


def main() -> None:
    """Measure if asked to, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="float16", help="of what is measured")
    parser.add_argument("--out", type=Path, help="measure, and append the times to this file; default: the kept ones")
    options = parser.parse_args()
    if options.out is not None:
        measured(options.out, options.dtype)
    compare([json.loads(line) for line in (options.out or KEPT).read_text().splitlines()])


if __name__ == "__main__":
    main()
