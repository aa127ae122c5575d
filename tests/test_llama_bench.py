"""Reading what llama-bench writes, and refusing what it does not."""

import json
from pathlib import Path

import pytest

from calibration.sources.llama_bench import read_own_runs
from latmodel import ModelConfig
from latmodel.errors import UsageError

SHAPE = ModelConfig(
    num_hidden_layers=32,
    hidden_size=4096,
    intermediate_size=11008,
    num_attention_heads=32,
    vocab_size=32000,
    tie_word_embeddings=False,
)
PROMPT = {"model_type": "llama 7B Q4_K - Medium", "n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 1024.0}
WRITING = {"model_type": "llama 7B Q4_K - Medium", "n_prompt": 0, "n_gen": 128, "n_depth": 4096, "avg_ts": 50.0}
BOTH = {**PROMPT, "n_gen": 128}


def _written(folder: Path, form: str) -> Path:
    path = folder / f"runs.{form}"
    rows = [PROMPT, BOTH, WRITING]
    if form == "json":
        path.write_text(json.dumps(rows))
    elif form == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    else:
        lines = [",".join(PROMPT)] + [",".join(f'"{value}"' for value in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("form", ["json", "jsonl", "csv"])
def test_all_three_outputs_say_the_same(tmp_path: Path, form: str) -> None:
    prompt, writing = read_own_runs(_written(tmp_path, form), SHAPE, "Apple M2", "Metal")
    # 512 tokens at 1024 a second; one at 50 a second, with 4096 in the cache. The mixed test is left out.
    assert (prompt.phase, prompt.tokens, prompt.depth, prompt.seconds) == ("prefill", 512, 0, 0.5)
    assert (writing.phase, writing.tokens, writing.depth, writing.seconds) == ("decode", 128, 4096, 0.02)
    assert {prompt.weights, writing.weights} == {"q4_k_m"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"latency": 3}]', "'n_prompt' is missing"),
        ('{"n_prompt": 1', "llama-bench -o json"),
        (json.dumps([{**PROMPT, "avg_ts": 0.0}]), "no speed in tokens per second"),
        (json.dumps([{**PROMPT, "model_type": "llama 7B"}]), "names no known weight format"),
        (json.dumps([BOTH]), "no test of a prompt or of generation alone"),
    ],
)
def test_other_tools_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        read_own_runs(path, SHAPE, "Apple M2", "Metal")
