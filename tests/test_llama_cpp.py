"""The llama.cpp runtime: its law by hand, the devices it knows, formats, and a search in sizes that a format allows."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from shapes import LLAMA_7B

from latmodel import Predictor, SearchSpace, Workload, frontier
from latmodel.cli import group
from latmodel.device.engine_options import EngineOptions
from latmodel.device.llama_cpp import published_names
from latmodel.device.profile_file import write_profile
from latmodel.device.store import load_profile
from latmodel.errors import ProfileError, UsageError
from latmodel.laws.coefficients import GgmlCoefficients, Sheet
from latmodel.laws.dispatch import op_seconds
from latmodel.model.config import ModelConfig
from latmodel.model.formats import Numbers
from latmodel.model.layers.attention import Attention, attention_op
from latmodel.model.ops import gemm
from latmodel.model.step import Step
from latmodel.runtimes.llama_cpp import LLAMA_CPP

SHEET = Sheet(1e12, 1e11, 1.0, 1e6)
SIXTEEN = Numbers(2.0, 2.0, 2.0)
LAW = GgmlCoefficients(
    bandwidth_efficiency=0.5,
    vector_flops_per_s=1e11,
    product_flops_per_s=1e12,
    attention_ratio=0.5,
    cache_efficiency=0.25,
    token_attention_flops_per_s=1e11,
    unpack_passes=0.5,
    launch_s=1e-6,
)


def test_one_row_reads_the_weights() -> None:
    op = gemm("one", 1.0, 1000.0, 1000.0, 0.5, 2.0)
    # 5e5 bytes at 5e10 B/s, 2e6 FLOPs at 1e11/s, one launch: 10 + 20 + 1 us.
    assert op_seconds(op, SHEET, LAW, 0.0).seconds == pytest.approx(31e-6)


def test_many_rows_compute_in_micro_batches() -> None:
    op = gemm("many", 1024.0, 1000.0, 1000.0, 0.5, 2.0)
    # 2.048e9 FLOPs at 1e12/s; in each of two micro-batches half a pass over 2e6 bytes at 1e11 B/s, and a launch.
    assert op_seconds(op, SHEET, LAW, 0.0).seconds == pytest.approx(2048e-6 + 2 * 10e-6 + 2 * 1e-6)


# Of a CPU: 2e6 FLOPs a row; 31 us for one row without its launch, then 50, 60 and 80 us of 2, 4 and 8.
FEW = LAW._replace(
    two_rows_flops_per_s=2 * 2e6 / 50e-6, four_rows_flops_per_s=4 * 2e6 / 60e-6, eight_rows_flops_per_s=8 * 2e6 / 80e-6
)


@pytest.mark.parametrize(("rows", "microseconds"), [
    (1, 30), (2, 50), (3, 55), (4, 60), (6, 70), (8, 80), (16, 16 * 2 + 10), (12, 0.5 * (80 + 42)), (40, 40 * 2 + 10),
    (1024, 1024 * 2 + 2 * 10),
])  # fmt: skip
def test_few_rows_take_what_was_measured_and_lie_between(rows: int, microseconds: float) -> None:
    op = gemm("few", float(rows), 1000.0, 1000.0, 0.5, 2.0)
    launches = 2 if rows > 512 else 1
    assert op_seconds(op, SHEET, FEW, 0.0).seconds == pytest.approx((microseconds + launches) * 1e-6)


@pytest.mark.parametrize(("rows", "microseconds"), [
    (1, 30), (2, 60), (3, 90), (4, 60), (5, 90), (8, 120), (15, 3 * 60 + 3 * 30), (16, 42), (17, 72), (36, 2 * 32 + 10 + 60),
])  # fmt: skip
def test_packed_weights_are_multiplied_in_tiles_of_sixteen_and_four_rows_and_the_rest_one_by_one(
    rows: int, microseconds: float
) -> None:
    op = gemm("packed", float(rows), 1000.0, 1000.0, 0.5, 2.0)
    law = FEW._replace(row_tile=4.0)
    assert op_seconds(op, SHEET, law, 0.0).seconds == pytest.approx((microseconds + 1) * 1e-6)
    many = gemm("packed", np.array([float(rows)] * 2), 1000.0, 1000.0, 0.5, 2.0)
    assert op_seconds(many, SHEET, law, 0.0).seconds == pytest.approx((microseconds + 1) * 1e-6)


def test_a_narrow_cache_is_read_more_slowly() -> None:
    law, one = LAW._replace(narrow_cache=2.0), Step(1.0, 999.0)

    def seconds(kv_heads: float, law: GgmlCoefficients) -> float:
        op = attention_op(Attention(20.0, kv_heads, 64.0), one, LLAMA_CPP, SIXTEEN)
        return float(op_seconds(op, SHEET, law, 0.0).seconds)

    # Four heads of 64 are 256 values a position, read in three times 2 x 256 x 2 bytes x 1000 / 2.5e10 B/s.
    assert seconds(4.0, law) - seconds(4.0, LAW) == pytest.approx(2.0 * 40.96e-6)
    # Three heads are 192: three quarters of the bytes, each three quarters as much longer.
    assert seconds(3.0, law) - seconds(3.0, LAW) == pytest.approx(2.0 * 40.96e-6 * 0.75**2)
    assert seconds(5.0, law) == seconds(5.0, LAW)


def test_a_cpu_attends_by_tiles_of_queries_and_fewer_one_by_one() -> None:
    law, attention = LAW._replace(query_tile=64.0), Attention(8.0, 2.0, 64.0)

    def seconds(new: float, cached: float) -> float:
        return float(
            op_seconds(attention_op(attention, Step(new, cached), LLAMA_CPP, SIXTEEN), SHEET, law, 0.0).seconds
        )

    # Two of 1000 positions: keys and values once, as a token does, and the FLOPs of each at a token's rate.
    flops = 4.0 * 64.0 * 8.0
    assert seconds(2.0, 998.0) == pytest.approx(20.48e-6 + flops * (999.0 + 1000.0) / 1e11)
    # 128 of a prompt: three tiles of 64 x 64, at 5e11 FLOP/s.
    assert seconds(128.0, 0.0) == pytest.approx(flops * 3 * 64.0 * 64.0 / 5e11, rel=0.01)
    # 65 take as long as 128 would for their rows.
    assert seconds(65.0, 1000.0) == pytest.approx(seconds(128.0, 1000.0), rel=0.05)


def test_at_least_150_devices_have_rows_of_their_own() -> None:
    assert sum(1 for rows in published_names().values() if rows) >= 150


@pytest.mark.parametrize("gpu", ["m1 pro", "m5", "3090", "rx 7900 xtx", "arc a770", "gb10", "8060s", "i7-12700"])
def test_devices_answer_by_the_names_people_use(gpu: str) -> None:
    found = Predictor.load(gpu, "llama.cpp").predict(LLAMA_7B, Workload(weights="q4_0"))
    assert 0.0 < found.response_s_low < found.response_s < found.response_s_high


def test_the_other_runtimes_stay_as_they_were() -> None:
    assert load_profile("3090", "transformers-eager") == load_profile("3090")
    assert set(load_profile("3090", "llama.cpp").runtimes) == {*load_profile("3090").runtimes, "llama.cpp"}


def test_formats_belong_to_runtimes() -> None:
    with pytest.raises(UsageError, match=r"use --runtime llama\.cpp"):
        Predictor.load("3090").predict(LLAMA_7B, Workload(weights="q4_0"))
    with pytest.raises(ProfileError, match="choose from f16"):
        Predictor.load("3090", "llama.cpp").predict(LLAMA_7B, Workload(weights="int4-awq"))


def test_smaller_formats_write_faster() -> None:
    predictor = Predictor.load("3090", "llama.cpp")
    steps = [
        predictor.predict(LLAMA_7B, Workload(weights=name)).decode_s_per_token
        for name in ("f16", "q8_0", "q6_k", "q4_0")
    ]
    assert steps == sorted(steps, reverse=True)


def test_search_keeps_to_the_blocks_of_the_format() -> None:
    predictor, workload = Predictor.load("m2", "llama.cpp"), Workload(weights="q4_k_m")
    front = frontier(predictor, SearchSpace(hidden_size=range(512, 2049, 64)), workload, budget_s=1.0)
    for name in ("hidden_size", "intermediate_size"):
        assert not np.any(front.columns[name] % 256)
    assert front.response_s == pytest.approx(
        [predictor.predict(front.config(row), workload).response_s for row in range(len(front))]
    )


def test_sizes_that_the_format_does_not_divide_are_refused() -> None:
    predictor = Predictor.load("m2", "llama.cpp")
    with pytest.raises(UsageError, match="multiple of 256, as weights in q4_k_m"):
        frontier(predictor, SearchSpace(hidden_size=(576, 640)), Workload(weights="q4_k_m"), budget_s=1.0)


def test_a_profile_of_one_format_prices_that_one_alone() -> None:
    profile = load_profile("3090", "llama.cpp")
    part = profile.runtimes["llama.cpp"]
    alone = part.model_copy(update={"formats": {"q4_0": part.formats["q4_0"]}})
    predictor = Predictor(profile.model_copy(update={"runtimes": {"llama.cpp": alone}}), "llama.cpp")
    assert predictor.predict(LLAMA_7B, Workload(weights="q4_0")).response_s > 0.0
    with pytest.raises(ProfileError, match="no weights in f16: choose from q4_0"):
        predictor.predict(LLAMA_7B)


def test_a_token_computes_for_every_query_head() -> None:
    one = Step(1.0, 999.0)  # a context of 1000
    times = [
        op_seconds(attention_op(Attention(heads, 2.0, 64.0), one, LLAMA_CPP, SIXTEEN), SHEET, LAW, 0.0).seconds
        for heads in (2.0, 8.0)
    ]
    # Keys and values: 2 x 2 heads x 64 x 2 bytes x 1000 at 2.5e10 B/s; 4 x 64 FLOPs a head and position at 1e11/s.
    assert times == pytest.approx([20.48e-6 + 5.12e-6, 20.48e-6 + 20.48e-6])


def test_scores_are_moved_without_flash_attention() -> None:
    attention, prompt = Attention(2.0, 2.0, 64.0), Step(1024.0, 0.0)
    op = attention_op(attention, prompt, LLAMA_CPP, SIXTEEN)
    plain, moved = (op_seconds(op, SHEET, LAW._replace(score_bytes=bytes_), 0.0).seconds for bytes_ in (0.0, 30.0))
    # Causal pairs of two heads and, of each micro-batch of 512, half a square that the mask hides: 30 bytes at 1e11 B/s.
    scores = 2.0 * (1024.0 * 1025.0 / 2.0 + 1024.0 * 512.0 / 2.0)
    assert moved - plain == pytest.approx(scores * 30.0 / 1e11, rel=1e-3)


def test_scores_that_the_mask_hides_are_computed() -> None:
    op = attention_op(Attention(2.0, 2.0, 64.0), Step(512.0, 0.0), LLAMA_CPP, SIXTEEN)
    # One micro-batch: the whole square of 512, two heads, 4 x 64 FLOPs a score, at half of 1e12/s.
    assert op_seconds(op, SHEET, LAW, 0.0).seconds == pytest.approx(2 * 512 * 512.5 * 256 / 5e11, rel=2e-3)


def test_smaller_micro_batches_are_more_passes() -> None:
    op = gemm("many", 1024.0, 1000.0, 1000.0, 0.5, 2.0)
    # As above, in four micro-batches of 256 rows.
    law = LAW._replace(micro_batch_rows=256.0)
    assert op_seconds(op, SHEET, law, 0.0).seconds == pytest.approx(2048e-6 + 4 * 10e-6 + 4 * 1e-6)


def predictor_with(options: EngineOptions) -> Predictor:
    profile = load_profile("3090", "llama.cpp")
    part = profile.runtimes["llama.cpp"].model_copy(update={"engine": options})
    return Predictor(profile.model_copy(update={"runtimes": {"llama.cpp": part}}), "llama.cpp")


def test_options_that_an_engine_was_measured_with_count_in_its_predictions() -> None:
    work = Workload(weights="q4_0")
    plain, small = (predictor_with(EngineOptions(micro_batch=rows)).predict(LLAMA_7B, work) for rows in (None, 128))
    assert small.prefill_s > plain.prefill_s
    assert small.peak_memory_bytes < plain.peak_memory_bytes
    written = predictor_with(EngineOptions(flash_attention="off")).predict(LLAMA_7B, work)
    assert written.peak_memory_bytes > plain.peak_memory_bytes
    packed = predictor_with(EngineOptions(kv_cache="q8_0")).predict(
        LLAMA_7B, work.model_copy(update={"kv_cache": "q8_0"})
    )
    # 612 positions of 32 layers with keys and values of 4096: 17/32 of 2 bytes are left.
    saved = 612 * 32 * 2 * 4096 * 2 * (1 - 17 / 32)
    assert plain.peak_memory_bytes - packed.peak_memory_bytes == pytest.approx(saved)


def test_another_cache_than_the_measured_one_is_refused() -> None:
    packed = Workload(weights="q4_0", kv_cache="q8_0")
    with pytest.raises(ProfileError, match=r"measured with 4 thread\(s\): leave out --kv-cache"):
        predictor_with(EngineOptions(threads=4)).predict(LLAMA_7B, packed)
    with pytest.raises(ProfileError, match="use --kv-cache q8_0"):
        predictor_with(EngineOptions(kv_cache="q8_0")).predict(LLAMA_7B, Workload(weights="q4_0"))
    with pytest.raises(ProfileError, match="transformers has no cache in q4_0"):
        Predictor.load("3090").predict(LLAMA_7B, Workload(kv_cache="q4_0"))
    # Published runs say nothing of caches: theirs is priced by its bytes.
    assert Predictor.load("3090", "llama.cpp").predict(LLAMA_7B, packed).response_s > 0.0


def test_narrow_models_on_large_chips_are_outside_what_was_measured() -> None:
    """CUDA cards have run 14.42 units of width a multiprocessor and more: 1903 on the 132 of an H100, and 1182 on 82."""
    for gpu, width, outside in (
        ("h100", 1024, True),
        ("h100", 2048, False),
        ("3090", 1152, True),
        ("3090", 1216, False),
    ):
        shape = ModelConfig(num_hidden_layers=24, hidden_size=width, intermediate_size=3 * width)
        told = Predictor.load(gpu, "llama.cpp").predict(shape, Workload(weights="q4_0")).extrapolated_because
        assert any(line.startswith(f"hidden_size {width} (") and "or more measured" in line for line in told) == outside


@pytest.mark.parametrize("gpu", ["cpu", "8060s", "3090"])
def test_a_profile_given_by_its_path_may_be_named_by_its_device_too(tmp_path: Path, gpu: str) -> None:
    """This machine's processor, a device that others ran llama.cpp on, and one with a data sheet."""
    profile = load_profile("8060s" if gpu == "cpu" else gpu, LLAMA_CPP.name)
    known = profile if gpu != "cpu" else profile.model_copy(update={"name": "cpu", "gpu": "cpu"})
    write_profile(known, tmp_path / "mine.json")
    asked = ["predict", "20x1536", "--runtime", "llama.cpp", "--profile", str(tmp_path / "mine.json"), "--gpu"]
    assert CliRunner().invoke(group, [*asked, gpu]).exit_code == 0
    with pytest.raises(ProfileError, match=f"is of {known.gpu}, not of m2; leave out one of the two"):
        CliRunner().invoke(group, [*asked, "m2"], catch_exceptions=False)
