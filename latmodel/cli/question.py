"""`calibrate --for`: a command line of `frontier` or `predict`, answered by any profile, and measured for."""

import shlex
from collections.abc import Callable
from typing import Any

import click

from ..errors import UsageError
from .calibration_package import load

# Options that a question cannot have: of the device that is being measured, of formats that are not, of output.
REFUSED = {
    "gpu", "profile", "host", "runtime", "weights", "kv_cache", "attention", "executor", "workers", "checkpoint",
    "plot", "verified", "table", "over", "breakdown", "cached", "chunk", "draft", "block", "energy", "price",
}  # fmt: skip
VERBS = ("frontier", "predict")


def calibrate_for(options: dict[str, Any], request: Callable[..., Any], say: Callable[[str], None]) -> None:
    """Measure only what narrows the answer that `--for` asks for, and print the fit and what was learned.

    Raises:
        UsageError: the question is none, or an option does not go with it.
    """
    from ..report.progress import progress_bar

    for name in ("dry_run", "like", "plot", "host_only", "weights"):
        if options[name]:
            raise UsageError(f"--for chooses what to measure as it goes: leave out --{name.replace('_', '-')}")
    if "llama.cpp" in options["runtimes"]:
        raise UsageError("--for measures blocks, which llama.cpp has none of: calibrate it without")
    asked = question(options["question"])
    ready = load("verbs.prepare").prepare(request(options))
    say(f"measuring {ready.hardware.name} for `{asked.text}`")
    with progress_bar("measuring") as progress:
        learned = load("verbs.adaptive").calibrate_for(ready, asked, say, progress)
    done = learned.done
    click.echo(load("fit.report").fit_report(done.fitted, done.profile, options["dtype"], options["format_"]))
    for step in learned.course.steps:
        say(step_line(step))
    say(f"written: {ready.path}, {ready.observations_path}")


def step_line(step: Any) -> str:
    """One line for each time that the question was asked."""
    config = step.answer.config
    shape = f"{config.num_hidden_layers} x {config.hidden_size}"
    return f"{step.samples:4d} samples: {shape}, {step.answer.response_s:.4g} s ± {100 * step.half_width:.1f} %"


def question(text: str) -> Any:
    """A `calibration.verbs.adaptive.Question` for a command line such as `frontier --budget 5.5s --generate 100`.

    Raises:
        UsageError: it is no such command line, or has an option that does not apply; both before anything is measured.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--for: {str(error).lower()} in {text[:60]!r}") from None
    if words[:1] == ["latmodel"]:
        words = words[1:]
    if not words or words[0] not in VERBS:
        raise UsageError(f"--for takes a command line of {' or '.join(VERBS)}: --for 'frontier --budget 5.5s'")
    verb, *rest = words
    context = _command(verb).make_context(verb, rest)
    given = [name for name in context.params
             if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]  # fmt: skip
    for name in given:
        if name in REFUSED or (verb == "predict" and name == "limits"):
            raise UsageError(f"--for: leave out --{_flag(context, name)}: calibrate measures the device with its own")
    options = context.params
    if verb == "predict":
        _one_shape(options)
    answer = {"frontier": _best_row, "predict": _response}[verb]

    def ask(profile: Any) -> Any:
        with context.scope(cleanup=False):
            return answer(profile, options)

    return load("verbs.adaptive").Question(" ".join(words), options["dtype"], ask)


def _command(verb: str) -> click.Command:
    from .frontier import frontier
    from .predict import predict

    return {"frontier": frontier, "predict": predict}[verb]


def _flag(context: click.Context, name: str) -> str:
    parameter = next(one for one in context.command.params if one.name == name)
    return max(parameter.opts, key=len).lstrip("-")


def _one_shape(options: dict[str, Any]) -> Any:
    from ..model.config import ModelConfig
    from .models import one_model

    model = one_model(options).model
    if not isinstance(model, ModelConfig):
        raise UsageError("--for predict is of a Llama by its dimensions (80x576); calibrate others with --like")
    return model


def _best_row(profile: Any, options: dict[str, Any]) -> Any:
    from ..search.scored import best_row
    from .frontier import baseline_of, search_from
    from .options import predictor_of, workload_from

    workload = workload_from(options)
    front = search_from(predictor_of(profile, options), workload, baseline_of(options), options)
    row = best_row(front)
    return load("adaptive.steps").Answer(front.config(row), workload, float(front.response_s[row]))


def _response(profile: Any, options: dict[str, Any]) -> Any:
    from .options import predictor_of, workload_from

    model, workload = _one_shape(options), workload_from(options)
    response_s = predictor_of(profile, options).predict(model, workload).response_s
    return load("adaptive.steps").Answer(model, workload, response_s)
