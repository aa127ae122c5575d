"""`explain` and `compare`: parts that add up, steps that are true, sentences that say what the figures say."""

import json
import shlex
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli import group
from latmodel.cli.question import question
from latmodel.configs.models import read_model
from latmodel.configs.presets import names
from latmodel.predict.waterfall import DEVICE_PARTS, HOST_PARTS, MEANING, waterfall
from latmodel.quality import score
from latmodel.search.steps import one_steps

PREDICTORS = [
    Predictor.load(gpu, runtime)
    for gpu, runtime in (
        ("3090", "transformers-eager"),
        ("3090", "cuda-graph"),
        ("h100", "cuda-graph"),
        ("h100", "vllm"),
        ("a100", None),
    )
]


def run(*words: str) -> Any:
    done = CliRunner().invoke(group, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def answer(*words: str) -> Any:
    return json.loads(run(*words, "--format", "json"))


@pytest.mark.parametrize("name", ["80x576", *names()])
@pytest.mark.parametrize("predictor", PREDICTORS, ids=lambda p: f"{p.profile.gpu}-{p.runtime}")
def test_parts_add_up_to_the_response(predictor: Predictor, name: str) -> None:
    named = read_model(name)
    for workload in (
        Workload(),
        Workload(prompt_tokens=3000, new_tokens=400, batch_size=8, logits="all"),
        Workload(new_tokens=0),
    ):
        work = named.under(workload)
        fall, whole = waterfall(predictor, named.model, work), predictor.predict(named.model, work)
        assert sum(fall.prefill.values()) == pytest.approx(whole.prefill_s, rel=0.01)
        assert sum(map(fall.total, MEANING)) == pytest.approx(whole.response_s, rel=0.01)
        assert min(fall.total(part) for part in MEANING) >= 0.0


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 128), st.integers(2, 128), st.integers(1, 4000), st.integers(0, 600), st.integers(1, 64))
def test_parts_add_up_whatever_the_shape(layers: int, heads: int, prompt: int, new: int, batch: int) -> None:
    config = ModelConfig(num_hidden_layers=layers, hidden_size=64 * heads)
    workload = Workload(prompt_tokens=prompt, new_tokens=new, batch_size=batch)
    for predictor in PREDICTORS[:2]:
        fall = waterfall(predictor, config, workload)
        assert sum(map(fall.total, MEANING)) == pytest.approx(predictor.predict(config, workload).response_s, rel=0.01)


def test_the_hosts_parts_are_the_coefficients_times_what_is_counted() -> None:
    """80 blocks of 40 kernels, 10 around them: where the host binds its seconds are plain products."""
    predictor = PREDICTORS[0]
    r = predictor.target("bfloat16").runtime
    fall = waterfall(predictor, read_model("80x576").model, Workload())
    assert fall.decode["kernel launches"] == pytest.approx(100 * fall.kernels_per_step * r.launch_s, rel=1e-9)
    assert fall.decode["blocks"] == pytest.approx(100 * 80 * r.block_s, rel=1e-9)
    assert fall.decode["token loop"] == pytest.approx(100 * r.token_s, rel=1e-9)
    assert fall.host_share > 0.98


def test_where_the_device_binds_weights_take_what_their_bytes_take() -> None:
    """LLaMA-7B's 13.2 GB of block weights and head, 100 times, at the rate of the profile's large products."""
    predictor = PREDICTORS[1]
    named = read_model("llama-7b")
    fall = waterfall(predictor, named.model, Workload())
    read = 100 * 2.0 * (6_738_415_616 - 32_000 * 4096)
    rate = read / fall.decode["weights"] / 936e9  # data sheet: 936 GB/s
    assert 0.8 < rate < 1.0
    assert fall.decode["weights"] > 0.8 * sum(fall.decode.values())


def test_each_step_is_a_prediction_of_its_own() -> None:
    predictor, config, workload = PREDICTORS[0], ModelConfig(num_hidden_layers=20, hidden_size=1024), Workload()
    here = predictor.predict(config, workload)
    seen = set()
    for step in one_steps(predictor, config, workload, score("effective-params")):
        seen.add(step.dimension)
        if step.dimension in ("batch_size", "prompt_tokens", "new_tokens"):
            other = predictor.predict(config, workload.model_copy(update={step.dimension: step.after}))
        else:
            update = {step.dimension: step.after}
            if step.dimension == "num_key_value_heads":
                update["num_attention_heads"] = step.after * 4
            other = predictor.predict(config.model_copy(update=update), workload)
        assert step.response_s == pytest.approx(other.response_s, rel=1e-9)
        assert step.response_change_s == pytest.approx(other.response_s - here.response_s, abs=1e-9)
        assert step.parameters_change == other.num_parameters - here.num_parameters
    assert seen == {"num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "batch_size",
                    "prompt_tokens", "new_tokens", "num_key_value_heads"}  # fmt: skip


def test_why_is_80x576_slow() -> None:
    text = " ".join(run("explain", "80x576", "--gpu", "3090").split())
    assert "The host binds" in text
    assert "kernel launches (91%)" in text
    assert "--host-only" in text
    found = answer("explain", "80x576", "--gpu", "3090")
    *parts, total = found["parts"]
    assert total["response_s"] == pytest.approx(found["response_s"], rel=0.01)
    assert sum(part["share"] for part in parts) == pytest.approx(1.0, rel=1e-9)
    assert {part["part"] for part in parts} == {*HOST_PARTS, *DEVICE_PARTS}
    assert found["shadow_prices"]


@pytest.mark.parametrize(
    ("model", "gpu", "command", "more"),
    [
        ("80x576", "m2", "latmodel calibrate --gpu", ()),
        ("80x576", "3090", "--host-only", ()),
        ("4x8192", "h100", "verify 4x8192", ("--runtime", "vllm", "--prompt", "8000", "--generate", "1")),
        ("80x576", "3090", "fit --gpu nvidia-geforce-rtx-3090 --from llama-bench", ("--runtime", "llama.cpp")),
        ("80x576", "m4-max", "fit --gpu apple-m4-max --from llama-bench", ("--runtime", "llama.cpp")),
    ],
)
def test_the_next_measurement_is_a_command_that_exists(
    model: str, gpu: str, command: str, more: tuple[str, ...]
) -> None:
    said = answer("explain", model, "--gpu", gpu, *more)["explanation"][-1]
    assert command in said
    words = next(part for part in said.split("`")[1::2] if command in part).split()
    assert words[0] == "latmodel"
    assert "--help" in CliRunner().invoke(group, [words[1], "--help"]).output


def test_a_step_of_a_width_is_one_that_the_format_allows() -> None:
    options = ("--gpu", "3090", "--runtime", "llama.cpp", "--weights")
    for weights, size in (("q4_k_m", 256), ("q8_0", 64), ("f16", 64)):
        steps = answer("explain", "32x4096", *options, weights)["steps"]
        widths = [one for one in steps if one["dimension"] in ("hidden_size", "intermediate_size")]
        assert len(widths) == 4 and {abs(one["after"] - one["before"]) for one in widths} == {size}


def test_the_command_that_measures_for_this_answer_alone() -> None:
    options = ("--prompt", "2000", "--generate", "2", "--batch", "4")
    said = answer("explain", "4x8192", "--gpu", "h100", "--runtime", "transformers-eager", *options)["explanation"][-1]
    command = shlex.split(said.split("`")[3])
    assert command[-3:-1] == ["transformers-eager", "--for"]
    asked = question(command[-1]).ask(PREDICTORS[0].profile)
    assert asked.workload == Workload(prompt_tokens=2000, new_tokens=2, batch_size=4)


def test_why_gemmas_block_differs_from_a_llamas() -> None:
    """Two norms more a block and norms of queries and keys: 8 kernels each in eager mode (tests/test_implementation.py)."""
    text = " ".join(run("compare", "baguettotron", "gemma-3-12b", "--gpu", "3090").split())
    assert "A block of gemma-3-12b takes" in text
    assert "norm: 32 kernels, not 16" in text
    assert "qk_norm: 16 kernels, not 0" in text
    assert "A block of baguettotron" not in text


def test_rows_are_the_product_of_what_is_given() -> None:
    rows = answer("compare", "80x576", "12x768", "--gpu", "3090", "--gpu", "h100", "--runtime", "cuda-graph", "--weights", "int8",
                  "--weights", "fp8")  # fmt: skip
    assert [(row["model"], row["gpu"][7:11], row["weights"]) for row in rows] == [
        (model, gpu, weights)
        for model in ("80x576", "12x768")
        for gpu in ("gefo", "h100")
        for weights in ("int8", "fp8")
    ]
    for row in rows:
        named = read_model(row["model"])
        own = Workload(weights=row["weights"])
        predictor = Predictor.load(row["gpu"], "cuda-graph")
        assert row["response_s"] == pytest.approx(predictor.predict(named.model, own).response_s, rel=1e-12)
        assert row["speed_ratio"] == pytest.approx(rows[0]["response_s"] / row["response_s"])


@pytest.mark.parametrize(
    ("words", "named"),
    [(["compare", "80x576"], "nothing to compare"), (["compare"], "give a model"), (["explain"], "give a model"),
     (["explain", "80x576", "12x768"], "of one model"), (["explain", "80x576", "--layers", "3"], "--layers"),
     (["compare", "80x576", "nothing-7b"], "nothing-7b"), (["predict", "80x576", "--input", "x.csv"], "--input")],
)  # fmt: skip
def test_what_cannot_be_is_refused(words: list[str], named: str) -> None:
    done = CliRunner().invoke(group, words)
    assert done.exit_code != 0
    assert named in str(done.exception)


def test_presets_are_listed_with_their_size() -> None:
    rows = {row["name"]: row for row in answer("preset", "list")}
    assert list(rows) == names()
    assert rows["llama-7b"]["num_parameters"] == 6_738_415_616
    assert all(row["source"] for row in rows.values())


def test_a_deep_narrow_model_on_a_fast_host_is_bound_by_its_kernels() -> None:
    done = CliRunner().invoke(
        group, ["explain", "80x576", "--gpu", "3090", "--runtime", "llama.cpp", "--weights", "q4_0"]
    )
    text = " ".join(done.stdout.split())
    assert "Kernels bind by their number" in text
    assert "The memory binds" not in text
