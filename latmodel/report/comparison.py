"""`latmodel compare`: models, devices, runtimes and number formats side by side, and why two models' blocks differ."""

from collections.abc import Sequence
from typing import Any

from ..configs.model_input import dimensions
from ..configs.models import NamedModel
from ..errors import UsageError
from ..model.config import ModelConfig, Workload
from ..predict.breakdown import breakdown
from ..predict.predictor import Predictor
from ..units import show_bytes, show_count, show_seconds
from .column import Column
from .fitted import paragraph
from .rows import Answer, full_row, notes_of, run_notes, shape_fields
from .text import SHAPE_COLUMN, OutputFormat, legend, prediction_columns, render

SHOWN = 4  # operators that a sentence on two blocks names
NOTABLE = 0.02  # a difference below this share of a block's time is not worth a word


def compare(
    predictors: Sequence[Predictor], models: Sequence[NamedModel], workloads: Sequence[Workload],
    output_format: OutputFormat,
) -> Answer:  # fmt: skip
    """Every model on every predictor under every workload, in order; ratios are to the first row.

    Under a table each model that is no plain Llama is held against a Llama of its dimensions, block by block.

    Raises:
        UsageError: there is only one thing, so that nothing can be compared.
    """
    rows: list[dict[str, Any]] = []
    for named in models:
        for predictor in predictors:
            for workload in workloads:
                own = named.under(workload)
                row = {"model": named.name, **predictor.predict(named.model, own).as_dict()}
                notes = run_notes(predictor, own, named.notes)
                rows.append(full_row(row, predictor, own, notes, shape=shape_fields(named.model)))
    if len(rows) < 2:
        raise UsageError("nothing to compare: give two models, or --gpu, --runtime or --weights twice")
    for row in rows:
        row["speed_ratio"] = rows[0]["response_s"] / row["response_s"]
        row["parameters_ratio"] = row["num_parameters"] / rows[0]["num_parameters"]
    said = [_fastest(rows), *(line for named in models for line in against_llama(predictors[0], named, workloads[0]))]
    if output_format not in ("table", "md"):
        for row in rows:
            row["notes"] = [*row["notes"], *said]
        return Answer(render(rows, output_format, []), notes_of(rows))
    text = render(rows, output_format, _columns(rows, predictors[0]), title=_title(workloads[0]))
    return Answer("\n".join([text, paragraph("\n".join([*said, *legend(rows, text)]))]), notes_of(rows))


def _fastest(rows: Sequence[dict[str, Any]]) -> str:
    best, worst = (choose(rows, key=lambda row: row["response_s"]) for choose in (min, max))
    return (
        f"{_label(best, rows)} answers soonest, in {show_seconds(best['response_s'])}, "
        f"{worst['response_s'] / best['response_s']:.2f} times as fast as {_label(worst, rows)}."
    )


def _label(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """What tells a row from the others."""
    names = ("model", "gpu", "runtime", "weights")
    told = [str(row[name] or row["dtype"]) for name in names if len({one[name] for one in rows}) > 1]
    return ", ".join(told) or str(row["model"])


def _columns(rows: Sequence[dict[str, Any]], predictor: Predictor) -> list[Column]:
    columns = [Column("model", lambda row: row["model"])]
    varying = [name for name in ("gpu", "runtime", "weights") if len({row[name] for row in rows}) > 1]
    columns += [Column("device" if name == "gpu" else name, _shown(name)) for name in varying]
    shape = SHAPE_COLUMN._replace(rank=3)
    ratios = [
        Column("× speed", lambda row: f"{row['speed_ratio']:.2f}", 1),
        Column("× params", lambda row: f"{row['parameters_ratio']:.2f}", 4),
    ]
    return [*columns, shape, *prediction_columns(predictor.interval.level), *ratios]


def _shown(name: str) -> Any:
    return lambda row: str(row[name] or row["dtype"])


def _title(workload: Workload) -> str:
    return (
        f"{workload.prompt_tokens} prompt + {workload.new_tokens} new tokens, batch {workload.batch_size}, "
        f"{workload.numbers_name}"
    )


def against_llama(predictor: Predictor, named: NamedModel, workload: Workload) -> list[str]:
    """Why a block of the model takes another time than a Llama's of its dimensions; nothing where it is one.

    Blocks of both are priced operator by operator in a decode step; a host's launches are counted with each operator.
    """
    if isinstance(named.model, ModelConfig):
        return []
    sizes = dimensions(named.model)
    if not all(sizes.values()):
        return []
    own = named.under(workload)
    llama = ModelConfig(**sizes, vocab_size=int(named.model.vocab_size)).architecture()
    theirs, ours = (_per_block(predictor, model, own, sizes["num_hidden_layers"]) for model in (named.model, llama))
    seconds = [predictor.predict(model, own).decode_s_per_layer for model in (named.model, llama)]
    kernels = [sum(count for count, _, _ in table.values()) for table in (theirs, ours)]
    changes = []
    for operator in dict.fromkeys([*theirs, *ours]):
        mine, other = theirs.get(operator, (0.0, 0.0, 0.0)), ours.get(operator, (0.0, 0.0, 0.0))
        change = (mine[1] + mine[2]) - (other[1] + other[2])
        changes.append((change, _change(operator, mine, other)))
    changes = [one for one in changes if abs(one[0]) > NOTABLE * seconds[1]]
    changes.sort(key=lambda one: -abs(one[0]))
    if not changes:
        return []
    told = "; ".join(text for _, text in changes[:SHOWN])
    return [
        f"A block of {named.name} takes {show_seconds(seconds[0])} in a decode step, a Llama's of its dimensions "
        f"{show_seconds(seconds[1])}: {kernels[0]:.0f} kernels against {kernels[1]:.0f} ({told})."
    ]


Operators = dict[str, tuple[float, float, float]]  # operator → kernels, host and device seconds of a mean block


def _per_block(predictor: Predictor, model: Any, workload: Workload, depth: int) -> Operators:
    table: Operators = {}
    for row in breakdown(predictor, model, workload):
        if row["phase"] == "decode" and row["operator"] not in ("embedding", "final_norm", "lm_head"):
            kernels, host, device = table.get(row["operator"], (0.0, 0.0, 0.0))
            more = (row["kernels"] / depth, row["host_s"] / depth, row["device_s"] / depth)
            table[row["operator"]] = (kernels + more[0], host + more[1], device + more[2])
    return table


def _change(operator: str, mine: tuple[float, float, float], other: tuple[float, float, float]) -> str:
    kernels = f"{mine[0]:.2g} kernels, not {other[0]:.2g}" if abs(mine[0] - other[0]) > 0.05 else "as many kernels"
    device = mine[2] - other[2]
    return f"{operator}: {kernels}, {'+' if device >= 0 else '−'}{show_seconds(abs(device))} of the device"


def preset_rows() -> list[dict[str, Any]]:
    """Every preset with its dimensions, parameters, weights in 16 bits, and source."""
    from ..configs.models import read_model
    from ..configs.presets import names, preset
    from ..model.totals import num_parameters

    rows = []
    for name in names():
        model = read_model(name)
        count = int(num_parameters(model.architecture))
        rows.append({"name": name, **shape_fields(model.model), "num_parameters": count, "source": preset(name).source})
    return rows


PRESET_COLUMNS = [
    Column("name", lambda row: row["name"]),
    SHAPE_COLUMN._replace(rank=1),
    Column("params", lambda row: show_count(row["num_parameters"])),
    Column("16 bits", lambda row: show_bytes(2.0 * row["num_parameters"]), 2),
    Column("source", lambda row: row["source"], 3, wraps=True),
]
