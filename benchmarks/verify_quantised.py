"""Transformers with weights quantised by bitsandbytes, timed on the GPU that is here and compared. Needs CUDA.

    pip install bitsandbytes
    python benchmarks/verify_quantised.py --out build/quantised.jsonl

Llamas with random weights whose products are nf4 or LLM.int8 modules (heads stay in 16 bits, as
`AutoModelForCausalLM.from_pretrained(quantization_config=…)` leaves them), and the same in 16 bits beside them, so that
what a format costs is told apart from what the host costs. Each time is appended to --out as an observation whose
source names the format.
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
from calibration.engines.llama import _model as model_run
from calibration.engines.llama import llama
from calibration.measure.cases import Case
from calibration.measure.samples import Rules, sample
from calibration.verify.whole_models import model_cases
from latmodel.device.datasheets import slug
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

FORMATS = (None, "nf4", "int8")
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


def main() -> None:
    """Time and compare each model, format and workload."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=["bfloat16", "float16"], default="float16")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    hardware = detect("cuda:0")
    predictor = Predictor.load(slug(hardware.name), "transformers-eager")
    errors: dict[tuple[str | None, str], list[float]] = {}
    for config in MODELS:
        for weights in FORMATS:
            engine = Engine("transformers-eager", "transformers", quantised(weights))
            lab = TorchLab(hardware, engine, options.dtype)
            for prompt, new, batch in WORKLOADS:
                plain = Workload(prompt_tokens=prompt, new_tokens=new, batch_size=batch, dtype=options.dtype)
                work = plain if weights is None else plain.model_copy(update={"weights": weights})
                p = predictor.predict(config, work)
                for case, predicted in zip(
                    model_cases(config, plain, "transformers-eager"), (p.prefill_s, p.decode_s_per_token), strict=True
                ):
                    opened = lab.open(case)
                    times = sample(opened, lab.now, RULES).times
                    opened.close()
                    seconds, device_s = times.wall_s / case.units, (times.device_s or 0.0) / case.units
                    seen = case.observation(slug(hardware.name), "wall", seconds, 0.02, ())
                    line = {**seen.model_dump(), "weights": weights, "device_s": device_s, "predicted_s": predicted}
                    with options.out.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    errors.setdefault((weights, case.phase), []).append(predicted / seconds - 1.0)
                    print(
                        f"{config.num_hidden_layers}x{config.hidden_size} {weights or '16 bits':8s} {case.phase:8s}"
                        f"{prompt:5d} x {batch:2d}: {seconds * 1e3:8.3f} ms (device {device_s * 1e3:8.3f}), "
                        f"predicted {predicted * 1e3:8.3f} ({100 * errors[weights, case.phase][-1]:+.0f} %)",
                        flush=True,
                    )
            del lab
            torch.cuda.empty_cache()
    for (weights, phase), some in errors.items():
        print(f"{weights or '16 bits'} {phase}: median error {100 * statistics.median(map(abs, some)):.1f} %")


if __name__ == "__main__":
    main()
