"""`latmodel predict --over`: predictions over ranges of dimensions and of the workload, as rows and as a picture."""

import os
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from ..configs.models import NamedModel
from ..errors import UsageError
from ..model.config import CONFIG_FIELDS, ModelConfig, Workload
from ..predict.columns import WORK_COLUMNS
from ..predict.predictor import Predictor
from ..units import show_rate, show_seconds
from .column import Column
from .fitted import paragraph
from .rows import Answer, full_row, notes_of, run_notes, shape_fields
from .text import OutputFormat, legend, prediction_columns, render

MOST = 100_000  # combinations
Row = dict[str, Any]


def predict_over(
    predictor: Predictor, models: Sequence[NamedModel], workload: Workload, over: Mapping[str, Sequence[int]],
    output_format: OutputFormat,
) -> tuple[Answer, list[Row]]:  # fmt: skip
    """Every combination of the values for every model, as text and as rows; the last name varies fastest.

    `over` maps fields of a `ModelConfig` or of a `Workload` to values. Dimensions replace those of a plain shape.

    Raises:
        UsageError: too many combinations, or a dimension of a model whose blocks are not given by dimensions.
    """
    count = len(models) * int(np.prod([len(values) for values in over.values()]))
    if count > MOST:
        raise UsageError(f"--over: {count} combinations, more than {MOST}; give fewer values")
    rows = [row for named in models for row in _rows(predictor, named, named.under(workload), over)]
    if output_format not in ("table", "md"):
        return Answer(render(rows, output_format, []), notes_of(rows)), rows
    columns = [Column("model", lambda row: row["model"])] if len(models) > 1 else []
    columns += [_column(name) for name in over]
    columns += prediction_columns(predictor.interval.level)
    text = render(rows, output_format, columns, title=f"{predictor.profile.title}, {predictor.runtime}")
    after = "" if output_format == "md" else "\n" + paragraph("\n".join(legend(rows, text)[1:]))
    return Answer(text + after.rstrip("\n"), notes_of(rows)), rows


def _column(name: str) -> Column:
    short = name.removeprefix("num_").removesuffix("_size").removesuffix("_tokens")
    return Column(short, lambda row: str(row[name]))


def _rows(predictor: Predictor, named: NamedModel, workload: Workload, over: Mapping[str, Sequence[int]]) -> list[Row]:
    places = [dict(zip(over, values, strict=True)) for values in product(*over.values())]
    notes = run_notes(predictor, workload, named.notes)
    if isinstance(named.model, ModelConfig):
        base = shape_fields(named.model)
        columns = {name: [place.get(name, base[name]) for place in places] for name in CONFIG_FIELDS}
        loads = {name: [place.get(name, getattr(workload, name)) for place in places] for name in WORK_COLUMNS}
        predictions: Any = predictor.predict_many({**columns, **loads}, workload)
    else:
        moved = next((name for name in over if name not in WORK_COLUMNS), None)
        if moved is not None:
            raise UsageError(f"--over {moved}: the blocks of {named.name} are not given by dimensions; leave it out")
        base = shape_fields(named.model)
        predictions = [predictor.predict(named.model, workload.model_copy(update=place)) for place in places]
    return [
        full_row(
            {"model": named.name, **predictions[i].as_dict()}, predictor,
            workload.model_copy(update={k: v for k, v in place.items() if k in WORK_COLUMNS}), notes,
            shape={**base, **{k: v for k, v in place.items() if k in CONFIG_FIELDS}},
        )
        for i, place in enumerate(places)
    ]  # fmt: skip


def draw_over(
    rows: Sequence[Row], over: Mapping[str, Sequence[int]], path: "str | os.PathLike[str]", title: str
) -> Any:
    """One range: latency against throughput, a curve for each model. Two: a heat map of tokens a second.

    In the heat map each cell names what binds it, and what does not fit the memory is hatched.

    Raises:
        UsageError: matplotlib is not installed, the path cannot be written, or there are more ranges or models.
    """
    from .figures import new_figure, save

    names = list(dict.fromkeys(row["model"] for row in rows))
    figure = new_figure(9.0, 5.5)
    axes = figure.add_subplot()
    if len(over) == 1:
        _curves(axes, rows, names, next(iter(over)))
        figure.legend(loc="outside lower center", ncols=4, frameon=False)
    elif len(over) == 2 and len(names) == 1:
        _heat(figure, axes, rows, over)
    else:
        raise UsageError("--plot draws one --over for any models, or two for one model; leave some out")
    axes.set_title(title, fontsize=10)
    save(figure, path)
    return figure


def tokens_per_s(row: Row) -> float:
    """Tokens of all sequences together, in the decode steps."""
    return float(row["batch_size"] / row["decode_s_per_token"])


def _curves(axes: Any, rows: Sequence[Row], names: Sequence[str], over: str) -> None:
    from .figures import ticks

    for name in names:
        some = [row for row in rows if row["model"] == name]
        x, y = [tokens_per_s(row) for row in some], [row["decode_s_per_token"] for row in some]
        (line,) = axes.plot(x, y, "-", label=name)
        for fits, face in ((True, line.get_color()), (False, "white")):
            kept = [i for i, row in enumerate(some) if row["fits_memory"] is fits]
            axes.plot([x[i] for i in kept], [y[i] for i in kept], "o", color=line.get_color(), markerfacecolor=face)
        for i, row in enumerate(some):
            axes.annotate(row[over], (x[i], y[i]), textcoords="offset points", xytext=(3, 4), fontsize=7)
    axes.set(xscale="log", yscale="log", xlabel=f"tokens a second (numbers: {over})", ylabel="TPOT")
    axes.plot([], [], "o", color="0.4", markerfacecolor="white", label="does not fit the memory")
    ticks(axes.xaxis, show_rate, logarithmic=True)
    ticks(axes.yaxis, show_seconds, logarithmic=True)
    axes.grid(True, alpha=0.25)


def _heat(figure: Any, axes: Any, rows: Sequence[Row], over: Mapping[str, Sequence[int]]) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    (down, ys), (across, xs) = over.items()
    table = np.array([tokens_per_s(row) for row in rows]).reshape(len(ys), len(xs))
    image = axes.imshow(table, norm=LogNorm(), cmap="viridis", origin="lower", aspect="auto")
    figure.colorbar(image, ax=axes, label="tokens a second")
    for i, row in enumerate(rows):
        at = (i % len(xs), i // len(xs))
        colour = "black" if image.norm(table.flat[i]) > 0.6 else "white"  # on the light end of the scale, on the dark
        axes.annotate(row["bound"], at, ha="center", va="center", fontsize=7, color=colour, fontweight="bold")
        if not row["fits_memory"]:
            corner = (at[0] - 0.5, at[1] - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, hatch="///", fill=False, edgecolor="white", linewidth=0.0))
    axes.set_xticks(range(len(xs)), [str(x) for x in xs], rotation=45)
    axes.set_yticks(range(len(ys)), [str(y) for y in ys])
    axes.set(xlabel=f"{across} (hatched: does not fit the memory)", ylabel=down)
