"""Baguettotron against Gemma 3 12B on an RTX 3090, by preset: `python benchmarks/presets.py`.

The published study built both as plain Llamas (Gemma with heads of 240 and 65536 tied tokens) and measured 60.3 ms,
54.3 ms and 5.65 s, and 211.6 ms, 35.2 ms and 3.64 s. The presets have the real dimensions: heads of 256, QK-norm, four
norms a block, windows of 1024 in five layers of six and 262208 tokens; each row changes one thing. The other presets
follow. 512 prompt tokens and 100 new ones, batch 1, bfloat16, eager.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

from latmodel.configs.huggingface import read_config
from latmodel.configs.presets import names
from latmodel.model.architecture import Architecture, Attention, Block, Group
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor
from latmodel.report.column import Column
from latmodel.report.text import prediction_columns, table

LONG = 32_768  # a context where windows matter


# Headings under the names that this table has always had.
NAMES = {"TTFT": "prefill", "TPOT": "decode/token"}


def as_in_the_study() -> Architecture:
    """Gemma 3 12B's shape as the study built it."""
    return ModelConfig(
        num_hidden_layers=48, hidden_size=3840, intermediate_size=15360, num_attention_heads=16,
        num_key_value_heads=8, head_dim=240, vocab_size=65536, tie_word_embeddings=True,
    ).architecture()  # fmt: skip


def without_windows(model: Architecture) -> Architecture:
    """Every layer sees all positions."""

    def full(block: Block) -> Block:
        mixer = block.attention
        return replace(block, attention=replace(mixer, window=None)) if isinstance(mixer, Attention) else block

    return replace(model, groups=tuple(Group(group.count, full(group.block)) for group in model.groups))


def small_vocabulary(model: Architecture) -> Architecture:
    """65536 tokens."""
    return replace(model, vocab_size=65536.0)


def rows(predictor: Predictor) -> Iterator[list[str]]:
    """One row a model and context."""
    gemma = read_config("gemma-3-12b")
    variants: list[tuple[str, Architecture]] = [
        ("Baguettotron", read_config("baguettotron")),
        ("Gemma 3 12B, as the study built it", as_in_the_study()),
        ("Gemma 3 12B", gemma),
        ("Gemma 3 12B, no windows", without_windows(gemma)),
        ("Gemma 3 12B, 65536 tokens", small_vocabulary(gemma)),
    ]
    for name, model in variants:
        yield row(predictor, name, model, Workload())
    for name, model in (variants[2], variants[3]):
        yield row(predictor, f"{name}, {LONG} prompt tokens", model, Workload(prompt_tokens=LONG))


def row(predictor: Predictor, name: str, model: Architecture, workload: Workload) -> list[str]:
    """A name and its prediction as text."""
    cells = predictor.predict(model, workload).as_dict()
    return [name, *(column.text(cells) for column in columns(predictor))]


def columns(predictor: Predictor) -> list[Column]:
    """What is shown of a prediction."""
    return [one for one in prediction_columns(predictor.interval.level) if one.heading != "tokens/s"]


def main() -> int:
    """Print both tables."""
    predictor = Predictor.load("3090", "transformers-eager")
    headings = ["model", *(NAMES.get(column.heading, column.heading) for column in columns(predictor))]
    print(table(headings, list(rows(predictor)), title=f"{predictor.profile.title}, {predictor.runtime}"))
    print()
    others = [row(predictor, name, read_config(name), Workload()) for name in names()]
    print(table(headings, others, title="Every preset (! does not fit, ~ outside what was measured)"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
