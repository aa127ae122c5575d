"""Ways to attend: what is written out that others keep on the chip, at which rate, and which runtime has which."""

import json

import pytest
from click.testing import CliRunner
from toy import DEVICE, SHEET, TWO_BYTES

from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli.verbs import group
from latmodel.device.store import load_profile
from latmodel.errors import UsageError
from latmodel.laws.attention import decode_tiles
from latmodel.laws.dispatch import op_seconds
from latmodel.laws.pointwise import COPY_RATE
from latmodel.model.layers.attention import Attention
from latmodel.model.ops import OpCost, OpKind
from latmodel.model.step import Step
from latmodel.runtimes.transformers_eager import TRANSFORMERS

GROUPED, EVERY_HEAD = Attention(8.0, 2.0, 64.0), Attention(8.0, 8.0, 64.0)
STEP = Step(1.0, 999.0, 3.0)
CACHE = 3 * 1000 * 2 * 2 * 64 * 2  # sequences · positions · keys and values · heads · width · bytes: of GROUPED
SHAPE = ModelConfig(
    num_hidden_layers=28, hidden_size=3584, intermediate_size=18944, num_attention_heads=28, num_key_value_heads=4,
    vocab_size=152064,
)  # fmt: skip


def ops_of(layer: Attention, attention: str, step: Step = STEP) -> dict[str, OpCost]:
    return {op.name: op for op in layer.context_ops(step, TRANSFORMERS.with_attention(attention), TWO_BYTES)}


def test_repeated_keys_and_values_are_read_once_and_written_and_read_for_each_query_head() -> None:
    """(3 + 2 · groups) passes over the cache in all: two to append, one and four to repeat, four to attend."""
    ops = ops_of(GROUPED, "sdpa-4")
    assert ops["repeat_kv"].bytes == (1 + 4) * CACHE
    assert ops["attention"].cache_bytes == 4 * CACHE
    appended = 2 * CACHE * 999 / 1000 + 2 * CACHE / 1000
    assert ops["kv_cache"].bytes == pytest.approx(appended)
    assert ops["repeat_kv"].kernels == 2
    shared = ops_of(GROUPED, "sdpa")
    assert "repeat_kv" not in shared
    assert shared["attention"].cache_bytes == CACHE


def test_several_tokens_behind_a_cache_need_a_mask_and_with_it_repeated_keys() -> None:
    masked, prompt = ops_of(GROUPED, "sdpa", Step(4.0, 996.0, 3.0)), ops_of(GROUPED, "sdpa", Step(1000.0, 0.0, 3.0))
    assert masked["repeat_kv"].bytes == (1 + 4) * CACHE
    assert masked["attention"].cache_bytes == 4 * CACHE
    assert "repeat_kv" not in prompt
    assert "repeat_kv" not in ops_of(GROUPED, "flash", Step(4.0, 996.0, 3.0))
    single = ops_of(Attention(8.0, 1.0, 64.0), "sdpa", Step(4.0, 996.0, 3.0))  # a view
    assert "repeat_kv" not in single
    assert single["attention"].cache_bytes == CACHE / 2


def test_nothing_is_repeated_where_every_head_has_its_own() -> None:
    ops = ops_of(EVERY_HEAD, "sdpa-4")
    assert (ops["repeat_kv"].bytes, ops["repeat_kv"].kernels) == (0.0, 0.0)
    assert ops["attention"].cache_bytes == 4 * CACHE


def test_a_copy_runs_at_its_own_rate() -> None:
    """1e9 bytes at 1e11 B/s, COPY_RATE of it; the toy's cache holds one byte."""
    op = OpCost("repeat_kv", OpKind.COPY, activation_bytes=1e9)
    assert op_seconds(op, SHEET, DEVICE, 0.0).seconds == pytest.approx(1e-2 / COPY_RATE, rel=1e-6)
    plain = op._replace(kind=OpKind.POINTWISE)
    assert op_seconds(plain, SHEET, DEVICE, 0.0).seconds == pytest.approx(1e-2, rel=1e-6)


def test_scores_are_written_for_every_position_of_a_prompt() -> None:
    prompt = Step(100.0, batch_size=2.0)
    scores = ops_of(GROUPED, "eager", prompt)["scores"]
    assert scores.bytes == 8 * 2 * 100 * 100 * 12 * 2  # heads, sequences, a square, moves, bytes
    assert scores.kernels == 5
    assert "scores" not in ops_of(GROUPED, "flash", prompt)


def test_the_flash_attention_package_splits_the_context_of_any_heads() -> None:
    whole, _ = decode_tiles(ops_of(EVERY_HEAD, "sdpa")["attention"].attention, 1.0)  # type: ignore[arg-type]
    split, tiles = decode_tiles(ops_of(EVERY_HEAD, "flash")["attention"].attention, 1.0)  # type: ignore[arg-type]
    assert (whole, split, tiles) == (1.0, 0.0, 24.0)


def test_older_versions_pay_for_long_contexts_alone() -> None:
    """Qwen2.5-7B on an A100: 53 ms a token at 31,744 positions, 25 at 1,025 (QwenLM/Qwen3@a912d239)."""
    old, new = (Predictor.load("a100"), Predictor.load("a100"))
    old = Predictor(old.profile, "transformers-eager", attention="flash-4")
    short, long = Workload(prompt_tokens=1, new_tokens=2048), Workload(prompt_tokens=30720, new_tokens=2048)
    assert old.predict(SHAPE, short).decode_s_per_token == pytest.approx(
        new.predict(SHAPE, short).decode_s_per_token, rel=0.1
    )
    assert old.predict(SHAPE, long).decode_s_per_token > 1.8 * new.predict(SHAPE, long).decode_s_per_token


def test_a_way_that_the_runtime_does_not_have_is_refused() -> None:
    profile = Predictor.load("a100").profile
    with pytest.raises(UsageError, match="this runtime has flash"):
        Predictor(profile, "vllm", attention="eager")
    command = ["predict", "--config", "qwen3-8b", "--gpu", "a100", "--attention"]
    refused = CliRunner().invoke(group, [*command, "paged"])
    assert isinstance(refused.exception, UsageError)
    assert "sdpa, eager, flash" in str(refused.exception)
    eager, sdpa = (CliRunner().invoke(group, [*command, name, "--format", "json"]) for name in ("eager", "sdpa"))
    assert json.loads(eager.stdout)["prefill_s"] > json.loads(sdpa.stdout)["prefill_s"]


def test_what_attention_writes_out_must_fit() -> None:
    """28 heads · 8192² scores of 4 + 2 bytes at once, and keys and values of 8193 positions for 28 heads."""
    profile = Predictor.load("a100").profile
    work = Workload(prompt_tokens=8192, new_tokens=1)
    peaks = {
        name: Predictor(profile, "transformers-eager", attention=name).predict(SHAPE, work).peak_memory_bytes
        for name in ("sdpa", "eager", "sdpa-4")
    }
    live = 3 * 18944 * 8192 * 2  # the gated FFN's activations, the widest otherwise
    written = 28 * 8192**2 * 6 + 2 * 28 * 128 * 8193 * 2
    assert peaks["eager"] - peaks["sdpa"] == pytest.approx(written - live)
    logits = 8192 * 152064 * 6  # of every position, in 16 bits and in float32
    assert peaks["sdpa-4"] - peaks["sdpa"] == pytest.approx(logits - live)


QWEN_0_5B = ModelConfig(
    num_hidden_layers=24, hidden_size=896, intermediate_size=4864, num_attention_heads=14, num_key_value_heads=2,
    head_dim=64, vocab_size=151936, tie_word_embeddings=True,
)  # fmt: skip


def test_logits_of_a_whole_prompt_in_float32_fill_the_memory() -> None:
    """27.59 GiB for Qwen2.5-0.5B behind 30k tokens (QwenLM/Qwen3@a912d239, Transformers 4.46): logits twice, mostly."""
    work = Workload(prompt_tokens=30720, new_tokens=2048)
    profile = load_profile("a100")
    old, new = (Predictor(profile, "transformers-eager", attention=name) for name in ("flash-4", "flash"))
    peaks = [predictor.predict(QWEN_0_5B, work).peak_memory_bytes for predictor in (old, new)]
    assert peaks[0] / 2**30 == pytest.approx(27.59, rel=0.05)
    assert peaks[0] - peaks[1] > 30720 * 151936 * 5


def test_a_device_without_matrix_units_pads_no_rows() -> None:
    one, padded = Attention(8.0, 8.0, 64.0), SHEET._replace(peak_flops_per_s=1e9)
    (op,) = [op for op in one.context_ops(STEP, TRANSFORMERS, TWO_BYTES) if op.kind is OpKind.DECODE]
    compute = [op_seconds(op, sheet, DEVICE, 0.0).compute_s for sheet in (padded, padded._replace(matrix_rows=1.0))]
    assert compute[0] == pytest.approx(16.0 * compute[1])
