"""Configurations as people have them: wrappers, makers' own names, and cases that were once read wrong."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest

from latmodel import Predictor, Workload
from latmodel.configs.huggingface import read_config, read_decoder
from latmodel.configs.presets import preset
from latmodel.errors import UsageError
from latmodel.model.architecture import Attention
from latmodel.model.totals import num_parameters

CASES = Path(os.environ.get("LATMODEL_CASES", Path(__file__).parents[2] / "shared" / "cases"))
# The lines of configs.csv that are to be refused, and the field that is named.
REFUSED = {"llava_vision_tower.json": "model_type", "configs_qwen3-8b-eagle3.json": "architectures"}


def cases() -> list[dict[str, str]]:
    path = CASES / "configs.csv"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(not cases(), reason="the cases are not here")
def test_every_case_is_right() -> None:
    for row in cases():
        path = CASES / "configs" / row["file"]
        if row["file"] in REFUSED:
            with pytest.raises(UsageError, match=REFUSED[row["file"]]):
                read_decoder(path)
            continue
        decoder = read_decoder(path)
        assert not decoder.assumed, row["file"]
        if row["parameters"]:
            assert num_parameters(decoder.architecture) == int(row["parameters"]), row["file"]


@pytest.mark.skipif(not cases(), reason="the cases are not here")
def test_what_a_configuration_does_not_tell_of_is_said() -> None:
    """Molmo's decoder is Qwen2-7B's; with the image encoder, which has no field, 8.0e9 are published."""
    decoder = read_decoder(CASES / "configs" / "files_Molmo-7B-D-0924.json")
    qwen2 = 2 * 152064 * 3584 + 3584 + 28 * (3584 * 4608 + 4608 + 3584**2 + 3 * 3584 * 18944 + 2 * 3584)
    assert num_parameters(decoder.architecture) == qwen2
    assert any("image encoder" in note and "not counted" in note for note in decoder.notes)


@pytest.mark.skipif(not cases(), reason="the cases are not here")
def test_kimi_k2_decodes_as_the_same_file_of_deepseek_v3() -> None:
    """At 131072 tokens of context, within 1 %: latent attention is read, not dropped."""
    data = json.loads((CASES / "configs" / "Kimi-K2-Instruct.json").read_text(encoding="utf-8"))
    predictor, workload = Predictor.load("h100"), Workload(prompt_tokens=131_000, new_tokens=72)
    one, other = (
        predictor.predict(read_config({**data, "model_type": name}), workload) for name in ("kimi_k2", "deepseek_v3")
    )
    assert one.decode_s_per_token == pytest.approx(other.decode_s_per_token, rel=0.01)


# Counted by hand from the makers' code, or as published.
OWN: dict[str, tuple[dict[str, Any], float]] = {
    # 2·65024·4096 + 28·(4096·4608 + 4608 + 4096² + 3·4096·13696 + 2·4096) + 4096: 6243584000, as THUDM publishes
    "chatglm3-6b": ({
        "model_type": "chatglm", "hidden_size": 4096, "num_layers": 28, "num_attention_heads": 32, "kv_channels": 128,
        "multi_query_attention": True, "multi_query_group_num": 2, "ffn_hidden_size": 13696, "padded_vocab_size": 65024,
        "add_qkv_bias": True, "add_bias_linear": False, "rmsnorm": True, "post_layer_norm": True,
        "architectures": ["ChatGLMModel"], "auto_map": {"AutoModel": "modeling_chatglm.ChatGLMModel"},
    }, 6_243_584_000),
    # 2·125696·4096 + 32·(4·4096² + 3·4096·11008 + 2·4096) + 4096; published 7.5e9
    "baichuan2-7b": ({
        "model_type": "baichuan", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "intermediate_size": 11008, "vocab_size": 125696, "z_loss_weight": 0,
    }, 7_505_973_248),
    # 2·100352·6144 + 40·(6144·8192 + 6144² + 16·6144 + 16·3·6144·10752 + 2·6144) + 6144; published 132e9
    "dbrx": ({
        "model_type": "dbrx", "d_model": 6144, "n_heads": 48, "n_layers": 40, "vocab_size": 100352, "max_seq_len": 32768,
        "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "rope_theta": 500000},
        "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4},
    }, 131_596_523_520),
    # 2·92544·4096 + 32·(4096·6144 + 4096² + 3·4096·14336 + 2·4096) + 4096; published 7.7e9
    "internlm2-7b": ({
        "model_type": "internlm2", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 92544, "bias": False,
    }, 7_737_708_544),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_families_outside_of_transformers_are_counted_by_hand(name: str) -> None:
    config, wanted = OWN[name]
    decoder = read_decoder(config)
    assert num_parameters(decoder.architecture) == wanted
    assert not decoder.assumed


def test_qwen_1_counts_gate_and_up_in_one_size() -> None:
    assert num_parameters(read_config("qwen-7b-chat")) == 7_721_324_544  # published: 7.72e9


def test_puzzle_leaves_parts_of_layers_out() -> None:
    """Attention with its norm, feed-forward with its norm, or both are gone; groups and sizes differ by layer."""
    part = {"no_op": False, "replace_with_linear": False, "sparsify": None}
    blocks = [
        {"attention": {**part, "n_heads_in_group": 4}, "ffn": {**part, "ffn_mult": 2.625}},
        {"attention": {**part, "no_op": True}, "ffn": {**part, "ffn_mult": 1.0}},
        {"attention": {**part, "n_heads_in_group": 8}, "ffn": {**part, "no_op": True}},
        {"attention": {**part, "no_op": True}, "ffn": {**part, "no_op": True}},
    ]
    config: dict[str, Any] = {
        "model_type": "nemotron-nas", "hidden_size": 1024, "num_attention_heads": 8, "num_hidden_layers": 4,
        "vocab_size": 1000, "block_configs": blocks, "intermediate_size": None, "num_key_value_heads": None,
    }  # fmt: skip
    # 2·2.625·1024/3 = 1792, a multiple of 256; 2·1024/3 = 682 → 768
    attention = 2 * 1024 * 1024 + 1024
    wanted = (
        (attention + 2 * 1024 * 256 + 3 * 1024 * 1792 + 1024) + (3 * 1024 * 768 + 1024) + attention + 2 * 1024 * 128
    )
    assert num_parameters(read_config(config)) == wanted + 2 * 1000 * 1024 + 1024
    blocks[0]["attention"]["replace_with_linear"] = True
    with pytest.raises(UsageError, match=r"block_configs\[0\]: replace_with_linear is set"):
        read_config(config)


def test_nested_wrappers_give_the_text_decoder() -> None:
    text = dict(preset("qwen3-0.6b").config)
    omni = {
        "model_type": "x_omni",
        "thinker_config": {"model_type": "x_thinker", "text_config": text},
        "talker_config": {},
    }
    assert read_decoder(omni).architecture == read_config("qwen3-0.6b")
    old = {
        "model_type": "qwen2_vl",
        **{k: v for k, v in text.items() if k != "model_type"},
        "vision_config": {"depth": 32},
    }
    layer = read_config({**old, "head_dim": None}).groups[0].block.attention
    assert isinstance(layer, Attention)
    assert layer.qkv_bias


def test_a_configuration_of_8_mb_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    names = [f"model.layers.{index % 80}.block_sparse_moe.gate.{index}" for index in range(140_000)]
    config = {
        **preset("llama-7b").config,
        "quantization_config": {"quant_method": "fp8", "modules_to_not_convert": names},
    }
    text = json.dumps(config)
    path.write_text(text + " " * (8_000_000 - len(text)))
    assert num_parameters(read_config(path)) == num_parameters(read_config("llama-7b"))
    path.write_text(text + " " * (8_000_001 - len(text)))
    with pytest.raises(UsageError, match="larger than 8000000 bytes"):
        read_config(path)


def test_the_quantisation_beside_a_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(preset("llama-7b").config))
    (tmp_path / "hf_quant_config.json").write_text(
        json.dumps({"quantization": {"quant_algo": "NVFP4", "group_size": 16}})
    )
    decoder = read_decoder(tmp_path)
    assert decoder.format is not None
    assert decoder.format.name == "nvfp4"
