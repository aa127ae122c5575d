"""The page of `latmodel report`: offline, small, and its sliders say what `predict` says."""

import json
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from latmodel import ModelConfig, Predictor, Workload
from latmodel.cli import group
from latmodel.model.config import CONFIG_FIELDS
from latmodel.units import show_seconds

TYPED = ["report", "gemma-3-12b", "--budget", "5.5s", "--baseline", "80x576", "--prompt", "512"]
SETTINGS = 10


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("page") / "report.html"
    done = CliRunner().invoke(group, [*TYPED, "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def data(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]


def settings(grid: Any) -> list[list[int]]:
    rng = random.Random(0)
    return [[rng.randrange(len(stops)) for stops in grid["stops"]] for _ in range(SETTINGS)]


def predicted(grid: Any, place: list[int]) -> Any:
    """What `predict` says of a setting of the sliders."""
    runtime, weights, layers, width, ratio, batch, prompt = (
        stops[i] for stops, i in zip(grid["stops"], place, strict=True)
    )
    config = ModelConfig(
        num_hidden_layers=layers, hidden_size=width, intermediate_size=-(-round(width * ratio * 3) // 192) * 64
    )
    return Predictor.load("3090", runtime).predict(
        config, Workload(prompt_tokens=prompt, new_tokens=100, batch_size=batch, weights=weights)
    )


FIELDS = ("num_parameters", "prefill_s", "decode_s_per_token", "response_s", "response_s_low", "response_s_high",
          "peak_memory_bytes")  # fmt: skip


def test_it_is_one_small_file_that_needs_no_network(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size <= 5_000_000
    assert "{{" not in text.split("<script>")[0]
    assert re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(?!data:)", text) == []
    assert "default-src 'none'" in text


def test_the_grid_says_what_predict_says(data: Any) -> None:
    grid = data["grid"]
    for place in settings(grid):
        flat = 0
        for stops, i in zip(grid["stops"], place, strict=True):
            flat = flat * len(stops) + i
        wanted = predicted(grid, place)
        for name in FIELDS:
            assert grid["values"][name][flat] == pytest.approx(getattr(wanted, name), rel=1e-6), (name, place)


def test_the_parts_of_every_compared_model_add_up(data: Any) -> None:
    assert [one["name"] for one in data["compared"]] == ["best", "80x576", "gemma-3-12b"]
    for one in data["compared"]:
        assert sum(one["prefill"].values()) + sum(one["decode"].values()) == pytest.approx(
            one["row"]["response_s"], rel=0.01
        )


def test_the_answer_is_the_frontiers_best(data: Any, path: Path) -> None:
    rows = json.loads(
        CliRunner().invoke(group, ["frontier", *TYPED[2:], "--format", "json"], catch_exceptions=False).stdout
    )
    best = next(row for row in rows if row["best"])
    assert data["rows"][data["best"]]["response_s"] == best["response_s"]
    shape = f"{best['num_hidden_layers']} layers × {best['hidden_size']}, FFN {best['intermediate_size']}"
    assert f"The most capable shape is {shape}" in path.read_text(encoding="utf-8")


def test_the_answer_tells_of_the_other_devices(tmp_path: Path) -> None:
    out = tmp_path / "also.html"
    asked = [
        "--budget",
        "1s",
        "--gpu",
        "3090",
        "--runtime",
        "llama.cpp",
        "--weights",
        "q4_k_m",
        "--also",
        "m2:llama.cpp",
    ]
    CliRunner().invoke(group, ["report", *asked, "--layers", "8:16", "--out", str(out)], catch_exceptions=False)
    rows = json.loads(CliRunner().invoke(group, ["frontier", *asked, "--layers", "8:16", "--format", "json"]).stdout)
    best = next(row for row in rows if row["best"])
    there = Predictor.load("m2", "llama.cpp").predict(
        ModelConfig(**{name: best[name] for name in CONFIG_FIELDS}), Workload(weights="q4_k_m")
    )
    assert best["response_s@apple-m2/llama.cpp"] == pytest.approx(there.response_s) and there.response_s <= 1.0
    text = out.read_text(encoding="utf-8")
    assert f"On apple-m2/llama.cpp it answers in {show_seconds(there.response_s)} (" in text
    assert "also on apple-m2/llama.cpp" in text and "Apple M2, llama.cpp: llama.cpp with Metal" in text


@pytest.mark.parametrize(
    ("more", "code", "named"),
    [(["--budget", "1us"], 3, "quickest"), (["--out", "."], 2, "is a folder"), (["--out", "/proc/none/x.html"], 2, "--out"),
     (["nothing-7b"], 2, "nothing-7b")],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(
    more: list[str], code: int, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(group, ["report", "--layers", "4:8", "--hidden", "512", *more])
    assert done.exception is not None
    assert getattr(done.exception, "exit_code", None) == code
    assert named in str(done.exception)
    assert list(tmp_path.iterdir()) == []


# --- In a browser ---------------------------------------------------------------------------------


def browser_missing() -> str | None:
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None if shutil.which("chromium") else "chromium is not installed"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    reason = browser_missing()
    if reason is not None and os.environ.get("CI"):
        pytest.fail(f"{reason}: CI must look at the page")
    if reason is not None:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        launched = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_from_disk_and_its_sliders_say_what_predict_says(
    width: int, browser: Any, path: Path, data: Any
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_selector("#front .plot-container")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for place in settings(data["grid"]):
        for slider, i in enumerate(place):
            page.evaluate(
                "([id, i]) => { const e = document.getElementById(id); e.value = i; e.dispatchEvent(new Event('input')); }",
                [f"in{slider}", i],
            )
        shown, wanted = page.evaluate("({...document.getElementById('tried').dataset})"), predicted(data["grid"], place)
        for name in FIELDS:
            assert float(shown[name]) == pytest.approx(getattr(wanted, name), rel=1e-6), (name, place)
    page.focus("#in2")
    before = page.input_value("#in2")
    page.keyboard.press("ArrowLeft" if int(before) else "ArrowRight")
    assert page.input_value("#in2") != before
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    page.close()
