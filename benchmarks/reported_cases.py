"""Single figures that people reported in public issues, by the command that asks latmodel for them."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from calibration.sources.tables import read_table
from latmodel.cli.verbs import group
from latmodel.errors import LatmodelError
from latmodel.report.text import table

STAND_IN = "cuda-graph"  # what the commands asked for when profiles had no torch-compile
COLUMNS = ("source", "question", "quantity", "measured", "command", "should_be_runtime", "predicted_then")


class Quantity(NamedTuple):
    """A figure, and the ends of its interval where there is one."""

    value: float
    low: float | None
    high: float | None


def case_table(path: Path) -> str:
    """Every reported figure beside today's, and how many times lie inside their intervals."""
    lines, inside, times = [], 0, 0
    for cells in read_table(path, COLUMNS):
        measured, name = float(cells["measured"]), cells["quantity"]
        found = predicted(command_of(cells), name)
        if found is None:
            lines.append([cells["question"], cells["should_be_runtime"], f"{measured:.4g}", *"-----"])
            continue
        interval, held = "-", "-"
        if found.low is not None and found.high is not None and not name.startswith("mem"):
            low, high = sorted((found.low, found.high))
            interval, within = f"{low:.4g}-{high:.4g}", low <= measured <= high
            held, inside, times = "yes" if within else "no", inside + within, times + 1
        change = f"{100 * (found.value / measured - 1):+.0f} %"
        then = f"{100 * (float(cells['predicted_then']) / measured - 1):+.0f} %"
        stand_in = cells["should_be_runtime"]
        lines.append(
            [cells["question"], stand_in, f"{measured:.4g}", f"{found.value:.4g}", then, change, interval, held]
        )
    heading = ["reported", "asks for", "measured", "predicted", "was off", "is off", "interval", "inside"]
    return f"{table(heading, lines)}\n{inside} of {times} times inside their 90 % intervals"


def command_of(cells: Mapping[str, str]) -> str:
    """The command, with the runtime that the case is of where a stand-in was asked for and profiles have it today."""
    if cells["should_be_runtime"] != "torch-compile":
        return cells["command"]
    return cells["command"].replace(f"--runtime {STAND_IN}", "--runtime torch-compile")


def predicted(command: str, quantity: str) -> Quantity | None:
    """What the command answers, in the quantity's unit; None where it does not answer with times."""
    arguments = shlex.split(command)[1:]
    if arguments[0] != "predict":
        return None
    done = CliRunner().invoke(group, [*arguments, "--format", "json"])
    if isinstance(done.exception, LatmodelError):
        raise done.exception
    return _quantity(json.loads(done.stdout), quantity)


FIELDS = {"prefill_ms": ("prefill_s", 1e3), "decode_ms": ("decode_s_per_token", 1e3), "resp_s": ("response_s", 1.0)}


def _quantity(row: Mapping[str, float | None], quantity: str) -> Quantity:
    name, _, tokens = quantity.partition(":")
    if name == "mem_GiB":
        return Quantity((row["peak_memory_bytes"] or 0.0) / 2**30, None, None)
    if name == "tput":
        seconds = (row[f"response_s{end}"] for end in ("", "_low", "_high"))
        value, low, high = (None if s is None else float(tokens) / s for s in seconds)
    else:
        field, unit = FIELDS[name]
        ends = (row[f"{field}{end}"] for end in ("", "_low", "_high"))
        value, low, high = (None if s is None else s * unit for s in ends)
    assert value is not None, "a prediction has a time"
    return Quantity(value, low, high)
