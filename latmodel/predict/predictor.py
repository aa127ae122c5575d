"""`Predictor`: latency, memory, bound and interval of one architecture or of millions."""

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from ..arrays import Array, is_array
from ..device.hosts import Host, host_of, is_measured, with_slower_host
from ..device.profile import Profile
from ..device.room import room
from ..errors import UsageError
from ..model.alignment import all_aligned
from ..model.architecture import Architecture, uniform
from ..model.config import Workload
from ..model.formats import WeightFormat
from ..model.memory import Memory, peak_memory
from ..model.step import Step
from .bounds import bound_code
from .columns import WORK_COLUMNS, check_columns, keep_freed_memory
from .ends import Priced, costs_on, ends_of, times_at_ends
from .extrapolation import Known, outside, reasons
from .forward import Cost, respond
from .inputs import check_positions, check_step, read_any, work_of, work_of_step
from .intervals import Interval
from .notes import check_cache, format_notes, host_notes
from .prediction import Ends, Explained, Prediction, Predictions, Source, Values, joined_ends, one_prediction
from .target import Target, Work

if TYPE_CHECKING:
    from .step_prediction import StepPrediction

CHUNK = 16_384  # rows at a time: enough to hide the cost of a call, few enough for temporaries to stay in the caches


class Predictor:
    """Predicts for one device and runtime.

    Args:
        profile: coefficients of the device.
        runtime: one of the profile's runtimes; its first if None.
        confidence: level of the intervals, 0.5 to 0.99.
        memory_bytes: what a model may fill. By default the data sheet's memory less what the driver keeps, less a
            margin for the error of the prediction (`device.room`).
        host: whose host the intervals are for: "any" machine with this device, the one of the profile ("published"), or
            "this", where the runtime was measured on it; None: "this" if it was, else "any".
        corrected: apply the profile's learned correction, if it has one for the runtime; without it times are the
            laws' alone, which never fall as a dimension grows.
        attention: one of the runtime's ways to attend (`sdpa`, `eager`, `flash`); its default if None.

    Raises:
        ProfileError: the profile has no such runtime.
        UsageError: the confidence or the memory is out of range, "this" host was not measured, or the runtime
            has no such attention.
    """

    def __init__(
        self,
        profile: Profile,
        runtime: str | None = None,
        confidence: float = 0.9,
        memory_bytes: float | None = None,
        *,
        host: Host | None = None,
        corrected: bool = True,
        attention: str | None = None,
    ) -> None:
        self.profile = profile
        self.runtime, self._part = profile.runtime(runtime)
        self.room = room(profile.device.sheet.memory_bytes, driver=not profile.is_cpu)
        self.memory_bytes = self.room.limit_bytes if memory_bytes is None else memory_bytes
        if not 0 < self.memory_bytes < 1e16:
            raise UsageError(f"memory of {memory_bytes} bytes: give a positive size such as 24GB")
        self.interval = Interval(self._part.conformal_scores, self._part.extrapolation_factor, confidence)
        self.host, self._hosts = host_of(profile, self.runtime, host)
        self._source = Source(
            self.interval, self.memory_bytes, profile.gpu, self.runtime, profile.name, self.host,
            published=is_measured(self._part),
        )  # fmt: skip
        self._corrected = corrected
        # What the profile measured of the runtime's implementation replaces the default.
        self.attention = attention
        implementation = self._part.measured_as
        implementation = implementation if attention is None else implementation.with_attention(attention)
        self._implementation = implementation._replace(multiplies_float8=profile.multiplies_float8)
        self._targets: dict[tuple[str, str | None], Priced] = {}
        self._noted: dict[object, tuple[str, ...]] = {}

    @classmethod
    def load(cls, name: str | os.PathLike[str], runtime: str | None = None, confidence: float = 0.9) -> "Predictor":
        """From the profile of a device ("3090"), of a name, or at a path.

        Raises:
            ProfileError: no such profile, an invalid one, or no such runtime in it.
        """
        from ..device.store import load_profile

        return cls(load_profile(name, runtime), runtime, confidence)

    def with_slower_host(self, factor: float) -> "Predictor":
        """The same on a host that takes `factor` times as long for everything, its device unchanged.

        Raises:
            UsageError: the factor is not positive.
        """
        if not 0 < factor < 1e6:
            raise UsageError(f"a host {factor} times as slow: give a positive factor")
        profile = with_slower_host(self.profile, self.runtime, factor)
        return Predictor(
            profile, self.runtime, self.interval.level, self.memory_bytes, host=self.host, corrected=self._corrected,
            attention=self.attention,
        )  # fmt: skip

    def at_end(self, end: Literal["low", "high"], workload: Workload) -> "Predictor":
        """The same on the fastest ("low") or slowest host that intervals under a workload hold, for that host alone."""
        form = workload.numbers().format
        ends = self._priced(workload.dtype, form).ends
        if ends is None:
            return self
        hosts, low = self._hosts, end == "low"
        engine = 0.0 if low and hosts.hides_engine else None
        there = with_slower_host(self.profile, self.runtime, hosts.fastest if low else hosts.slowest, engine)
        at = Predictor(
            there, self.runtime, self.interval.level, self.memory_bytes, host="published", corrected=self._corrected,
            attention=self.attention,
        )  # fmt: skip
        at._implementation = ends[not low].implementation
        return at

    @property
    def notes(self) -> list[str]:
        """What a user must know before trusting the numbers: where the host term comes from."""
        return [*host_notes(self.profile, self.runtime, self.host, self._hosts), *self.interval.notes]

    def number_notes(self, workload: Workload) -> list[str]:
        """What stands behind the price of quantised weights, if they are in the workload."""
        check_cache(self._part, self._implementation, workload)
        return format_notes(self.profile, self._implementation, workload)

    def _workload_notes(self, workload: Workload) -> tuple[str, ...]:
        """All of them, worked out once for each number format."""
        key = (workload.weights, workload.dtype, workload.kv_cache)
        if key not in self._noted:
            self._noted[key] = (*self.notes, *self.number_notes(workload))
        return self._noted[key]

    def target(self, dtype: str, weights: WeightFormat | None = None) -> Target:
        """Coefficients that price a model of `dtype` with linear layers in a format.

        Raises:
            ProfileError: the profile cannot price the dtype.
            UsageError: the runtime cannot run that format on the device.
        """
        return self._priced(dtype, weights).target

    def targets(self, dtype: str, weights: WeightFormat | None = None) -> tuple[Target, Target, Target]:
        """The same, and at both ends that intervals must hold: the fastest host and the slowest."""
        priced = self._priced(dtype, weights)
        return priced.target, *(priced.ends or (priced.target, priced.target))

    def _priced(self, dtype: str, weights: WeightFormat | None) -> Priced:
        key = (dtype, None if weights is None else weights.name)
        if key not in self._targets:
            if weights is not None:
                from ..device.format_support import check_format

                check_format(self.profile, self.runtime, weights)
            device, measured = self.profile.device_coefficients(dtype, self.runtime, key[1])
            corrector = self.profile.corrector(dtype, self.runtime) if self._corrected else None
            runtime = self.profile.runtime_coefficients(self.runtime)
            target = Target(self.profile.sheet(dtype), device, runtime, self._implementation, corrector)
            form = None if self._part.formats else weights  # a runtime with coefficients by format was measured in each
            self._targets[key] = Priced(target, measured, ends_of(target, self._hosts, form, self.profile.gpu))
        return self._targets[key]

    def predict(self, model: Any, workload: Workload | None = None) -> Prediction:
        """Latency, memory and bound of one model under one workload.

        `model` is a `ModelConfig`, an `Architecture`, or whatever `configs.models.read_model` reads: "80x576", a
        preset's name, the path of a `config.json`, a dictionary, a `PretrainedConfig`. Weights that the configuration
        says are quantised are priced so, unless the workload names a format.

        Raises:
            ProfileError: the profile cannot price the workload's dtype.
            UsageError: there is no such model, or its configuration cannot be read.
        """
        architecture, workload = read_any(model, workload or Workload())
        work = work_of(workload)
        if work.cached:
            check_positions(architecture, work.cached + work.prompt + work.new)
        priced = self._priced(workload.dtype, work.numbers.format)
        costs = costs_on(priced.target, architecture, work)
        values = self._price(architecture, work, priced, costs)
        ends = times_at_ends(priced, architecture, work, costs)
        because = self._because(architecture, work, workload.dtype) if values.outside else ()
        return one_prediction(values, self._source, ends, because=because, notes=self._workload_notes(workload))

    def step(self, model: Any, step: Step, workload: Workload | None = None) -> "StepPrediction":
        """One pass of `step.new_tokens` over `step.cached_tokens`, of numbers or of arrays that broadcast.

        `model` as in `predict`, or an `Architecture` of arrays; `workload` gives dtype, number formats and logits. A
        step into an empty cache equals `prefill_s`, one of one token the `decode_s_per_token` of one new token. Raises
        as `predict`, and UsageError for a value out of range or beyond a learned table of positions.
        """
        from .passes import step_times
        from .step_prediction import step_prediction

        architecture, workload = read_any(model, workload or Workload())
        step = check_step(step)
        check_positions(architecture, step.context)
        numbers = workload.numbers()
        priced = (architecture, step, workload.logits == "all", numbers)
        times, *ends = (step_times(*priced, target) for target in self.targets(workload.dtype, numbers.format))
        work = work_of_step(step, workload)
        outside = self._outside(architecture, work, self._priced(workload.dtype, workload.numbers().format).measured)
        alone = not is_array(times.seconds)
        because = self._because(architecture, work, workload.dtype) if alone and outside else ()
        return step_prediction(step, times, ends, self.interval, outside, because, self._workload_notes(workload))

    def predict_many(self, columns: Mapping[str, Any], workload: Workload | None = None) -> Predictions:
        """The same for rows of a table: columns named as in `config.json`, arrays or single numbers that broadcast.

        `batch_size`, `prompt_tokens` and `new_tokens` may be columns too and then replace the workload's.

        Raises:
            UsageError: a column is missing, unknown, of another length, not whole, or out of range; the row is named.
        """
        workload = workload or Workload()
        check_cache(self._part, self._implementation, workload)
        keep_freed_memory()
        rows, table = check_columns(columns)
        priced = self._priced(workload.dtype, workload.numbers().format)
        starts = range(0, rows, CHUNK)
        counts = [min(CHUNK, rows - start) for start in starts]

        def chunks() -> Iterator[tuple[Architecture, Work]]:
            for start in starts:
                yield self._rows(
                    {k: v if isinstance(v, float) else v[start : start + CHUNK] for k, v in table.items()}, workload
                )

        def price_ends() -> Ends:
            parts = (times_at_ends(priced, *chunk, costs_on(priced.target, *chunk)) for chunk in chunks())
            return joined_ends([one for one in parts if one is not None], counts)

        def explain(index: int) -> Explained:
            row = {name: v if isinstance(v, float) else float(v[index]) for name, v in table.items()}
            return Explained(self._because(*self._rows(row, workload), workload.dtype), self._workload_notes(workload))

        parts = [self._price(*chunk, priced, costs_on(priced.target, *chunk)) for chunk in chunks()]
        ends = None if priced.ends is None else price_ends
        return Predictions.joined(parts, counts, self._source, ends, explain)

    def _rows(self, columns: dict[str, Any], workload: Workload) -> tuple[Architecture, Work]:
        loads = {short: columns.pop(name) for name, short in WORK_COLUMNS.items() if name in columns}
        work = work_of(workload)._replace(**loads)
        aligned = all_aligned(*(columns[k] for k in ("hidden_size", "intermediate_size", "head_dim", "vocab_size")))
        return uniform(**columns, aligned=aligned), work

    def memory(self, model: Architecture, work: Work, retained: Array = 0.0, parameters: Array | None = None) -> Memory:
        """What fills the device's memory at the peak; `retained` positions of an older cache included."""
        return peak_memory(
            model, batch=work.batch, prompt=work.prompt, new=work.new, logits_all=work.logits_all, numbers=work.numbers,
            implementation=self._implementation, overhead_bytes=self._part.memory_overhead_bytes, retained=retained,
            parameters=parameters, cache_copies=self._part.memory_cache_copies, cached=work.cached,
        )  # fmt: skip

    def _price(self, model: Architecture, work: Work, priced: Priced, costs: tuple[Cost, Cost]) -> Values:
        depth, parameters = model.num_hidden_layers, model.num_parameters
        blocks, head = costs  # the same on any host
        times = respond(depth, blocks, head, work, priced.target)
        return Values(
            parameters,
            times.prefill_s,
            times.step_s,
            times.response_s,
            times.prefill_blocks_s / depth,
            times.decode_blocks_s / depth,
            self.memory(model, work, parameters=parameters).peak_bytes,
            bound_code(times, blocks, head, work.new),
            self._outside(model, work, priced.measured),
        )

    def extrapolates(self, columns: Mapping[str, Array], workload: Workload | None = None) -> Array:
        """How far shapes (Hugging Face names → arrays) lie outside what was fitted (`extrapolation.outside`)."""
        workload = workload or Workload()
        measured = self._priced(workload.dtype, workload.numbers().format).measured
        return self._outside(uniform(**columns), work_of(workload), measured)

    def _because(self, model: Architecture, work: Work, dtype: str) -> tuple[str, ...]:
        """What of a model and a workload was not measured: the dtype, kinds of layer, formats, dimensions."""
        lines = () if self._priced(dtype, work.numbers.format).measured else (f"dtype {dtype}",)
        return (*lines, *reasons(model, work, self._part, self._implementation, self.profile.gpu))

    def _outside(self, model: Architecture, work: Work, measured: bool) -> Array:
        return outside(model, work, self._part, self._implementation, Known(self.profile.gpu, measured))
