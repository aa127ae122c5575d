"""`latmodel report --serve`: the page on this machine alone, with predictions of any shape as they are asked for."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from ..configs.model_input import shape_config
from ..errors import LatmodelError, UsageError
from ..model.config import Workload
from ..predict.predictor import Predictor
from .rows import full_row, shape_fields

ADDRESS = "127.0.0.1"  # never another: the page has no password
NAMES = ("127.0.0.1", "localhost")  # of this machine, as a browser writes them in `Host`
LONGEST = 2000  # characters of a path with its query
SLOW_S = 10.0  # a client that says nothing for so long is dropped
SHAPE = ("layers", "hidden", "ffn", "heads", "kv_heads", "head_dim", "vocab")
WORK = {"prompt": "prompt_tokens", "generate": "new_tokens", "batch": "batch_size"}
TEXTS = ("runtime", "weights")

Ask = Callable[[Mapping[str, str]], dict[str, Any]]


def asker(predictor: Predictor, workload: Workload) -> Ask:
    """What answers a query: layers and hidden, and whatever else of a shape, a workload, a runtime or weights.

    What is left out is as everywhere for the shape, and as in `workload` for the rest.
    """

    def ask(query: Mapping[str, str]) -> dict[str, Any]:
        unknown = query.keys() - {*SHAPE, *WORK, *TEXTS}
        if unknown:
            raise UsageError(f"{min(unknown)[:40]}: no such field; there are {', '.join([*SHAPE, *WORK, *TEXTS])}")
        given = {name: value for name, value in query.items() if value.strip()}
        numbers = {name: _whole(name, value) for name, value in given.items() if name not in TEXTS}
        if not {"layers", "hidden"} <= numbers.keys():
            raise UsageError("give layers and hidden")
        config = shape_config(
            numbers["layers"], numbers["hidden"], ffn=numbers.get("ffn"), heads=numbers.get("heads"),
            kv_heads=numbers.get("kv_heads"), head_dim=numbers.get("head_dim"), vocab=numbers.get("vocab"),
        )  # fmt: skip
        changes = {field: numbers[name] for name, field in WORK.items() if name in numbers}
        work = Workload(**{**workload.model_dump(), **changes, "weights": given.get("weights", workload.weights)})
        one = _on(predictor, given.get("runtime", predictor.runtime))
        return full_row(one.predict(config, work).as_dict(), one, work, shape=shape_fields(config))

    return ask


def _on(predictor: Predictor, runtime: str) -> Predictor:
    """The same device with another runtime of its profile."""
    if runtime == predictor.runtime:
        return predictor
    level, memory = predictor.interval.level, predictor.memory_bytes
    return Predictor(predictor.profile, runtime, level, memory, attention=predictor.attention)


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UsageError(f"{name}: {text[:40]!r} is not a whole number")
    return int(text)


def server(page: str, ask: Ask, port: int) -> HTTPServer:
    """A server of the page at `/` and of predictions at `/predict?layers=..&hidden=..`, for this machine alone.

    Port 0 takes any that is free.

    Raises:
        UsageError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = SLOW_S

        def do_GET(self) -> None:
            """Answer, unless the request is meant for another host: a name that leads here is no permission."""
            host = self.headers.get("Host", "")
            if host.rsplit(":", 1)[0] not in NAMES or len(self.path) > LONGEST:
                self._send(HTTPStatus.FORBIDDEN, "text/plain", "this page is for this machine alone")
                return
            parts = urlsplit(self.path)
            if parts.path == "/":
                self._send(HTTPStatus.OK, "text/html", page)
            elif parts.path == "/predict":
                self._predict(parts.query)
            else:
                self._send(HTTPStatus.NOT_FOUND, "text/plain", "there are / and /predict")

        def _predict(self, query: str) -> None:
            try:
                row = ask(dict(parse_qsl(query, max_num_fields=20)))
            except (LatmodelError, ValueError) as error:
                self._send(HTTPStatus.BAD_REQUEST, "application/json", json.dumps({"error": str(error)}))
            else:
                self._send(HTTPStatus.OK, "application/json", json.dumps(row, default=str))

        def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            for name, value in (
                ("Content-Type", f"{kind}; charset=utf-8"), ("Content-Length", str(len(body))),
                ("X-Content-Type-Options", "nosniff"), ("Cache-Control", "no-store"),
            ):  # fmt: skip
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: stderr is for notes."""

    try:
        return HTTPServer((ADDRESS, port), Handler)
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}; choose another, or 0 for any that is free") from None
