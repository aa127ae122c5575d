"""Boards that this project calibrated itself: their PyTorch runtimes in the profile of their card.

The card's own coefficients stay those of the published kernels, a serving framework's; PyTorch launches others.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from latmodel.device.datasheets import datasheet
from latmodel.device.profile import Coefficient, Profile, Quality
from latmodel.device.profile_file import read_profile

from ..fit import make
from ..fit.outcome import About, calibrated
from ..fit.start import problem
from ..observations.record import Observation, read_observations
from .compiled import with_compiled

FOLDER = Path("benchmarks/boards")  # CARD.jsonl: what `latmodel calibrate` observed; CARD-models.jsonl: whole models


class Board(NamedTuple):
    """What was calibrated where."""

    card: str
    host: str
    source: str
    notes: tuple[str, ...]
    traced: tuple[str, ...] = ()  # runtimes whose graphs were traced: their gap depends on what splits k


BOARDS = (
    Board(
        "nvidia-h100-80gb-hbm3", "one virtual machine with an H100 (Intel Xeon; 0.57 ms a layer, another took 0.85)",
        "measured by this project on one H100 with torch 2.11.0, Transformers 5.17, driver 580.159.04, CUDA 13.0",
        ("calibrated on 2026-11-25 with 40 shapes in two rounds; noise between them 1.9 % (transformers-eager), "
         "0.3 % (cuda-graph)",),
        traced=("cuda-graph",),
    ),
)  # fmt: skip


# Cards that have the chip of a calibrated board, with other memory: they run its kernels.
TWINS = {"nvidia-h200": "nvidia-h100-80gb-hbm3"}
TWINS_APART = 0.05  # standard deviation between two boards of one chip, log units: an assumption


def with_runtimes(profile: Profile, folder: Path) -> Profile:
    """A packaged card's profile with what was calibrated on a board of it, and a compiled runtime.

    A card with the chip of a calibrated board takes that one's kernels; `folder` holds its profile already.
    """
    name = profile.name
    if (board := board_of(name)) is not None:
        profile = with_board(profile, board, read_board(board))
    if name in TWINS:
        profile = with_twin(profile, read_profile(folder / f"{TWINS[name]}.json"))
    return with_compiled(profile) if name.startswith("nvidia") else profile


def board_of(card: str) -> Board | None:
    """The board of a card that was calibrated, if one was."""
    return next((board for board in BOARDS if board.card == card), None)


def with_board(profile: Profile, board: Board, rows: Sequence[Observation]) -> Profile:
    """The profile with the board's runtimes as calibrated, each with PyTorch's kernels of its own."""
    task = board_problem(board, rows)
    kernels = {name: make.implementation_of(name) for name in task.start.runtimes}
    about = About(
        name=profile.name, gpu=profile.gpu, title=profile.title, host=board.host, source=board.source,
        notes=board.notes, implementations=kernels,
        memory_overhead_bytes=max(part.memory_overhead_bytes for part in profile.runtimes.values()),
    )  # fmt: skip
    board_profile = calibrated(task, profile.device.sheet, rows, about).profile
    parts = {
        name: part.model_copy(update={"device": board_profile.device.coefficients, "note": ""})
        for name, part in board_profile.runtimes.items()
    }
    errors = [row.model_copy(update={"split": f"PyTorch, {row.split}"}) for row in board_profile.quality.errors]
    before = profile.provenance
    provenance = before.model_copy(
        update={
            "source": f"{before.source}; {board.source}", "rows": f"{before.rows}; {board_profile.provenance.rows}",
            "notes": [*before.notes, *board.notes],
        }
    )  # fmt: skip
    quality = Quality(kind="calibrated", errors=[*profile.quality.errors, *errors])
    changed = {"runtimes": {**profile.runtimes, **parts}, "quality": quality, "provenance": provenance}
    return profile.model_copy(update=changed)


def board_problem(board: Board, rows: Sequence[Observation]) -> make.Problem:
    """The fit to what was observed on a board."""
    kernels = {name: make.implementation_of(name) for name in sorted({row.runtime for row in rows})}
    task = problem("cuda", make.sheet_of(datasheet(board.card), rows[0].dtype), kernels)
    free = dict(task.free)
    for name in board.traced:
        free |= make.graph_priors(name)
    return replace(task, free=free)


def read_board(board: Board, folder: Path = FOLDER) -> list[Observation]:
    """What `latmodel calibrate` observed on it."""
    return read_observations(folder / f"{board.card}.jsonl")


def read_models(board: Board, folder: Path = FOLDER) -> list[Observation]:
    """Whole models that were run on it and never fitted."""
    return read_observations(folder / f"{board.card}-models.jsonl")


def with_twin(profile: Profile, twin: Profile) -> Profile:
    """The profile with the PyTorch kernels of a calibrated card of the same chip, as shares of its own data sheet.

    A graph's host comes with them; that of a runtime which launches kernels one by one stays the profile's own.
    """
    runtimes = dict(profile.runtimes)
    for name in ("transformers-eager", "cuda-graph"):
        mine, theirs = profile.runtimes[name], twin.runtimes[name]
        kernels = {dtype: _borrowed(table) for dtype, table in theirs.device.items()}
        host = _borrowed(theirs.coefficients)
        if name != "cuda-graph":
            host = {**mine.coefficients, "gap_s": host["gap_s"]}
        note = "; ".join(filter(None, (mine.note, f"PyTorch's kernels as measured on one {twin.title}, the same chip")))
        changed = {"device": kernels, "coefficients": host, "corrected": [], "note": note}
        runtimes[name] = mine.model_copy(update=changed)
    return profile.model_copy(update={"runtimes": runtimes})


def _borrowed(table: Mapping[str, Coefficient]) -> dict[str, Coefficient]:
    return {
        name: one if one.status == "fixed" else one.model_copy(
            update={"status": "prior", "stderr_log": float(f"{math.hypot(one.stderr_log, TWINS_APART):.3g}")})
        for name, one in table.items()
    }  # fmt: skip
