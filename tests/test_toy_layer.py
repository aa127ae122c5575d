"""A new kind of layer is one file: a toy layer, defined here, is priced, counted and searched."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from pydantic import ValidationError
from search_toy import toy_predictor
from toy import TARGET, TWO_BYTES, work

from latmodel import Predictor, Profile, Workload
from latmodel.arrays import Array
from latmodel.model.architecture import Architecture, Block, FeedForward, Group
from latmodel.model.formats import FORMATS, Numbers
from latmodel.model.implementation import Implementation
from latmodel.model.layers.layer import Layer, Linear
from latmodel.model.layers.registry import KINDS
from latmodel.model.memory import peak_memory
from latmodel.model.ops import OpCost, pointwise
from latmodel.model.step import Step
from latmodel.model.totals import num_parameters, weight_bytes
from latmodel.model.transformer import dense_ops
from latmodel.predict.breakdown import breakdown
from latmodel.predict.forward import block_cost
from latmodel.pruning.ways import fewer_heads
from latmodel.runtimes.transformers_eager import TRANSFORMERS
from latmodel.search.per_layer.layers import search_layers


# What a new file in `latmodel/model/layers` would hold.
@dataclass(frozen=True, slots=True)
class Decay(Layer):
    """Each of `width` channels is a decaying mean of what it has seen, kept in `state` float32 values."""

    width: Array
    state: Array

    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        return [Linear("decay_in", hidden, self.width), Linear("decay_out", self.width, hidden)]

    def vectors(self, hidden: Array) -> list[Array]:
        return [self.width]

    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        return [one.op(rows, numbers) for one in self.linears(hidden)]

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        return [pointwise("decay", step.batch_size * self.state, moves=2.0, kernels=1.0, bytes_each=4.0)]

    @property
    def live_width(self) -> Array:
        return 2.0 * self.width

    def state_bytes(self, numbers: Numbers) -> Array:
        return 4.0 * self.state


HIDDEN, VOCAB, DEPTH = 1024.0, 32_000.0, 12.0
WIDTH, STATE = 256.0, 1e6


def of(block: Block) -> Architecture:
    return Architecture((Group(DEPTH, block),), HIDDEN, VOCAB, 1.0)


MODEL = of(Block(Decay(WIDTH, STATE), FeedForward(2048.0)))


def test_it_is_priced() -> None:
    # The state is read and written: 2 · 1e6 · 4 bytes at 1e11 bytes/s.
    with_state, without = (
        block_cost(Block(Decay(WIDTH, s), None, norms=1), HIDDEN, work(), TARGET) for s in (STATE, 0.0)
    )
    for name in ("prefill", "first", "last"):
        assert getattr(with_state, name).seconds - getattr(without, name).seconds == pytest.approx(8e-5, rel=1e-9)
    # RMSNorm 8, two products, the layer's own kernel, the residual sum.
    assert with_state.first.kernels == 8 + 2 + 1 + 1
    predictor, workload = toy_predictor(), Workload()
    got, bare = (predictor.predict(model, workload) for model in (MODEL, of(Block(None, FeedForward(2048.0), norms=1))))
    assert got.response_s > bare.response_s
    assert got.extrapolated and not bare.extrapolated  # no profile was fitted on it
    # 936e9 bytes/s at most, 8e6 bytes a layer and step.
    row = next(r for r in breakdown(predictor, MODEL, workload) if r["operator"] == "decay" and r["phase"] == "decode")
    assert row["bytes"] == 12 * 8e6
    assert row["device_s"] >= 12 * 8e6 / 936e9


def test_a_profile_can_name_it_as_measured_with_its_registry_line(monkeypatch: pytest.MonkeyPatch) -> None:
    data = json.loads(toy_predictor().profile.model_dump_json())
    data["runtimes"]["eager"]["layers"] = ["Decay"]
    with pytest.raises(ValidationError, match="no such kind of layer"):
        Profile.model_validate_json(json.dumps(data))
    monkeypatch.setitem(KINDS, "Decay", "decay")
    measured = Predictor(Profile.model_validate_json(json.dumps(data)))
    assert not measured.predict(MODEL).extrapolated


def test_it_is_counted() -> None:
    products, feed_forward = 2 * 1024 * 256, 3 * 1024 * 2048
    block = products + 256 + feed_forward + 2 * 1024
    assert num_parameters(MODEL) == 12 * block + 1024 + 32_000 * 1024
    held = peak_memory(
        MODEL, batch=3.0, prompt=100.0, new=10.0, logits_all=False, numbers=TWO_BYTES, implementation=TRANSFORMERS
    )
    assert held.weight_bytes == 2 * num_parameters(MODEL)
    assert held.cache_bytes == 3 * 12 * 4 * 1e6
    # Alone: 2 · 256 values of 300 rows are alive beside the residual stream; the logits of 3 rows are fewer.
    alone = peak_memory(
        replace(of(Block(Decay(WIDTH, STATE), None, norms=1)), vocab_size=1000.0), batch=3.0, prompt=100.0, new=10.0,
        logits_all=False, numbers=TWO_BYTES, implementation=TRANSFORMERS,
    )  # fmt: skip
    assert alone.transient_bytes == 2 * 300 * (2 * 1024 + 2 * 256)


def test_a_weight_format_applies_to_its_products() -> None:
    plain, eight = Workload().numbers(), Workload(weights="int8").numbers()
    # int8: a byte a weight and a float32 scale an output.
    saved = 12 * (2 * 1024 * 256 - 4 * (256 + 1024) + 3 * 1024 * 2048 - 4 * (2 * 2048 + 1024))
    assert weight_bytes(MODEL, plain) - weight_bytes(MODEL, eight) == saved
    assert FORMATS["int8"].linear_bytes(1024.0, 256.0) == 1024 * 256 + 4 * 256
    # By a runtime without a kernel of its own for the format.
    plain_runtime = TRANSFORMERS._replace(kernels=())
    ops = dense_ops(Block(Decay(WIDTH, STATE), None, norms=1), HIDDEN, 1.0, plain_runtime, eight)
    unpack = next(op for op in ops if op.name == "unpack_mixer")
    # Written out and read back in 2 bytes; one launch a product.
    assert unpack.bytes == 2 * 2 * (2 * 1024 * 256)
    assert unpack.kernels == 2


def test_it_is_searched() -> None:
    predictor, workload = toy_predictor(), Workload(new_tokens=50)
    blocks = [Block(Decay(WIDTH, s), FeedForward(f)) for s, f in ((1e7, 4096.0), (1e5, 1024.0))]
    big, small = (predictor.predict(of(block), workload).response_s for block in blocks)
    budget = 0.5 * (big + small)
    result = search_layers(
        predictor, blocks, np.array([[2.0, 1.0]] * 12), hidden_size=1024, vocab_size=32_000, workload=workload,
        budget_s=budget,
    )  # fmt: skip
    assert {0, 1} == set(result.choices)
    assert result.prediction.response_s <= budget * (1 + 1e-6)
    assert result.additive_s == pytest.approx(result.prediction.response_s, rel=1e-6)
    # One more of the better blocks breaks the budget.
    count = result.choices.count(0) + 1
    more = Architecture((Group(count, blocks[0]), Group(12.0 - count, blocks[1])), HIDDEN, VOCAB, 1.0)
    assert predictor.predict(more, workload).response_s > budget


def test_pruning_leaves_alone_what_it_has_no_way_to_narrow() -> None:
    assert fewer_heads(MODEL, 0.5) == MODEL
