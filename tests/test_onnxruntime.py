"""ONNX Runtime GenAI: what its builder writes, what it refuses, and what latmodel makes of it."""

import sys
import types
from pathlib import Path

import pytest

from calibration.engines.whole.onnx_model import check_builds
from calibration.engines.whole.packages import engine_package, version_of
from calibration.engines.whole.whole_model import Child
from latmodel import ModelConfig, Predictor, Workload
from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.totals import num_parameters, weight_bytes

SMALL = ModelConfig(
    num_hidden_layers=2, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=512, tie_word_embeddings=False,
)  # fmt: skip


@pytest.mark.parametrize("weights", ["int4", "float32"])
def test_it_runs_what_is_built(tmp_path: Path, weights: str) -> None:
    pytest.importorskip("onnxruntime_genai")
    path = tmp_path / "model"
    with Child("onnxruntime") as child:
        child.write_whole(path, SMALL, weights)
        child.open(path, EngineOptions(), 128)
        assert 0.0 < child.prefill(64) < 60.0
        assert 0.0 < child.decode(48, 4) < 60.0
        assert 0.0 < child.decode(8, 4) < 60.0  # back within what was read
        with pytest.raises(LatmodelError, match="has --threads alone"):
            child.open(path, EngineOptions(micro_batch=64), 128)
    work = Workload(weights=None if weights == "float32" else weights, dtype="float32")
    expected = weight_bytes(SMALL.architecture(), work.numbers())
    tables = 2 * 4096 * 32 * 4  # cosines and sines of 4096 positions, 32 angles of a head of 64
    held = (path / "model.onnx.data").stat().st_size
    assert held - tables == pytest.approx(expected, rel=0.03)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_genai")
    with Child("onnxruntime") as child, pytest.raises(LatmodelError, match="it has no genai_config.json"):
        child.open(tmp_path, EngineOptions(), 64)


def test_int4_takes_five_bits_and_leaves_the_embedding() -> None:
    work = Workload(weights="int4", dtype="float32")
    # A float32 scale for 32 weights: 5 bits. 512 × 256 of the embedding and 5 × 256 of the norms stay in float32.
    plain = 512 * 256 + 5 * 256
    packed = num_parameters(SMALL.architecture()) - plain
    assert weight_bytes(SMALL.architecture(), work.numbers()) == packed * 5 / 8 + plain * 4
    tied = SMALL.model_copy(update={"tie_word_embeddings": True})
    # The head is packed, the embedding is not: both are there.
    assert weight_bytes(tied.architecture(), work.numbers()) == packed * 5 / 8 + plain * 4


def test_widths_that_blocks_do_not_divide_are_refused() -> None:
    narrow = SMALL.model_copy(update={"intermediate_size": 528})
    check_builds(narrow, "fp32")
    with pytest.raises(UsageError, match="an input width of 528 is no multiple"):
        check_builds(narrow, "int4")


def test_int4_belongs_to_onnxruntime() -> None:
    with pytest.raises(UsageError, match="use --runtime onnxruntime"):
        Predictor.load("3090").predict(SMALL, Workload(weights="int4"))


def test_packages_that_are_missing_or_old_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"runtime x needs p: pip install 'latmodel\[e\]'"):
        engine_package("x", "p", "no_such_engine", "e", (1,))
    old = types.ModuleType("old_engine")
    old.__version__ = "0.9.2rc1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "old_engine", old)
    with pytest.raises(UsageError, match=r"p 0\.9\.2rc1 is too old, 0\.10 is needed: pip install .* --upgrade"):
        engine_package("x", "p", "old_engine", "e", (0, 10))
    assert engine_package("x", "p", "old_engine", "e", (0, 9)) is old
    assert version_of("2026.10.11549") == (2026, 10, 11549)
