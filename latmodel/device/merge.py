"""Profiles of several boards of one device as one, and which board is odd."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ProfileError
from .profile import Coefficient, DevicePart, Profile, Provenance

ODD = 3.0  # standard errors from the others beyond which a board is called odd
LEAST_SPREAD = 0.02  # boards of one type differ by this much (log units) even where each fit is surer of itself


def merge(profiles: Sequence[Profile], name: str) -> Profile:
    """One profile with the precision-weighted mean of every coefficient's logarithm.

    Errors widen where boards differ by more than their errors say (Birge ratio). Intervals pool the boards' scores;
    runtimes, ranges and data sheet are those of the first, which all must share.

    Raises:
        ProfileError: fewer than two profiles, or of different devices or runtimes; the two that differ are named.
    """
    _same(profiles)
    first = profiles[0]
    tables = {
        dtype: _merged([profile.device.coefficients[dtype] for profile in profiles])
        for dtype in first.device.coefficients
    }
    runtimes = {}
    for runtime, part in first.runtimes.items():
        parts = [profile.runtimes[runtime] for profile in profiles]
        phases = {phase for one in parts for phase in one.conformal_scores}
        scores = {phase: _pooled([one.conformal_scores.get(phase, []) for one in parts]) for phase in phases}
        table = _merged([one.coefficients for one in parts])
        own = {dtype: _merged([one.device[dtype] for one in parts]) for dtype in part.device}
        runtimes[runtime] = part.model_copy(update={"coefficients": table, "device": own, "conformal_scores": scores})
    device = DevicePart(**{**dict(first.device), "coefficients": tables})
    boards = ", ".join(profile.name for profile in profiles)
    provenance = Provenance(
        source=f"{len(profiles)} profiles merged: {boards}"[:2000], date=max(p.provenance.date for p in profiles),
        rows="; ".join(p.provenance.rows for p in profiles)[:2000], made_by="latmodel profile merge",
    )  # fmt: skip
    merged = {"name": name, "device": device, "runtimes": runtimes, "provenance": provenance}
    return first.model_copy(update=merged)


def _same(profiles: Sequence[Profile]) -> None:
    if len(profiles) < 2:
        raise ProfileError("give two profiles or more to merge; see `latmodel profile merge --help`")
    first = profiles[0]
    for other in profiles[1:]:
        for what, mine, theirs in (
            ("device", first.gpu, other.gpu),
            ("runtimes", sorted(first.runtimes), sorted(other.runtimes)),
            ("dtypes", sorted(first.device.coefficients), sorted(other.device.coefficients)),
            ("kernels of runtimes", _own_kernels(first), _own_kernels(other)),
        ):
            if mine != theirs:
                raise ProfileError(
                    f"{first.name} and {other.name} differ in {what}: {_short(mine)} and {_short(theirs)}; "
                    "merge like with like"
                )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:120]}…"


def _own_kernels(profile: Profile) -> list[str]:
    return sorted(
        f"{runtime}.{dtype}.{name}"
        for runtime, part in profile.runtimes.items()
        for dtype, table in part.device.items()
        for name in table
    )


def _merged(tables: Sequence[Mapping[str, Coefficient]]) -> dict[str, Coefficient]:
    """What all have: profiles of another release may lack terms of a law."""
    return {name: _mean([table[name] for table in tables]) for name in tables[0] if all(name in t for t in tables)}


def _pooled(scores: Sequence[Sequence[float]]) -> list[float]:
    """All scores in one rising list, thinned evenly by rank to what a profile may hold."""
    every = sorted(score for some in scores for score in some)
    step = max(1, math.ceil(len(every) / 500))
    return every[::-1][::step][::-1]  # from the largest down: no interval may shrink by thinning


def _mean(found: Sequence[Coefficient]) -> Coefficient:
    if any(one.value <= 0.0 for one in found):
        return found[0]
    logs = [math.log(one.value) for one in found]
    errors = [max(one.stderr_log, LEAST_SPREAD) for one in found]
    weights = [error**-2 for error in errors]
    mean = sum(w * x for w, x in zip(weights, logs, strict=True)) / sum(weights)
    scatter = sum(w * (x - mean) ** 2 for w, x in zip(weights, logs, strict=True)) / (len(found) - 1)
    error = sum(weights) ** -0.5 * max(1.0, math.sqrt(scatter))
    kept = {"value": float(f"{math.exp(mean):.5g}"), "stderr_log": float(f"{error:.3g}")}
    return found[0].model_copy(update=kept)


def odd_boards(profiles: Sequence[Profile]) -> list[dict[str, Any]]:
    """Each board's coefficient farthest from the mean of the others, in standard errors, farthest board first."""
    _same(profiles)
    named = [dict(_flat(profile)) for profile in profiles]
    rows: list[dict[str, Any]] = []
    for index, (profile, table) in enumerate(zip(profiles, named, strict=True)):
        others = [other for i, other in enumerate(named) if i != index]
        away = {name: _distance(item, [other[name] for other in others]) for name, item in table.items()
                if all(name in other for other in others)}  # fmt: skip
        name = max(away, key=lambda key: abs(away[key][1]))
        ratio, sigmas = away[name]
        rows.append(
            {"board": profile.name, "coefficient": name, "ratio": ratio, "sigmas": sigmas, "odd": abs(sigmas) > ODD}
        )
    return sorted(rows, key=lambda row: -abs(row["sigmas"]))


def _flat(profile: Profile) -> list[tuple[str, Coefficient]]:
    found = [(f"device.{d}.{n}", item) for d, t in profile.device.coefficients.items() for n, item in t.items()]
    return found + [
        (f"runtime.{r}.{n}", item) for r, p in profile.runtimes.items() for n, item in p.coefficients.items()
    ]


def _distance(mine: Coefficient, others: Sequence[Coefficient]) -> tuple[float, float]:
    """(ratio to the others' mean, distance in standard errors); nothing for what is not fitted."""
    mean = _mean([*others, others[0]] if len(others) == 1 else others)
    if mine.value <= 0.0 or mean.value <= 0.0 or mine.status == "fixed":
        return 1.0, 0.0
    error = math.hypot(max(mine.stderr_log, LEAST_SPREAD), max(mean.stderr_log, LEAST_SPREAD))
    return mine.value / mean.value, math.log(mine.value / mean.value) / error
