"""What was not measured makes a prediction `extrapolated`, and `extrapolated_because` names it."""

import math

import pytest

from latmodel import Predictor, Workload
from latmodel.device.hosts import host_of
from latmodel.device.store import load_profile
from latmodel.errors import UsageError

LLAMA = {
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32000,
}  # fmt: skip
RTX_3090 = Predictor.load(
    "3090"
)  # measured: 8 to 100 layers, widths 512 to 8192, FFNs 1365 to 21824, heads 52 to 240, to 712 positions, batch 1
CASES = {
    "as measured": ({}, {}, ()),
    "prompt": ({}, {"prompt_tokens": 4096}, ("prompt_tokens 4096 (128 to 712 measured)",)),
    "generation": ({}, {"new_tokens": 1000}, ("a generation to 1512 positions (to 712 measured)",)),
    "batch": ({}, {"batch_size": 4}, ("batch_size 4 (1 to 1 measured)",)),
    "width": ({"hidden_size": 16384, "num_attention_heads": 128}, {}, ("hidden_size 16384 (512 to 8192 measured)",)),
    "FFN": ({"intermediate_size": 28672}, {}, ("intermediate_size 28672 (1365 to 21824 measured)",)),
    "head size": ({"head_dim": 32}, {}, ("head_dim 32 (52 to 240 measured)",)),
    "depth": ({"num_hidden_layers": 126}, {}, ("num_hidden_layers 126 (8 to 100 measured)",)),
    "format": ({}, {"weights": "nvfp4"}, ("weights nvfp4",)),
    "format on another card": (
        {}, {"weights": "int4-gptq"}, ("weights int4-gptq (measured on nvidia-a100-sxm4-80gb)",)
    ),
    "dtype": ({}, {"dtype": "float32"}, ("dtype float32",)),
    "kind of layer": (
        {"model_type": "mixtral", "num_local_experts": 8}, {}, ("layers of kind Experts",)
    ),
    "another kind": (
        {"model_type": "lfm2", "layer_types": ["conv"] * 22}, {}, ("layers of kind ShortConvolution",)
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_named(case: str) -> None:
    changes, load, because = CASES[case]
    found = RTX_3090.predict({**LLAMA, **changes}, Workload(**load))
    assert found.extrapolated_because == because
    assert found.extrapolated == bool(because)


def test_an_interval_is_wider_where_a_generation_goes_further() -> None:
    """By the factor of the profile, beyond what a longer response is wider by."""
    there = Predictor(load_profile("3090"), host="published")  # where the device's share is all of the interval
    inside, beyond = (there.predict(LLAMA, Workload(new_tokens=new)) for new in (200, 201))
    widths = [one.response_s_high / one.response_s_low for one in (inside, beyond)]
    assert inside.extrapolated_because == ()
    assert math.log(widths[1]) > 1.2 * math.log(widths[0])


def test_generations_are_marked_in_tables_too() -> None:
    columns = {name: value for name, value in LLAMA.items() if name != "model_type"}
    many = RTX_3090.predict_many({**columns, "head_dim": 64, "new_tokens": [100, 200, 201, 5000]})
    assert list(many.extrapolated) == [False, False, True, True]


def test_this_host_where_nothing_was_measured_here() -> None:
    with pytest.raises(UsageError, match="--host this: transformers-eager of profile .* was not measured on this mach"):
        host_of(load_profile("3090"), "transformers-eager", "this")


def test_sizes_of_layers_are_looked_at_in_every_block() -> None:
    """Of blocks with several FFN sizes the smallest and the largest count; a model without attention has no heads."""
    mixed = {"model_type": "openelm", "model_dim": 2048, "num_transformer_layers": 2, "head_dim": 64,
             "num_query_heads": [32, 32], "num_kv_heads": [8, 8], "ffn_multipliers": [0.5, 4.0],
             "ffn_dim_divisor": 256, "vocab_size": 32000, "ffn_with_glu": True}  # fmt: skip
    because = RTX_3090.predict(mixed).extrapolated_because
    assert "intermediate_size 1024 (1365 to 21824 measured)" in because
    assert not any("head_dim" in line for line in because)
    from latmodel.model.architecture import Architecture, Block, FeedForward, Group

    alone = Architecture((Group(8.0, Block(None, FeedForward(4096.0))),), 2048.0, 32000.0)
    assert alone.extents == {"intermediate_size": (4096.0, 4096.0)}
    assert RTX_3090.predict(alone).extrapolated_because == ()


def test_a_profile_without_ranges_of_layers_says_nothing_of_them() -> None:
    profile = load_profile("3090")
    part = profile.runtimes["transformers-eager"]
    ranges = {name: both for name, both in part.ranges.items() if name not in ("intermediate_size", "head_dim")}
    older = profile.model_copy(update={"runtimes": {"transformers-eager": part.model_copy(update={"ranges": ranges})}})
    assert Predictor(older).predict({**LLAMA, "intermediate_size": 28672}).extrapolated_because == ()


def test_ffn_and_head_sizes_are_marked_in_tables_too() -> None:
    columns = {name: value for name, value in LLAMA.items() if name not in ("model_type", "intermediate_size")}
    many = RTX_3090.predict_many({**columns, "head_dim": [64, 64, 32], "intermediate_size": [5632, 28672, 5632]})
    assert list(many.extrapolated) == [False, True, True]
