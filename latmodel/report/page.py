"""`latmodel report`: one HTML file, self-contained and offline, to look at and play with."""

import html
import json
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from ..configs.models import NamedModel
from ..errors import UsageError
from ..search.frontier import Frontier
from ..strict_json import write_whole
from ..version import __version__
from .page_data import answer, page_data, provenance, workload_text
from .text import render


def page(front: Frontier, models: Sequence[NamedModel], command: Sequence[str], *, live: bool = False) -> str:
    """The page of a frontier, its baseline and some named models; `command` is what was typed to make it.

    With `live` it asks the server that it came from for shapes that are not on its grid (`report.serve`).
    """
    predictor, data = front.predictor, {**page_data(front, models), "live": live}
    texts = {
        "title": f"latmodel: {predictor.profile.title}",
        "device": f"{predictor.profile.title}, {predictor.runtime}, {front.workload.numbers_name}",
        "workload": workload_text(front),
        "provenance": provenance(predictor),
        "answer": answer(data["rows"][data["best"]], front.scenarios),
        "command": shlex.join(command),
        "python": _python(front),
        "csv": render(data["rows"], "csv", []),
        "version": __version__,
    }
    text = _file("page.html")
    for name, value in texts.items():
        text = text.replace(f"{{{{{name}}}}}", html.escape(value))
    text = text.replace("{{connect}}", "; connect-src 'self'" if live else "")
    text = text.replace("{{notes}}", "".join(f"<li>{html.escape(note)}</li>" for note in data["notes"]))
    # "</" would end the script that it stands in.
    encoded = json.dumps(data, separators=(",", ":"), default=str).replace("</", "<\\/")
    scripts = {
        "style": _file("page.css"), "data": encoded, "script": _file("page.js"), "plotly": _file("plotly-basic.min.js"),
    }  # fmt: skip
    for name, value in scripts.items():
        text = text.replace(f"/*{name}*/", value, 1)
    return text


def write_page(text: str, path: Path) -> None:
    """Write the page.

    Raises:
        UsageError: the path is a folder or cannot be written.
    """
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give a file, as in --out {path / 'report.html'}")
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another --out") from None


def _file(name: str) -> str:
    return (files("latmodel.report") / "web" / name).read_text(encoding="utf-8")


def _python(front: Frontier) -> str:
    """The lines of Python that find the same frontier."""
    work, predictor = front.workload, front.predictor
    changed = {name: value for name, value in work.model_dump().items() if value is not None}
    workload = ", ".join(f"{name}={getattr(value, 'name', value)!r}" for name, value in changed.items())
    return (
        "from latmodel import Predictor, Workload, frontier\n\n"
        f"predictor = Predictor.load({predictor.profile.name!r}, {predictor.runtime!r})\n"
        f"workload = Workload({workload})\n"
        f"limits = {{'budget_s': {front.budget_s}, 'memory_bytes': {front.memory_bytes:.0f}}}\n"
        "front = frontier(predictor, None, workload, **limits)\n"
        "print(front.to_pandas())\n"
    )
