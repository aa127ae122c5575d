"""GGUF formats against the sizes of files that llama.cpp publishes, and what they ask of a shape."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from shapes import LLAMA_7B

from calibration.engines.whole.gguf_file import tensors
from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli import group
from latmodel.configs.model_input import config_dict
from latmodel.model.config import CONFIG_FIELDS
from latmodel.model.gguf import FILE_TYPES, TENSOR_TYPES, more_bits
from latmodel.model.step import Step
from latmodel.model.totals import weight_bytes
from latmodel.model.transformer import dense_ops, head_ops
from latmodel.predict.generation import Draft, generate

# Files of Llama-2-7B in GiB, as llama-bench prints them (ggml-org/llama.cpp, tools/llama-bench README and discussions).
PUBLISHED_GIB = {"f16": 12.55, "q8_0": 6.67, "q6_k": 5.15, "q5_k_m": 4.45, "q4_k_m": 3.80, "q4_0": 3.56}


@pytest.mark.parametrize("name", PUBLISHED_GIB)
def test_bytes_are_those_of_the_published_file(name: str) -> None:
    numbers = Workload(weights=name).numbers()
    size = weight_bytes(LLAMA_7B.architecture(), numbers) / 2**30
    assert size == pytest.approx(PUBLISHED_GIB[name], abs=0.006)  # rounded to a hundredth of a GiB


# Bytes of all tensors that `llama-quantize` (llama.cpp as shipped with llama-cpp-python 0.3.36) made of small models of
# random weights in 16 bits: depth, hidden, FFN, query and KV heads, head_dim, vocabulary, tied; then by format. Blocks of
# 256 divide no width of the first three and the first width of none; of the sixth not even blocks of 32 do.
QUANTISED = {
    (16, 576, 1536, 9, 3, 64, 1024, True): (60864768, 57436416, 43501824, 40018176, 32553216),
    (8, 896, 4864, 14, 2, 64, 2048, True): (128740864, 120296960, 91746816, 84320768, 69103104),
    (8, 1152, 6912, 4, 1, 256, 2048, True): (230699520, 212986368, 163634688, 149700096, 123351552),
    (16, 576, 1536, 9, 3, 64, 1024, False): (61491456, 58063104, 43944192, 40423680, 32884992),
    (8, 1280, 3456, 20, 5, 64, 2048, False): (153277440, 126929920, 107517440, 93345280, 81863680),
    (8, 720, 1936, 9, 3, 80, 1000, True): (90515520, 90515520, 90515520, 90515520, 90515520),
    (8, 1024, 2816, 16, 4, 64, 1024, False): (98111488, 75763712, 65318912, 55488512, 52244480),
    (8, 1792, 4800, 28, 7, 64, 1024, True): (289651712, 240321536, 203187712, 176207360, 153875456),
}  # fmt: skip
NAMES = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0")


@pytest.mark.parametrize("shape", QUANTISED)
def test_bytes_are_those_of_llama_cpps_quantiser(shape: tuple[int, ...]) -> None:
    config = ModelConfig(**dict(zip(CONFIG_FIELDS, shape, strict=True)))  # type: ignore[arg-type]
    norms = 4 * config.hidden_size * (2 * config.num_hidden_layers + 1)
    for name, stored in zip(NAMES, QUANTISED[shape], strict=True):
        assert weight_bytes(config.architecture(), Workload(weights=name).numbers()) == stored
        kinds = [(TENSOR_TYPES[one.type], one.rows * one.columns) for one in tensors(config, name)]
        assert norms + sum(weights / kind.block * kind.block_bytes for kind, weights in kinds) == stored


def test_a_step_reads_what_the_quantiser_stored() -> None:
    """The weights that one token's products read are the file's, but for norms."""
    predictor = Predictor.load("3090", "llama.cpp")
    for shape, sizes in QUANTISED.items():
        config = ModelConfig(**dict(zip(CONFIG_FIELDS, shape, strict=True)))  # type: ignore[arg-type]
        if not config.tie_word_embeddings:
            continue
        for name, stored in zip(NAMES, sizes, strict=True):
            numbers, model = Workload(weights=name).numbers(), config.architecture()
            block, runtime = model.groups[0].block, predictor.targets("bfloat16", numbers.format)[0].implementation
            read = sum(op.weight_bytes for op in dense_ops(block, model.hidden_size, 1.0, runtime, numbers))
            (head,) = [one for one in head_ops(model, 1.0, 1.0, runtime, numbers) if one.name == "lm_head"]
            norms = 4 * config.hidden_size * (2 * config.num_hidden_layers + 1)
            assert model.num_hidden_layers * read + head.weight_bytes == pytest.approx(stored - norms, rel=1e-12)


def test_widths_that_blocks_do_not_divide_are_said_to_be_unmeasured() -> None:
    predictor = Predictor.load("3090", "llama.cpp")
    inside = {"hidden_size": 2560, "intermediate_size": 6912, "num_attention_heads": 20, "num_key_value_heads": 4,
              "num_hidden_layers": 24, "head_dim": 128}  # fmt: skip
    for name, asked, reasons in (
        ("q4_k_m", {}, ()),
        ("q4_k_m", {"intermediate_size": 6848}, ("q4_k_m of 6848 inputs, which blocks of 256 do not divide",)),
        ("q8_0", {"intermediate_size": 6848}, ()),
        ("f16", {"intermediate_size": 6848}, ()),
        ("q8_0", {"intermediate_size": 6840}, ("q8_0 of 6840 inputs, which blocks of 32 do not divide",)),
    ):
        config, work = ModelConfig(**{**inside, **asked}), Workload(weights=name)  # type: ignore[arg-type]
        known = predictor.predict(config, work)
        assert (known.extrapolated_because, known.extrapolated) == (reasons, bool(reasons))
        many = predictor.predict_many({key: [value] for key, value in config_dict(config).items()}, work)
        assert many.extrapolated.tolist() == [bool(reasons)] and many.response_s[0] == pytest.approx(known.response_s)
        ends = [known.response_s_low, known.response_s_high]
        assert np.array(many.low_high("response"))[:, 0] == pytest.approx(ends)
        step = predictor.step(config, Step(1.0, 512.0), work)
        width = predictor.interval.widths(1.0 if reasons else 0.0, 0.0).decode
        # The down projection holds so many of the weights, the LM head included.
        share = 6848 * 2560 / (3 * 6848 * 2560 + 2 * 2560 * 2560 + 2 * 512 * 2560 + 65536 * 2560 / 24)
        more = np.log1p(share) if reasons else 0.0
        assert np.log(step.high_s / step.seconds) == pytest.approx(np.hypot(width, more), rel=2e-3)


def test_untimed_kernels_of_a_target_or_its_draft_widen_what_they_take_together() -> None:
    predictor, work = Predictor.load("3090", "llama.cpp"), Workload(weights="q4_k_m")

    def width(target: int, draft: int) -> float:
        shapes = [ModelConfig(num_hidden_layers=8, hidden_size=hidden, intermediate_size=1024, num_attention_heads=4,
                              num_key_value_heads=4) for hidden in (target, draft)]  # fmt: skip
        way = Draft("draft", shapes[1].architecture(), work, 4, 0.7)
        found = generate(predictor, shapes[0].architecture(), work, way=way)
        return float(np.log(found.response_s_high / found.response_s))

    plain = width(1024, 512)
    assert width(1088, 512) > plain + 0.05 and width(1024, 576) > plain + 0.05
    joules = [
        json.loads(CliRunner().invoke(group, ["predict", shape, "--energy", "--gpu", "3090", "--runtime", "llama.cpp",
                                              "--weights", "q4_k_m", "--format", "json"]).stdout)
        for shape in ("8x1536", "8x1600")
    ]  # fmt: skip
    ratios = [row["energy_j"] / row["energy_j_low"] for row in joules]
    assert ratios[1] > 1.05 * ratios[0]


def test_tied_head_is_stored_once_in_the_heads_type() -> None:
    shape = {"num_hidden_layers": 1, "hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4}
    sizes = [
        weight_bytes(
            ModelConfig(**shape, vocab_size=1000, tie_word_embeddings=tied).architecture(),
            Workload(weights="q4_0").numbers(),
        )
        for tied in (True, False)
    ]
    # 256,000 weights of the embedding, in q4_0: 18 bytes for each 32 of them.
    assert sizes[1] - sizes[0] == 256_000 / 32 * 18


def test_half_of_the_blocks_get_more_bits() -> None:
    # First eighth 0-3, last eighth 28-31, and between them 6, 9, ... 27.
    chosen = [index for index in range(32) if more_bits(index, 32)]
    assert chosen == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


def test_multiples_are_the_largest_block() -> None:
    assert {name: types.multiple for name, types in FILE_TYPES.items()} == {
        "f16": 1, "bf16": 1, "q8_0": 32, "q6_k": 256, "q5_k_m": 256, "q4_k_m": 256, "q4_0": 256,
    }  # fmt: skip
