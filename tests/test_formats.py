"""Number formats and memory, by hand and against what real tensors take."""

import json

import pytest
import torch
from click.testing import CliRunner
from small_models import CHOICES, varied
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from latmodel import Predictor, SearchSpace, Workload, frontier
from latmodel.cli import group
from latmodel.configs.huggingface import read_config, read_decoder
from latmodel.configs.quantization.methods import shipped
from latmodel.errors import UsageError
from latmodel.model.formats import FORMATS, Numbers
from latmodel.model.implementation import Implementation
from latmodel.model.memory import cache_bytes, peak_memory
from latmodel.model.ops import OpCost
from latmodel.model.totals import linears, weight_bytes
from latmodel.model.transformer import dense_ops
from latmodel.predict.capacity import capacity, largest
from latmodel.predict.inputs import work_of
from latmodel.pruning.ways import fewer_blocks
from latmodel.runtimes.torch_compile import COMPILED
from latmodel.runtimes.transformers_eager import TRANSFORMERS

LLAMA = read_config("llama-7b")


def test_a_gptq_layer_by_hand() -> None:
    """4096 × 11008: half a byte a weight; 32 groups × 11008 of a 2-byte scale and half a byte of zero; 4 a input."""
    assert FORMATS["int4-gptq"].linear_bytes(4096.0, 11008.0) == 4096 * 11008 // 2 + 32 * 11008 * 2.5 + 4096 * 4


def test_a_gptq_layer_against_its_tensors() -> None:
    """The buffers of an AutoGPTQ linear layer, 5000 inputs (no multiple of the group) and 1024 outputs."""
    inputs, outputs, group_size = 5000, 1024, 128
    groups = -(-inputs // group_size)
    buffers = [
        torch.empty(inputs * 4 // 32, outputs, dtype=torch.int32),  # qweight
        torch.empty(groups, outputs * 4 // 32, dtype=torch.int32),  # qzeros
        torch.empty(groups, outputs, dtype=torch.float16),  # scales
        torch.empty(inputs, dtype=torch.int32),  # g_idx
    ]
    assert FORMATS["int4-gptq"].linear_bytes(5000.0, 1024.0) == sum(b.nbytes for b in buffers)
    assert FORMATS["int4-awq"].linear_bytes(5000.0, 1024.0) == sum(b.nbytes for b in buffers[:3])


def test_the_whole_of_llama_7b_in_gptq_is_its_layers_and_16_bit_rest() -> None:
    form = FORMATS["int4-gptq"]
    attention, ffn = 4 * form.linear_bytes(4096.0, 4096.0), form.linear_bytes(11008.0, 4096.0)
    layer = attention + 2 * form.linear_bytes(4096.0, 11008.0) + ffn
    rest = 2 * 32000 * 4096 + (2 * 32 + 1) * 4096
    assert weight_bytes(LLAMA, Numbers(form.bytes_each, 2.0, 2.0, form)) == 32 * layer + 2 * rest


@pytest.mark.parametrize("family", CHOICES)
def test_the_linear_layers_are_those_of_the_module(family: str) -> None:
    """All matrices of the blocks but routers, gates and convolutions: as many weights as the real ones hold."""
    config = CONFIG_MAPPING[family](**varied(family, 1))
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)
    kept_apart = (
        "mlp.gate.", "mixer.gate.", "feed_forward.gate.", "router", "shared_expert_gate", "conv1d", "project_", "_bias", "bias", "A_log",
        "conv.conv", "conv_1d", "altup", "_hc.",
    )  # fmt: skip
    wanted = sum(
        p.numel() for name, p in module.named_parameters()
        if p.dim() > 1 and (".layers." in name or ".h." in name or ".blocks." in name) and not any(part in name for part in kept_apart)
    )  # fmt: skip
    model = read_decoder(config).architecture
    ours = sum(
        g.count * sum(x.count * x.inputs * x.outputs for x in linears(g.block, model.hidden_size)) for g in model.groups
    )
    assert ours == wanted


def test_quantisation_configs_are_understood_or_refused() -> None:
    gptq = shipped({"quant_method": "gptq", "bits": 4, "group_size": 64}).format
    assert gptq.linear_bytes(128.0, 8.0) == 512 + 2 * 8 * 2.5 + 512
    blocks = shipped({"quant_method": "fp8", "weight_block_size": [128, 128]}).format
    assert blocks.linear_bytes(256.0, 384.0) == 256 * 384 + 2 * 3 * 4
    assert shipped({"quant_method": "bitsandbytes", "load_in_8bit": True}).format == FORMATS["int8"]
    with pytest.raises(UsageError, match="quant_method 'quip' is not understood"):
        shipped({"quant_method": "quip"})


def test_the_format_of_a_configuration_is_used() -> None:
    config = {
        "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "vocab_size": 32000, "quantization_config": {"quant_method": "awq", "bits": 4},
    }  # fmt: skip
    assert read_decoder(config).format == FORMATS["int4-awq"]._replace(shipped=True)


def test_an_8_bit_cache_is_half_of_a_16_bit_one() -> None:
    half, whole = (Workload(kv_cache=name).numbers() for name in ("fp8", None))
    assert 2 * cache_bytes(LLAMA, 700.0, TRANSFORMERS, half) == cache_bytes(LLAMA, 700.0, TRANSFORMERS, whole)


def test_a_static_cache_keeps_the_whole_window_and_a_growing_one_one_less() -> None:
    """Mistral 7B, window 4096, 5000 positions: 32 layers · 2 · 8 · 128 values of 2 bytes."""
    model, numbers = read_config("mistral-7b"), Numbers(2.0, 2.0, 2.0)
    assert cache_bytes(model, 5000.0, COMPILED, numbers) == 4096 * 32 * 2 * 8 * 128 * 2
    assert cache_bytes(model, 5000.0, TRANSFORMERS, numbers) == 4095 * 32 * 2 * 8 * 128 * 2


def test_unpacking_is_priced_where_the_runtime_writes_weights_out() -> None:
    """AWQ's kernel in Transformers unpacks from 1024 rows on, and dequantises in registers below."""
    numbers = Workload(weights="int4-awq").numbers()
    block = LLAMA.groups[0].block

    def beside(rows: float, implementation: Implementation = TRANSFORMERS) -> list[OpCost]:
        ops = dense_ops(block, 4096.0, rows, implementation, numbers)
        return [op for op in ops if op.name.startswith("unpack")]

    unpack = beside(1024.0)
    assert [op.bytes for op in unpack] == pytest.approx([4.0 * 4 * 4096**2, 4.0 * 3 * 4096 * 11008])
    assert [op.kernels for op in unpack] == [4, 3]  # of attention and of the FFN, whose costs add
    assert [op.kind for op in beside(1023.0)] == ["dequantize"] * 2
    assert [op.bytes for op in beside(1023.0)] == [0.0, 0.0]
    assert not beside(1.0, COMPILED)


def test_what_fits_fits_and_one_more_does_not() -> None:
    predictor = Predictor.load("3090")
    for work in (Workload(), Workload(weights="int4-awq", kv_cache="int8")):
        found = capacity(predictor, LLAMA, work)
        for changes, fits in (
            ({"batch": float(found.largest_batch)}, True),
            ({"batch": found.largest_batch + 1.0}, False),
            ({"prompt": found.longest_context - 100.0}, True),
            ({"prompt": found.longest_context - 99.0}, False),
        ):
            peak = predictor.memory(LLAMA, work_of(work)._replace(**changes)).peak_bytes  # type: ignore[arg-type]
            assert (peak <= predictor.memory_bytes) is fits


def test_nothing_fits_where_the_weights_do_not() -> None:
    found = capacity(Predictor.load("3090"), read_config("llama-3-70b"), Workload())
    assert found == (0, 0)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 100, 9999])
def test_bisection_finds_the_last_that_fits(limit: int) -> None:
    assert largest(lambda value: value <= limit, 5000) == min(limit, 5000)


def test_a_quarter_of_the_bytes_holds_over_three_times_the_parameters() -> None:
    predictor, small = Predictor.load("3090"), 8e9
    plain, packed = (
        frontier(
            predictor, SearchSpace(), Workload(weights=weights), memory_bytes=small, quality="params"
        ).num_parameters[0]
        for weights in (None, "int4-awq")
    )
    assert 3.0 < packed / plain < 4.0  # embeddings, cache and scales stay as they were


def test_the_frontier_says_that_no_score_knows_of_rounding() -> None:
    done = CliRunner().invoke(group, ["frontier", "--budget", "1s", "--weights", "int4-awq", "--format", "json"])
    assert done.exit_code == 0
    assert all("quantised" in " ".join(row["flags"]) for row in json.loads(done.stdout))


def test_formats_and_limits_on_the_command_line() -> None:
    done = CliRunner().invoke(
        group,
        ["predict", "--gpu", "3090", "--config", "llama-7b", "--weights", "int4-awq", "--kv-cache", "fp8", "--limits"],
    )
    assert done.exit_code == 0
    assert "longest context" in done.output


@pytest.mark.parametrize(
    ("layers", "batch", "new", "gib"), [(32, 64, 512, 61.8), (21, 64, 512, 40.8), (26, 16, 128, 13.1)]
)
def test_a_growing_cache_three_times_over_is_what_was_published(layers: int, batch: int, new: int, gib: float) -> None:
    """Shortened LLaMA (arXiv 2402.02834), table 8: 12 prompt tokens, fp16; three copies of the cache at the peak."""
    model = fewer_blocks(LLAMA, layers / 32)
    peak = peak_memory(
        model, batch=float(batch), prompt=12.0, new=float(new), logits_all=False, numbers=Numbers(2.0, 2.0, 2.0),
        implementation=TRANSFORMERS, cache_copies=3.0,
    ).peak_bytes  # fmt: skip
    assert peak == pytest.approx(gib * 2**30, rel=0.02)
