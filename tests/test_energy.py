"""Energy and money by hand, and what the command line makes of other ways to generate."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from search_toy import toy_predictor

from latmodel import ModelConfig, Objective, Predictor, SearchSpace, Step, Workload, frontier
from latmodel.cli.verbs import main
from latmodel.device.datasheets import datasheet
from latmodel.errors import UsageError
from latmodel.predict.energy import cost_per_million, power_of, response_energy
from latmodel.predict.generation import generate
from latmodel.search.charged import Charge
from latmodel.units import parse_price


class Ran(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["latmodel", *words])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Ran(code, *capsys.readouterr())

    return call


def row_of(result: Ran) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    row: dict[str, Any] = json.loads(result.stdout)
    return row


def test_energy_by_hand() -> None:
    # 350 W for 2 s of kernels: 700 J. At most 350 W for all of 5 s; at least a fifth of 350 W for 2 / 2 s.
    found = response_energy(350.0, 2.0, 5.0, 0.6931471805599453)
    assert found == pytest.approx((700.0, 70.0, 1750.0))
    assert response_energy(350.0, 2.0, None, float("nan")) == (700.0, None, None)


def test_money_by_hand() -> None:
    # 0.36 an hour is 1e-4 a second: 5 s for 100 tokens are 5e-6 a token, 5 for a million.
    assert cost_per_million(0.36, 5.0, 100.0) == pytest.approx(5.0)


def test_power_is_the_sheets_or_the_limit_that_was_set() -> None:
    power = power_of("h100")
    assert power is not None
    assert (power.watts, bool(power.source)) == (datasheet("h100").power_limit_w, True)
    lower = power_of("h100", 350.0)
    assert lower is not None
    assert lower.watts == 350.0
    recalled = power_of("3090")
    assert recalled is not None
    assert recalled.source == ""
    assert power_of("cpu-of-this-machine") is None


@pytest.mark.parametrize(
    ("text", "per_hour"), [("0.5/h", 0.5), ("1 / h", 1.0), ("0.01/min", 0.6), ("0.0002/s", 0.72), (".5/h", 0.5)]
)
def test_price_as_typed(text: str, per_hour: float) -> None:
    assert parse_price(text) == pytest.approx(per_hour)


@pytest.mark.parametrize("text", ["", "0.5", "0/h", "-1/h", "0.5/day", "h", "1e3/h", "nan/h", "99999999999/h"])
def test_a_price_without_a_unit_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="0.5/h"):
        parse_price(text)


def test_energy_and_money_of_a_prediction(run: Callable[..., Ran]) -> None:
    words = ("predict", "24x2048", "--gpu", "h100", "--batch", "8", "--generate", "50", "--format", "json")
    plain, row = row_of(run(*words)), row_of(run(*words, "--energy", "--price", "2/h"))
    for name in ("prefill_s", "decode_s_per_token", "response_s", "response_s_low", "peak_memory_bytes", "bound"):
        assert row[name] == plain[name], name
    predictor, watts = Predictor.load("h100"), 700.0
    device = predictor.step("24x2048", Step(512, 0, 8)).device_s
    decode = [predictor.step("24x2048", Step(1, context, 8)).device_s for context in range(512, 562)]
    assert row["energy_j"] == pytest.approx(watts * (device + sum(decode)), rel=1e-3)
    assert row["energy_j_per_token"] == pytest.approx(row["energy_j"] / 400)
    assert row["energy_j_high"] == pytest.approx(watts * row["response_s_high"])
    assert row["energy_j_low"] < row["energy_j"] < row["energy_j_high"]
    assert row["cost_per_million_tokens"] == pytest.approx(2.0 / 3600.0 * row["response_s"] / 400 * 1e6)
    assert row["cost_per_million_tokens_high"] == pytest.approx(2.0 / 3600.0 * row["response_s_high"] / 400 * 1e6)
    assert row["power_source"]


def test_power_without_a_source_is_marked(run: Callable[..., Ran]) -> None:
    row = row_of(run("predict", "24x2048", "--energy", "--format", "json"))
    assert row["power_source"] is None
    assert any("recalled" in note for note in row["notes"])
    prefill = row_of(run("predict", "24x2048", "--energy", "--generate", "0", "--format", "json"))
    assert prefill["energy_j"] > 0
    assert prefill["energy_j_per_token"] is None


def test_a_draft_changes_the_row_and_says_how_it_pays(run: Callable[..., Ran]) -> None:
    words = ("predict", "llama-7b", "--runtime", "cuda-graph", "--format", "json")
    plain = row_of(run(*words))
    row = row_of(run(*words, "--draft", "4x1024", "--lookahead", "4", "--acceptance", "0.7"))
    assert row["decode_s_per_token"] == pytest.approx(plain["decode_s_per_token"] / row["decode_speedup"])
    assert row["tokens_per_round"] == pytest.approx(1 + 0.7 + 0.49 + 0.343 + 0.2401)
    assert row["extrapolated_because"][0] == "a pass of 5 tokens over 512 cached: never measured"
    assert any("pays from" in note for note in row["notes"])
    assert "decode_s_per_layer" not in row
    table = run("predict", "llama-7b", "--draft", "4x1024", "--lookahead", "4", "--acceptance", "0.7")
    assert "tokens/round" in table.stdout


def test_a_draft_does_not_take_over_the_models_own_weight_format(run: Callable[..., Ran]) -> None:
    fields = {
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 32, "hidden_size": 4096,
        "intermediate_size": 11008, "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32000,
        "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    }  # fmt: skip
    Path("config.json").write_text(json.dumps(fields))
    words = ("--lookahead", "4", "--acceptance", "0.7", "--format", "json", "--draft", "4x1024")
    row = row_of(run("predict", "config.json", *words))
    assert row["weights"] == "int4-gptq"
    small = ModelConfig(num_hidden_layers=4, hidden_size=1024, vocab_size=32000)
    alone = Predictor.load("3090").predict(small, Workload(prompt_tokens=513, new_tokens=100))
    assert row["draft_step_s"] == pytest.approx(alone.decode_s_per_token, rel=1e-3)
    every = row_of(run("predict", "config.json", *words, "--weights", "int4-awq"))
    assert every["draft_step_s"] > row["draft_step_s"]  # AWQ's modules launch more kernels, in the draft too


def test_a_cached_prefix_is_cheaper_than_reading_it_and_comes_back_from_a_table(run: Callable[..., Ran]) -> None:
    words = ("predict", "24x2048", "--format", "json", "--prompt", "64", "--cached", "4000")
    row, whole = row_of(run(*words)), row_of(run("predict", "24x2048", "--format", "json", "--prompt", "4064"))
    assert row["prefill_s"] < whole["prefill_s"]
    assert row["decode_s_per_token"] == whole["decode_s_per_token"]
    assert row["cached_tokens"] == 4000
    Path("rows.json").write_text(json.dumps(row))
    (again,) = json.loads(run("predict", "--input", "rows.json", "--format", "json").stdout)
    assert again["prefill_s"] == pytest.approx(row["prefill_s"], rel=1e-12)
    assert "4000 cached + 64 prompt" in run(*words[:2], *words[4:]).stdout


def test_rows_of_another_way_are_not_read_as_plain(run: Callable[..., Ran]) -> None:
    row = row_of(run("predict", "24x2048", "--chunk", "128", "--format", "json"))
    Path("rows.json").write_text(json.dumps(row))
    refused = run("predict", "--input", "rows.json")
    assert refused.exit_code == 2
    assert "chunk_tokens" in refused.stderr


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (["--draft", "4x1024", "--lookahead", "0", "--acceptance", "0.7"], "--lookahead"),
        (["--draft", "4x1024", "--lookahead", "4", "--acceptance", "1.5"], "--acceptance"),
        (["--draft", "4x1024", "--lookahead", "4"], "--acceptance"),
        (["--acceptance", "0.5"], "--acceptance needs"),
        (["--draft", "gemma-3-12b", "--lookahead", "4", "--acceptance", "0.7"], "vocabulary"),
        (["--draft", "no-such-model", "--lookahead", "4", "--acceptance", "0.7"], "no-such-model"),
        (["--draft", "4x1024", "--lookahead", "4", "--acceptance", "0.7", "--block", "8", "--denoise", "2"], "--draft"),
        (["--block", "32"], "--denoise"), (["--block", "0", "--denoise", "1"], "--block"), (["--chunk", "0"], "--chunk"),
        (["--cached", "-1"], "--cached"), (["--price", "0.5"], "0.5/h"), (["--price", "1/h", "--generate", "0"], "--price"),
        (["--chunk", "64", "--breakdown"], "--breakdown"), (["--chunk", "64", "--over", "batch=1:8"], "--over"),
        (["--block", "8", "--denoise", "2", "--generate", "0"], "--generate 0"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(words: list[str], word: str, run: Callable[..., Ran]) -> None:
    refused = run("predict", "24x2048", *words)
    assert refused.exit_code == 2
    assert word in refused.stderr


def test_energy_and_cost_of_a_search_by_hand() -> None:
    """Every row's joules and money from its own prediction, and the limits that were kept."""
    predictor = Predictor.load("h100")
    charge, work = Charge(price_per_h=0.36), Workload(new_tokens=50, batch_size=2)
    energy, cost = Objective("energy", charge=charge), Objective("cost", charge=charge)
    space = SearchSpace(num_hidden_layers=(4, 16, 40), hidden_size=(512, 2048, 4096), head_dim=(128,))
    front = frontier(
        predictor, space, work, objectives=["params", energy], limits=[energy.at_most(3.0), cost.at_most(20.0)]
    )  # fmt: skip
    assert len(front) > 2
    watts = datasheet("h100").power_limit_w
    assert watts is not None
    for row in range(len(front)):
        config = front.config(row)
        response = generate(predictor, config.architecture(), work)
        joules = watts * response.device_s / 100  # 50 tokens of two sequences
        assert front.values["energy_j_per_token"][row] == pytest.approx(joules, rel=1e-9)
        assert joules <= 3.0 * (1 + 1e-9)
        # 0.36 an hour is 1e-4 a second.
        assert 1e-4 * response.response_s / 100 * 1e6 <= 20.0 * (1 + 1e-9)


def test_energy_without_a_source_and_cost_without_a_price_are_refused() -> None:
    with pytest.raises(UsageError, match="--price"):
        frontier(Predictor.load("h100"), limits=[Objective("cost").at_most(1.0)])
    for unsourced in (toy_predictor(), Predictor.load("3090")):
        with pytest.raises(UsageError, match="known from a source"):
            frontier(unsourced, limits=[Objective("energy").at_most(1.0)])
    with pytest.raises(UsageError, match="--generate 0"):
        frontier(Predictor.load("h100"), workload=Workload(new_tokens=0), limits=[Objective("energy").at_most(1.0)])
    with pytest.raises(UsageError, match="only 'at most'"):
        Objective("energy").at_least(1.0)


def test_limits_of_energy_and_cost_on_the_command_line(run: Callable[..., Ran]) -> None:
    found = run(
        "frontier", "--gpu", "h100", "--limit", "energy<=2J", "--limit", "cost<=1", "--price", "0.3/h", "--hidden", "512,1024", "--layers",
        "8,16", "--objective", "params", "--objective", "energy", "--format", "json",
    )  # fmt: skip
    assert found.exit_code == 0, found.stderr
    rows = json.loads(found.stdout)
    assert rows
    assert all(row["energy_j_per_token"] <= 2.0 for row in rows)
    refused = run("frontier", "--limit", "cost<=1")
    assert refused.exit_code != 0
    assert "--price" in refused.stderr
    assert run("frontier", "--limit", "energy<=2 parsecs").exit_code != 0
