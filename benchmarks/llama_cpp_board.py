"""llama.cpp on a board that this project ran it on, against what is said of the board without those runs, and with one.

    python benchmarks/llama_cpp_board.py

llama-bench of llama.cpp b11549 with CUDA 13 on one H100 (2026-11-27): Llamas of 40 × 1024 to 32 × 4096 with random
weights in four formats, prompts of 512 and 2048, 64 tokens generated, each from an empty cache and behind 4096 tokens;
medians of three repeats. Nobody else published a run on this card, so that the packaged answer is its generation's.
One model's runs from an empty cache are then given to `latmodel fit --from llama-bench`, and the others compared.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from calibration.verbs.fit_llama_bench import fit_llama_bench
from latmodel.device.profile_file import read_profile
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

CARD = "nvidia-h100-80gb-hbm3"
RUNS = Path(__file__).parent / "boards" / f"{CARD}-llama-bench.jsonl"
OWN = ((4096, "q4_k_m"), (3072, "q4_0"))  # width and format of the model whose runs are one's own


class Found(NamedTuple):
    """A run against its prediction: predicted / measured - 1, and whether its interval holds it."""

    error: float
    inside: bool


def kept_runs() -> list[dict[str, Any]]:
    """The board's rows, as llama-bench wrote them, with the model's dimensions and format."""
    return [json.loads(line) for line in RUNS.read_text().splitlines()]


def compare(rows: Sequence[dict[str, Any]], predictor: Predictor) -> dict[tuple[str, int], list[Found]]:
    """Every run against its prediction, by phase and width."""
    found: dict[tuple[str, int], list[Found]] = {}
    for row in rows:
        prompt, new, depth = row["n_prompt"], row["n_gen"], row["n_depth"]
        seconds = 1.0 / statistics.median(row["samples_ts"]) * (prompt or 1)
        workload = Workload(
            prompt_tokens=prompt or depth or 1, new_tokens=new, cached_tokens=depth if prompt else 0,
            weights=row["format"], dtype="float16",
        )  # fmt: skip
        p = predictor.predict(ModelConfig(**row["config"]), workload)
        name = "prefill_s" if prompt else "decode_s_per_token"
        key = ("prefill" if prompt else "decode", row["config"]["hidden_size"])
        error, inside = getattr(p, name) / seconds - 1.0, p.holds(name, seconds)
        found.setdefault(key, []).append(Found(error, inside))
    return found


def lines(found: Mapping[tuple[str, int], Sequence[Found]]) -> Iterator[str]:
    """Median error and coverage by phase and width."""
    for (phase, width), some in sorted(found.items()):
        errors = [one.error for one in some]
        yield (
            f"  {phase:8s} {width} wide: median error {100 * statistics.median(map(abs, errors)):3.0f} %, "
            f"bias {100 * statistics.median(errors):+3.0f} %, {sum(one.inside for one in some)} of {len(some)} inside"
        )


def main() -> None:
    """Print both comparisons."""
    rows = kept_runs()
    print("as packaged", *lines(compare(rows, Predictor.load(CARD, "llama.cpp"))), sep="\n")
    for width, form in OWN:
        own = [
            row for row in rows
            if row["config"]["hidden_size"] == width and row["format"] == form and not row["n_depth"]
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as name:
            runs, out = Path(name) / "runs.jsonl", Path(name) / "h100.json"
            told = ("model_type", "n_prompt", "n_gen", "n_depth", "avg_ts", "samples_ts", "flash_attn")
            runs.write_text("\n".join(json.dumps({key: row[key] for key in told}) for row in own))
            for line in fit_llama_bench(CARD, [runs], ModelConfig(**own[0]["config"]), None, out):
                print(line.replace(name, ""))
            others = [row for row in rows if row not in own]
            print(*lines(compare(others, Predictor(read_profile(out), "llama.cpp"))), sep="\n")


if __name__ == "__main__":
    main()
