"""`calibrate --for QUESTION`: only what narrows the interval of one answer, and what was learned of it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from latmodel.device.machine import machine_key
from latmodel.device.profile import Profile
from latmodel.device.profile_file import write_profile
from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig
from latmodel.report.progress import Progress, no_progress
from latmodel.units import show_seconds

from ..adaptive.belief import belief, shares
from ..adaptive.steps import Ask, Course, Step, samples_in
from ..fit.fit import Fitted
from ..fit.outcome import About, Calibrated, calibrated, fitted_profile
from ..measure.bench import Lab
from ..measure.plan import Plan
from ..measure.session import device_lock, open_samples
from ..observations.record import Observation, write_records
from .calibrate import Say, binding
from .prepare import Prepared, plan_of


@dataclass(frozen=True)
class Question:
    """What the calibration is for: the command line that asks it, and the answer by any profile."""

    text: str
    dtype: str
    ask: Ask


@dataclass(frozen=True)
class Learned:
    """A calibration for one answer, and how the answer came to stand."""

    done: Calibrated
    course: Course
    lines: tuple[str, ...]


def calibrate_for(
    ready: Prepared,
    question: Question,
    say: Say,
    progress: Progress = no_progress,
    lab: Callable[[str], Lab] | None = None,
) -> Learned:
    """Measure for the question, fit, write the profile, its observations and its samples.

    `lab` gives the lab of the runtime where it is not the hardware's own (a simulated one).

    Raises:
        UsageError: several runtimes, or the question is of another dtype than is measured.
        BudgetError: nothing keeps the limits of what was asked.
        NoisyError: the device is in use by another calibration, or noise stays above `max_noise`.
    """
    from ..devices.lab import TorchLab
    from ..engines.registry import find_engine

    request, hardware = ready.request, ready.hardware
    if len(ready.plans) > 1:
        raise UsageError("--for is of one answer, and so of one --runtime")
    if question.dtype != request.dtype:
        raise UsageError(f"--for asks for {question.dtype}, {request.dtype} is measured: give --dtype {question.dtype}")
    runtime = next(iter(ready.plans))
    course = Course(
        question.ask, ready.problem, _profiler(ready), _plans(ready, runtime), ready.gpu, runtime,
        replay=hardware.kind == "cuda",
    )  # fmt: skip
    with device_lock(hardware.lock):
        bound = {**binding(ready), "plan": f"for {question.text}"}
        log = open_samples(ready.samples_path, {**bound, "seed": request.seed}, request.resume)
        if log.records:
            say(f"resuming: {len(log.records)} samples are in {ready.samples_path}")
        bench = TorchLab(hardware, find_engine(runtime), request.dtype) if lab is None else lab(runtime)
        fitted = course.run(bench, log, request.seed, request.max_noise, progress)
        lines = learned(course, fitted)
        note = f"measured for `{question.text}`: {samples_in(log)} samples of {len(course.measured)} cases"
        done = calibrated(ready.problem, ready.sheet, course.rows, _about(ready, (note, *lines)))
        write_records(ready.observations_path, [row.model_dump(mode="json") for row in done.observations])
        write_profile(done.profile, ready.path)
        log.end()
    return Learned(done, course, tuple(lines))


def _profiler(ready: Prepared) -> Callable[[Fitted, Sequence[Observation]], Profile]:
    about = _about(ready, ())
    dtype = ready.request.dtype
    return lambda fitted, rows: fitted_profile(fitted, ready.sheet, dtype, rows, about)  # type: ignore[arg-type]


def _about(ready: Prepared, notes: tuple[str, ...]) -> About:
    hardware = ready.hardware
    return About(
        name=ready.path.stem, gpu=ready.gpu, title=hardware.name, host=f"{hardware.host}, {hardware.threads} thread(s)",
        source=ready.source, notes=notes,
        implementations={name: one.name for name, (_, one) in ready.problem.start.runtimes.items()},
        machine=machine_key(),
    )  # fmt: skip


def _plans(ready: Prepared, runtime: str) -> Callable[[ModelConfig | None], Plan]:
    from ..engines.registry import find_engine

    engine = find_engine(runtime)
    return plans_for(ready.plans[runtime], lambda like: plan_of(ready.request, ready.hardware, engine, like))


def plans_for(general: Plan, near: Callable[[ModelConfig], Plan]) -> Callable[[ModelConfig | None], Plan]:
    """The cases to choose from: the general plan, and blocks and heads near a shape under names of their own."""

    def plan_for(like: ModelConfig | None) -> Plan:
        if like is None:
            return general
        plan, name = near(like), shape_name(like)
        cases = [replace(case, name=f"{name}:{case.name}") for case in plan.cases if case.part != "model"]
        return replace(plan, cases=tuple(cases))

    return plan_for


def shape_name(config: ModelConfig) -> str:
    """What tells the blocks near one shape from those near another."""
    heads = f"{config.num_attention_heads}/{config.num_key_value_heads}x{config.head_dim}"
    return f"{config.hidden_size}-{config.intermediate_size}-{heads}-{config.vocab_size}"


def learned(course: Course, fitted: Fitted) -> list[str]:
    """What the calibration says of its answer: how it moved, why it ended, what still leaves it open."""
    first, last = course.steps[0], course.steps[-1]
    lines = [
        f"the answer is {_named(last)}, {_width(last)} at 90 %, after {last.samples} samples of "
        f"{len(course.measured)} cases: {course.why}"
    ]
    if first is not last:
        moved = "stayed the best row" if first.answer.is_like(last.answer) else f"came in place of {_named(first)}"
        lines.append(f"before anything was measured the interval was {_width(first)}; it {moved}")
    asked = last.answer.observation(course.gpu, course.runtime)
    open_to = ", ".join(f"{name.removeprefix('device.')} ({100 * share:.0f} %)"
                        for name, share in shares(belief(fitted), asked))  # fmt: skip
    lines.append(f"what is left of it hangs most on {open_to}; formulas are off by {100 * fitted.law_error:.1f} %")
    return lines


def _named(step: Step) -> str:
    config = step.answer.config
    shape = f"{config.num_hidden_layers} x {config.hidden_size}, FFN {config.intermediate_size}"
    return f"{shape} in {show_seconds(step.answer.response_s)}"


def _width(step: Step) -> str:
    return f"-{100 * -math.expm1(-step.half_width):.1f} to +{100 * math.expm1(step.half_width):.1f} %"
