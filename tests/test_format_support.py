"""Formats of weights that a runtime does not run on a device are refused, with those that it runs."""

import pytest

from latmodel import Predictor, Workload
from latmodel.cli import main
from latmodel.device.datasheets import datasheets
from latmodel.device.format_support import SUPPORT, capability, check_format
from latmodel.device.store import load_profile
from latmodel.errors import UsageError
from latmodel.model.formats import FORMATS
from latmodel.runtimes.registry import IMPLEMENTATIONS

A100 = load_profile("a100")  # with Transformers and vLLM
# vLLM 0.6.3, docs/source/quantization/supported_hardware.rst, where a row says no; FP4 as of 0.10.
REFUSED = [
    ("tesla-v100-sxm2-16gb", "vllm", "int4-awq"),
    ("tesla-v100-sxm2-16gb", "vllm", "fp8"),
    ("tesla-v100-sxm2-16gb", "vllm", "fp8-block"),
    ("tesla-v100-sxm2-16gb", "vllm", "nvfp4"),
    ("tesla-t4", "vllm", "mxfp4"),
    ("tesla-p100-pcie-16gb", "vllm", "nf4"),
    ("intel-arc-pro-b60-graphics", "vllm", "nvfp4"),
    ("intel-arc-pro-b60-graphics", "vllm", "nf4"),
    ("apple-m3", "vllm", "int4-gptq"),
    # Transformers unpacks DeepSeek's fp8 below compute capability 8.9, on Apple's chips and on CPUs; mxfp4 below 7.5.
    ("nvidia-a100-sxm4-80gb", "transformers-eager", "fp8-block"),
    ("apple-m3", "transformers-eager", "fp8-block"),
    ("tesla-v100-sxm2-16gb", "transformers-eager", "mxfp4"),
    ("apple-m3", "transformers-eager", "mxfp4"),
]
RUN = [
    ("nvidia-a100-sxm4-80gb", "vllm", "fp8"),  # weights alone, by Marlin
    ("nvidia-b200", "vllm", "nvfp4"),
    ("tesla-t4", "vllm", "int4-awq"),
    ("tesla-t4", "vllm", "fp8"),  # sm_75 from vLLM 0.33 on
    ("amd-instinct-mi250x", "vllm", "fp8"),
    ("amd-instinct-mi300x", "vllm", "fp8"),
    ("nvidia-geforce-rtx-4090", "transformers-eager", "fp8-block"),
    ("amd-instinct-mi300x", "transformers-eager", "nf4"),  # bitsandbytes 0.50
    ("apple-m3", "transformers-eager", "int4-gptq"),  # GPTQModel
]


@pytest.mark.parametrize(("gpu", "runtime", "name"), REFUSED)
def test_what_does_not_run_is_refused_with_what_does(gpu: str, runtime: str, name: str) -> None:
    profile = A100.model_copy(update={"gpu": gpu})
    with pytest.raises(UsageError, match=f"{runtime} cannot run {name} weights on ") as caught:
        check_format(profile, runtime, FORMATS[name])
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    if "there it has " in message:
        offered = message.split("there it has ")[1].split(";", maxsplit=1)[0].split(", ")
        assert name not in offered
        for one in offered:  # what is offered is not refused in turn
            check_format(profile, runtime, FORMATS[one])
    else:
        assert (gpu, runtime) == ("apple-m3", "vllm")


@pytest.mark.parametrize(("gpu", "runtime", "name"), RUN)
def test_what_runs_is_not_refused(gpu: str, runtime: str, name: str) -> None:
    check_format(A100.model_copy(update={"gpu": gpu}), runtime, FORMATS[name])


def test_a_device_without_a_sheet_runs_what_is_not_known_of_it() -> None:
    check_format(A100.model_copy(update={"gpu": "someones-own-card"}), "vllm", FORMATS["nvfp4"])
    with pytest.raises(UsageError, match="use --runtime llama.cpp"):
        check_format(A100, "vllm", Workload(weights="q4_k_m").numbers().format)  # type: ignore[arg-type]


def test_a_checkpoint_as_shipped_is_refused_too() -> None:
    shipped = {
        "model_type": "llama", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 1000,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    }  # fmt: skip
    with pytest.raises(UsageError, match="cannot run fp8-block weights on NVIDIA GeForce RTX 3090 .sm_86., only on"):
        Predictor.load("3090").predict(shipped)


def test_the_command_line_says_it_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["latmodel", "predict", "llama-7b", "--gpu", "3090", "--weights", "fp8-block"])
    with pytest.raises(SystemExit) as ended:
        main()
    lines = capsys.readouterr().err.strip().split("\n")
    assert ended.value.code == 2
    assert "fp8-block" in lines[-1] and "int4-gptq" in lines[-1]


def test_the_table_names_runtimes_formats_and_kinds_that_there_are() -> None:
    assert set(SUPPORT) <= set(IMPLEMENTATIONS)
    architectures = {f"{card.kind} {card.architecture}" for card in datasheets()}
    for table in SUPPORT.values():
        for name, support in table.items():
            assert name in FORMATS or name == "int8-awq"
            assert support.source
            for one in support.others:
                assert any(known.startswith(one) for known in architectures), one
    assert {capability(card) for card in datasheets() if card.kind == "cuda"} >= {6.0, 7.5, 8.9, 10.3, 12.0}
