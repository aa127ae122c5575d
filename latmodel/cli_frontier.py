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
    default="params",
    show_default=True,
    metavar="NAME",
    help="What to maximise: params, non-embedding-params or package.module:function.",
)
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
    asked: dict[str, Any] = {
        "budget_s": budget, "memory_bytes": options["memory"], "quality": quality_named(options["quality"])
    }  # fmt: skip
    space = space_from(options)
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
    click.echo(
        frontier_text(found if options["depths"] else thin(found, options["rows"]), len(found), options["format_"])
    )


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


def quality_named(text: str) -> Any:
    """The quality of that name, or the function at `package.module:function`.

    Raises:
        UsageError: it cannot be found.
    """
    from .goals import objective_named

    if ":" not in text:
        return objective_named(text)
    import importlib

    module, _, name = text.partition(":")
    try:
        return objective_named(getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"--quality {text[:80]!r}: {error}; write package.module:function") from None


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


def frontier_text(front: "Frontier", total: int, how: Any) -> str:
    """The rows to print: the best marked in the table, ratios where there is a baseline."""
    from .report import PREDICTION_COLUMNS, SHAPE_COLUMNS, render
    from .units import show_count

    rows = front.to_rows()
    best = max(range(len(rows)), key=lambda index: rows[index]["quality"])
    for index, row in enumerate(rows):
        row["best"] = index == best
    columns = [("", lambda row: "*" if row["best"] else ""), *SHAPE_COLUMNS, *PREDICTION_COLUMNS]
    if front.quality_name not in ("params", "non-embedding-params"):
        columns.insert(6, (front.quality_name[:20], lambda row: f"{row['quality']:.4g}"))
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
    if front.baseline is not None:
        lines.append(_baseline_line(front.baseline))
    return "\n".join(lines)


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
