"""Kernels of quantised weights: exact bytes of each format, which kernel runs where, what it costs, what is said of it."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor
from toy import DEVICE, SHEET

from latmodel import ModelConfig, Predictor, Workload
from latmodel.configs.huggingface import read_config
from latmodel.configs.quantization.methods import shipped
from latmodel.device.format_support import check_format
from latmodel.device.profile import Profile
from latmodel.device.store import profile_folders
from latmodel.errors import UsageError
from latmodel.laws.dispatch import op_seconds
from latmodel.model.formats import FORMATS, WeightFormat
from latmodel.model.kernels import UNPACKED, Way
from latmodel.model.ops import OpCost, OpKind
from latmodel.model.transformer import dense_ops
from latmodel.predict.forward import forecast
from latmodel.predict.inputs import work_of
from latmodel.runtimes.registry import IMPLEMENTATIONS
from latmodel.runtimes.serving import SERVING
from latmodel.runtimes.torch_eager import TORCH
from latmodel.runtimes.transformers_eager import TRANSFORMERS

LLAMA = read_config("llama-3-8b")
BLOCK = LLAMA.groups[0].block
SMALL = ModelConfig(
    num_hidden_layers=12, hidden_size=1024, intermediate_size=2752, num_attention_heads=16, num_key_value_heads=4,
    vocab_size=32000,
)  # fmt: skip
GPUS = sorted({path.stem for folder in profile_folders() for path in folder.glob("*.json")})


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "nbytes"),
    [
        # Half a byte a weight, 4 bytes a block of 64, 16 levels of 4 bytes.
        ("nf4", 4096, 11008, 4096 * 11008 / 2 + 4096 * 11008 / 64 * 4 + 64),
        # Blocks run on from row to row: 3 · 50 weights are two blocks and part of a third.
        ("nf4", 50, 3, 75 + 3 * 4 + 64),
        # gpt-oss-20b's expert: 90 blocks of 16 + 1 bytes an output of 2880 inputs.
        ("mxfp4", 2880, 5760, 5760 * 90 * 17),
        ("nvfp4", 4096, 4096, 4096 * 4096 * (0.5 + 1 / 16) + 4),
        # A byte a weight; a 16-bit scale and an 8-bit zero point for 128 inputs of an output; an int32 an input.
        ("int8-gptq", 4096, 1024, 4096 * 1024 + 32 * 1024 * 3 + 4096 * 4),
        # A float32 for each tile of 128 × 128, the last ones partly filled: 56 × 17 of them.
        ("fp8-block", 7168, 2112, 7168 * 2112 + 56 * 17 * 4),
    ],
)
def test_bytes_by_hand(name: str, inputs: int, outputs: int, nbytes: float) -> None:
    assert FORMATS[name].linear_bytes(float(inputs), float(outputs)) == nbytes


def test_what_configurations_say() -> None:
    nf4 = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    assert shipped(nf4).format == FORMATS["nf4"]
    # 256 blocks: a byte each and one float32 for all, their mean and 256 levels beside the 16.
    twice = shipped({**nf4, "bnb_4bit_use_double_quant": True}).format
    assert twice.linear_bytes(128.0, 128.0) == 8192 + 256 + 4 + 64 + 4 + 1024
    eight = shipped({"quant_method": "gptq", "bits": 8}).format
    assert (eight.name, eight.bits, eight.zero_bits) == ("int8-gptq", 8.0, 8.0)
    assert shipped({"quant_method": "mxfp4"}).format == FORMATS["mxfp4"]
    assert shipped({"quant_method": "fp8", "weight_block_size": [128, 128]}).format == FORMATS["fp8-block"]


def does_not_run(profile: Profile, runtime: str, form: WeightFormat) -> bool:
    """Whether the runtime has no such weights on the device."""
    try:
        check_format(profile, runtime, form)
    except UsageError:
        return True
    return False


@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("model", [LLAMA, SMALL], ids=["llama-3-8b", "small"])
def test_no_smaller_format_decodes_slower_unless_a_source_says_so(gpu: str, model: object) -> None:
    profile = Predictor.load(gpu).profile
    for runtime, part in profile.runtimes.items():
        predictor = Predictor(profile, runtime, host="published")
        implementation = IMPLEMENTATIONS[part.implementation]._replace(multiplies_float8=profile.multiplies_float8)
        plain = predictor.predict(model).decode_s_per_token
        for name, form in FORMATS.items():
            if does_not_run(profile, runtime, form):
                continue
            kernel = implementation.kernel(form)
            found = predictor.predict(model, Workload(weights=name)).decode_s_per_token
            if not kernel.source:
                # An engine's constant, measured with other formats, is all that may be added.
                assert found <= (plain + kernel.step_s) * 1.001, (runtime, name)


def test_every_known_format_has_a_kernel_in_every_runtime_of_a_gpu() -> None:
    for name in ("transformers", "torch", "cuda-graph", "compiled", "serving"):
        known = [form for form, _ in IMPLEMENTATIONS[name].kernels]
        assert set(known) >= {form for form, one in FORMATS.items() if not one.runtime}, name


def test_a_kernel_hands_over_at_its_rows() -> None:
    """ExLlamaV2's from 51 rows on: one launch more a product, and 4 bytes a weight to write and read it unpacked."""
    numbers = Workload(weights="int4-gptq").numbers()
    weights = 2 * 4096 * 4096 + 2 * 4096 * 1024
    found = {rows: dense_ops(BLOCK, 4096.0, rows, TRANSFORMERS, numbers) for rows in (50.0, 51.0)}
    few, many = (next(op for op in found[rows] if op.name == "unpack_mixer") for rows in (50.0, 51.0))
    assert (few.kind, many.kind) == (OpKind.DEQUANTIZE, OpKind.POINTWISE)
    assert many.bytes == pytest.approx(4 * weights)
    assert (many.kernels, few.kernels) == (4, 0)
    launches = [sum(op.kernels for op in ops if op.name.endswith("proj")) for ops in found.values()]
    assert launches == pytest.approx([7 * 0.42, 7])
    assert few.flops == pytest.approx(1.8 * weights)


def test_an_array_of_rows_takes_each_its_own_kernel() -> None:
    columns = {**SMALL.model_dump(), "batch_size": np.array([1, 32, 50, 51, 64, 512])}
    predictor = toy_predictor()
    many = predictor.predict_many(columns, Workload(weights="int4-gptq"))
    for i, batch in enumerate(columns["batch_size"]):
        one = predictor.predict(SMALL, Workload(weights="int4-gptq", batch_size=int(batch)))
        assert many.decode_s_per_token[i] == pytest.approx(one.decode_s_per_token, rel=1e-12)


def test_dequantising_by_hand() -> None:
    """9.024e10 instructions a second and multiprocessor, ten of them; two of the shortest products beside."""
    op = OpCost("unpack", OpKind.DEQUANTIZE, 9.024e11, kernels=3.0, repeat=2.0)
    device = DEVICE._replace(gemm=DEVICE.gemm._replace(floor_s=1e-3))
    assert op_seconds(op, SHEET, device, gap_s=1e-4).seconds == pytest.approx(1.0 + 2e-3 + 3e-4)


def test_a_matrix_vector_kernel_does_not_pad_its_rows() -> None:
    numbers = Workload(weights="int4-awq").numbers()
    steps = {op.row_step for op in dense_ops(BLOCK, 4096.0, 1.0, TORCH, numbers) if op.name.endswith("proj")}
    assert steps == {1.0}
    assert {op.row_step for op in dense_ops(BLOCK, 4096.0, 1.0, SERVING, numbers)} == {16.0}


def test_an_engine_takes_longer_for_each_pass() -> None:
    """Marlin's constant, once a step and once a prefill, whatever hides on the host."""
    predictor = Predictor.load("a100", "vllm")
    without = SERVING._replace(kernels=tuple((name, kernel._replace(step_s=0.0)) for name, kernel in SERVING.kernels))
    target = predictor.target("bfloat16")
    work = work_of(Workload(weights="int4-gptq", new_tokens=10))
    slow, fast = (forecast(LLAMA, work, target._replace(implementation=one)) for one in (SERVING, without))
    assert slow.step_s - fast.step_s == pytest.approx(0.8e-3)
    assert slow.prefill_s - fast.prefill_s == pytest.approx(0.8e-3)


def test_what_nobody_timed_is_said_and_widens_the_interval() -> None:
    predictor = toy_predictor()
    deep = ModelConfig(**{**SMALL.model_dump(), "num_hidden_layers": 20})
    mxfp4, gptq, plain = (predictor.predict(deep, Workload(weights=name)) for name in ("mxfp4", "int4-gptq", None))
    assert any("no time of mxfp4 weights" in note for note in mxfp4.notes)
    assert not any("no time" in note for note in (*gptq.notes, *plain.notes))
    widths = [one.response_s_high / one.response_s for one in (mxfp4, gptq, plain)]  # type: ignore[operator]
    # Outside what was measured the residuals count twice; and the kernel's overhead may be none, or twice as much.
    assert min(widths[:2]) > widths[2] ** 2
    assert widths[0] > 1.5 * widths[1]  # a module that nobody timed may cost the host as much as any that somebody did
    lows = [one.response_s_low / one.response_s for one in (mxfp4, gptq, plain)]  # type: ignore[operator]
    assert lows[:2] == pytest.approx([lows[2] ** 2] * 2, rel=1e-3)  # neither costs the host more than a launch
    assert gptq.extrapolated_because == ("weights int4-gptq (measured on nvidia-a100-sxm4-80gb)",)
    there = Predictor.load("a100").predict("llama-7b", Workload(weights="int4-gptq"))
    assert there.extrapolated_because == ()


def test_sources() -> None:
    """A kernel whose figures are more than a count says where they are from."""
    for implementation in IMPLEMENTATIONS.values():
        for name, kernel in (*implementation.kernels, ("any other", implementation.other_kernel)):
            fitted = kernel.launches not in (1.0, 2.0) or kernel.floors or kernel.instructions
            assert kernel.source or not fitted, (implementation.name, name)
            assert kernel.beyond is None or kernel.way is Way.FLOAT8 or kernel.rows < 1e6
    assert UNPACKED.unpacks


PREDICTORS = {
    (gpu, runtime): Predictor.load(gpu, runtime)
    for gpu, runtime in (("h100", "vllm"), ("h100", "cuda-graph"), ("3090", "transformers-eager"))
}
MODELS = {name: read_config(name) for name in ("llama-3-8b", "mixtral-8x7b", "phi-3-mini", "gemma-3-4b", "gpt-oss-20b")}


@given(
    st.sampled_from(sorted(PREDICTORS)), st.sampled_from(sorted(MODELS)), st.sampled_from([None, *sorted(name for name, form in FORMATS.items() if not form.runtime)]),
    st.integers(1, 6000), st.integers(1, 3000), st.integers(1, 64),
)  # fmt: skip
@settings(deadline=None, max_examples=60)
def test_more_work_never_takes_less_time(  # windows, experts and formats alike
    key: tuple[str, str], name: str, weights: str | None, prompt: int, new: int, batch: int
) -> None:
    assume(weights is None or not does_not_run(PREDICTORS[key].profile, key[1], FORMATS[weights]))
    predictor = Predictor(PREDICTORS[key].profile, key[1], corrected=False, host="published")
    work = Workload(prompt_tokens=prompt, new_tokens=new, batch_size=batch, weights=weights)
    one = predictor.predict(MODELS[name], work)
    longer = predictor.predict(MODELS[name], work.model_copy(update={"prompt_tokens": prompt + 500}))
    further = predictor.predict(MODELS[name], work.model_copy(update={"new_tokens": new + 500}))
    assert np.isfinite(one.response_s)
    assert longer.decode_s_per_token >= one.decode_s_per_token * (1 - 1e-9)
    assert further.decode_s_per_token >= one.decode_s_per_token * (1 - 1e-9)
    assert further.response_s > one.response_s
