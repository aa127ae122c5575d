"""Reading config.json: what people have, what is wrong with it, and whatever a fuzzer finds."""

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latmodel import Predictor, Workload
from latmodel.configs.families.reading import parse
from latmodel.configs.families.table import FAMILIES
from latmodel.configs.huggingface import ConfigWarning, read_config, read_decoder
from latmodel.configs.presets import preset
from latmodel.configs.quantization.methods import METHODS
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Attention, FeedForward
from latmodel.model.layers.experts import Experts
from latmodel.model.layers.gated_delta import GatedDelta
from latmodel.model.layers.latent_attention import LatentAttention
from latmodel.model.layers.mamba2 import Mamba2
from latmodel.model.totals import num_parameters, weight_bytes

LLAMA = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100,
}  # fmt: skip
BIG = {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
       "num_key_value_heads": 8, "vocab_size": 50_000}  # fmt: skip


def test_nothing_heavy_is_imported_and_nothing_is_fetched() -> None:
    code = (
        "import sys, socket\n"
        "socket.socket = None\n"
        "from latmodel.configs.huggingface import read_config\n"
        "read_config('llama-7b')\n"
        "print([m for m in ('torch', 'transformers', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_a_folder_a_dictionary_and_an_object_read_alike(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))

    class Config:
        def to_dict(self) -> dict[str, Any]:
            return dict(LLAMA)

    wanted = read_config(LLAMA)
    assert isinstance(wanted, Architecture)
    assert read_config(tmp_path / "config.json") == read_config(str(tmp_path)) == read_config(Config()) == wanted


def test_layers_that_differ_form_groups() -> None:
    """A width-pruned model keeps other sizes in each layer: a list, one entry a layer."""
    pruned = LLAMA | {"intermediate_size": [128, 96], "num_attention_heads": [4, 2], "head_dim": 16}
    model = read_config(pruned)
    first, second = model.groups
    assert (first.count, second.count) == (1.0, 1.0)
    assert isinstance(first.block.feed_forward, FeedForward)
    layers = [group.block.feed_forward for group in model.groups]
    assert [layer.intermediate_size for layer in layers if isinstance(layer, FeedForward)] == [128.0, 96.0]
    # embedding and head 2·100·64; norms 5·64; layer 0: q, o 2·64·64, k, v 2·64·32, FFN 3·64·128;
    # layer 1: q, o 2·64·32, k, v 2·64·32, FFN 3·64·96
    assert num_parameters(model) == 12800 + 320 + (8192 + 4096 + 24576) + (4096 + 4096 + 18432)


def kinds(name: str) -> set[type]:
    return {type(part) for g in read_config(name).groups for part in (g.block.attention, g.block.feed_forward) if part}


def test_hybrids_and_experts_have_their_kinds_of_layers() -> None:
    assert kinds("nemotron-h-8b") == {Mamba2, Attention, FeedForward}
    assert kinds("qwen3-next-80b-a3b") == {GatedDelta, Attention, Experts}
    assert kinds("deepseek-v3") == {LatentAttention, FeedForward, Experts}


def test_gemma_3_has_five_windows_to_one_full_layer() -> None:
    counts = {g.block.attention.window: g.count for g in read_config("gemma-3-12b").groups}  # type: ignore[union-attr]
    assert counts == {1024.0: 40.0, None: 8.0}


def test_a_multimodal_wrapper_gives_its_text_decoder() -> None:
    text = dict(preset("gemma-3-4b").config)
    wrapped = {"model_type": "gemma3", "text_config": text, "vision_config": {"hidden_size": 1152}}
    decoder = read_decoder(wrapped)
    assert decoder.architecture == read_config("gemma-3-4b")
    assert decoder.notes == ("text_config: the text decoder alone is read, vision_config left out",)


def test_an_unknown_family_is_read_as_llama_and_says_so() -> None:
    with pytest.warns(ConfigWarning, match="model_type 'newllama' is not known: read as Llama-style"):
        model = read_config(LLAMA | {"model_type": "newllama"})
    assert replace(model, assumed=()) == read_config(LLAMA)
    assert Predictor.load("3090").predict(model).extrapolated
    assert not Predictor.load("3090").predict(read_config(LLAMA | BIG)).extrapolated


def test_an_unknown_family_of_plain_layers_is_told_by_its_activation() -> None:
    model = read_decoder(LLAMA | {"model_type": "newllama", "hidden_act": "relu2"}).architecture
    assert model.groups[0].block.feed_forward == FeedForward(128.0, gated=False)


def test_the_class_that_architectures_names_stands_in_for_an_unknown_name() -> None:
    decoder = read_decoder(LLAMA | {"model_type": "newllama", "architectures": ["LlamaForCausalLM"]})
    assert decoder.architecture == read_config(LLAMA)
    assert not decoder.assumed


def test_an_unknown_family_with_experts_counts_them() -> None:
    moe = LLAMA | {"model_type": "new", "num_local_experts": 4, "num_experts_per_tok": 2}
    model = read_decoder(moe).architecture
    assert isinstance(model.groups[0].block.feed_forward, Experts)


@pytest.mark.parametrize("field", ["num_kv_shared_layers", "altup_num_inputs", "attention_chunks", "lora_rank"])
def test_a_field_that_is_set_and_not_understood_is_refused_by_name(field: str) -> None:
    for name in ("llama", "newllama"):
        with pytest.raises(UsageError, match=f"{field} is set: .*--assume-llama"):
            read_config(LLAMA | {"model_type": name, field: 3})
    decoder = read_decoder(LLAMA | {field: 3}, assume_llama=True)
    assert decoder.assumed == (f"not understood and left out of the cost: {field}",)
    assert Predictor.load("3090").predict(decoder.architecture).extrapolated
    assert num_parameters(decoder.architecture) == num_parameters(read_config(LLAMA))
    assert read_decoder(LLAMA | {field: None}).notes == ()


@pytest.mark.parametrize(
    "field",
    ["bos_token_id", "attn_pdrop", "rms_norm_eps", "rope_theta", "torch_dtype", "_commit_hash", "image_token_index",
     "initializer_range", "router_aux_loss_coef"],
)  # fmt: skip
def test_fields_that_change_nothing_are_not_listed(field: str) -> None:
    assert read_decoder(LLAMA | {field: 3}).notes == ()


@pytest.mark.parametrize(
    "name",
    ["LlamaForCausalLMEagle3", "LlamaForSequenceClassification", "Qwen2ForRewardModel", "LlamaModel", "MedusaModel"],
)
def test_draft_heads_classifiers_and_bare_models_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"architectures: '{name}'"):
        read_config(LLAMA | {"architectures": [name]})


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "missing layers": ({k: v for k, v in LLAMA.items() if k != "num_hidden_layers"}, "num_hidden_layers is missing"),
    "missing width": ({k: v for k, v in LLAMA.items() if k != "hidden_size"}, "hidden_size is missing"),
    "null": (LLAMA | {"hidden_size": None}, "hidden_size is null"),
    "text for a number": (LLAMA | {"hidden_size": "64"}, "hidden_size is '64'"),
    "a fraction": (LLAMA | {"num_attention_heads": 4.5}, "num_attention_heads is 4.5"),
    "zero": (LLAMA | {"vocab_size": 0}, "vocab_size is 0"),
    "huge": (LLAMA | {"hidden_size": 10**400}, "hidden_size is a huge number"),
    "heads do not divide": (LLAMA | {"num_attention_heads": 6, "num_key_value_heads": 6}, "not divisible by num_att"),
    "groups do not divide": (LLAMA | {"num_key_value_heads": 3}, "not divisible by num_key_value_heads 3"),
    "head_dim × heads": (
        {"model_type": "gpt_neox", **{k: v for k, v in LLAMA.items() if k != "model_type"}, "head_dim": 32},
        "head_dim 32 × num_attention_heads 4",
    ),
    "two names differ": (LLAMA | {"n_embd": 32}, "hidden_size and n_embd"),
    "negative window": (LLAMA | {"model_type": "mistral", "sliding_window": -1}, "sliding_window is -1"),
    "negative unused window": (LLAMA | {"sliding_window": -4}, "sliding_window is -4"),
    "pattern of the wrong length": (
        LLAMA | {"model_type": "gemma2", "layer_types": ["full_attention"]},
        "layer_types lists 1 layers, num_hidden_layers is 2",
    ),
    "unknown kind": (LLAMA | {"model_type": "qwen3", "layer_types": ["x", "y"]}, r"layer_types\[0\] is 'x'"),
    "window kind without a window": (
        LLAMA | {"model_type": "qwen3", "layer_types": ["sliding_attention"] * 2, "sliding_window": None},
        "sliding_window is null",
    ),
    "linear layers in Llama": (LLAMA | {"layer_types": ["linear_attention"] * 2}, "a 'linear_attention' layer in a llama"),
    "list of the wrong length": (LLAMA | {"intermediate_size": [1, 2, 3]}, "intermediate_size has 3 entries for 2"),
    "wrong entry": (LLAMA | {"intermediate_size": [128, "x"]}, r"intermediate_size\[1\] is 'x'"),
    "not a flag": (LLAMA | {"attention_bias": 1}, "attention_bias is 1"),
    "too many experts": (
        LLAMA | {"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 3},
        "num_experts_per_tok 3 is more than num_local_experts 2",
    ),
    "pattern letters": (
        LLAMA | {"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}, "hybrid_override_pattern",
    ),
    "no pattern": (LLAMA | {"model_type": "nemotron_h"}, "layer_types is missing|layers_block_type is missing"),
    "encoder": ({"model_type": "bert", "hidden_size": 64}, "model_type: 'bert' is no decoder"),
    "encoder-decoder": (LLAMA | {"model_type": "x", "is_encoder_decoder": True}, "is_encoder_decoder"),
    "vision": ({"model_type": "newvit", "image_size": 224, "hidden_size": 64}, "image_size: .* vision model"),
    "kind of model": (LLAMA | {"model_type": 3}, "model_type is a int"),
    "rope share": (LLAMA | {"rope_parameters": {"partial_rotary_factor": 2}}, "partial_rotary_factor is 2"),
    "rope kind": (LLAMA | {"rope_scaling": 3}, "rope_scaling is 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_configuration_is_one_line_that_names_the_field(case: str) -> None:
    config, message = BAD[case]
    with pytest.raises(UsageError, match=message) as caught:
        read_config(config)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[1]", "a JSON list, not an object"),
        ('{"a": 1, "a": 2}', "'a' appears twice"),
        ("[" * 200_000 + "]" * 200_000, "holds more than 100000 lists"),
        ("[" * 90_000 + "]" * 90_000, "nested too deeply"),
        ('{"hidden_size": ' + "9" * 5000 + "}", "not valid JSON"),
        ("\x00\x01\x02", "not valid JSON"),
        ('"' + "x" * 8_000_000 + '"', "larger than 8000000 bytes"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_config(path)
    assert "\n" not in str(caught.value)


def test_deep_nesting_inside_a_field_is_no_crash() -> None:
    nested: Any = 1
    for _ in range(5_000):
        nested = [nested]
    with pytest.raises(UsageError, match="intermediate_size has 1 entries"):
        read_config(LLAMA | {"intermediate_size": nested})


@pytest.mark.parametrize("what", ["", ".", "no/such/file.json", "\x00", 3, None, ["x"]])
def test_what_is_no_configuration_is_a_usage_error(what: Any) -> None:
    with pytest.raises(UsageError):
        read_config(what)


# A value of any kind, of sizes that matter: small, huge, negative, text, nested.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-2, 300) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["full_attention", "sliding_attention", "linear_attention", "auto", "M*-E"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
FIELD_NAMES = sorted(
    {*LLAMA, *(name for family in FAMILIES.values() for name in family.defaults), "layer_types", "head_dim",
     "hybrid_override_pattern", "rope_parameters", "sliding_window_pattern", "mlp_only_layers", "text_config",
     "n_embd", "attention_bias", "quantization_config", "word_embed_proj_dim", "no_rope_layers", "torch_dtype"}
)  # fmt: skip


def refusal(function: Callable[[], Any]) -> str:
    """The message of the declared error, if there is one; any other exception passes."""
    try:
        function()
    except UsageError as error:
        return str(error)
    return ""


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    family=st.sampled_from([*FAMILIES, "unheard_of"]),
    changes=st.dictionaries(st.sampled_from(FIELD_NAMES), VALUES, max_size=6),
)
def test_no_configuration_raises_anything_but_the_declared_error(family: str, changes: dict[str, Any]) -> None:
    message = refusal(lambda: num_parameters(read_decoder({**LLAMA, "model_type": family, **changes}).architecture))
    assert "\n" not in message


QUANTISED = st.fixed_dictionaries(
    {"quant_method": st.sampled_from([*METHODS, "quip", 3])},
    optional=dict.fromkeys(("bits", "group_size", "modules_to_not_convert", "ignore", "exclude_modules", "config_groups", "quant_algo", "quantized_layers", "weight_block_size", "quant_type", "quant_config", "head_bits", "load_in_4bit", "load_in_8bit", "dynamic", "llm_int8_skip_modules", "format"), VALUES),
)  # fmt: skip


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    quantisation=QUANTISED,
    names=st.lists(st.text(max_size=30) | st.sampled_from(["re:.*", "*", "lm_head"]), max_size=8),
)
def test_no_quantisation_raises_anything_but_the_declared_error(quantisation: dict[str, Any], names: list[str]) -> None:
    for lists in ({}, {"modules_to_not_convert": names, "ignore": names}):
        config = {**LLAMA, "quantization_config": {**quantisation, **lists}}
        try:
            decoder = read_decoder(config)
        except UsageError as error:
            assert "\n" not in str(error)
            continue
        if decoder.format is not None:
            assert weight_bytes(decoder.architecture, Workload(weights=decoder.format).numbers()) > 0


@settings(max_examples=300, deadline=None)
@given(
    raw=st.binary(max_size=400) | st.text(max_size=200).map(str.encode) | VALUES.map(lambda v: json.dumps(v).encode())
)
def test_no_bytes_raise_anything_but_the_declared_error(raw: bytes) -> None:
    assert "\n" not in refusal(lambda: read_decoder(parse(raw, "config.json")))


@pytest.mark.parametrize(
    "text",
    [
        '{"x": [' + "{}," * 85_000 + "{}]}",
        '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 5000, "num_attention_heads": ['
        + "4," * 4999
        + "4]}",
        "{" + ",".join(f'"f{i}": 1' for i in range(20_000)) + "}",
        "[" * 120_000,
        "{" + ",".join(f'"{i:x}": 1' for i in [*range(22_000), 21_999]) + "}",
    ],
)
def test_the_largest_input_takes_at_most_50_mb(text: str) -> None:
    """Its time is shown by benchmarks/reader.py."""
    raw = text.encode()
    assert len(raw) <= 1_000_000
    tracemalloc.start()
    refusal(lambda: read_decoder(parse(raw, "config.json")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 50e6


@pytest.mark.parametrize(("name", "measured"), [("llama-7b", True), ("mixtral-8x7b", False), ("nemotron-h-8b", False)])
def test_kinds_of_layers_that_no_profile_was_fitted_on_are_marked(name: str, measured: bool) -> None:
    prediction = Predictor.load("3090").predict(read_config(name))
    assert prediction.extrapolated is not measured
