"""Presets against the parameter counts that their publishers' checkpoints hold."""

import pytest

from latmodel.configs.huggingface import read_decoder
from latmodel.configs.presets import names, preset
from latmodel.errors import UsageError
from latmodel.model.totals import num_parameters

# Totals of the published checkpoints (safetensors index of each repository on the Hub; tied heads once).
PUBLISHED = {
    "baguettotron": 320_956_992,
    "llama-7b": 6_738_415_616,
    "llama-13b": 13_015_864_320,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "mistral-7b": 7_241_732_096,
    "mistral-nemo-12b": 12_247_782_400,
    "mistral-small-24b": 23_572_403_200,
    "ministral-8b": 8_019_808_256,
    "mixtral-8x7b": 46_702_792_704,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-1b": 999_885_952,
    "qwen3-0.6b": 596_049_920,
    "qwen3-8b": 8_190_735_360,
    "qwen3-14b": 14_768_307_200,
    "qwen3-32b": 32_762_123_264,
    "qwen3-30b-a3b": 30_532_122_624,
    "gpt-oss-20b": 20_914_757_184,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "olmo-2-7b": 7_298_617_344,
    "gpt2": 124_439_808,
    "falcon-7b": 6_921_720_704,
    "deepseek-v3": 671_026_404_352,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_checkpoint(name: str) -> None:
    assert num_parameters(read_decoder(name).architecture) == PUBLISHED[name]


@pytest.mark.parametrize("name", names())
def test_every_preset_is_read_without_a_note_and_has_a_source(name: str) -> None:
    assert read_decoder(name).notes == ()
    assert len(preset(name).source) > 20


def test_a_name_is_found_however_it_is_typed() -> None:
    assert preset("LLaMA 7B").config == preset("llama_7b").config


def test_an_unknown_name_gets_close_matches() -> None:
    with pytest.raises(UsageError, match="llama-7b"):
        read_decoder("lama-7b")
