"""What is added is one file and one registry line: a toy runtime and a toy format of weights, priced and counted."""

import json

import pytest
from click.testing import CliRunner
from search_toy import toy_predictor
from toy import model, work

from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli.verbs import group
from latmodel.device.profile import Profile
from latmodel.errors import UsageError
from latmodel.model.formats import FORMATS, WeightFormat
from latmodel.model.implementation import AttentionPath, Implementation
from latmodel.model.kernels import UNPACKED
from latmodel.model.totals import weight_bytes
from latmodel.predict.forward import blocks_cost
from latmodel.runtimes.registry import IMPLEMENTATIONS

# What a new file in `latmodel/runtimes` would hold. One kernel for each small operator; nothing is copied.
TOY = Implementation(
    name="toy-runtime",
    norm_kernels=1, norm_moves=2, rope_kernels=1, rope_moves=2, activation_kernels=1, activation_moves=3,
    residual_kernels=1, cache_kernels=1, cache_copies=0, attentions=(AttentionPath(name="toy"),), padding_kernels=0,
    routing_kernels=1, expert_kernels=0, absorbs_latents=True, fuses_scans=True,
    other_kernel=UNPACKED._replace(launches=4.0),
)  # fmt: skip
# 3 bits a weight, a 16-bit scale for each 32 inputs of an output: 3.5 bits.
TOY_FORMAT = WeightFormat("toy3", 3.0, 32.0, 1.0, 2.0)
SHAPE = ModelConfig(
    num_hidden_layers=4, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=1024, tie_word_embeddings=True,
)  # fmt: skip


@pytest.fixture
def toy_runtime(monkeypatch: pytest.MonkeyPatch) -> Predictor:
    """A predictor whose profile names the toy runtime: the registry line is the one thing changed."""
    monkeypatch.setitem(IMPLEMENTATIONS, TOY.name, TOY)
    data = json.loads(toy_predictor().profile.model_dump_json())
    data["runtimes"]["eager"]["implementation"] = TOY.name
    return Predictor(Profile.model_validate_json(json.dumps(data)))


def test_a_runtime_that_is_registered_is_counted_and_priced(toy_runtime: Predictor) -> None:
    cost = blocks_cost(model(), work(), toy_runtime.target("bfloat16"))
    # q, kv (two), o, gate and up (two), down; two norms, rope, activation, two residuals; attention, cache.
    assert cost.first.kernels == 4 * (7 + 6 + 2)
    ours, other = (one.predict(SHAPE).decode_s_per_token for one in (toy_runtime, toy_predictor()))
    launch_s = toy_runtime.target("bfloat16").runtime.launch_s
    # Transformers launches 40 kernels a block, 7 more in the final norm, and the host binds so small a model.
    assert other - ours == pytest.approx((4 * (40 - 15) + 7) * launch_s, rel=0.01)


def test_a_runtime_that_is_not_registered_is_refused() -> None:
    data = json.loads(toy_predictor().profile.model_dump_json())
    data["runtimes"]["eager"]["implementation"] = TOY.name
    with pytest.raises(ValueError, match="no such runtime is known; choose from transformers"):
        Profile.model_validate_json(json.dumps(data))


def test_a_format_that_is_registered_is_counted_and_priced(
    toy_runtime: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, TOY_FORMAT.name, TOY_FORMAT)
    quantised, plain = Workload(weights="toy3"), Workload()
    # q and o 256², k and v 256·128, gate, up and down 256·512, in four blocks: 2 bytes less 3.5 bits each.
    linears = 4 * (2 * 256 * 256 + 2 * 256 * 128 + 3 * 256 * 512)
    saved = weight_bytes(model(), plain.numbers()) - weight_bytes(model(), quantised.numbers())
    assert saved == linears * (2 - 3.5 / 8)
    peaks = [toy_runtime.predict(SHAPE, one).peak_memory_bytes for one in (plain, quantised)]
    assert peaks[0] - peaks[1] == pytest.approx(saved, rel=1e-9)
    target = toy_runtime.target("bfloat16")
    few, many = (blocks_cost(model(), work(numbers=one.numbers()), target).first.kernels for one in (plain, quantised))
    assert many - few == 4 * 7 * (TOY.other_kernel.launches - 1)
    assert (
        toy_runtime.predict(SHAPE, quantised).decode_s_per_token > toy_runtime.predict(SHAPE, plain).decode_s_per_token
    )


def test_the_command_line_takes_a_registered_format_and_lists_them_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ["predict", "--layers", "4", "--hidden", "256", "--weights", "toy3", "--format", "json"]
    refused = CliRunner().invoke(group, command)
    assert isinstance(refused.exception, UsageError)
    assert "choose from fp8, int8" in str(refused.exception)
    monkeypatch.setitem(FORMATS, TOY_FORMAT.name, TOY_FORMAT)
    assert CliRunner().invoke(group, command).exit_code == 0
