"""A calibration for one answer: measure what narrows it most, fit, ask again, until it narrows no more."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from latmodel.device.profile import Profile
from latmodel.errors import BudgetError, LatmodelError, NoisyError
from latmodel.model.config import CONFIG_FIELDS, ModelConfig, Workload
from latmodel.report.progress import Progress, no_progress

from ..fit.fit import Fitted
from ..fit.make import Problem
from ..measure.bench import Lab
from ..measure.cases import Case
from ..measure.plan import Plan
from ..measure.rounds import Log, measure
from ..measure.summary import combine, noise_level, observations
from ..observations.record import Observation
from .belief import at_priors, belief, half_width
from .choice import chosen

BATCH = 5  # cases a step: a fit follows each
EXPECTED_NOISE = 0.02  # of a case, before any was measured
SAME_STEPS = 2  # times in turn that the best row has to come out the same
NARROWS = 0.1  # relative, over as many steps: by less an interval no longer narrows
ALIKE = 0.1  # two shapes whose dimensions all differ by less (log units) are one answer
MOST_STEPS = 30


@dataclass(frozen=True)
class Answer:
    """The best row of what was asked: the model whose response is to be known, and its workload."""

    config: ModelConfig
    workload: Workload
    response_s: float

    def observation(self, gpu: str, runtime: str) -> Observation:
        """The response as a time that could be measured."""
        c, w = self.config, self.workload
        return Observation(
            part="model", phase="response", timing="loop", seconds=1.0, gpu=gpu, runtime=runtime, dtype=w.dtype,
            logits=w.logits, batch_size=w.batch_size, prompt_tokens=w.prompt_tokens, new_tokens=w.new_tokens,
            **{name: getattr(c, name) for name in CONFIG_FIELDS},
        )  # fmt: skip

    def is_like(self, other: "Answer") -> bool:
        """Whether both are of one shape, or nearly."""
        names = ("num_hidden_layers", "hidden_size", "intermediate_size")
        return all(abs(math.log(getattr(self.config, n) / getattr(other.config, n))) < ALIKE for n in names)


Ask = Callable[[Profile], Answer]  # raises BudgetError where nothing keeps the limits


@dataclass(frozen=True)
class Step:
    """An answer after so many samples: its half-width (log units), the noise between rounds, what was measured last."""

    answer: Answer
    half_width: float
    samples: int
    noise: float
    cases: tuple[str, ...]


@dataclass
class Course:
    """What a calibration for an answer needs, and what has come of it so far.

    `plan_for` gives the cases to choose from: of the whole range for None, of blocks near a shape for that shape.
    """

    ask: Ask
    problem: Problem
    profile_of: Callable[[Fitted, Sequence[Observation]], Profile]
    plan_for: Callable[[ModelConfig | None], Plan]
    gpu: str
    runtime: str
    replay: bool = False
    steps: list[Step] = field(default_factory=list)
    measured: list[Case] = field(default_factory=list)
    rows: list[Observation] = field(default_factory=list)
    why: str = ""  # it ended

    def run(
        self, lab: Lab, log: Log, seed: int, max_noise: float, progress: Progress = no_progress,
        until: Callable[[Step], bool] | None = None,
    ) -> Fitted:  # fmt: skip
        """Measure, fit and ask until the answer stays and its interval no longer narrows; or until `until` says so.

        Raises:
            NoisyError: rounds differ by more than `max_noise`.
            BudgetError: nothing keeps the limits of what was asked, although the device was measured.
        """
        fitted = at_priors(self.problem)
        for _ in range(MOST_STEPS):
            answer = self._answer(fitted)
            if answer is not None:
                self.steps.append(self._step(fitted, answer, log))
            batch = self._next(fitted, answer, log)
            if self._ends(batch, until):
                break
            plan = self.plan_for(None)
            measure(lab, batch, plan.references, log, plan.rules, seed, progress)
            self.measured += batch
            combined = combine(log.records, self.measured)
            if not combined:
                raise LatmodelError("nothing could be measured: every case was skipped; free memory and run again")
            if (noise := noise_level(combined)) > max_noise:
                raise NoisyError(
                    f"noise between rounds is {100 * noise:.0f} %, more than --max-noise {100 * max_noise:.0f} %: "
                    "quiet the machine and run again (samples are kept), or raise --max-noise"
                )
            self.rows = observations(combined, self.gpu)
            fitted = self.problem.solve(self.rows)
        return fitted

    def _answer(self, fitted: Fitted) -> Answer | None:
        """The answer by what is known; None where the priors alone would let nothing keep the limits."""
        try:
            return self.ask(self.profile_of(fitted, self.rows))
        except BudgetError:
            if self.rows:
                raise
            return None

    def _step(self, fitted: Fitted, answer: Answer, log: Log) -> Step:
        width = half_width(belief(fitted), answer.observation(self.gpu, self.runtime))
        last = self.measured[-BATCH:] if self.rows else []
        return Step(answer, width, samples_in(log), self._noise(log), tuple(case.name for case in last))

    def _noise(self, log: Log) -> float:
        combined = combine(log.records, self.measured) if self.rows else []
        return noise_level(combined) if combined else EXPECTED_NOISE

    def _next(self, fitted: Fitted, answer: Answer | None, log: Log) -> list[Case]:
        done = {case.name for case in self.measured}
        general = [case for case in self.plan_for(None).cases if case.name not in done]
        if answer is None:
            return general[:BATCH]
        near = [case for case in self.plan_for(answer.config).cases if case.name not in done]
        asked = answer.observation(self.gpu, self.runtime)
        return chosen(belief(fitted), asked, [*near, *general], BATCH, self._noise(log), replay=self.replay)

    def _ends(self, batch: Sequence[Case], until: Callable[[Step], bool] | None) -> bool:
        if not batch:
            self.why = "nothing that is left to measure would narrow it"
        elif not self.rows:
            return False
        elif until is not None:
            self.why = "its interval is as narrow as was asked" if until(self.steps[-1]) else ""
        else:
            self.why = ended(self.steps)
        return bool(self.why)


def ended(steps: Sequence[Step]) -> str:
    """Why no further step is worth its time, or nothing."""
    last = steps[-1]
    if len(steps) <= SAME_STEPS or not all(one.answer.is_like(last.answer) for one in steps[-1 - SAME_STEPS : -1]):
        return ""
    if last.half_width <= last.noise:
        return "a single run scatters as much"
    if last.half_width > (1.0 - NARROWS) * steps[-1 - SAME_STEPS].half_width:
        return "its interval no longer narrows"
    return ""


def samples_in(log: Log) -> int:
    """Samples taken so far, repeated ones too."""
    return sum(record["kind"] == "sample" for record in log.records)
