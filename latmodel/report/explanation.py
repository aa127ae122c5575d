"""`latmodel explain`: where the time of a response goes, what binds, what a step costs, what to measure next."""

from typing import Any

from ..configs.model_input import config_dict
from ..configs.models import NamedModel
from ..model.config import ModelConfig, Workload
from ..predict.predictor import Predictor
from ..predict.waterfall import DEVICE_PARTS, HOST_PARTS, MEANING, Waterfall, waterfall
from ..quality import score
from ..quality.shapes import with_counts
from ..runtimes.llama_cpp import LLAMA_CPP
from ..search.steps import Price, one_steps, prices
from ..units import show_bytes, show_count, show_seconds
from .column import Column, Row
from .fitted import paragraph
from .rows import Answer, full_row, run_notes, shape_fields
from .text import OutputFormat, render, seconds_with_interval

LARGE_GAIN = 0.1  # a 1 % dearer model that is better by more: the rate of one step holds no longer so far
MEASURED_BY_BLOCKS = ("transformers-eager", "torch-eager", "cuda-graph", "torch-compile")  # by `latmodel calibrate`
HOST_MATTERS = 0.2  # share of the response from which the host is worth measuring first


def explain(predictor: Predictor, named: NamedModel, workload: Workload, output_format: OutputFormat) -> Answer:
    """The explanation of one model under one workload as text; JSON is one object that holds all of it."""
    workload = named.under(workload)
    prediction = predictor.predict(named.model, workload)
    notes = run_notes(predictor, workload, named.notes)
    row = full_row(prediction.as_dict(), predictor, workload, notes, shape=shape_fields(named.model))
    fall = waterfall(predictor, named.model, workload)
    parts = part_rows(fall)
    steps, bought = [], []
    if isinstance(named.model, ModelConfig):
        steps = one_steps(predictor, named.model, workload, score("effective-params"))
        bought = prices(steps, prediction.response_s, prediction.peak_memory_bytes, _quality(named.model))
    said = [
        *_sentences(named.name, row, fall),
        *(_price_text(price) for price in bought),
        next_measurement(named, predictor, row, fall),
    ]
    if output_format in ("json", "jsonl"):
        whole = {
            "model": named.name, **row, "explanation": said, "parts": parts, "steps": [s.as_dict() for s in steps],
            "shadow_prices": [price.as_dict() for price in bought],
        }  # fmt: skip
        return Answer(render([whole], output_format, [], single=True), row["notes"])
    if output_format == "csv":
        return Answer(render(parts, output_format, []), row["notes"])
    title = f"{named.name} on {predictor.profile.title}, {predictor.runtime}, {workload.numbers_name}, batch " + (
        f"{workload.batch_size}: {workload.prompt_tokens} prompt + {workload.new_tokens} new tokens"
    )
    told = [part for part in parts if part["response_s"]]  # a part that takes no time is left out of a table
    texts = [paragraph("\n".join([title, "", *said])), render(told, output_format, PART_COLUMNS)]
    if steps:
        texts.append(render([step.as_dict() for step in steps], output_format, STEP_COLUMNS))
    return Answer("\n\n".join(texts), row["notes"])


def _quality(config: ModelConfig) -> float:
    return float(score("effective-params")(with_counts(config_dict(config))))


def part_rows(fall: Waterfall) -> list[dict[str, Any]]:
    """One row a part, and their sum, which is the response."""
    total = sum(fall.prefill.values()) + sum(fall.decode.values())
    rows: list[dict[str, Any]] = [
        {
            "part": part, "timeline": "host" if part in HOST_PARTS else "device",
            "prefill_s": fall.prefill.get(part, 0.0), "decode_s": fall.decode.get(part, 0.0),
            "response_s": fall.total(part), "share": fall.total(part) / total, "meaning": MEANING[part],
        }
        for part in (*HOST_PARTS, *DEVICE_PARTS)
    ]  # fmt: skip
    sums = {key: sum(row[key] for row in rows) for key in ("prefill_s", "decode_s", "response_s", "share")}
    return [*rows, {"part": "response", "timeline": "", **sums, "meaning": "all parts"}]


def _sentences(name: str, row: Row, fall: Waterfall) -> list[str]:
    total = row["response_s"]
    shown = seconds_with_interval(row, "response_s").replace(" (", ", likely ").rstrip(")")
    first = f"{show_seconds(row['prefill_s'])} to the first token"
    answers = f"{name} answers in {shown.removesuffix(', likely unknown')}{_on_the_measured_host(row)}: {first}"
    if row["new_tokens"]:
        answers += f", then {row['new_tokens']} decode steps of {show_seconds(row['decode_s_per_token'])}"
    parts = sorted((*HOST_PARTS, *DEVICE_PARTS), key=fall.total, reverse=True)
    largest = " and ".join(f"{part} ({fall.total(part) / total:.0%})" for part in parts[:2])
    return [f"{answers}.", _bound_sentence(row, fall), f"Its largest parts are {largest}."]


def _on_the_measured_host(row: Row) -> str:
    """The interval for the host that was measured, where the one shown spans others."""
    if row.get("response_s_low_published") is None:
        return ""
    low, high = (show_seconds(row[f"response_s_{end}_published"]) for end in ("low", "high"))
    return f" on any host with this device ({low} – {high} on the one that was measured)"


def _bound_sentence(row: Row, fall: Waterfall) -> str:
    kernels = (
        f"{fall.kernels_per_step:.0f} kernels a step, {fall.kernels_per_step / row['num_hidden_layers']:.0f} a block"
    )
    if row["bound"] == "host":
        return (
            f"The host binds: it launches {kernels}, and the device waits. Depth costs time, width hardly any; a graph "
            "of kernels or a compiler takes most of it away."
        )
    if fall.total("kernel floors") > 0.5 * sum(fall.total(part) for part in DEVICE_PARTS):
        return (
            f"Kernels bind by their number: the device runs {kernels}, each in hardly less than the shortest time that "
            "a kernel takes. Depth costs time, width hardly any; fused kernels help."
        )
    if row["bound"] == "memory":
        return (
            "The memory binds: each decode step reads all weights and the KV cache. Fewer bytes help: smaller number "
            "formats, grouped queries, fewer parameters."
        )
    return "Arithmetic binds: the device multiplies at nearly its rate. Fewer FLOPs help, or a faster number format."


def _price_text(price: Price) -> str:
    def spent(value: float) -> str:
        return show_seconds(value) if price.limit == "response" else show_bytes(value)

    step = price.step
    if price.quality_gain > LARGE_GAIN * price.quality:
        return (
            f"The {price.limit} hardly limits {step.dimension}: from {step.before} to {step.after} costs "
            f"{spent(price.spent)} and buys {show_count(step.quality_change)} effective parameters."
        )
    return (
        f"1 % more {price.limit} ({spent(price.relaxed_by)}) buys about {show_count(price.quality_gain)} effective "
        f"parameters, through {step.dimension}."
    )


def next_measurement(named: NamedModel, predictor: Predictor, row: Row, fall: Waterfall) -> str:
    """The measurement that would narrow the interval most, with its command."""
    profile, target = predictor.profile, f"--gpu {predictor.profile.gpu}"
    if predictor.runtime == LLAMA_CPP.name and profile.runtimes[LLAMA_CPP.name].engine is None:  # from published runs
        return (
            "To narrow the interval most, run llama-bench there with any model (`llama-bench -m FILE -p 512 -n 128 "
            f"-o json > runs.json`), then `latmodel fit {target} --from llama-bench --config CONFIG --observations "
            "runs.json`, CONFIG being that model's."
        )
    if profile.quality.kind == "data-sheet":
        return f"To narrow the interval most, measure the device: `latmodel calibrate {target}`."
    if row.get("host") != "this" and fall.host_share >= HOST_MATTERS and not profile.is_cpu:
        return (
            f"To narrow the interval most, measure your host, {fall.host_share:.0%} of the response, in half a minute: "
            f"`latmodel calibrate {target} --runtime {predictor.runtime} --host-only`."
        )
    reason = "this model lies outside what was measured" if row["extrapolated"] else "run the model itself"
    ran = f"To narrow the interval most, {reason}: `latmodel verify {named.name} {target} --update`"
    if not isinstance(named.model, ModelConfig) or predictor.runtime not in MEASURED_BY_BLOCKS:
        return f"{ran}."
    work = f"--prompt {row['prompt_tokens']} --generate {row['new_tokens']}"
    asked = f"predict {named.name} {work}" + (f" --batch {row['batch_size']}" if row["batch_size"] > 1 else "")
    command = f"latmodel calibrate {target} --runtime {predictor.runtime} --for '{asked}'"
    return f"{ran}; or measure only the blocks that it hangs on: `{command}`."


def _seconds(value: float) -> str:
    return show_seconds(value) if value else "–"


PART_COLUMNS = [
    Column("part", lambda row: row["part"]),
    Column("timeline", lambda row: row["timeline"], 2),
    Column("prefill", lambda row: _seconds(row["prefill_s"]), 1),
    Column("decode", lambda row: _seconds(row["decode_s"]), 1),
    Column("response", lambda row: _seconds(row["response_s"])),
    Column("share", lambda row: f"{row['share']:.1%}"),
    Column("meaning", lambda row: row["meaning"], 4, wraps=True),
]


def _signed(value: float, show: Any) -> str:
    return "0" if not value else f"{'+' if value > 0 else '−'}{show(abs(value))}"


STEP_COLUMNS = [
    Column("one step of", lambda row: row["dimension"]),
    Column("from → to", lambda row: f"{row['before']} → {row['after']}", 1),
    Column("response", lambda row: _signed(row["response_change_s"], show_seconds)),
    Column("memory", lambda row: _signed(row["memory_change_bytes"], show_bytes), 1),
    Column("params", lambda row: _signed(row["parameters_change"], show_count), 2),
    Column("effective", lambda row: _signed(row["quality_change"], show_count), 2),
]
