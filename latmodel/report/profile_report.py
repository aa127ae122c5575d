"""Profiles as rows: the list, one profile's coefficients, two profiles side by side."""

import math
from collections.abc import Iterator
from typing import Any

from ..device.profile import FLOAT8, Coefficient, Profile
from ..device.profile_file import read_profile
from ..device.store import list_profiles, list_uncalibrated
from ..device.uncalibrated import datasheet_profile
from ..errors import ProfileError
from ..laws.float8 import FLOAT8_PRIORS
from ..laws.priors import ENGINE_PRIORS, GRAPH_PRIORS, RUNTIME_PRIORS, Prior, device_priors
from ..units import show_bytes
from .column import Column, Row


def list_rows() -> tuple[list[Row], list[str]]:
    """One row a profile, and one line for each file that is not a valid one."""
    rows: list[Row] = []
    problems = []
    for name, path in list_profiles().items():
        try:
            profile = read_profile(path)
        except ProfileError as error:
            problems.append(str(error))
            continue
        rows.append(_list_row(name, profile, str(path)))
    rows += [_list_row(sheet.name, datasheet_profile(sheet), "") for sheet in list_uncalibrated()]
    return rows, problems


def _list_row(name: str, profile: Profile, path: str) -> Row:
    return {
        "name": name,
        "title": profile.title,
        "quality": profile.quality.kind,
        "runtimes": " ".join(profile.runtimes),
        "worst_held_out_mape_percent": max(
            (error.mape_percent for error in profile.quality.errors if "out" in error.split), default=None
        ),
        "date": profile.provenance.date,
        "path": path,
    }


def _named(profile: Profile) -> Iterator[tuple[str, Coefficient, Prior]]:
    for dtype, table in profile.device.coefficients.items():
        for name, item in table.items():
            yield f"device.{dtype}.{name}", item, (FLOAT8_PRIORS if dtype == FLOAT8 else device_priors(table))[name]
    for runtime, part in profile.runtimes.items():
        for name, item in part.coefficients.items():
            yield f"runtime.{runtime}.{name}", item, (RUNTIME_PRIORS | ENGINE_PRIORS | GRAPH_PRIORS)[name]
        for dtype, table in part.device.items():
            for name, item in table.items():
                yield f"runtime.{runtime}.device.{dtype}.{name}", item, device_priors(table)[name]


def coefficient_rows(profile: Profile) -> list[Row]:
    """One row a coefficient: value, relative error, prior, ratio to it, its status, what it means."""
    return [
        {
            "coefficient": name,
            "value": item.value,
            "stderr_log": item.stderr_log,
            "prior": prior.value,
            "ratio": item.value / prior.value,
            "status": item.status,
            "meaning": prior.meaning,
        }
        for name, item, prior in _named(profile)
    ]


def diff_rows(first: Profile, second: Profile) -> list[Row]:
    """Coefficients that both have: values, ratio, and distance in standard errors (0 errors: blank)."""
    other = {name: item for name, item, _ in _named(second)}
    rows: list[Row] = []
    for name, item, _ in _named(first):
        if name not in other or item.value <= 0.0 or other[name].value <= 0.0:
            continue
        ratio = other[name].value / item.value
        error = math.hypot(item.stderr_log, other[name].stderr_log)
        apart = abs(math.log(ratio)) / error if error else None
        rows.append(
            {"coefficient": name, "first": item.value, "second": other[name].value, "ratio": ratio, "sigmas": apart}
        )
    return rows


def summary(profile: Profile) -> str:
    """What the profile is, where it came from, how far to trust it."""
    sheet, source = profile.device.sheet, profile.provenance
    lines = [
        f"{profile.title} ({profile.name}): {profile.quality.kind}, {source.date}",
        f"data sheet   {sheet.sm_count:.0f} SMs, {sheet.bandwidth_bytes_per_s / 1e9:.0f} GB/s, "
        f"{show_bytes(sheet.memory_bytes)} ({sheet.source})",
        f"source       {source.source} {source.commit}".rstrip(),
        f"rows         {source.rows}",
        f"made by      {source.made_by}" + (f", latmodel {source.latmodel_version}" if source.latmodel_version else ""),
        *(f"note         {note}" for note in source.notes),
        *(
            f"error        {error.split}, {error.phase}: {error.mape_percent:.2f} % MAPE over {error.rows} rows"
            for error in profile.quality.errors
        ),
    ]
    for name, part in profile.runtimes.items():
        lines.append(f"runtime      {name}: host {part.host}" + (f"; {part.note}" if part.note else ""))
    return "\n".join([*lines, ""])


def _number(value: Any, form: str = "{:.4g}") -> str:
    return "" if value is None else form.format(value)


LIST_COLUMNS: list[Column] = [
    Column("name", lambda row: row["name"]),
    Column("quality", lambda row: row["quality"]),
    Column("held-out error", lambda row: _number(row["worst_held_out_mape_percent"], "{:.1f} %") or "unknown", 1),
    Column("date", lambda row: row["date"], 2),
    Column("runtimes", lambda row: row["runtimes"], 1, wraps=True),
]
COEFFICIENT_COLUMNS: list[Column] = [
    Column("coefficient", lambda row: row["coefficient"]),
    Column("value", lambda row: _number(row["value"])),
    Column("error", lambda row: "" if not row["stderr_log"] else f"±{100 * row['stderr_log']:.0f} %", 2),
    Column("prior", lambda row: _number(row["prior"]), 3),
    Column("ratio", lambda row: _number(row["ratio"], "{:.2f}"), 3),
    Column("status", lambda row: row["status"], 1),
    Column("meaning", lambda row: row["meaning"], 2, wraps=True),
]
DIFF_COLUMNS: list[Column] = [
    Column("coefficient", lambda row: row["coefficient"]),
    Column("first", lambda row: _number(row["first"]), 2),
    Column("second", lambda row: _number(row["second"]), 2),
    Column("ratio", lambda row: _number(row["ratio"], "{:.3f}")),
    Column("sigmas", lambda row: _number(row["sigmas"], "{:.1f}"), 1),
]


ODD_COLUMNS: list[Column] = [
    Column("board", lambda row: row["board"]),
    Column("farthest coefficient", lambda row: row["coefficient"]),
    Column("ratio to the others", lambda row: f"{row['ratio']:.3f}"),
    Column("standard errors", lambda row: f"{row['sigmas']:+.1f}"),
    Column("", lambda row: "odd" if row["odd"] else ""),
]
