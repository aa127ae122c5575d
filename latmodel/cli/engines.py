"""`calibrate` and `verify` of engines that run whole models: llama.cpp and ONNX Runtime on the CPU, vLLM on a GPU."""

from pathlib import Path
from typing import Any

import click

from .options import WHOLE

# The engines, and the weights that each is measured with unless told.
ENGINES = {"llama.cpp": "q4_0", "onnxruntime": "int4", "vllm": "bf16"}
ON_GPU = ("vllm",)
DRIFT_TO_SAY = 0.02  # log units
ENGINE_OPTIONS = ("weights", "ubatch", "flash_attention", "kv_cache")

engine_options = (
    click.option("--weights", default=None, metavar="FORMAT",
                 help="Of llama.cpp: f16, bf16, q8_0, q6_k, q5_k_m, q4_k_m, q4_0 [default]; of onnxruntime: int4 "
                 "[default], float32; of vllm: bf16 [default], f16."),
    click.option("--ubatch", type=WHOLE, default=None, help="Tokens that llama.cpp computes at once. [default: 512]"),
    click.option("--flash-attention", type=click.Choice(["auto", "on", "off"]), default=None,
                 help="Of llama.cpp. [default: auto]"),
    click.option("--kv-cache", type=click.Choice(["q8_0", "q4_0"]), default=None,
                 help="Format of llama.cpp's KV cache. [default: 16 bits]"),
)  # fmt: skip


def is_of_engine(options: dict[str, Any]) -> bool:
    """Whether a calibration is of an engine that runs whole models."""
    return bool(set(ENGINES) & set(options["runtimes"])) or any(options[name] is not None for name in ENGINE_OPTIONS)


def calibrate_engine(options: dict[str, Any]) -> None:
    """Measure an engine with small models, write the profile, print the fit."""
    from ..device.engine_options import EngineOptions
    from ..errors import UsageError
    from ..report.engine_fit import engine_text
    from .calibration_package import load

    if len(options["runtimes"]) != 1 or options["runtimes"][0] not in ENGINES:
        given = [f"--{name.replace('_', '-')}" for name in ENGINE_OPTIONS if options[name] is not None]
        what = given[0] if given else " and ".join(options["runtimes"])
        raise UsageError(f"{what} is of an engine, which is calibrated alone: give one --runtime of {_names()}")
    (runtime,) = options["runtimes"]
    for name in ("dry_run", "like", "plot", "device"):
        if options[name]:
            raise UsageError(f"--runtime {runtime} goes without --{name.replace('_', '-')}")
    if runtime in ON_GPU:
        _calibrate_on_gpu(runtime, options)
        return
    if options["gpu"] != "cpu":
        raise UsageError(
            f"{runtime} is calibrated on --gpu cpu; for llama.cpp on a GPU run llama-bench there and give its output "
            "to `latmodel fit --from llama-bench`"
        )
    verb = load("verbs.engines.cpu")
    request = verb.EngineRequest(
        runtime, options["weights"] or ENGINES[runtime],
        EngineOptions(
            threads=options["threads"] or 1, micro_batch=options["ubatch"],
            flash_attention=options["flash_attention"], kv_cache=options["kv_cache"],
        ),
        options["effort"], options["out"] or Path("profiles/cpu.json"), options["resume"],
    )  # fmt: skip
    _, fitted = verb.calibrate_engine(request, _say)
    click.echo(engine_text(fitted, options["format_"]))
    _say(f"written: {request.out}")


def _calibrate_on_gpu(runtime: str, options: dict[str, Any]) -> None:
    from ..errors import UsageError
    from .calibration_package import load

    if options["gpu"] == "cpu":
        raise UsageError(f"{runtime} is calibrated on a GPU: give the device that is here, as --gpu h100")
    for name in ("threads", *ENGINE_OPTIONS[1:]):
        if options[name] is not None:
            raise UsageError(f"--runtime {runtime} goes without --{name.replace('_', '-')}")
    verb = load("verbs.engines.gpu")
    request = verb.GpuEngineRequest(
        runtime, options["gpu"], options["weights"] or ENGINES[runtime], options["effort"], options["out"],
        options["resume"],
    )  # fmt: skip
    for line in verb.calibrate_gpu_engine(request, _say):
        click.echo(line)


def verify_engine(predictor: Any, workload: Any, options: dict[str, Any]) -> None:
    """Run the model with the engine, set up as it was calibrated, and compare."""
    from ..device.engine_options import EngineOptions
    from ..device.store import find_profile
    from ..errors import ToleranceError, UsageError
    from ..model.config import ModelConfig
    from ..report.verified import verified_text
    from .calibration_package import load
    from .models import one_model
    from .options import say_notes

    for name in ("device", "update"):
        if options[name]:
            raise UsageError(f"--runtime {predictor.runtime} goes without --{name}")
    config = one_model(options).model
    if not isinstance(config, ModelConfig):
        raise UsageError(f"{predictor.runtime} is verified on Llamas: give --layers, --hidden, …")
    measured = predictor.profile.runtimes[predictor.runtime].engine
    setup = measured or EngineOptions(threads=options["threads"] or 1)
    if options["threads"] not in (None, setup.threads):
        raise UsageError(
            f"{predictor.runtime} was measured with {setup.threads} thread(s): leave out --threads, or calibrate with "
            f"--threads {options['threads']}"
        )
    workload = workload.model_copy(update={"kv_cache": setup.kv_cache})
    given = options["profile"]
    profile = Path(given) if given is not None else find_profile(predictor.profile.name)
    row = load("verify.engine").verify_engine(predictor, config, workload, setup, options["limit"], profile)
    say_drift(row)
    say_notes(predictor.notes)
    click.echo(verified_text(row, options["format_"]))
    if row.worst > options["tolerance"]:
        raise ToleranceError(
            f"off by {100 * row.worst:.1f} %, more than --tolerance {100 * options['tolerance']:.0f} %; "
            "calibrate on this machine"
        )


def say_drift(row: Any) -> None:
    """Say by how much longer the device takes than at its calibration, if it does."""
    import math

    drifts = {"prefill": row.prefill_drift, "decode": row.decode_drift}
    if max(map(abs, drifts.values())) > DRIFT_TO_SAY:
        shown = ", ".join(f"{100 * math.expm1(drift):+.0f} % in {phase}" for phase, drift in drifts.items())
        _say(f"note: since its calibration the device's pace has changed ({shown}): taken out of what was measured")


def _names() -> str:
    return " or ".join(ENGINES)


def _say(line: str) -> None:
    click.echo(line, err=True)
