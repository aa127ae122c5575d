"""`latmodel report --serve`: for this machine alone, and what it answers is what `predict` says."""

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from search_toy import toy_predictor
from test_page import browser  # noqa: F401  # a fixture

from latmodel import ModelConfig, Predictor, SearchSpace, Workload, frontier
from latmodel.cli import group
from latmodel.report.page import page
from latmodel.report.serve import ADDRESS, asker, server


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    predictor, workload = toy_predictor(), Workload(prompt_tokens=128, new_tokens=10)
    front = frontier(predictor, SearchSpace(num_hidden_layers=(4, 8), hidden_size=(512, 1024)), workload, budget_s=9.0)
    with server(page(front, [], ["latmodel"], live=True), asker(predictor, workload), 0) as opened:
        thread = threading.Thread(target=opened.serve_forever, args=(0.01,))
        thread.start()
        yield opened.server_port
        opened.shutdown()
        thread.join()


def get(port: int, path: str, *, host: str | None = None, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=20)
    connection.request(method, path, headers={} if host is None else {"Host": host})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def test_it_listens_on_this_machine_alone() -> None:
    with server("", lambda query: {}, 0) as opened:
        assert opened.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["example.com", "example.com:80", "127.0.0.1.example.com", "", "[::1]", "0.0.0.0"])
def test_a_request_for_another_host_is_refused(host: str, port: int) -> None:
    for path in ("/", "/predict?layers=4&hidden=512"):
        assert get(port, path, host=host)[0] == 403


def test_the_page_may_ask_its_own_server_and_no_other(port: int) -> None:
    status, text = get(port, "/", host=f"localhost:{port}")
    assert status == 200
    assert "default-src 'none'" in text
    assert "connect-src 'self'" in text


def test_what_it_answers_is_what_predict_says(port: int) -> None:
    status, text = get(port, "/predict?layers=24&hidden=1024&ffn=4096&batch=2&generate=7&prompt=&runtime=")
    assert status == 200
    wanted = toy_predictor().predict(
        ModelConfig(num_hidden_layers=24, hidden_size=1024, intermediate_size=4096),
        Workload(prompt_tokens=128, new_tokens=7, batch_size=2),
    )
    row = json.loads(text)
    assert row["response_s"] == wanted.response_s
    assert (row["num_hidden_layers"], row["batch_size"], row["prompt_tokens"]) == (24, 2, 128)


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [("/predict?layers=4", 400, "give layers and hidden"), ("/predict?layers=x&hidden=512", 400, "layers"),
     ("/predict?layers=4&hidden=0", 400, "hidden_size"), ("/predict?layers=4&hidden=512&colour=red", 400, "colour"),
     ("/predict?layers=4&hidden=512&runtime=magic", 400, "magic"), ("/predict?layers=4&hidden=512&weights=int3", 400, "int3"),
     ("/predict?layers=99999999999&hidden=512", 400, "layers"), ("/predict?" + "&".join(["a=1"] * 30), 400, "fields"),
     ("/../../etc/passwd", 404, "/predict"), ("/" + 3000 * "x", 403, "alone")],
)  # fmt: skip
def test_what_cannot_be_answered_is_one_line(path: str, status: int, named: str, port: int) -> None:
    code, text = get(port, path)
    assert code == status
    assert named in text
    assert "Traceback" not in text
    assert get(port, "/predict?layers=4&hidden=512")[0] == 200  # it goes on


def test_other_methods_are_refused(port: int) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert get(port, "/", method=method)[0] == 501


@pytest.mark.parametrize(
    ("more", "named"), [(["--serve", "--out", "x.html"], "give one"), (["--port", "80"], "give one")]
)
def test_options_that_do_not_go_together(more: list[str], named: str) -> None:
    done = CliRunner().invoke(group, ["report", "--budget", "5s", *more])
    assert named in str(done.exception)


def test_a_taken_port_is_said(port: int) -> None:
    done = CliRunner().invoke(
        group, ["report", "--budget", "5s", "--layers", "4", "--hidden", "512", "--serve", "--port", str(port)]
    )
    assert f"--port {port}" in str(done.exception)


def test_the_form_on_the_page_asks(port: int, browser: Any) -> None:  # noqa: F811
    opened = browser.new_page(viewport={"width": 390, "height": 900})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(f"http://{ADDRESS}:{port}/")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.fill("[name=layers]", "13")
    opened.fill("[name=hidden]", "768")
    opened.press("[name=hidden]", "Enter")
    # By selectors: the page's policy lets no string be evaluated again and again.
    opened.wait_for_selector("#lived[data-response_s]")
    wanted = toy_predictor().predict("13x768", Workload(prompt_tokens=128, new_tokens=10))
    assert float(opened.evaluate("document.getElementById('lived').dataset.response_s")) == wanted.response_s
    opened.fill("[name=hidden]", "0")
    opened.press("[name=hidden]", "Enter")
    opened.wait_for_selector("#lived:has-text('hidden_size')")
    assert [line for line in said if "400" not in line] == []
    opened.close()


def test_without_a_server_the_page_has_no_form() -> None:
    front = frontier(Predictor.load("3090"), SearchSpace(num_hidden_layers=4, hidden_size=512), budget_s=9.0)
    text = page(front, [], ["latmodel"])
    assert "connect-src" not in text.split("<body>")[0]
    assert '"live":false' in text
