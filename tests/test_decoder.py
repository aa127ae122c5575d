"""Decoders of every family, built from their configurations as data and run as `calibrate` and `verify` run them."""

import json
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from small_models import CHOICES, varied  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402
from transformers import CONFIG_MAPPING  # noqa: E402

from calibration.engines.block import Arena  # noqa: E402
from calibration.engines.cache_argument import cache_argument  # noqa: E402
from calibration.engines.decoder import build_decoder, decoder_run  # noqa: E402
from calibration.engines.registry import find_engine  # noqa: E402
from calibration.measure.cases import Case, case_bytes, weight_elements  # noqa: E402
from calibration.observations.decoder_config import DecoderConfig, decoder_config  # noqa: E402
from calibration.observations.evidence import model_of  # noqa: E402
from latmodel.errors import UsageError  # noqa: E402
from latmodel.model.config import ModelConfig, Workload  # noqa: E402

CPU = torch.device("cpu")
WORK = Workload(prompt_tokens=9, new_tokens=3, dtype="float32")


def config_of(family: str, seed: int = 0) -> DecoderConfig:
    return DecoderConfig.of(CONFIG_MAPPING[family](**varied(family, seed)).to_dict())


def case(config: DecoderConfig, phase: Any = "prefill", work: Workload = WORK) -> Case:
    return Case("one", "model", phase, config, work, "transformers-eager")


def run_of(one: Case) -> Any:
    with torch.no_grad():
        return decoder_run(one, Arena(weight_elements(one), torch.float32, CPU), CPU)


def flops_of(run: Any) -> int:
    """FLOPs of all matrix products, which grow with the positions that a cache holds."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("family", CHOICES)
def test_every_family_is_built_and_run(family: str) -> None:
    config = config_of(family)
    prefill, decode = run_of(case(config)), run_of(case(config, "decode"))
    with torch.no_grad():
        logits = prefill()
        tokens = [int(decode()) for _ in range(2)]
    assert logits.shape == (1, 1, config.vocab_size) and torch.isfinite(logits).all()
    assert all(0 <= token < config.vocab_size for token in tokens)
    assert flops_of(decode) == flops_of(decode) > 0  # from the same context
    assert case_bytes(case(config)) > 0


@pytest.mark.parametrize("family", ["gemma3_text", "llama", "nemotron_h", "qwen3_next"])
def test_a_decode_run_starts_where_the_last_one_did(family: str) -> None:
    """Keys and values of every run begin at the prompt, windows included: nothing grows from run to run."""
    config = config_of(family)
    kept: dict[str, Any] = {}
    seen: list[int] = []

    def watch(_module: Any, _args: Any, kwargs: Any, _out: Any) -> None:
        kept["cache"] = kwargs[cache_argument(_module)]
        seen.append(kept["cache"].get_seq_length())

    one = case(config, "decode")
    with torch.no_grad():
        arena = Arena(weight_elements(one), torch.float32, CPU)
        import calibration.engines.decoder as module

        built = build_decoder(config, arena, CPU, torch.float32)
        built.register_forward_hook(watch, with_kwargs=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "build_decoder", lambda *_: built)
            run = decoder_run(one, arena, CPU)
        sizes = []
        for _ in range(3):
            run()
            layers = kept["cache"].layers
            sizes.append([tuple(layer.keys.shape) for layer in layers if getattr(layer, "keys", None) is not None])
    assert sizes[0] == sizes[1] == sizes[2]
    assert seen[-9:] == [10, 11, 12] * 3


def test_a_class_that_does_not_go_on_from_a_cache_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import calibration.engines.decoder as module

    monkeypatch.setattr(module, "restore", lambda _: (_ for _ in ()).throw(RuntimeError("sizes differ:\n10, 13")))
    with pytest.raises(UsageError, match="no decode of a 'llama' model can be timed.*sizes differ: 10, 13"):
        run_of(case(config_of("llama"), "decode"))


@pytest.mark.parametrize("family", ["mixtral", "nemotron_h", "deepseek_v3", "qwen3_next", "smollm3", "gpt2"])
def test_another_depth_repeats_the_kinds_of_layers(family: str) -> None:
    config = config_of(family)
    depth, kinds = config.num_hidden_layers, {group.block for group in config.architecture().groups}
    twice = config.resized(2 * depth, 50)
    assert (twice.num_hidden_layers, twice.vocab_size) == (2 * depth, 50)
    assert {group.block for group in twice.architecture().groups} == kinds
    short = config.resized(config.period())
    assert {group.block for group in short.architecture().groups} == kinds
    assert config.resized(depth).architecture() == config.architecture()


def test_nemotrons_letters_are_repeated() -> None:
    config = DecoderConfig.of(
        {"model_type": "nemotron_h", "hybrid_override_pattern": "M-M*", "num_hidden_layers": 4, "hidden_size": 32}
    )
    assert config.resized(6).fields["hybrid_override_pattern"] == "M-M*M-"
    assert config.period() == 4


def test_plain_llamas_are_kept_as_dimensions() -> None:
    plain = decoder_config("llama-3-8b")
    assert isinstance(plain, ModelConfig) and (plain.hidden_size, plain.num_key_value_heads) == (4096, 8)
    for preset in ("ministral-8b", "qwen3-8b", "phi-3-mini", "gpt2"):  # windows, norms of queries, fused, biases
        assert isinstance(decoder_config(preset), DecoderConfig)


def test_a_configuration_survives_an_observation() -> None:
    config = config_of("nemotron_h")
    row = case(config, "decode").observation("cpu", "loop", 1.0, 0.01, ())
    again = type(row).model_validate_json(json.dumps(row.model_dump(mode="json")))
    assert again == row and model_of([again]) == config.architecture()
    assert row.num_hidden_layers == config.num_hidden_layers


def test_what_is_left_out_of_a_configuration() -> None:
    fields = varied("mixtral", 0) | {"model_type": "mixtral", "auto_map": {"AutoModel": "x--y.Z"}, "dtype": "bfloat16",
                                     "quantization_config": {"quant_method": "mxfp4"}, "limit": [0.0, float("inf")],
                                     "other": [0.0, {"__float__": "Infinity"}]}  # fmt: skip
    assert set(fields) - set(DecoderConfig.of(fields).fields) == {
        "auto_map", "dtype", "quantization_config", "limit", "other", "pad_token_id"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "no_such_model"}, "no_such_model"),
        ({"model_type": None}, "model_type is missing"),
        ({"rope_parameters": {"rope_type": "none-such"}}, "Transformers does not build"),
        ({"hidden_act": "none-such"}, "Transformers does not build"),
        ({"rms_norm_eps": "small"}, "Transformers does not build"),
    ],
)
def test_what_transformers_does_not_build_is_one_line(change: dict[str, Any], words: str) -> None:
    fields = {**config_of("mixtral").fields, "head_dim": None, **change}
    config = DecoderConfig.of({name: value for name, value in fields.items() if value is not None})
    with pytest.raises(UsageError, match=words) as caught:
        build_decoder(config, Arena(1_000_000, torch.float32, CPU), CPU, torch.float32)
    assert "\n" not in str(caught.value)


def test_a_model_of_other_parameters_than_were_read_is_refused() -> None:
    """What latmodel takes for a Llama may be something else to Transformers."""
    fields = {**config_of("llama").fields, "model_type": "diffllama"}
    with pytest.raises(UsageError, match="Transformers builds [0-9]+ parameters"):
        build_decoder(DecoderConfig.of(fields), Arena(1_000_000, torch.float32, CPU), CPU, torch.float32)


def test_other_runtimes_build_llamas_alone() -> None:
    with pytest.raises(UsageError, match="transformers-eager"):
        find_engine("torch-eager").check(config_of("mixtral"))
    find_engine("transformers-eager").check(config_of("mixtral"))
    assert find_engine("transformers-eager").on("cpu") == "transformers-cpu"
    assert find_engine("transformers-eager").on("cuda") == "transformers"
