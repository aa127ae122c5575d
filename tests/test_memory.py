"""Peak memory by hand: weights, cache, the largest transient, overhead."""

import numpy as np
import pytest
from toy import TWO_BYTES, model

from latmodel import ModelConfig, Predictor, Workload
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture
from latmodel.model.implementation import Implementation
from latmodel.model.memory import Memory, peak_memory
from latmodel.model.totals import num_parameters
from latmodel.runtimes.torch_eager import TORCH
from latmodel.runtimes.transformers_eager import TRANSFORMERS


def memory(architecture: Architecture, implementation: Implementation = TORCH, **changes: float) -> Memory:
    asked = {"batch": 2.0, "prompt": 100.0, "new": 28.0, **changes}
    return peak_memory(architecture, numbers=TWO_BYTES, implementation=implementation, logits_all=False, **asked)  # type: ignore[arg-type]


def test_by_hand() -> None:
    """4 layers, hidden 256, FFN 512, 4 heads of 64 on 2 KV heads, vocabulary 1024, two sequences of 100 + 28."""
    found = memory(model(), overhead_bytes=1000.0)
    block = 256 * (256 + 128 + 128 + 256) + 3 * 256 * 512 + 2 * 256
    assert found.weight_bytes == 2 * (4 * block + 256 + 1024 * 256)
    # keys and values: 2 · 2 heads · 64 · 4 layers · 128 positions · 2 sequences · 2 bytes
    assert found.cache_bytes == 2 * 2 * 64 * 4 * 128 * 2 * 2
    # residual stream twice: 2 · 256 · 200 rows; the FFN's three: 3 · 512 · 200 rows, two bytes each
    assert found.transient_bytes == 2 * (2 * 256 * 200) + 2 * (3 * 512 * 200)
    assert found.peak_bytes == found.weight_bytes + found.cache_bytes + found.transient_bytes + 1000


def test_logits_of_all_positions_can_be_the_largest() -> None:
    wide = model(vocab_size=100_000.0)
    every = peak_memory(
        wide, batch=2.0, prompt=100.0, new=0.0, logits_all=True, numbers=TWO_BYTES, implementation=TORCH
    )
    # 100 000 · 200 rows · 2 bytes beside the residual stream of 2 · 256 · 200 · 2
    assert every.transient_bytes == 2 * 100_000 * 200 + 2 * 2 * 256 * 200


def test_a_copied_cache_is_a_transient_of_one_block() -> None:
    long = {"batch": 1.0, "prompt": 1.0, "new": 1e6}
    fixed, copied = memory(model(), TORCH, **long), memory(model(), TRANSFORMERS, **long)
    # keys and values of one block: 2 · 2 · 64 · 1 000 001 positions · 2 bytes
    assert copied.transient_bytes - fixed.transient_bytes == pytest.approx(2 * 2 * 64 * 1_000_001 * 2, rel=0.01)
    assert copied.cache_bytes == fixed.cache_bytes


def test_an_older_cache_adds_its_positions() -> None:
    assert memory(model(), retained=128.0).cache_bytes == 2 * memory(model()).cache_bytes


def test_arrays_equal_numbers() -> None:
    hidden = np.array([64.0, 256.0, 2048.0])
    many = memory(model(hidden_size=hidden))
    for i, one in enumerate(hidden.tolist()):
        assert many.peak_bytes[i] == memory(model(hidden_size=one)).peak_bytes


def test_parameters_stay_whole_numbers() -> None:
    """The largest model of the frontier's default space is far below 2**53, where float64 would round."""
    large = model(num_hidden_layers=128.0, hidden_size=16384.0, intermediate_size=81920.0, vocab_size=1e6)
    count = num_parameters(large)
    assert count == int(count) < 2**53


SMALL = ModelConfig(
    num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=1, vocab_size=100
)  # fmt: skip


def test_what_fits_is_told_by_the_limit() -> None:
    loaded = Predictor.load("3090")
    peak = loaded.predict(SMALL).peak_memory_bytes
    for limit, fits in ((peak, True), (peak - 1.0, False)):
        assert Predictor(loaded.profile, memory_bytes=limit).predict(SMALL).fits_memory is fits


def test_memory_grows_with_the_work() -> None:
    predictor = Predictor.load("3090")
    small = predictor.predict(SMALL, Workload(batch_size=1)).peak_memory_bytes
    assert predictor.predict(SMALL, Workload(batch_size=64)).peak_memory_bytes > small
    assert predictor.predict(SMALL, Workload(prompt_tokens=100_000)).peak_memory_bytes > small


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_memory_is_refused(size: float) -> None:
    with pytest.raises(UsageError, match="memory"):
        Predictor(Predictor.load("3090").profile, memory_bytes=size)
