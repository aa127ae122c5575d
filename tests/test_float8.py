"""Products of 8-bit floats: their law by hand, where they stand in a model, what a profile must say of them."""

import json
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from search_toy import toy_predictor
from test_kernels import A100, COMMON
from toy import DEVICE, GEMM, SHEET, TWO_BYTES

from calibration.fit.kernels import fit_law, start_at, values_of
from calibration.observations.operators import OperatorObservation, operator_evidence
from latmodel import Workload
from latmodel.cli import group
from latmodel.configs.huggingface import read_config
from latmodel.device.profile import Profile
from latmodel.device.profile_file import read_profile
from latmodel.errors import ProfileError
from latmodel.laws.coefficients import Float8, QuantizeCoefficients, coefficient_values, device_coefficients
from latmodel.laws.correction import Correction, Table
from latmodel.laws.corrector import Corrector
from latmodel.laws.dispatch import op_seconds
from latmodel.model.layers.unpacking import float8_product
from latmodel.model.memory import peak_memory
from latmodel.model.ops import OpCost, gemm
from latmodel.model.transformer import dense_ops
from latmodel.predict.breakdown import breakdown
from latmodel.predict.inputs import work_of
from latmodel.runtimes.torch_compile import COMPILED
from latmodel.runtimes.transformers_eager import TRANSFORMERS

LLAMA = read_config("llama-7b")
FP8 = Workload(weights="fp8", batch_size=8)
EIGHT, SIXTEEN = toy_predictor(float8=True), toy_predictor()
QUANTIZE = QuantizeCoefficients(
    floor_s=0.0, bandwidth_efficiency=1.0, cache_share=1.0, cache_speedup=1.0, row_s=0.0
)  # every effect off
QUICK = SHEET._replace(float8_flops_per_s=2e12)


def product(m: float, n: float, k: float) -> OpCost:
    return float8_product(gemm("product", m, n, k, weight_bytes=1.0, activation_bytes=2.0))


def seconds(op: OpCost, quantize: QuantizeCoefficients = QUANTIZE, corrector: Corrector | None = None) -> Any:
    device = DEVICE._replace(float8=Float8(GEMM, quantize))
    return op_seconds(op, QUICK, device, 0.0, corrector=corrector)


def test_a_product_takes_its_flops_at_the_rate_for_8_bits_after_quantising_its_input() -> None:
    """10 whole tiles of 256 x 128 on pairs of 10 SMs at 2e12 FLOP/s; 1280 · 4096 inputs of 5 bytes at 1e11 a second."""
    found = seconds(product(1280.0, 256.0, 4096.0))
    multiplied, quantised = 2 * 1280 * 256 * 4096 / 2e12, 5 * 1280 * 4096 / 1e11
    assert found.compute_s == pytest.approx(multiplied)
    assert found.seconds == pytest.approx(multiplied + quantised)


def test_a_token_beyond_a_tile_of_two_multiprocessors_costs_both_of_them_a_tile() -> None:
    slow = SHEET._replace(bandwidth_bytes_per_s=1e18, float8_flops_per_s=2e12)
    device = DEVICE._replace(float8=Float8(GEMM._replace(small_tile_efficiency=0.1), QUANTIZE))
    times = {
        m: op_seconds(product(float(m), 1280.0, 4096.0), slow, device, 0.0).compute_s for m in (129, 256, 257, 512, 513)
    }
    assert times[129] == times[256]
    assert times[257] == times[512] == pytest.approx(2 * times[256])
    assert times[513] == pytest.approx(3 * times[256])


def test_quantising_takes_a_block_of_threads_a_row_and_both_kernels_have_floors() -> None:
    plain, blocks = (
        seconds(product(64.0, 4096.0, 4096.0), q).seconds for q in (QUANTIZE, QUANTIZE._replace(row_s=5e-9))
    )
    assert blocks - plain == pytest.approx(64 * 5e-9)
    floored = seconds(product(64.0, 4096.0, 4096.0), QUANTIZE._replace(floor_s=2e-6))
    assert floored.seconds - plain == pytest.approx(2e-6)


def test_what_is_read_and_written() -> None:
    """A byte a weight and a quantised input, two an output."""
    assert product(3.0, 5.0, 7.0).bytes == pytest.approx(5 * 7 + 3 * 7 + 2 * 3 * 5)


def test_products_of_a_block_are_those_its_format_stores() -> None:
    implementation, numbers = TRANSFORMERS._replace(multiplies_float8=True), FP8.numbers()
    block = LLAMA.groups[0].block
    ops = dense_ops(block, 4096.0, 8.0, implementation, numbers)
    products = {op.name: op for op in ops if op.kind == "gemm8"}
    assert set(products) == {"q_proj", "kv_proj", "o_proj", "gate_up_proj", "down_proj"}
    assert not any(op.name.startswith("unpack") or op.kind == "gemm" for op in ops)
    # One more launch each in Transformers, to quantise the input; none where kernels are fused.
    assert sum(op.kernels for op in products.values()) == 2 * 7
    fused = dense_ops(block, 4096.0, 8.0, COMPILED._replace(multiplies_float8=True), numbers)
    assert sum(op.kernels for op in fused if op.kind == "gemm8") == 7
    for other in (Workload(weights="int8").numbers(), TWO_BYTES):
        assert not any(op.kind == "gemm8" for op in dense_ops(block, 4096.0, 8.0, implementation, other))


def test_routers_keep_16_bits() -> None:
    model = read_config("mixtral-8x7b")
    implementation = COMPILED._replace(multiplies_float8=True)
    kinds = {op.name: op.kind for op in dense_ops(model.groups[0].block, 4096.0, 8.0, implementation, FP8.numbers())}
    assert kinds["router"] == "gemm"
    assert kinds["experts_up"] == kinds["experts_down"] == "gemm8"


def test_a_prompt_is_faster_than_with_weights_that_are_unpacked() -> None:
    work = Workload(weights="fp8", prompt_tokens=4096)
    eight, sixteen = (p.predict(LLAMA, work) for p in (EIGHT, SIXTEEN))
    assert eight.prefill_s < 0.75 * sixteen.prefill_s
    assert eight.peak_memory_bytes <= sixteen.peak_memory_bytes
    plain = Workload(weights="int8", prompt_tokens=4096)
    assert EIGHT.predict(LLAMA, plain).prefill_s == SIXTEEN.predict(LLAMA, plain).prefill_s


def test_no_matrix_is_unpacked_in_memory() -> None:
    """In decode one matrix of 4096 x 11008 is written out in 16 bits, unless it is multiplied as it is stored."""
    found = [
        peak_memory(
            LLAMA,
            batch=1.0,
            prompt=1.0,
            new=1.0,
            logits_all=False,
            numbers=FP8.numbers(),
            implementation=implementation,
        )
        for implementation in (TRANSFORMERS, TRANSFORMERS._replace(multiplies_float8=True))
    ]
    assert found[0].transient_bytes - found[1].transient_bytes > 0.9 * 2 * 4096 * 11008
    assert found[0].weight_bytes == found[1].weight_bytes


def test_the_breakdown_adds_up_to_the_prediction() -> None:
    work = work_of(FP8)
    rows = [row for row in breakdown(EIGHT, LLAMA, FP8) if row["phase"] == "prefill"]
    target = EIGHT.target("bfloat16")
    total = sum(row["device_s"] for row in rows)
    assert {"gate_up_proj", "down_proj"} <= {row["operator"] for row in rows}
    assert total == pytest.approx(EIGHT.predict(LLAMA, FP8).prefill_s - target.runtime.pass_s, rel=0.1)
    assert work.numbers.format is not None
    assert all(row["mfu"] <= 1.0 for row in rows)


def test_many_rows_equal_one_by_one() -> None:
    shapes = {
        "num_hidden_layers": [4, 9, 40], "hidden_size": [256, 960, 5120], "intermediate_size": [700, 2560, 13824],
        "num_attention_heads": [4, 15, 40], "num_key_value_heads": [1, 5, 40], "head_dim": [64, 64, 128],
        "vocab_size": [1000, 49152, 32000], "tie_word_embeddings": [True, True, False],
    }  # fmt: skip
    many = EIGHT.predict_many(shapes, FP8)
    for i in range(3):
        one = EIGHT.predict_many({name: [values[i]] for name, values in shapes.items()}, FP8)
        assert one.response_s[0] == pytest.approx(many.response_s[i], rel=1e-12)


def test_its_correction_is_its_own() -> None:
    ends, values = np.array([5.0, 14.0]), np.full((2, 2, 2), 0.1)
    limits = {"m": 5.0, "n": 5.0, "k": 5.0}, {"m": 14.0, "n": 14.0, "k": 14.0}
    table = Correction((Table(("m", "n", "k"), (ends, ends, ends), values),), *limits)
    corrector = Corrector({"gemm8": table}, 1.0)
    eight, sixteen = product(64.0, 4096.0, 4096.0), gemm("product", 64.0, 4096.0, 4096.0, 2.0, 2.0)
    assert seconds(eight, corrector=corrector).seconds == pytest.approx(np.exp(0.1) * seconds(eight).seconds, rel=5e-4)
    assert seconds(sixteen, corrector=corrector).seconds == seconds(sixteen).seconds


def test_planted_coefficients_come_back() -> None:
    sizes = [(m, n, k) for m in (1, 16, 64, 300, 1024, 8192) for n in (512, 2048, 6144) for k in (512, 4096, 12288)]
    rows = [OperatorObservation(op="gemm", m=m, n=n, k=k, noise=0.01, dtype="float8", **COMMON) for m, n, k in sizes]
    truth = {"gemm.compute_efficiency": 0.6, "quantize.row_s": 8e-9, "quantize.bandwidth_efficiency": 0.6}
    sheet = A100._replace(float8_flops_per_s=2 * A100.peak_flops_per_s)
    start = start_at(sheet, "torch-eager")
    target = start.moved({f"device.float8.{name}": value for name, value in truth.items()}).target("torch-eager")
    (piece,) = operator_evidence(rows)
    timed = zip(rows, np.asarray(piece.predict(target)), strict=True)
    fitted = fit_law("gemm8", [row.model_copy(update={"seconds": float(t)}) for row, t in timed], start)
    found = values_of(fitted)
    assert all(name.startswith("float8.") for name in found)
    for name, value in truth.items():
        assert found[f"float8.{name}"] == pytest.approx(value, rel=0.05)


def test_coefficients_by_name_and_back() -> None:
    device = EIGHT.target("bfloat16").device
    values = coefficient_values(device)
    assert values["float8.quantize.row_s"] == 5e-9
    assert device_coefficients(values) == device
    assert SIXTEEN.target("bfloat16").device.float8 is None  # type: ignore[union-attr]


def changed(**tables: Any) -> str:
    """The toy's profile with other parts of its device."""
    data = json.loads(EIGHT.profile.model_dump_json())
    for name, value in tables.items():
        data["device"][name] |= value
    return json.dumps(data)


BAD = {
    "a table without its peak": (changed(sheet={"peak_flops_per_s": {"bfloat16": 71e12}}), "peak_flops_per_s.float8"),
    "a table that lacks a name": (changed(coefficients={"float8": {}}), "float8"),
    "attention in it": (
        changed(coefficients={"float8": json.loads(EIGHT.profile.model_dump_json())["device"]["coefficients"]["bfloat16"]}),
        "coefficients.float8.*is not a known",
    ),
    "a correction of attention": (
        changed(corrections={"float8": {"prefill": {
            "tables": [{"features": ["tokens"], "knots": [[0, 1]], "values": [0, 0]}],
            "lowest": {"tokens": 0}, "highest": {"tokens": 1},
        }}}),
        "corrections.float8.prefill",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_profile_that_is_wrong_of_them_is_refused(name: str, tmp_path: Any) -> None:
    text, named = BAD[name]
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(ProfileError, match=named):
        read_profile(tmp_path / "bad.json")


def test_no_model_is_priced_wholly_in_8_bits(tmp_path: Any) -> None:
    data = json.loads(EIGHT.profile.model_dump_json())
    del data["device"]["coefficients"]["bfloat16"]
    (tmp_path / "bad.json").write_text(json.dumps(data))
    with pytest.raises(ProfileError, match="no dtype has coefficients"):
        read_profile(tmp_path / "bad.json")


def test_the_user_is_told_how_fp8_weights_are_priced(tmp_path: Any) -> None:
    def notes(profile: Profile, *options: str) -> str:
        path = tmp_path / "toy.json"
        path.write_text(profile.model_dump_json())
        done = CliRunner().invoke(
            group, ["predict", "--profile", str(path), "--layers", "8", "--hidden", "512", *options]
        )
        assert done.exit_code == 0
        return done.stderr

    assert "products in fp8, inputs quantised" in notes(EIGHT.profile, "--weights", "fp8")
    assert "no products in fp8" in notes(SIXTEEN.profile, "--weights", "fp8")
    for predictor in (EIGHT, SIXTEEN):
        assert "fp8" not in notes(predictor.profile, "--weights", "int8")
        assert "fp8" not in notes(predictor.profile)
