"""Memory as llama.cpp's own log tells of it, against what is predicted, and options that change both."""

from pathlib import Path

import pytest

from calibration.engines.whole.llama_cpp_log import buffers
from calibration.engines.whole.whole_model import Child
from latmodel import ModelConfig, Workload
from latmodel.device.engine_options import EngineOptions
from latmodel.device.profile import Coefficient, RuntimePart
from latmodel.errors import LatmodelError
from latmodel.laws.priors import RUNTIME_PRIORS
from latmodel.model.memory import Memory, peak_memory


def model(layers: int, hidden: int, ffn: int, heads: int, kv_heads: int, vocabulary: int) -> ModelConfig:
    return ModelConfig(
        num_hidden_layers=layers, hidden_size=hidden, intermediate_size=ffn, num_attention_heads=heads,
        num_key_value_heads=kv_heads, vocab_size=vocabulary, tie_word_embeddings=False,
    )  # fmt: skip


MODELS = (
    (model(8, 512, 2048, 8, 2, 8192), "q4_k_m", 1536),
    (model(2, 1024, 4096, 16, 16, 4096), "q8_0", 4096),
    (model(4, 768, 2048, 12, 4, 32000), "f16", 512),
)
OPTIONS = (
    EngineOptions(),
    EngineOptions(micro_batch=128),
    EngineOptions(flash_attention="off"),
    EngineOptions(kv_cache="q8_0"),
)


def predicted(config: ModelConfig, weights: str, context: int, options: EngineOptions) -> Memory:
    work = Workload(prompt_tokens=context - 8, new_tokens=8, weights=weights, kv_cache=options.kv_cache)
    zero = dict.fromkeys(RUNTIME_PRIORS, Coefficient(value=0.0))
    part = RuntimePart(implementation="llama.cpp", host="here", coefficients=zero, engine=options)
    return peak_memory(
        config.architecture(), batch=1.0, prompt=context - 8.0, new=8.0, logits_all=False, numbers=work.numbers(),
        implementation=part.measured_as,
    )  # fmt: skip


def test_memory_is_within_three_percent_of_the_engines_own_report(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    pytest.importorskip("gguf")
    for number, (config, weights, context) in enumerate(MODELS):
        path = tmp_path / str(number)
        reports = []
        with Child("llama.cpp") as child:
            child.write(path, config, weights, 0)
            for options in OPTIONS:
                told = child.memory(path, options, context)
                found = predicted(config, weights, context, options)
                assert found.weight_bytes == pytest.approx(told["weights"], rel=0.03), options
                assert found.cache_bytes == pytest.approx(told["cache"], rel=0.03), options
                assert found.transient_bytes == pytest.approx(told["compute"], rel=0.03), options
                total = sum(told.values()) - told["repacked"]
                assert found.peak_bytes == pytest.approx(total, rel=0.03), options
                reports.append(told)
        plain, small, written, packed = reports
        # Each option did something: smaller buffers, scores written out, a smaller cache.
        assert small["compute"] < 0.5 * plain["compute"]
        assert written["compute"] > 1.1 * plain["compute"]
        assert packed["cache"] == pytest.approx(plain["cache"] * 34.0 / 64.0, rel=0.01)


def test_a_log_is_read() -> None:
    log = """
        load_tensors:   CPU_Mapped model buffer size =    22.97 MiB
        load_tensors:   CPU_REPACK model buffer size =    13.92 MiB
        llama_context:        CPU  output buffer size =     0.03 MiB
        llama_kv_cache:        CPU KV buffer size =     6.00 MiB
        sched_reserve:        CPU compute buffer size =    18.52 MiB
        ~llama_context:        CPU compute buffer size is  18.5176 MiB, matches expectation of  18.5176 MiB
    """
    mib = {name: round(held / 2**20, 2) for name, held in buffers(log).items()}
    assert mib == {"weights": 22.97, "repacked": 13.92, "cache": 6.0, "compute": 18.52, "output": 0.03}


def test_a_file_that_is_no_model_is_told(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "model"
    path.write_bytes(b"GGUF" + bytes(100))
    with Child("llama.cpp") as child, pytest.raises(LatmodelError, match=r"llama\.cpp .*Failed to init server"):
        child.open(path, EngineOptions(), 64)
