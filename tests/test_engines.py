"""Engines in a process of their own: answers, crashes, hangs; and llama.cpp for real where it is installed."""

import sys
import time
from pathlib import Path

import fake_engine
import pytest

from calibration.engines.whole.gguf_file import tensors
from calibration.engines.whole.whole_model import Child
from latmodel import ModelConfig, Workload
from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.gguf import FILE_TYPES
from latmodel.model.totals import num_parameters, weight_bytes

COMMAND = (sys.executable, fake_engine.__file__)
SMALL = ModelConfig(
    num_hidden_layers=8, hidden_size=256, intermediate_size=512, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=512, tie_word_embeddings=False,
)  # fmt: skip


def test_a_child_answers(tmp_path: Path) -> None:
    with Child("fake", command=COMMAND) as child:
        child.write(tmp_path / "model", SMALL, "f16", 3)
        child.open(tmp_path / "model", EngineOptions(), 64)
        assert (child.version, child.prefill(128), child.decode(100, 28)) == ("fake 1", 0.128, 128e-6)
    assert (tmp_path / "model").read_text() == "256 f16 3"


def test_a_complaint_is_the_engines_own() -> None:
    with Child("fake", command=COMMAND) as child, pytest.raises(LatmodelError, match="fake no room"):
        child.prefill(fake_engine.COMPLAIN)


def test_a_crash_is_told_with_the_end_of_the_log() -> None:
    told = "ended in prefill; its log ends: loading backends"
    with Child("fake", command=COMMAND) as child, pytest.raises(LatmodelError, match=told):
        child.prefill(fake_engine.CRASH)


def test_a_hang_ends_the_process() -> None:
    start = time.perf_counter()
    with Child("fake", timeout_s=0.5, command=COMMAND) as child:
        with pytest.raises(LatmodelError, match="did not answer prefill within"):
            child.prefill(fake_engine.HANG)
        assert child.returncode is not None
    assert time.perf_counter() - start < 30.0


def test_parameters_of_the_file_are_the_models() -> None:
    matrices = sum(tensor.rows * tensor.columns for tensor in tensors(SMALL, "q4_k_m"))
    norms = 256 * (2 * 8 + 1)
    assert matrices + norms == num_parameters(SMALL.architecture())


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(UsageError, match="llama.cpp has no weights in q9: choose from f16"):
        list(tensors(SMALL, "q9"))


@pytest.mark.parametrize("weights", ["q4_k_m", "q5_k_m"])
def test_llama_cpp_runs_widths_that_blocks_do_not_divide(tmp_path: Path, weights: str) -> None:
    pytest.importorskip("xllamacpp")
    narrow = SMALL.model_copy(update={"hidden_size": 192, "num_attention_heads": 3, "num_key_value_heads": 1})
    assert {one.type[:2] for one in tensors(narrow, weights)} == {weights[:2], "q5", "q6", "q8"}
    with Child("llama.cpp") as child:
        child.write(tmp_path / "model.gguf", narrow, weights, 0)
        child.open(tmp_path / "model.gguf", EngineOptions(), 256)
        assert 0.0 < child.prefill(64) < 60.0
        assert 0.0 < child.decode(16, 4) < 60.0


@pytest.mark.parametrize("weights", FILE_TYPES)
def test_llama_cpp_runs_what_is_written(tmp_path: Path, weights: str) -> None:
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    path = tmp_path / "model.gguf"
    with Child("llama.cpp") as child:
        child.write(path, SMALL, weights, 0)
        child.open(path, EngineOptions(), 256)
        assert 0.0 < child.prefill(64) < 60.0
        assert 0.0 < child.decode(16, 4) < 60.0
    held = gguf.GGUFReader(path).tensors
    assert sum(int(one.n_elements) for one in held) == num_parameters(SMALL.architecture())
    # Eight blocks: half of them get more bits, as the mean bytes of the format assume.
    numbers = Workload(weights=weights).numbers()
    assert sum(int(one.n_bytes) for one in held) == weight_bytes(SMALL.architecture(), numbers)
