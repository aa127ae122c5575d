"""`latmodel calibrate` and `latmodel verify`."""

from typing import Any

import click

from ..errors import UsageError
from .engines import ENGINES, calibrate_engine, engine_options, is_of_engine, say_drift, verify_engine
from .files import OutputFile, Source
from .models import model_options, one_model
from .options import DURATION, WHOLE, format_option, target_options, workload_from, workload_options
from .sections import SectionedCommand

RUNTIMES = ["transformers-eager", "torch-eager", "cuda-graph", "torch-compile", *ENGINES]

measuring_options = (
    click.option(
        "--device", default=None, metavar="DEVICE", help="Hardware to run on: cuda:0, cpu. [default: what is there]"
    ),
    click.option("--threads", type=WHOLE, default=None, help="CPU threads. [default: 1]"),
)


def _measuring(function: Any) -> Any:
    for option in reversed(measuring_options):
        function = option(function)
    return function


def _of_engines(function: Any) -> Any:
    for option in reversed(engine_options):
        function = option(function)
    return function


@click.command(cls=SectionedCommand, epilog="Example:  latmodel calibrate --gpu cpu --dtype float32 --effort quick")
@click.option("--gpu", default="3090", show_default=True, help="The device that is here, by name: 3090, h100, cpu, …")
@_measuring
@click.option("--runtime", "runtimes", type=click.Choice(RUNTIMES), multiple=True,
              help="What launches the kernels; repeatable. [default: transformers-eager]")  # fmt: skip
@click.option("--dtype", type=click.Choice(["bfloat16", "float16", "float32"]), default="bfloat16", show_default=True)
@_of_engines
@click.option("--effort", type=click.Choice(["quick", "normal", "rigorous"]), default="normal", show_default=True)
@click.option("--like", default=None, type=Source(), metavar="CONFIG",
              help="Measure layers of the architecture in this config.json, or of a preset.")  # fmt: skip
@click.option("--out", type=OutputFile(), default=None, metavar="PATH",
              help="Profile to write. [default: profiles/DEVICE.json]")  # fmt: skip
@click.option("--resume/--no-resume", default=True, show_default=True, help="Continue an interrupted calibration.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the shapes and their order.")
@click.option("--max-noise", type=click.FloatRange(0.0, 1.0, min_open=True), default=0.15, show_default=True,
              help="Spread between rounds above which the calibration fails.")  # fmt: skip
@click.option("--plot", type=OutputFile(), default=None, metavar="PNG",
              help="Draw measured against predicted, and residuals.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be measured and how long it would take.")
@click.option("--for", "question", default=None, metavar="COMMAND",
              help="Measure only what narrows this answer: --for 'frontier --budget 5.5s'.")  # fmt: skip
@click.option("--host-only", is_flag=True,
              help="Measure only this machine's host, in under a minute; kernels stay the profile's.")  # fmt: skip
@format_option
def calibrate(**options: Any) -> None:
    """Measure single transformer blocks on the device present, fit, write a profile, print the fit report."""
    from ..report.progress import progress_bar
    from .calibration_package import load

    if options["question"] is not None:
        from .question import calibrate_for

        calibrate_for(options, _request, _say)
        return
    if options["host_only"]:
        _calibrate_host(options)
        return
    if is_of_engine(options):
        calibrate_engine(options)
        return
    if options["plot"] is not None:
        if options["dry_run"]:
            raise UsageError("--plot draws a fit, and --dry-run makes none: leave out one of the two")
        load("fit.plot").check(options["plot"])
    ready = load("verbs.prepare").prepare(_request(options))
    cases = sum(len(plan.cases) for plan in ready.plans.values())
    _say(f"{cases} cases on {ready.hardware.name}, about {ready.estimate_s() / 60.0:.1f} minutes")
    if options["dry_run"]:
        click.echo(_plan_text(ready, options["format_"]))
        return
    with progress_bar("measuring") as progress:
        done = load("verbs.calibrate").calibrate(ready, _say, progress)
    click.echo(load("fit.report").fit_report(done.fitted, done.profile, options["dtype"], options["format_"]))
    if options["plot"] is not None:
        load("fit.plot").draw(done, options["plot"])
    _say(f"written: {ready.path}, {ready.observations_path}")


def _calibrate_host(options: dict[str, Any]) -> None:
    from ..report.progress import progress_bar
    from .calibration_package import load

    for name in ("dry_run", "like", "plot"):
        if options[name]:
            raise UsageError(f"--host-only measures tiny blocks only: leave out --{name.replace('_', '-')}")
    with progress_bar("measuring") as progress:
        runs = load("verbs.host_only").calibrate_host(_request(options), _say, progress)
    for done in runs:
        click.echo(load("fit.report").fit_report(done.fitted, done.profile, options["dtype"], options["format_"]))


def _request(options: dict[str, Any]) -> Any:
    from .calibration_package import load

    like = None if options["like"] is None else _to_build(options["like"])
    return load("verbs.request").Request(
        gpu=options["gpu"], device=options["device"], runtimes=options["runtimes"] or ("transformers-eager",),
        dtype=options["dtype"], effort=options["effort"], threads=options["threads"], out=options["out"],
        resume=options["resume"], seed=options["seed"], max_noise=options["max_noise"], like=like,
    )  # fmt: skip


def _to_build(source: str) -> Any:
    """What to build for a configuration; notes on it go to stderr."""
    from ..configs.huggingface import read_decoder
    from .calibration_package import load

    decoder = read_decoder(source)
    for line in decoder.notes:
        _say(f"note: {line}")
    if decoder.format is not None:
        _say(f"note: weights are built in --dtype, not in {decoder.format.name}")
    return load("observations.decoder_config").decoder_config(source)


def _plan_text(ready: Any, output_format: Any) -> str:
    from ..report.text import field_column, render

    rows = [
        {
            "runtime": name, "case": case.name, "part": case.part, "phase": case.phase, "held_out": case.held_out,
            "batch_size": case.workload.batch_size, "prompt_tokens": case.workload.prompt_tokens,
            "intermediate_size": "", **case.config.model_dump(),
        }
        for name, plan in ready.plans.items()
        for case in plan.cases
    ]  # fmt: skip
    shown = ["runtime", "case", "num_hidden_layers", "hidden_size", "intermediate_size", "batch_size", "prompt_tokens"]
    return render(rows, output_format, [field_column(key) for key in shown])


@click.command(
    cls=SectionedCommand, epilog="Example:  latmodel verify --gpu cpu --layers 12 --hidden 384 --prompt 64 --generate 8"
)
@target_options
@_measuring
@model_options
@workload_options
@click.option("--weights", default=None, metavar="FORMAT", help="Of an engine: q4_0, q4_k_m, q8_0, f16, …; int4.")
@click.option("--tolerance", type=click.FloatRange(0.0, min_open=True), default=0.15, show_default=True,
              help="Largest relative error in prefill or decode that passes.")  # fmt: skip
@click.option("--limit", type=DURATION, default=2.0, show_default="2s", help="How long to repeat each phase.")
@click.option("--update", is_flag=True, help="Add these runs to the profile's measurements and refit it.")
@format_option
def verify(**options: Any) -> None:
    """Build and run the real model with random weights, compare it with the prediction."""
    from ..report.verified import verified_text
    from .calibration_package import load
    from .options import predictor_from, say_notes

    predictor, workload = predictor_from(options), workload_from(options)
    if predictor.runtime in ENGINES:
        verify_engine(predictor, workload, options)
        return
    config = _model(options)  # read before torch is loaded: what cannot be read is said at once
    run = load("verify.run")
    row = run.verify_here(
        predictor, config, workload, options["device"], options["threads"], options["limit"], options["profile"]
    )
    say_drift(row)
    say_notes(predictor.notes)
    click.echo(verified_text(row, options["format_"]))
    if options["update"]:
        _say(run.refit(predictor, row, options["profile"]))
    if row.worst > options["tolerance"]:
        from ..errors import ToleranceError

        raise ToleranceError(
            f"off by {100 * row.worst:.1f} %, more than --tolerance {100 * options['tolerance']:.0f} %; "
            "calibrate on this machine, or add the run with --update"
        )


def _model(options: dict[str, Any]) -> Any:
    """What to build: a shape as it is, a configuration with its own kinds of layers."""
    from ..model.config import ModelConfig

    named = one_model(options)
    return (
        named.model if isinstance(named.model, ModelConfig) else _to_build([*options["models"], *options["configs"]][0])
    )


def _say(line: str) -> None:
    click.echo(line, err=True)
