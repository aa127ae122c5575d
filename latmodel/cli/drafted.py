"""`latmodel frontier --draft auto`: target and draft together, or what each draft must reach."""

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .options import apply, given, say_notes
from .search_options import VALUES, limits_from, quality_tokens, space_from

draft_options = apply(
    click.option("--draft", type=click.Choice(["auto"]), default=None,
                 help="Speculative decoding: choose target and draft together, and the best lookahead."),
    click.option("--acceptance", default=None, metavar="SHARE|FILE|FUNCTION",
                 help="How often a draft's token is accepted: a table of drafts with a column acceptance, "
                 "package.module:function of their dimensions, or one number (then: what each draft must reach)."),
    click.option("--lookahead", type=VALUES, default=None, help="Tokens that a draft may give a round. [default: 1:8]"),
    click.option("--draft-layers", type=VALUES, default=None, help="Depths of drafts. [default: 1:24]"),
    click.option("--draft-hidden", type=VALUES, default=None, help="Widths of drafts. [default: 256:4096:128]"),
    section="Draft",
)  # fmt: skip

# What a search with drafts does not do.
WITHOUT = (
    "sure", "depths", "baseline", "objectives", "also", "workers", "executor", "checkpoint", "plot", "verified",
)  # fmt: skip


def draft_given(options: dict[str, Any]) -> bool:
    """Whether a draft is searched too.

    Raises:
        UsageError: options of drafts without `--draft auto`, or together with what goes without.
    """
    others = ("acceptance", "lookahead", "draft_layers", "draft_hidden")
    if options["draft"] is None:
        for name in others:
            if options[name] is not None:
                raise UsageError(f"--{name.replace('_', '-')} is of a draft: give --draft auto")
        return False
    if options["acceptance"] is None:
        raise UsageError("--draft auto needs --acceptance: a table, package.module:function, or one number")
    for name in WITHOUT:
        if given(name):
            raise UsageError(f"--draft auto goes without --{name.removesuffix('s') if name == 'objectives' else name}")
    return True


def drafted(predictor: Any, workload: Any, options: dict[str, Any]) -> str:
    """The text of a search with drafts; notes go to stderr.

    Raises:
        BudgetError: nothing keeps the budget.
        UsageError: an acceptance that cannot be read or is out of range, or a draft with another vocabulary.
    """
    from ..report.rows import run_notes
    from ..search.drafted.drafts import HIDDEN_SIZES, LAYERS, LOOKAHEADS, grid
    from ..search.space import expand

    space = space_from(options)
    vocabulary = int(space.stems.vocab_size[0])
    acceptance, drafts = _acceptance(options["acceptance"])
    if drafts is None:
        drafts = grid(vocabulary, options["draft_layers"] or LAYERS, options["draft_hidden"] or HIDDEN_SIZES)
    elif options["draft_layers"] or options["draft_hidden"]:
        raise UsageError("--acceptance FILE holds the drafts: leave out --draft-layers and --draft-hidden")
    lookaheads = expand("--lookahead", options["lookahead"]) if options["lookahead"] is not None else LOOKAHEADS
    notes = run_notes(predictor, workload)
    say_notes(notes)
    limits = limits_from(predictor, options)
    asked = {"drafts": drafts, "lookaheads": lookaheads}
    if isinstance(acceptance, float):
        return _break_even(predictor, workload, space, acceptance, asked, limits, options, notes)
    from ..report.drafted_report import drafted_text
    from ..search.drafted.search import frontier_with_draft

    front = frontier_with_draft(
        predictor, acceptance, space, workload, **asked, budget_s=options["budget"], quality=options["quality"],
        tokens=quality_tokens(options), limits=limits,
    )  # fmt: skip
    return drafted_text(front, options["rows"], options["format_"], notes)


def _break_even(
    predictor: Any, workload: Any, space: Any, acceptance: float, asked: dict[str, Any], limits: Any,
    options: dict[str, Any], notes: Any,
) -> str:  # fmt: skip
    """Of the best target without a draft: what each draft must reach."""
    from ..report.drafted_report import break_even_text
    from ..report.frontier_report import score_of
    from ..search.drafted.break_even import break_even
    from ..search.run import frontier
    from ..search.scored import Scored

    front = frontier(
        predictor, space, workload, budget_s=options["budget"], quality=options["quality"],
        tokens=quality_tokens(options), limits=limits,
    )  # fmt: skip
    score = score_of(front)
    best = None if score is None else Scored(front, score).best
    target = front.config(best or 0)
    rows = break_even(predictor, target.architecture(), acceptance, workload, **asked)
    return break_even_text(target, rows, options["rows"], options["format_"], notes)


def _acceptance(text: str) -> tuple[Any, Any]:
    """A number, or a function; or the acceptances and the drafts of a table."""
    try:
        share = float(text)
    except ValueError:
        pass
    else:
        if not 0.0 <= share <= 1.0:
            raise UsageError(f"--acceptance {text[:40]} must lie between 0 and 1")
        return share, None
    if Path(text).suffix in (".csv", ".json", ".jsonl"):
        return _table(Path(text))
    from ..quality.user import load_function

    return load_function(text, "--acceptance", ("a number from 0 to 1", "a .csv, .json or .jsonl file")), None


def _table(path: Path) -> tuple[Any, Any]:
    import numpy as np

    from ..configs.tables import read_table
    from ..model.config import CONFIG_FIELDS

    rows = read_table(path)
    try:
        chance = np.array([float(row["acceptance"]) for row in rows])
    except (KeyError, TypeError, ValueError):
        raise UsageError(f"{path}: column 'acceptance' is missing or holds no numbers") from None
    names = [name for name in CONFIG_FIELDS if all(name in row for row in rows)]
    return chance, {name: np.array([float(row[name]) for row in rows]) for name in names}
