"""Build the real model, run it, compare with the prediction: the proof that a user can ask for."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.prediction import Prediction
from latmodel.predict.predictor import Predictor

from ..measure.bench import Hung, Lab, OutOfMemory
from ..measure.cases import Case, Phase
from ..measure.reference import device_clock
from ..measure.samples import Rules, sample
from ..observations.decoder_config import DecoderConfig
from ..observations.record import Observation, observation, read_records

Drift = Callable[[], dict[str, float]]  # log of how much slower than at its calibration a device is, by its clocks
SAMPLES = 5  # of each phase, unless one takes all the time there is
RULES = Rules(block_s=0.0, sample_s=2.0, least_blocks=3, precision=0.01, limit_s=600.0)


def no_drift() -> dict[str, float]:
    """For want of a reference: as fast as ever."""
    return {"prefill": 0.0, "decode": 0.0}


@dataclass(frozen=True)
class Verified:
    """One model: what was predicted and what was measured, seconds; `spread` of the repeats (relative).

    Measured times have the drift taken out: `drift` is how much slower than at its calibration the device was (log).
    """

    config: ModelConfig | DecoderConfig
    workload: Workload
    prediction: Prediction
    prefill_s: float
    decode_s_per_token: float
    prefill_spread: float
    decode_spread: float
    prefill_drift: float = 0.0
    decode_drift: float = 0.0

    def error(self, phase: Phase) -> float:
        """(predicted − measured) / measured."""
        if phase == "prefill":
            return self.prediction.prefill_s / self.prefill_s - 1.0
        return self.prediction.decode_s_per_token / self.decode_s_per_token - 1.0

    def inside(self, phase: Phase) -> bool:
        """Whether the measured time lies in the interval."""
        if phase == "prefill":
            return self.prediction.holds("prefill_s", self.prefill_s)
        return self.prediction.holds("decode_s_per_token", self.decode_s_per_token)

    @property
    def worst(self) -> float:
        """The larger of the two absolute errors."""
        return max(abs(self.error("prefill")), abs(self.error("decode")))

    def as_dict(self) -> dict[str, Any]:
        """One flat row, in SI."""
        return {
            **self.config.model_dump(), **self.workload.model_dump(),
            **{
                f"{phase}_{what}": value
                for phase in ("prefill", "decode")
                for what, value in (("error", self.error(phase)), ("inside", self.inside(phase)))
            },
            "measured_prefill_s": self.prefill_s, "measured_decode_s_per_token": self.decode_s_per_token,
            "prefill_spread": self.prefill_spread, "decode_spread": self.decode_spread,
            "prefill_drift": self.prefill_drift, "decode_drift": self.decode_drift,
            **self.prediction.as_dict(),
        }  # fmt: skip


def model_cases(
    config: ModelConfig | DecoderConfig, workload: Workload, runtime: str, name: str = "verify"
) -> tuple[Case, Case]:
    """The whole model's prefill and its decode loop. A decode of no tokens measures one."""
    decode = workload if workload.new_tokens else workload.model_copy(update={"new_tokens": 1})
    return (
        Case(f"{name}-prefill", "model", "prefill", config, workload, runtime),
        Case(f"{name}-decode", "model", "decode", config, decode, runtime),
    )


def verify(
    lab: Lab,
    predictor: Predictor,
    config: ModelConfig | DecoderConfig,
    workload: Workload,
    rules: Rules = RULES,
    drift: Drift = no_drift,
) -> Verified:
    """Run one model on the lab and predict it.

    Args:
        lab: the device with the runtime to verify.
        predictor: of the same device and runtime.
        config: dimensions of the model, or its configuration; its weights are random.
        workload: prompt, generated tokens, batch and dtype.
        rules: how long to repeat.
        drift: tells how much slower the device is at this moment.

    Raises:
        LatmodelError: the model does not fit the memory, or a run hung.
    """
    prediction = predictor.predict(config.architecture(), workload)
    prefill, decode = (
        timed(lab, case, rules, lambda phase=case.phase: drift_of_model(drift(), phase, predictor, config, workload))  # type: ignore[misc]
        for case in model_cases(config, workload, predictor.runtime)
    )
    return Verified(
        config, workload, prediction, prefill.seconds, decode.seconds, prefill.spread, decode.spread,
        prefill.drift, decode.drift,
    )  # fmt: skip


def drift_of_model(
    drift: dict[str, float], phase: Phase, predictor: Predictor, config: ModelConfig | DecoderConfig, workload: Workload
) -> float:
    """What a reference's drift means for a model: log of how much longer it takes.

    Where the reference has one clock all is that much slower. A GPU and its host drift apart: the model takes as much
    longer as the predictor says of a host that is slower by what the reference's wall time lost beyond its kernels'.
    """
    device = drift.get(device_clock(phase))
    if device is None or drift[phase] == device:
        return drift[phase]
    slower = predictor.with_slower_host(math.exp(drift[phase] - device))
    now, then = (one.predict(config.architecture(), workload) for one in (slower, predictor))
    times = [(p.prefill_s if phase == "prefill" else p.decode_s_per_token) for p in (now, then)]
    return device + math.log(times[0] / times[1])


class Timed(NamedTuple):
    """Seconds with the drift taken out, their relative spread, and the drift (log)."""

    seconds: float
    spread: float
    drift: float


def timed(lab: Lab, case: Case, rules: Rules, drift: Callable[[], float]) -> Timed:
    """The median of some samples, each between two looks at the drift, which comes and goes within seconds.

    A model so slow that one sample takes all the time is sampled once.
    """
    short = replace(rules, sample_s=rules.sample_s / SAMPLES)
    logs: list[float] = []
    spreads: list[float] = []
    drifts: list[float] = []
    try:
        bench = lab.open(case)
        begin = lab.now()
        try:
            while not logs or (len(logs) < SAMPLES and lab.now() - begin < rules.sample_s):
                before = drift()
                one = sample(bench, lab.now, short)
                drifts.append(0.5 * (before + drift()))
                logs.append(math.log(one.times.wall_s / case.units) - drifts[-1])
                spreads.append(one.spread)
        finally:
            bench.close()
    except OutOfMemory as error:
        raise LatmodelError(
            f"the model does not fit this device: {error}; verify a smaller one or lower --batch"
        ) from None
    except Hung as error:
        raise LatmodelError(f"the model's {case.phase} did not come back: {error}") from None
    spread = statistics.stdev(logs) if len(logs) > 1 else spreads[0]
    return Timed(math.exp(statistics.median(logs)), spread, statistics.median(drifts))


def mape_percent(rows: Sequence[Verified], phase: Phase) -> float:
    """Mean absolute percentage error of one phase."""
    return 100.0 * statistics.mean(abs(row.error(phase)) for row in rows)


def coverage(rows: Sequence[Verified]) -> tuple[int, int]:
    """How many of the measured times lie in their intervals, and how many there are."""
    hits = [row.inside(phase) for row in rows for phase in ("prefill", "decode")]
    return sum(hits), len(hits)


def as_observations(row: Verified, runtime: str, gpu: str) -> list[Observation]:
    """The two measured times as observations, for a refit."""
    rows = []
    for case in model_cases(row.config, row.workload, runtime):
        prefill = case.phase == "prefill"
        seconds, spread = (
            (row.prefill_s, row.prefill_spread) if prefill else (row.decode_s_per_token, row.decode_spread)
        )
        rows.append(case.observation(gpu, "wall" if prefill else "loop", seconds, max(spread, 0.005), ()))
    return rows


def kept_observations(path: Path) -> list[Observation]:
    """The observations that a profile was fitted to.

    Raises:
        UsageError: they are not beside the profile, or a line is not one.
    """
    if not path.is_file():
        raise UsageError(f"--update needs the profile's measurements in {path}; calibrate first, or leave out --update")
    loaded = read_records(path)
    return [observation(record, f"{path}: record {i}") for i, record in enumerate(loaded.records, 1)]
