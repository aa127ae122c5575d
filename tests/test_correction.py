"""The learned correction: interpolation by hand, fading, one answer for one row or many, and hostile files."""

import json
import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from toy import DEVICE, SHEET

from latmodel.device.profile import Profile
from latmodel.device.profile_file import MAX_PROFILE_BYTES
from latmodel.device.store import list_profiles, load_profile
from latmodel.laws.cells import WIDTH_BITS, cell_values, cells
from latmodel.laws.correction import Correction, Table, gemm_features, log_factor
from latmodel.laws.correction_part import CorrectionPart, TablePart, check_family
from latmodel.laws.corrector import Corrector
from latmodel.laws.dispatch import op_seconds
from latmodel.model.config import ModelConfig
from latmodel.model.ops import AttentionShape, OpCost, gemm
from latmodel.predict.predictor import Predictor

# One table over m, n, k from 2^8 to 2^12 that is 0.1 where n is 2^12 and 0 where it is 2^8, whatever m and k.
ENDS = np.array([8.0, 12.0])
RAMP = np.array([[[0.0, 0.0], [0.1, 0.1]], [[0.0, 0.0], [0.1, 0.1]]])
RANGE = {"m": 8.0, "n": 8.0, "k": 8.0}, {"m": 12.0, "n": 12.0, "k": 12.0}
GEMM = Correction((Table(("m", "n", "k"), (ENDS, ENDS, ENDS), RAMP),), *RANGE)


def factor(m: float, n: float, k: float) -> float:
    return float(log_factor(GEMM, gemm_features(m, n, k)))


def test_a_table_is_linear_in_log2_between_its_knots() -> None:
    assert factor(256, 256, 256) == 0.0
    assert factor(512, 4096, 1024) == pytest.approx(0.1)
    assert factor(512, 1024, 1024) == pytest.approx(0.05)  # 2^10 is half-way from 2^8 to 2^12


def test_it_fades_over_one_octave_outside_the_measured_range() -> None:
    assert factor(4096, 4096, 4096 * math.sqrt(2)) == pytest.approx(0.05)  # half an octave out, half of 0.1
    assert factor(4096, 8192, 4096) == 0.0
    assert factor(128, 4096, 4096) == 0.0
    assert factor(1, 4096, 4096) == 0.0


def seconds(op: OpCost, corrector: Corrector | None) -> Any:
    return op_seconds(op, SHEET, DEVICE, 0.0, corrector=corrector).seconds


def product(m: Any, n: Any, k: Any) -> OpCost:
    return gemm("product", m, n, k, weight_bytes=2.0, activation_bytes=2.0)


def test_a_corrected_time_is_the_law_times_the_factor() -> None:
    corrector = Corrector({"gemm": GEMM}, 1.0)
    plain = seconds(product(512.0, 4096.0, 1024.0), None)
    assert seconds(product(512.0, 4096.0, 1024.0), corrector) == pytest.approx(plain * math.exp(0.1), rel=3e-4)
    assert seconds(product(512.0, 64.0, 1024.0), corrector) == seconds(product(512.0, 64.0, 1024.0), None)


def test_families_without_tables_keep_their_law() -> None:
    corrector = Corrector({}, 1.0)
    assert seconds(product(512.0, 4096.0, 1024.0), corrector) == seconds(product(512.0, 4096.0, 1024.0), None)


@given(st.integers(1, 1 << 20))
def test_cells_round_to_the_nearest_of_32_an_octave(width: int) -> None:
    rounded = cell_values(cells(float(width), WIDTH_BITS), WIDTH_BITS)
    assert abs(rounded / width - 1.0) <= 1.0 / 64.0
    for kind in (np.float32, np.float64):
        assert cells(np.array([width], dtype=kind), WIDTH_BITS)[0] == cells(float(width), WIDTH_BITS)


@pytest.mark.parametrize("width", [64, 256, 4096, 5120, 11008, 14336, 65536])
def test_widths_of_real_models_are_cells_themselves(width: int) -> None:
    assert cell_values(cells(float(width), WIDTH_BITS), WIDTH_BITS) == width


H200 = load_profile("h200")
SHAPES = st.tuples(
    st.integers(1, 64), st.sampled_from([1, 2, 4, 8]), st.sampled_from([64, 80, 128]), st.integers(1, 400)
)


@settings(max_examples=30, deadline=None)
@given(st.lists(SHAPES, min_size=1, max_size=8), st.sampled_from(["transformers-eager", "vllm"]))
def test_one_row_costs_what_it_costs_among_many(shapes: list[tuple[int, int, int, int]], runtime: str) -> None:
    predictor = Predictor(H200, runtime)
    columns = {
        "num_hidden_layers": [12 for _ in shapes],
        "hidden_size": [kv * group * dim for kv, group, dim, _ in shapes],
        "intermediate_size": [64 * wide for *_, wide in shapes],
        "num_attention_heads": [kv * group for kv, group, _, _ in shapes],
        "num_key_value_heads": [kv for kv, *_ in shapes],
        "head_dim": [dim for _, _, dim, _ in shapes],
        "vocab_size": [32000 for _ in shapes],
    }
    many = predictor.predict_many(columns)
    mixed = predictor.predict_many({**columns, "prompt_tokens": [512 for _ in shapes]})
    for i in range(len(shapes)):
        one = predictor.predict_many({name: values[i] for name, values in columns.items()})
        assert many.response_s[i] == pytest.approx(one.response_s[0], rel=1e-6)
        assert mixed.response_s[i] == pytest.approx(one.response_s[0], rel=1e-6)


def llama_7b(predictor: Predictor) -> tuple[float, float]:
    row = {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
           "vocab_size": 32000}  # fmt: skip
    found = predictor.predict_many(row)
    return float(found.prefill_s[0]), float(found.decode_s_per_token[0])


def test_it_can_be_switched_off() -> None:
    on, off = llama_7b(Predictor(H200, "vllm")), llama_7b(Predictor(H200, "vllm", corrected=False))
    assert on != off
    assert on == pytest.approx(off, rel=0.15)  # a correction, not another model
    assert Predictor(H200, "vllm", corrected=False).target("bfloat16").corrector is None


def test_only_the_kernels_that_were_measured_are_corrected() -> None:
    assert H200.runtimes["vllm"].corrected == ["gemm", "prefill", "decode"]
    assert load_profile("b200").runtimes["cuda-graph"].corrected == ["gemm"]  # the same cuBLAS; other attention kernels
    assert H200.runtimes["cuda-graph"].corrected == []  # an H100's kernels as PyTorch launches them
    assert load_profile("t4").corrector("float16", "cuda-graph") is None


def test_attention_features_of_one_head_group_by_hand() -> None:
    from latmodel.laws.correction import decode_features, prefill_features

    shape = AttentionShape(4.0, 32.0, 8.0, 128.0, 1.0, 1024.0, 1024.0, None)
    found = decode_features(shape, 1.0)
    assert found == {"length": 10.0, "tiles": 5.0, "group": 2.0, "head_dim": 7.0, "whole": 0.0, "kv_heads": 3.0}
    windowed = decode_features(shape._replace(window=256.0), 1.0)
    assert (windowed["length"], windowed["tiles"], windowed["whole"]) == (8.0, 7.0, 1.0)
    prompt = prefill_features(shape._replace(tokens=1024.0, window=256.0))
    assert (prompt["tokens"], prompt["span"], prompt["streams"], prompt["windowed"]) == (10.0, 8.0, 7.0, 1.0)


GOOD: dict[str, Any] = {
    "tables": [{"features": ["m", "n", "k"], "knots": [[8.0, 12.0]] * 3, "values": [0.0] * 8}],
    "lowest": {"m": 8.0, "n": 8.0, "k": 8.0},
    "highest": {"m": 12.0, "n": 12.0, "k": 12.0},
}


def changed_table(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "tables": [{**GOOD["tables"][0], **changes}]}


BAD: dict[str, dict[str, Any]] = {
    "too few values": changed_table(values=[0.0] * 7),
    "knots that fall": changed_table(knots=[[12.0, 8.0], [8.0, 12.0], [8.0, 12.0]]),
    "one knot": changed_table(knots=[[8.0], [8.0, 12.0], [8.0, 12.0]], values=[0.0] * 4),
    "a feature twice": changed_table(features=["m", "m", "k"]),
    "an absurd value": changed_table(values=[3.0] * 8),
    "another family's feature": changed_table(features=["m", "n", "tiles"]),
    "two tables of products": {**GOOD, "tables": GOOD["tables"] * 2},
    "no tables": {**GOOD, "tables": []},
    "no range": {**GOOD, "lowest": {"m": 8.0, "n": 8.0}},
    "a range upside down": {**GOOD, "lowest": {"m": 13.0, "n": 8.0, "k": 8.0}},
    "an unknown key": {**GOOD, "colour": "red"},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_bad_tables_are_refused(bad: dict[str, Any]) -> None:
    check_family("gemm", CorrectionPart.model_validate_json(json.dumps(GOOD)))
    with pytest.raises((ValidationError, ValueError)):
        check_family("gemm", CorrectionPart.model_validate_json(json.dumps(bad)))


def test_a_table_has_a_largest_size() -> None:
    knots = [[float(i) for i in range(40)]] * 3
    with pytest.raises(ValidationError, match="values"):
        TablePart(features=["m", "n", "k"], knots=knots, values=[0.0] * 40**3)


def test_a_profile_with_a_bad_correction_names_it() -> None:
    data = json.loads(H200.model_dump_json())
    data["device"]["corrections"]["bfloat16"]["gemm"]["tables"][0]["features"][0] = "tiles"
    with pytest.raises(ValidationError, match="tiles"):
        Profile.model_validate_json(json.dumps(data))


def test_packaged_profiles_stay_small() -> None:
    sizes = {name: path.stat().st_size for name, path in list_profiles().items()}
    assert len(sizes) >= 12
    assert max(sizes.values()) < MAX_PROFILE_BYTES / 5


def kept_bytes(predict: Callable[[Predictor], Any]) -> int:
    predictor = Predictor(H200, "vllm")
    tracemalloc.start()
    predict(predictor)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept


def test_one_prediction_keeps_hardly_any_memory_and_many_less_than_a_megabyte() -> None:
    model = {"num_hidden_layers": 32, "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32,
             "vocab_size": 32000}  # fmt: skip
    widths = 64 * np.arange(1, 400)
    wide = {**model, "hidden_size": widths, "intermediate_size": widths[::-1], "num_attention_heads": widths // 64}
    Predictor(H200, "vllm").predict_many(wide)  # what the first of a process keeps
    assert kept_bytes(lambda predictor: predictor.predict(ModelConfig(**model))) < 1e5
    assert kept_bytes(lambda predictor: predictor.predict_many(wide)) < 1e6
