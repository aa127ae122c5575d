"""Several devices of one node by hand: one device's share, and the sums between them."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli.verbs import group
from latmodel.device.links import link_of
from latmodel.errors import UsageError
from latmodel.predict.generation import generate
from latmodel.predict.tensor_parallel import share_of, together

SHAPE = ModelConfig(
    num_hidden_layers=80, hidden_size=8192, intermediate_size=28672, num_attention_heads=64, num_key_value_heads=8,
    head_dim=128, vocab_size=128256, tie_word_embeddings=False,
)  # fmt: skip
H100 = Predictor.load("h100", "vllm")


def test_a_response_is_one_devices_share_and_the_sums() -> None:
    work = Workload(prompt_tokens=1000, new_tokens=50, batch_size=4)
    row = together(H100, SHAPE.architecture(), work, 8)
    alone = H100.predict(
        ModelConfig(
            num_hidden_layers=80, hidden_size=8192, intermediate_size=3584, num_attention_heads=8, num_key_value_heads=1,
            head_dim=128, vocab_size=16032, tie_word_embeddings=False,
        ),
        work,
    )  # fmt: skip
    link = link_of("nvidia-h100-80gb-hbm3", 8)
    # Two a block and one after the embedding, of 4 · 1000 or 4 rows of 8192 numbers of 16 bits.
    prefill, step = (161 * (link.latency_s + rows * 8192 * 2 / link.bytes_per_s) for rows in (4000, 4))
    assert row["prefill_s"] == pytest.approx(alone.prefill_s + prefill, rel=1e-12)
    assert row["decode_s_per_token"] == pytest.approx(alone.decode_s_per_token + step, rel=1e-12)
    assert row["response_s"] == pytest.approx(alone.response_s + prefill + 50 * step, rel=1e-12)
    assert row["peak_memory_bytes"] == alone.peak_memory_bytes
    assert row["num_parameters"] == SHAPE.architecture().num_parameters
    assert row["extrapolated"]
    assert "never measured whole" in row["extrapolated_because"][0]
    assert row["response_s_low"] < row["response_s"] < row["response_s_high"]


def test_kv_heads_fewer_than_devices_are_repeated() -> None:
    few = SHAPE.model_copy(update={"num_key_value_heads": 2}).architecture()
    assert share_of(few, 8).groups[0].block.attention.kv_heads == 1.0
    assert share_of(few, 2).groups[0].block.attention.kv_heads == 1.0


@pytest.mark.parametrize(
    ("gpu", "model", "devices", "word"),
    [
        ("3090", SHAPE, 2, "no link between devices"), ("h100", SHAPE, 3, "2, 4, 8 devices"),
        ("h100", SHAPE.model_copy(update={"num_attention_heads": 60, "num_key_value_heads": 60}), 8, "60 heads"),
        ("h100", SHAPE.model_copy(update={"vocab_size": 101}), 8, "vocabulary"),
    ],
)  # fmt: skip
def test_devices_without_a_link_and_what_does_not_divide_are_refused(
    gpu: str, model: ModelConfig, devices: int, word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        together(Predictor.load(gpu), model.architecture(), Workload(), devices)


def test_the_table_of_links_is_the_published_one() -> None:
    """A row of it again, where the package that holds the times is installed."""
    pytest.importorskip("aiconfigurator_core")
    pytest.importorskip("pyarrow")
    from calibration.published.links import fitted, links

    assert (
        links()["nvidia-h100-80gb-hbm3"]["devices"]["8"]["latency_s"] == link_of("nvidia-h100-80gb-hbm3", 8).latency_s
    )
    sizes = 2.0 ** np.arange(8, 30)
    planted = fitted(sizes, 1.2e-5 + sizes / 2.5e11)
    assert (planted["latency_s"], planted["bytes_per_s"]) == pytest.approx((1.2e-5, 2.5e11), rel=1e-3)


def test_the_command_line() -> None:
    words = ["predict", "--layers", "80", "--hidden", "8192", "--heads", "64", "--kv-heads", "8", "--gpu", "h100", "--runtime",
             "vllm", "--devices", "4", "--format", "json"]  # fmt: skip
    result = CliRunner().invoke(group, words)
    row = json.loads(result.output[result.output.index("{") :])
    assert row["devices"] == 4
    assert row["all_reduce_s_per_token"] > 161 * 1e-5
    refused = CliRunner().invoke(group, ["predict", "80x8192", "--gpu", "h100", "--devices", "4", "--chunk", "64"])
    assert "--devices goes without" in str(refused.exception)


def test_energy_and_money_are_of_all_devices() -> None:
    """By hand: four times 700 W for one device's kernels and the sums; four times the price for the response."""
    words = ["predict", "--layers", "80", "--hidden", "8192", "--heads", "64", "--kv-heads", "8", "--gpu", "h100", "--runtime",
             "vllm", "--devices", "4", "--energy", "--price", "2/h", "--batch", "2", "--generate", "10", "--format", "json"]  # fmt: skip
    result = CliRunner().invoke(group, words)
    row = json.loads(result.output[result.output.index("{") :])
    one = ModelConfig(num_hidden_layers=80, hidden_size=8192, num_attention_heads=64, num_key_value_heads=8)
    share, work = share_of(one.architecture(), 4), Workload(batch_size=2, new_tokens=10)
    kernels_s = generate(H100, share, work).device_s
    sums_s = row["all_reduce_prefill_s"] + 10 * row["all_reduce_s_per_token"]
    assert row["energy_j"] == pytest.approx(4 * 700.0 * (kernels_s + sums_s))
    assert row["energy_j_per_token"] == pytest.approx(row["energy_j"] / 20)
    assert row["energy_j_high"] == pytest.approx(4 * 700.0 * row["response_s_high"])
    assert row["cost_per_million_tokens"] == pytest.approx(4 * 2.0 / 3600 * row["response_s"] / 20 * 1e6)
    assert row["power_w"] == 700.0
