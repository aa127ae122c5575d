"""What to measure next for one answer: the algebra of the choice, when it ends, and the whole way on simulated devices."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("torch")

from calibration_support import CPU_SHEET, MemoryLog, task
from click.testing import CliRunner
from test_calibrate_simulated import ABOUT, RUNTIME, lab_of, planted, sheet_part
from test_cli_calibrate import tiny  # noqa: F401  # a fixture

from calibration.adaptive.belief import at_priors, belief, half_width, shares, slopes
from calibration.adaptive.choice import _gain, chosen, updated
from calibration.adaptive.steps import Answer, Course, Step, ended, samples_in
from calibration.fit.outcome import fitted_profile
from calibration.measure.plan import CPU, make_plan
from calibration.measure.simulated import Disturbance, SimulatedLab
from calibration.observations.evidence import FORMULAS, model_of, work_of
from calibration.verbs.adaptive import learned, plans_for
from latmodel.cli import group
from latmodel.cli.question import question
from latmodel.device.profile import Profile
from latmodel.device.profile_file import read_profile
from latmodel.device.store import load_profile
from latmodel.errors import BudgetError, NoisyError, UsageError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

MODEL = ModelConfig(
    num_hidden_layers=16, hidden_size=512, intermediate_size=1536, num_attention_heads=8, num_key_value_heads=2,
    vocab_size=8192,
)  # fmt: skip
WORK = Workload(prompt_tokens=64, new_tokens=16)
ANSWER = Answer(MODEL, WORK, 1.0)
PLAN = make_plan("normal", RUNTIME, "bfloat16", CPU, CPU_SHEET.cache_bytes)


def near(like: ModelConfig) -> Any:
    return make_plan("normal", RUNTIME, "bfloat16", CPU, CPU_SHEET.cache_bytes, like)


def ask_predict(profile: Profile) -> Answer:
    return Answer(MODEL, WORK, Predictor(profile, RUNTIME).predict(MODEL, WORK).response_s)


def course(ask: Callable[[Profile], Answer] = ask_predict) -> Course:
    one, _ = planted("cpu", 1)
    return Course(
        ask, one, lambda fitted, rows: fitted_profile(fitted, sheet_part("cpu"), "bfloat16", rows, ABOUT),
        plans_for(PLAN, near), "toy", RUNTIME,
    )  # fmt: skip


def lab(**disturbance: float) -> SimulatedLab:
    one, truth = planted("cpu", 1)
    return lab_of(one, truth, "cpu", 7, Disturbance(**disturbance))  # type: ignore[arg-type]


def test_slopes_of_times_and_rates_add_up_to_one() -> None:
    """Twice the time in every coefficient of time and half of every rate is twice the seconds, whatever the model."""
    known = belief(at_priors(task("cpu")))
    rates = ("efficiency", "bandwidth")
    signs = np.array([1.0 if name.endswith("_s") else -1.0 if name.endswith(rates) else 0.0 for name in known.names])
    rows = [
        ANSWER.observation("toy", RUNTIME),
        *(case.observation("toy", "wall", 1.0, 0.0, ()) for case in PLAN.cases[:9]),
    ]
    assert slopes(known, rows) @ signs == pytest.approx(np.ones(len(rows)), abs=0.01)


def test_what_a_row_takes_away_is_what_the_inverse_says() -> None:
    draw = np.random.default_rng(0)
    root, j, g = draw.normal(size=(5, 5)), draw.normal(size=(2, 5)), draw.normal(size=5)
    covariance, scatter = root @ root.T + np.eye(5), 0.3
    after = np.linalg.inv(np.linalg.inv(covariance) + j.T @ j / scatter)
    assert updated(covariance, j, scatter) == pytest.approx(after)
    assert _gain(g, covariance, j, scatter) == pytest.approx(g @ covariance @ g - g @ after @ g)


def test_the_interval_counts_the_coefficients_and_the_formulas() -> None:
    known = belief(at_priors(task("cpu")))
    answer = ANSWER.observation("toy", RUNTIME)
    g = slopes(known, [answer])[0]
    alone = 1.6449 * math.sqrt(g @ known.covariance @ g)
    assert half_width(known, answer) == pytest.approx(alone, rel=1e-3)
    assert half_width(known._replace(law_error=0.1), answer) == pytest.approx(math.hypot(alone, 0.16449), rel=1e-3)
    (first, share), *_ = shares(known, answer)
    i = known.names.index(first)
    # Coefficients are independent at their priors: the share is that of the sum of squares.
    assert share == pytest.approx(g[i] ** 2 * known.covariance[i, i] / (g @ known.covariance @ g))


def test_the_first_choice_is_the_best_of_all_and_what_tells_nothing_is_left_out() -> None:
    known = belief(at_priors(task("cpu")))
    answer = ANSWER.observation("toy", RUNTIME)
    candidates = list(PLAN.cases)
    first, *others = chosen(known, answer, candidates, 4, 0.02)
    widths = {
        case.name: half_width(
            known._replace(covariance=updated(known.covariance, slopes(known, [case.observation("toy", timing, 1.0, 0.0, ())]), 4e-4)),
            answer,
        )
        for case in candidates
        for timing in ["loop" if case.part == "model" and case.phase == "decode" else "wall"]
    }  # fmt: skip
    assert first.name == min(widths, key=widths.__getitem__)
    assert len({first.name, *(case.name for case in others)}) == 4
    prefill = replace(ANSWER, workload=Workload(prompt_tokens=64, new_tokens=0)).observation("toy", RUNTIME)
    heads = [case for case in candidates if case.part == "head" and case.phase == "decode"]
    certain = known._replace(covariance=np.zeros_like(known.covariance))
    assert chosen(certain, prefill, heads, 4, 0.02) == [] and chosen(known, prefill, [], 4, 0.02) == []


def step(width: float, layers: int = 16, noise: float = 0.001) -> Step:
    return Step(replace(ANSWER, config=MODEL.model_copy(update={"num_hidden_layers": layers})), width, 1, noise, ())


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([step(0.1), step(0.1)], ""),
        ([step(0.2), step(0.15), step(0.14)], ""),
        ([step(0.2), step(0.1), step(0.1), step(0.095)], "no longer narrows"),
        ([step(0.1, 8), step(0.1), step(0.099)], ""),
        ([step(0.1), step(0.1, 8), step(0.1)], ""),
        ([step(0.2, 17), step(0.1), step(0.05, noise=0.06)], "single run"),
    ],
)
def test_it_ends_when_the_answer_stays_and_narrows_no_more(steps: list[Step], why: str) -> None:
    found = ended(steps)
    assert why in found and bool(why) == bool(found)


def test_a_quarter_of_the_samples_make_the_answer_sure() -> None:
    """2 % of noise, 5 % of outliers; the plan of normal effort takes 270 samples."""
    one, log = course(), MemoryLog()
    device = lab(noise=0.02, outliers=0.05)
    fitted = one.run(device, log, 0, 1.0)
    last, first = one.steps[-1], one.steps[0]
    assert one.why and samples_in(log) == last.samples <= 70
    assert last.half_width < 0.2 * first.half_width
    row = last.answer.observation("toy", RUNTIME)
    true = float(FORMULAS["model", "response", "loop"](model_of([row]), work_of([row], False), device.target)[0])
    assert abs(math.log(last.answer.response_s / true)) < 1.5 * last.half_width
    assert len({case.name for case in one.measured}) == len(one.measured)
    said = learned(one, fitted)
    assert said[0].startswith("the answer is 16 x 512, FFN 1536 in") and one.why in said[0]
    assert "stayed the best row" in said[1] and "formulas are off by" in said[2]


def test_an_interrupted_one_goes_on_where_it_was() -> None:
    log, again, whole = MemoryLog(), lab(), course()
    whole.run(lab(), log, 0, 1.0)
    torn = MemoryLog(log.records[:7])
    other = course()
    other.run(again, torn, 0, 1.0)
    taken = [(r["case"], r["round"], r["attempt"]) for r in torn.records]
    assert len(taken) == len(set(taken)) and torn.records[:7] == log.records[:7] and other.why
    assert len(again.opened) == len(torn.records) - 7
    assert other.measured[:5] == whole.measured[:5]


def test_a_budget_that_the_priors_cannot_keep_is_asked_again_after_measuring() -> None:
    asked = []

    def ask(profile: Profile) -> Answer:
        asked.append(len(profile.runtimes[RUNTIME].ranges))
        if len(asked) == 1:
            raise BudgetError("nothing fits")
        return ask_predict(profile)

    one = course(ask)
    one.run(lab(), MemoryLog(), 0, 1.0)
    assert asked[0] == 0 and len(one.steps) == len(asked) - 1 and one.steps[0].samples > 0
    assert [case.name for case in one.measured[:2]] == ["00-prefill", "00-decode"]

    def never(_: Profile) -> Answer:
        raise BudgetError("nothing fits")

    with pytest.raises(BudgetError):
        course(never).run(lab(), MemoryLog(), 0, 1.0)


def test_noise_above_the_limit_ends_it() -> None:
    with pytest.raises(NoisyError, match="--max-noise 5 %"):
        course().run(lab(noise=0.3), MemoryLog(), 0, 0.05)


def test_a_question_is_a_command_line_and_its_answer_the_best_row() -> None:
    text = "frontier --budget 2s --depths 10,20,30 --generate 20"
    found = question(f"latmodel {text}")
    answer = found.ask(load_profile("3090"))
    rows = json.loads(CliRunner().invoke(group, [*text.split(), "--gpu", "3090", "--format", "json"]).stdout)
    (best,) = [row for row in rows if row["best"]]
    assert found.text == text and found.dtype == "bfloat16"
    assert answer.config.num_hidden_layers == best["num_hidden_layers"]
    assert answer.config.hidden_size == best["hidden_size"] and answer.workload.new_tokens == 20
    assert answer.response_s == pytest.approx(best["response_s"])


def test_a_question_about_one_model() -> None:
    answer = question("predict 12x768 --prompt 64 --generate 8 --dtype float32").ask(load_profile("3090"))
    assert answer.config.hidden_size == 768 and answer.workload.dtype == "float32" and answer.response_s > 0.0


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "takes a command line"), ("verify 12x768", "takes a command line"), ("predict 'x", "no closing quotation"),
     ("frontier --budget 2s --gpu 3090", "leave out --gpu"), ("frontier --budget 2s --plot a.png", "leave out --plot"),
     ("predict 12x768 --weights int8", "leave out --weights"), ("predict gpt-oss-20b", "by its dimensions"),
     ("predict 12x768 24x768", "one model"), ("predict", "give a model")],
)  # fmt: skip
def test_questions_that_cannot_be_measured_for_are_refused(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        question(text)


@pytest.mark.usefixtures("tiny")
def test_the_verb_measures_for_its_question(tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    words = ["calibrate", "--gpu", "cpu", "--dtype", "float32", "--effort", "quick", "--max-noise", "1", "--runtime",
             "torch-eager", "--out", str(out), "--for"]  # fmt: skip
    asked = "predict 3x128 --vocab 300 --prompt 20 --generate 3 --dtype float32".replace(
        "3x128", "--layers 3 --hidden 128"
    )
    done = CliRunner().invoke(group, [*words, asked], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "the answer is 3 x 128" in done.stdout and "samples: 3 x 128" in done.stderr
    profile = read_profile(out)
    assert any("measured for `predict" in note for note in profile.provenance.notes)
    assert (tmp_path / "mine.observations.jsonl").exists()
    other = CliRunner().invoke(group, [*words, "predict 3x128"])
    assert isinstance(other.exception, UsageError) and "give --dtype bfloat16" in str(other.exception)
    dry = CliRunner().invoke(group, [*words, asked, "--dry-run"])
    assert isinstance(dry.exception, UsageError) and "--dry-run" in str(dry.exception)


def test_the_blocks_near_a_shape_have_names_of_their_own() -> None:
    plan_for = plans_for(PLAN, near)
    assert plan_for(None) is PLAN
    one, other = (plan_for(MODEL.model_copy(update={"hidden_size": size})) for size in (512, 1024))
    assert not {case.name for case in one.cases} & {case.name for case in (*other.cases, *PLAN.cases)}
    assert {case.part for case in one.cases} == {"blocks", "head"}
