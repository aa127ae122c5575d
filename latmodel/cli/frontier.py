"""`latmodel frontier`."""

from typing import Any

import click

from ..errors import UsageError
from .drafted import draft_given, draft_options, drafted
from .files import OutputFile, Source
from .options import (
    DURATION,
    WHOLE,
    format_option,
    given,
    number_options,
    predictor_from,
    say_notes,
    target_options,
    workload_from,
    workload_options,
)
from .search_options import (
    VALUES,
    goal_options,
    limits_from,
    measure_from,
    quality_tokens,
    scenario_from,
    space_from,
    space_options,
)
from .sections import SectionedCommand
from .training import training_options


@click.command(
    cls=SectionedCommand, epilog="Example:  latmodel frontier --budget 5.5s --depths 80,60,40,20,10 --baseline 80x576"
)
@click.option(
    "--budget",
    type=DURATION,
    default=None,
    help="Longest response: 5.5s, 300ms. [default: the baseline's own, or none]",
)
@click.option("--sure", is_flag=True, help="The upper end of the interval keeps the budget, not the prediction.")
@target_options
@space_options
@workload_options
@number_options
@click.option("--depths", type=VALUES, default=None, help="For each of these depths the best that fits: 80,60,40.")
@click.option(
    "--baseline",
    type=Source(),
    default=None,
    metavar="MODEL",
    help="Compare with this shape (80x576), preset or config.json; without --budget its response is the budget.",
)
@goal_options
@training_options
@draft_options
@click.option("--workers", type=WHOLE, default=1, show_default=True, help="Parts of the search that run at once.")
@click.option(
    "--executor",
    type=click.Choice(["process", "dask", "ray", "slurm"]),
    default=None,
    help="What runs them. [default: process if there are workers]",
)
@click.option(
    "--checkpoint",
    type=OutputFile(),
    default=None,
    help="File that finished parts are written to; an interrupted search goes on from it.",
)
@click.option(
    "--rows", type=WHOLE, default=20, show_default=True, help="Rows to show; the frontier is thinned to them."
)
@click.option("--plot", type=OutputFile(), default=None, help="Draw the frontier to this file.")
@click.option("--verify", "verified", type=WHOLE, default=None, metavar="N",
              help="Build and run the N best rows on this machine, compare with the prediction.")  # fmt: skip
@format_option
def frontier(**options: Any) -> None:
    """The shapes with the most capacity within a response-time and memory budget."""
    predictor, workload = predictor_from(options), workload_from(options)
    if options["verified"] is not None and (options["weights"] or options["kv_cache"]):
        raise UsageError("--verify builds models in --dtype: leave out --weights and --kv-cache")
    from ..report.frontier_report import front_notes, frontier_text, score_of
    from ..report.rows import run_notes
    from ..search.frontier import thin

    if draft_given(options):
        click.echo(drafted(predictor, workload, options))
        return
    baseline = baseline_of(options)
    front = search_from(predictor, workload, baseline, options)
    if options["plot"] is not None:
        from ..report.frontier_picture import draw_frontier

        draw_frontier(front, options["plot"])
    known = () if baseline is None else baseline.notes
    notes = run_notes(predictor, workload, known, getattr(score_of(front), "warnings", ()), front_notes(front))
    say_notes(notes)
    limit = len(front) if options["depths"] else options["rows"]
    click.echo(frontier_text(front, limit, options["format_"], notes))
    if options["verified"] is not None:
        from .verify_rows import verify_configs

        shown = thin(front, limit)
        some = min(options["verified"], len(shown))
        click.echo(verify_configs(predictor, [shown.config(row) for row in range(some)], workload, options["format_"]))


def baseline_of(options: dict[str, Any]) -> Any:
    """The model that `--baseline` names, or None.

    Raises:
        UsageError: it cannot be read.
    """
    from ..configs.models import read_model

    return None if options["baseline"] is None else read_model(options["baseline"])


def search_from(predictor: Any, workload: Any, baseline: Any, options: dict[str, Any]) -> Any:
    """The frontier that the options describe, held against its baseline; whose response is the budget without one.

    Raises:
        BudgetError: nothing keeps the limits.
        UsageError: options that do not go together.
    """
    budget = options["budget"]
    if budget is None and baseline is not None:
        budget = predictor.predict(baseline.model, baseline.under(workload)).response_s
    arguments: dict[str, Any] = {
        "space": space_from(options), "workload": workload, "budget_s": budget, "quality": options["quality"],
        "tokens": quality_tokens(options), "limits": limits_from(predictor, options),
        "also": [scenario_from(text, options) for text in options["also"]], "sure": options["sure"],
    }  # fmt: skip
    front = _search(predictor, arguments, options)
    return front if baseline is None else front.against(baseline)


def _search(predictor: Any, arguments: dict[str, Any], options: dict[str, Any]) -> Any:
    from ..search.run import best_per_depth
    from ..search.run import frontier as search

    if options["objectives"] and given("quality"):
        raise UsageError("--objective says what to trade off instead of quality: leave out --quality")
    if options["depths"] is None:
        objectives = [measure_from(text, predictor, options) for text in options["objectives"]] or None
        elsewhere = {name: options[name] for name in ("executor", "workers", "checkpoint")}
        return search(predictor, **arguments, **elsewhere, objectives=objectives)
    for name in ("objectives", "executor", "checkpoint"):
        if options[name]:
            raise UsageError(f"--depths goes without --{name.removesuffix('s')}")
    if given("rows"):
        raise UsageError("--depths shows a row for each depth: leave out --rows")
    if options["workers"] > 1:
        raise UsageError("--depths goes without --workers: it takes a moment on one core")
    return best_per_depth(predictor, _listed(options["depths"]), **arguments)


def _listed(values: Any) -> tuple[int, ...]:
    """Values in the order given."""
    from ..search.space import Span, expand

    return expand("--depths", values) if isinstance(values, Span) else tuple(dict.fromkeys(values))
