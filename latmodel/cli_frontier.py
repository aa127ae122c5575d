"""`latmodel frontier`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .errors import UsageError
from .options import (
    DURATION,
    WHOLE,
    Parsed,
    apply,
    format_option,
    parse_whole,
    predictor_from,
    target_options,
    workload_from,
    workload_options,
)  # fmt: skip

if TYPE_CHECKING:
    from .pareto import Baseline, Frontier

RANGE_HELP = "one number, 64,128 or low:high:step"


def parse_values(text: str) -> Any:
    """Values of a dimension: "576", "64,128", or "4:128" and "256:16384:64" with both ends included.

    Raises:
        UsageError: anything else.
    """
    if ":" not in text:
        return tuple(parse_whole(part) for part in text.split(","))
    ends = text.split(":")
    if len(ends) > 3:
        raise UsageError(f"{text[:40]!r} is no range: write low:high or low:high:step")
    from .space import Span

    return Span(*(parse_whole(end) for end in ends))


def parse_ratio(text: str) -> tuple[float, float]:
    """A range of ratios: "2:5", or "4" for one.

    Raises:
        UsageError: anything else.
    """
    try:
        ends = [float(end) for end in text.split(":")]
    except ValueError:
        ends = []
    if not 1 <= len(ends) <= 2 or not all(0 < end < 1e4 for end in ends):
        raise UsageError(f"{text[:40]!r} is no range of ratios: write 2:5")
    return ends[0], ends[-1]


def _group(text: str) -> tuple[int, int]:
    values = parse_values(text)
    return values[0], values[1] if ":" in text else values[-1]


VALUES = Parsed("values", parse_values)

# Option → dimension of the search space.
_DIMENSIONS = {
    "layers": "num_hidden_layers", "hidden": "hidden_size", "ffn": "intermediate_size",
    "ffn_ratio": "intermediate_ratio",
    "ffn_step": "intermediate_step", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads",
    "group_size": "group_size", "head_dim": "head_dim", "vocab": "vocab_size",
}  # fmt: skip

space_options = apply(
    click.option("--layers", type=VALUES, default=None, help=f"num_hidden_layers: {RANGE_HELP} [default: 4:128]"),
    click.option("--hidden", type=VALUES, default=None, help="hidden_size [default: 256:16384:64]"),
    click.option("--ffn", type=VALUES, default=None, help="intermediate_size [default: by --ffn-ratio]"),
    click.option("--ffn-ratio", type=Parsed("ratios", parse_ratio), default=None,
                 help="intermediate_size / hidden_size [default: 2:5]"),
    click.option("--ffn-step", type=WHOLE, default=None, help="intermediate_size is a multiple of it [default: 64]"),
    click.option("--heads", type=VALUES, default=None, help="num_attention_heads [default: hidden / head_dim]"),
    click.option("--kv-heads", type=VALUES, default=None, help="num_key_value_heads [default: by --group-size]"),
    click.option("--group-size", type=Parsed("sizes", _group), default=None,
                 help="Query heads to a KV head, low:high [default: 1:8]"),
    click.option("--head-dim", type=VALUES, default=None, help="head_dim [default: 64,128]"),
    click.option("--vocab", type=VALUES, default=None, help="vocab_size [default: 65536]"),
    click.option("--tie-embeddings/--untie-embeddings", default=True, show_default=True),
)  # fmt: skip


@click.command(epilog="Example:  latmodel frontier --budget 5.5s --depths 80,60,40,20,10 --baseline 80x576")
@click.option(
    "--budget",
    type=DURATION,
    default=None,
    help="Longest response: 5.5s, 300ms. [default: the baseline's own, or none]",
)
@target_options
@space_options
@workload_options
@click.option("--depths", type=VALUES, default=None, help="For each of these depths the best that fits: 80,60,40.")
@click.option(
    "--baseline",
    default=None,
    metavar="LxH|CONFIG",
    help="Compare with this shape (80x576) or config.json; without --budget its response is the budget.",
)
@click.option(
    "--quality",
    default="effective-params",
    show_default=True,
    metavar="NAME",
    help="What to maximise: effective-params, params, non-embedding-params, loss, loss:hoffmann, loss:kaplan, "
    "effective-params:levine or package.module:function (docs/quality.md).",
)
@click.option("--tokens", type=float, default=None, help="Training tokens, for a loss: 2e12.")
@click.option(
    "--rows", type=WHOLE, default=20, show_default=True, help="Rows to show; the frontier is thinned to them."
)
@click.option("--plot", type=click.Path(path_type=Path), default=None, help="Draw the frontier to this file.")
@format_option
def frontier(**options: Any) -> None:
    """The shapes with the most capacity within a response-time and memory budget."""
    predictor, workload = predictor_from(options), workload_from(options)
    from .pareto import best_per_depth, thin
    from .pareto import frontier as search

    baseline = _baseline(options["baseline"])
    budget = options["budget"]
    if budget is None and baseline is not None:
        budget = predictor.predict(baseline, workload).response_s
    from .scored import near_usual, quality_from

    quality, score = quality_from(options["quality"], options["tokens"])
    for warning in getattr(score, "warnings", ()):
        click.echo(f"note: {warning}", err=True)
    asked: dict[str, Any] = {"budget_s": budget, "memory_bytes": options["memory"], "quality": quality}
    space = space_from(options)
    if score is not None:
        space = near_usual(space)
    if options["depths"] is not None:
        found = best_per_depth(predictor, _listed(options["depths"]), space, workload, **asked)
    else:
        found = search(predictor, space, workload, **asked)
    if baseline is not None:
        found = found.against(baseline)
    if options["plot"] is not None:
        found.plot(options["plot"])
    for depth in found.missing:
        click.echo(f"note: no shape of {depth} layers meets the budget", err=True)
    shown = found if options["depths"] else thin(found, options["rows"])
    click.echo(frontier_text(shown, len(found), options["format_"], score))


def space_from(options: dict[str, Any]) -> Any:
    """The search space that the options describe.

    Raises:
        UsageError: a dimension is out of range or the space is empty.
    """
    from .space import SearchSpace

    given = {field: options[name] for name, field in _DIMENSIONS.items() if options[name] is not None}
    return SearchSpace(**given, tie_word_embeddings=options["tie_embeddings"])


def _listed(values: Any) -> tuple[int, ...]:
    """Values in the order given."""
    from .space import Span, expand

    return expand("--depths", values) if isinstance(values, Span) else tuple(dict.fromkeys(values))


def _baseline(text: str | None) -> Any:
    """A shape "80x576" with the study's other dimensions, or the model of a config file."""
    if text is None:
        return None
    from .model_input import shape_config
    from .units import parse_shape

    if Path(text).suffix == ".json" or Path(text).is_file():
        from .huggingface import read_config

        return read_config(text)
    layers, hidden = parse_shape(text)
    return shape_config(layers, hidden)


def frontier_text(front: "Frontier", total: int, how: Any, score: Any = None) -> str:
    """The rows to print: the best marked in the table, score and band if there is one, ratios to a baseline."""
    from .report import PREDICTION_COLUMNS, SHAPE_COLUMNS, render
    from .units import show_count

    rows = front.to_rows() if score is None else _scored_rows(front, score)
    if score is None:
        best = max(range(len(rows)), key=lambda index: rows[index]["quality"])
        for index, row in enumerate(rows):
            row["best"] = index == best
    columns = [("", _mark), *SHAPE_COLUMNS, *PREDICTION_COLUMNS]
    if score is not None:
        columns[6:6] = score_columns(score)
    if front.baseline is not None:
        columns += [
            ("× params", lambda row: f"{row['parameters_ratio']:.1f}"),
            ("× speed", lambda row: f"{row['speed_ratio']:.2f}"),
        ]
    text = render(rows, how, columns, title=_title(front))
    if how != "table":
        return text
    lines = [
        text,
        f"{len(rows)} of {total} shapes on the frontier of {show_count(front.searched)} searched; * the best.",
    ]
    if score is not None:
        lines += _score_lines(rows, score)
    if front.baseline is not None:
        lines.append(_baseline_line(front.baseline))
    return "\n".join(lines)


def _mark(row: Any) -> str:
    return "*" if row["best"] else "=" if row.get("tied") else ""


def _scored_rows(front: "Frontier", score: Any) -> list[dict[str, Any]]:
    from .scored import Scored

    return Scored(front, score).rows()


def score_columns(score: Any) -> list[Any]:
    """Columns of a quality score: its value with the band of its constants, the rank by parameters, what to doubt."""
    from .units import show_count

    def value(row: Any) -> str:
        ends = (row["quality"], row["quality_low"], row["quality_high"])
        if not score.name.startswith("effective-params"):
            return f"{row['quality']:.4g}"
        middle, low, high = (show_count(end) for end in ends)
        return f"{middle} ({low}–{high})"

    return [
        (score.name[:24], value),
        ("by params", lambda row: f"{row['rank_by_params']}"),
        ("doubts", lambda row: ", ".join(row["flags"])),
    ]


def _score_lines(rows: list[dict[str, Any]], score: Any) -> list[str]:
    lines = [
        "FFN ratio and query groups are held near the usual (2.5-4, 2-8) unless given: the score does not see them."
    ]
    tied = sum(row["tied"] for row in rows)
    if tied:
        lines.append(f"= ties with the best within what {score.name} can tell; of those the quickest is marked *.")
    if not any(row["best"] for row in rows):
        lines.append("No row is called best: each shape lies beyond what the score can vouch for.")
    return lines


def _title(front: "Frontier") -> str:
    from .units import show_bytes, show_seconds

    work, limits = front.workload, [show_bytes(front.memory_bytes)]
    if front.budget_s is not None:
        limits.insert(0, show_seconds(front.budget_s))
    return (
        f"{front.predictor.profile.title}, {front.predictor.runtime}, {work.dtype}: {work.prompt_tokens} prompt + "
        f"{work.new_tokens} new tokens, batch {work.batch_size}, within {' and '.join(limits)}"
    )


def _baseline_line(baseline: "Baseline") -> str:
    from .units import show_count, show_seconds

    shape, predicted = baseline.config, baseline.prediction
    return (
        f"Baseline {shape.num_hidden_layers} × {shape.hidden_size}: {show_count(predicted.num_parameters)} parameters, "
        f"{show_seconds(predicted.response_s)}."
    )
