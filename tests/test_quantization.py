"""Quantisation as shipped: which products are in which format, and what a checkpoint's weights take in all."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from latmodel import Predictor, Workload
from latmodel.configs.huggingface import read_decoder
from latmodel.configs.quantization.methods import shipped
from latmodel.configs.quantization.module_names import sorted_names
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture
from latmodel.model.totals import num_parameters, weight_bytes
from latmodel.model.transformer import dense_ops, head_ops
from latmodel.runtimes.serving import SERVING

HIDDEN, INNER, VOCAB, LAYERS = 512, 1024, 1000, 4
LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
    "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": VOCAB,
}  # fmt: skip
ATTENTION = [(HIDDEN, HIDDEN)] * 2 + [(HIDDEN, 128)] * 2  # inputs × outputs of q, o, k, v
FFN = [(HIDDEN, INNER)] * 2 + [(INNER, HIDDEN)]
MATRICES = ATTENTION + FFN
WEIGHTS = sum(n * k for n, k in MATRICES)
REST = 2 * (2 * VOCAB * HIDDEN + (2 * LAYERS + 1) * HIDDEN)  # embedding, head and norms in 16 bits


def size(quantization: dict[str, Any], **more: Any) -> float:
    """Bytes of the small Llama's weights as shipped."""
    decoder = read_decoder({**LLAMA, **more, "quantization_config": quantization})
    assert decoder.format is not None
    return float(weight_bytes(decoder.architecture, Workload(weights=decoder.format).numbers()))


def grouped(bits: float, group: int, scale: float, zero_bits: float = 0.0, each_input: float = 0.0) -> float:
    """Bytes of all matrices with a scale and a zero point for `group` inputs of each output."""
    return LAYERS * sum(
        n * k * bits / 8 + (n / group) * k * (scale + zero_bits / 8) + n * each_input for n, k in MATRICES
    )


METHODS: dict[str, tuple[dict[str, Any], float]] = {
    # int32 words of 4-, 3- or 8-bit values, fp16 scales, zero points of as many bits, an int32 index an input
    "gptq 4": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, grouped(4, 128, 2, 4, 4)),
    "gptq 3": ({"quant_method": "gptq", "bits": 3, "group_size": 64}, grouped(3, 64, 2, 3, 4)),
    "gptq 8": ({"quant_method": "gptq", "bits": 8, "group_size": 32}, grouped(8, 32, 2, 8, 4)),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 64}, grouped(4, 64, 2, 4)),
    # a float32 for 64 weights, 16 float32 levels a matrix
    "nf4": ({"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            grouped(4, 64, 4) + 7 * LAYERS * 64),
    "int8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, LAYERS * sum(n * k + 4 * k for n, k in MATRICES)),
    "fp8": ({"quant_method": "fp8"}, LAYERS * sum(n * k + 4 for n, k in MATRICES)),
    "fp8 blocks": ({"quant_method": "fp8", "weight_block_size": [128, 128]},
                   LAYERS * sum(n * k + (n / 128) * (k / 128) * 4 for n, k in MATRICES)),
    "fbgemm": ({"quant_method": "fbgemm_fp8"}, LAYERS * sum(n * k + 4 * k for n, k in MATRICES)),
    "nvfp4": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, grouped(4, 16, 1) + 7 * LAYERS * 4),
    "hf_quant_config": ({"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "FP8"}},
                        LAYERS * sum(n * k + 4 for n, k in MATRICES)),
    "torchao": ({"quant_method": "torchao", "quant_type": {"default": {
        "_type": "Int4WeightOnlyConfig", "_data": {"group_size": 128}}}}, grouped(4, 128, 4)),
    "bitnet": ({"quant_method": "bitnet", "quantization_mode": "offline"},
               LAYERS * sum(n * k / 4 + 2 for n, k in MATRICES)),
    "hqq": ({"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
            grouped(4, 64, 4)),
    "compressed": ({"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128}}}},
        grouped(4, 128, 2)),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_bytes_are_those_of_the_stored_tensors(method: str) -> None:
    config, wanted = METHODS[method]
    assert size(config) == pytest.approx(wanted + REST, rel=1e-9)


def test_exl2_and_mlx_ship_their_heads_quantised_too() -> None:
    head = VOCAB * HIDDEN
    exl2 = size({"quant_method": "exl2", "bits": 4.25, "head_bits": 6})
    assert exl2 == pytest.approx(LAYERS * WEIGHTS * 4.25 / 8 + REST - 2 * head + head * 6 / 8)
    mlx = size({"group_size": 64, "bits": 4})
    assert mlx == pytest.approx((LAYERS * WEIGHTS + 2 * head) * 4.5 / 8 + 2 * (2 * LAYERS + 1) * HIDDEN)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("quantization", "bits", "tied_bits"),
    [
        ({"quant_method": "exl2", "bits": 4.25, "head_bits": 6}, 6.0, 16.0),  # the table stays in 16 bits
        ({"quantization": {"bits": 4, "group_size": 64}}, 4.5, 4.5),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 16.0, 16.0),
    ],
)
def test_a_token_reads_the_head_in_the_bits_that_it_is_shipped_in(
    quantization: dict[str, Any], bits: float, tied_bits: float, tied: bool
) -> None:
    """A tied head is the table, in the table's format."""
    data = {**LLAMA, "tie_word_embeddings": tied, **(quantization if "quantization" in quantization else {})}
    if "quant_method" in quantization:
        data["quantization_config"] = quantization
    decoder = read_decoder(data)
    numbers = Workload(weights=decoder.format).numbers()
    ops = head_ops(decoder.architecture, 1.0, 1.0, SERVING, numbers)
    read = next(op.weight_bytes for op in ops if op.name == "lm_head")
    assert read == pytest.approx(VOCAB * HIDDEN * (tied_bits if tied else bits) / 8)


def test_a_quantised_head_makes_a_token_quicker() -> None:
    """By the bytes that are not read: 10 of 16 bits of 256,000 × 4096 weights, at an A100's 2.04e12 bytes a second."""
    step_s = {}
    for bits in (6, 16):
        quantization = {"quant_method": "exl2", "bits": 4.0, "head_bits": bits}
        sizes = {"hidden_size": 4096, "intermediate_size": 4096, "vocab_size": 256_000}
        data = {**LLAMA, **sizes, "quantization_config": quantization}
        step_s[bits] = Predictor.load("a100", runtime="vllm").predict(data).decode_s_per_token
    saved_s = 256_000 * 4096 * 10 / 8 / 2.04e12
    assert saved_s < step_s[16] - step_s[6] < 1.5 * saved_s  # no product reaches the data sheet


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["model.layers.0.self_attn.q_proj"], [(HIDDEN, HIDDEN)]),
        (["model.layers.1.mlp", "lm_head"], FFN),
        (["self_attn"], ATTENTION * LAYERS),
        (["model.layers.*.self_attn"], ATTENTION * LAYERS),
        (["model.layers.3*"], MATRICES),
        (["model.language_model.layers.2.self_attn*"], ATTENTION),
        (["lm_head", "model.layers.0.mlp.gate", "visual"], []),  # a router's name is not gate_proj
    ],
)  # fmt: skip
def test_modules_that_are_left_alone_keep_16_bits(names: list[str], kept: list[tuple[int, int]]) -> None:
    config = {"quant_method": "modelopt", "quant_algo": "FP8"}
    fewer = sum(n * k - 4 for n, k in kept)
    assert size({**config, "exclude_modules": names}) == size(config) + fewer


def test_regular_expressions_of_compressed_tensors() -> None:
    group = {"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "tensor"}}
    config = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}}
    kept = size({**config, "ignore": ["re:.*mlp\\.(gate|up)_proj.*", "lm_head"]})
    assert kept == size(config) + LAYERS * 2 * (HIDDEN * INNER - 4)


def test_mixed_precision_names_each_layer() -> None:
    layers = {
        f"model.layers.{index}.mlp.{name}": {"quant_algo": "NVFP4", "group_size": 16}
        for index in range(LAYERS) for name in ("gate_proj", "up_proj", "down_proj")
    } | {f"model.layers.{index}.self_attn.o_proj": {"quant_algo": "FP8"} for index in range(LAYERS)}  # fmt: skip
    config = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    ffn = sum(n * k / 2 + n * k / 16 + 4 for n, k in FFN)
    attention = HIDDEN * HIDDEN + 4 + 2 * sum(n * k for n, k in ATTENTION[1:])
    assert size(config) == pytest.approx(LAYERS * (ffn + attention) + REST)


def test_a_product_that_is_left_alone_is_priced_in_16_bits() -> None:
    config = {"quant_method": "fp8", "modules_to_not_convert": ["self_attn"]}
    decoder = read_decoder({**LLAMA, "quantization_config": config})
    numbers = Workload(weights=decoder.format).numbers()
    read = {
        op.name: op.weight_bytes
        for op in dense_ops(decoder.architecture.groups[0].block, HIDDEN, 1.0, SERVING, numbers)
    }
    assert read["qkv_proj"] == 2 * HIDDEN * (HIDDEN + 2 * 128)
    assert read["down_proj"] == INNER * HIDDEN
    other = Workload(weights="int4-awq").numbers()  # chosen by hand: the checkpoint's exceptions do not hold
    read = {
        op.name: op.weight_bytes for op in dense_ops(decoder.architecture.groups[0].block, HIDDEN, 1.0, SERVING, other)
    }
    assert read["qkv_proj"] < HIDDEN * (HIDDEN + 2 * 128)


BAD: dict[str, dict[str, Any]] = {
    "quant_method": {"quant_method": "quip"},
    "bits": {"quant_method": "gptq", "bits": 5},
    "group_size": {"quant_method": "awq", "group_size": "128"},
    "weight_block_size": {"quant_method": "fp8", "weight_block_size": [0, 128]},
    "quant_algo": {"quant_method": "modelopt", "quant_algo": "FP3"},
    "config_groups": {"quant_method": "compressed-tensors"},
    "quant_type": {"quant_method": "torchao", "quant_type": "int1"},
    "modules_to_not_convert": {"quant_method": "fp8", "modules_to_not_convert": "lm_head"},
    "ignore": {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["re:(a+)+$"]},
    "bitsandbytes": {"quant_method": "bitsandbytes"},
}  # fmt: skip


@pytest.mark.parametrize("field", BAD)
def test_what_is_not_understood_is_refused_by_name(field: str) -> None:
    with pytest.raises(UsageError, match=field) as caught:
        read_decoder({**LLAMA, "quantization_config": BAD[field]})
    assert "\n" not in str(caught.value)


def test_patterns_that_could_take_exponential_time_are_not_compiled() -> None:
    names = sorted_names(["re:(x+x+)+y", "re:" + ".*" * 20, "a" * 600, 3, "re:("])
    assert not names.patterns
    assert len(names.not_understood) == 5


CARRIED = find_spec("aiconfigurator_core")
# Bytes of the weights as their makers publish them, MTP layers and vision towers left out where they ship them.
PUBLISHED = {
    "openai--gpt-oss-20b": 13.76e9,  # 12.8 GiB "checkpoint size", model card of gpt-oss (arXiv 2508.10925, table 1)
    "openai--gpt-oss-120b": 65.3e9,  # 60.8 GiB, as above
}


def carried(name: str) -> tuple[Architecture, float]:
    assert CARRIED is not None
    assert CARRIED.submodule_search_locations is not None
    path = Path(CARRIED.submodule_search_locations[0]) / "model_configs" / f"{name}_config.json"
    decoder = read_decoder(path)
    return decoder.architecture, float(weight_bytes(decoder.architecture, Workload(weights=decoder.format).numbers()))


@pytest.mark.skipif(CARRIED is None, reason="aiconfigurator-core is not installed")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_are_within_one_percent(name: str) -> None:
    assert carried(name)[1] == pytest.approx(PUBLISHED[name], rel=0.01)


@pytest.mark.skipif(CARRIED is None, reason="aiconfigurator-core is not installed")
def test_gpt_oss_fits_where_its_makers_say() -> None:
    """The 20B within 16 GB, the 120B on one H100 of 80 GB."""
    small, large = carried("openai--gpt-oss-20b"), carried("openai--gpt-oss-120b")
    assert small[1] < 16e9
    predictor = Predictor.load("h100")
    workload = Workload(weights=shipped({"quant_method": "mxfp4"}).format._replace(shipped=True))
    assert predictor.predict(large[0], workload).peak_memory_bytes < 80e9
    assert num_parameters(large[0]) == 116_829_156_672
