"""`Predictor`: latency, memory, bound and interval of one architecture or of millions."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from ..arrays import Array
from ..device.hosts import SAME_HOST, Host, host_of
from ..device.profile import Profile
from ..device.room import room
from ..errors import ProfileError, UsageError
from ..laws.coefficients import HOST_TERMS
from ..model.alignment import all_aligned
from ..model.architecture import Architecture, uniform
from ..model.config import ModelConfig, Workload
from ..model.formats import WeightFormat
from ..model.memory import Memory, peak_memory
from ..runtimes.registry import IMPLEMENTATIONS
from .columns import WORK_COLUMNS, check_columns
from .extrapolation import Known, outside, reasons
from .forward import Cost, Target, Work, blocks_cost, bound_code, head_cost, respond
from .intervals import Interval
from .notes import format_notes, host_notes
from .prediction import Ends, Explained, Prediction, Predictions, Source, Times, Values, joined_ends, one_prediction

KEPT_BYTES = 1 << 24  # twice this much freed memory is kept, more than the temporaries of a chunk take
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
        self._source = Source(self.interval, self.memory_bytes, profile.gpu, self.runtime, profile.name, self.host)
        self._corrected = corrected
        # What the profile measured of the runtime's implementation replaces the default.
        self.attention = attention
        implementation, moves = IMPLEMENTATIONS[self._part.implementation], self._part.unpack_moves
        implementation = implementation if moves is None else implementation._replace(unpack_moves=moves)
        implementation = implementation if attention is None else implementation.with_attention(attention)
        self._implementation = implementation._replace(multiplies_float8=profile.multiplies_float8)
        self._targets: dict[tuple[str, str | None], tuple[Target, bool]] = {}
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
        slower = {
            name: found.model_copy(update={"value": found.value * factor}) if name in HOST_TERMS else found
            for name, found in self._part.coefficients.items()
        }
        runtimes = {**self.profile.runtimes, self.runtime: self._part.model_copy(update={"coefficients": slower})}
        profile = self.profile.model_copy(update={"runtimes": runtimes})
        return Predictor(
            profile, self.runtime, self.interval.level, self.memory_bytes, host=self.host, corrected=self._corrected,
            attention=self.attention,
        )  # fmt: skip

    def at_end(self, end: Literal["low", "high"]) -> "Predictor":
        """The same on the fastest ("low") or slowest host that its intervals hold, for that host alone."""
        if self._hosts == SAME_HOST:
            return self
        factor = self._hosts.fastest if end == "low" else self._hosts.slowest
        there = self.with_slower_host(factor)
        return Predictor(
            there.profile, self.runtime, self.interval.level, self.memory_bytes, host="published",
            corrected=self._corrected, attention=self.attention,
        )  # fmt: skip

    @property
    def notes(self) -> list[str]:
        """What a user must know before trusting the numbers: where the host term comes from."""
        return [*host_notes(self.profile, self.runtime, self.host, self._hosts), *self.interval.notes]

    def number_notes(self, workload: Workload) -> list[str]:
        """What stands behind the price of quantised weights, if they are in the workload."""
        return format_notes(self.profile, self._implementation, workload)

    def _workload_notes(self, workload: Workload) -> tuple[str, ...]:
        """All of them, worked out once for each number format."""
        key = (workload.weights, workload.dtype)
        if key not in self._noted:
            self._noted[key] = (*self.notes, *self.number_notes(workload))
        return self._noted[key]

    def target(self, dtype: str, weights: WeightFormat | None = None) -> Target:
        """Coefficients that price a model of `dtype` with linear layers in a format.

        Raises:
            ProfileError: the runtime cannot run that format, or the profile cannot price the dtype.
        """
        return self._target(dtype, weights)[0]

    def _target(self, dtype: str, weights: WeightFormat | None) -> tuple[Target, bool]:
        key = (dtype, None if weights is None else weights.name)
        if key not in self._targets:
            if weights is not None and weights.head_bits is not None and not self._part.formats:
                raise ProfileError(
                    f"{self.runtime} cannot run {weights.name}, a format of GGUF files: use --runtime llama.cpp"
                )
            device, measured = self.profile.device_coefficients(dtype, self.runtime, key[1])
            corrector = self.profile.corrector(dtype, self.runtime) if self._corrected else None
            runtime = self.profile.runtime_coefficients(self.runtime)
            target = Target(self.profile.sheet(dtype), device, runtime, self._implementation, corrector)
            self._targets[key] = (target, measured)
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
        asked = workload or Workload()
        if not isinstance(model, ModelConfig | Architecture):
            from ..configs.models import read_model

            named = read_model(model)
            model, asked = named.model, named.under(asked)
        architecture = model.architecture() if isinstance(model, ModelConfig) else model
        work = work_of(asked)
        costs = self._costs(architecture, work, asked.dtype)
        values = self._price(architecture, work, asked.dtype, costs)
        ends = None if self._hosts == SAME_HOST else self._ends(architecture, work, asked.dtype, costs)
        because = self._because(architecture, work, asked.dtype) if values.outside else ()
        return one_prediction(values, self._source, ends, because=because, notes=self._workload_notes(asked))

    def predict_many(self, columns: Mapping[str, Any], workload: Workload | None = None) -> Predictions:
        """The same for rows of a table: columns named as in `config.json`, arrays or single numbers that broadcast.

        `batch_size`, `prompt_tokens` and `new_tokens` may be columns too and then replace the workload's.

        Raises:
            UsageError: a column is missing, unknown, of another length, not whole, or out of range; the row is named.
        """
        asked = workload or Workload()
        _keep_freed_memory()
        rows, table = check_columns(columns)
        starts = range(0, rows, CHUNK)
        counts = [min(CHUNK, rows - start) for start in starts]

        def chunks() -> Iterator[tuple[Architecture, Work]]:
            for start in starts:
                yield self._rows(
                    {k: v if isinstance(v, float) else v[start : start + CHUNK] for k, v in table.items()}, asked
                )

        def price_ends() -> Ends:
            parts = [self._ends(*chunk, asked.dtype, self._costs(*chunk, asked.dtype)) for chunk in chunks()]
            return joined_ends(parts, counts)

        def explain(index: int) -> Explained:
            row = {name: v if isinstance(v, float) else float(v[index]) for name, v in table.items()}
            return Explained(self._because(*self._rows(row, asked), asked.dtype), self._workload_notes(asked))

        parts = [self._price(*chunk, asked.dtype, self._costs(*chunk, asked.dtype)) for chunk in chunks()]
        ends = None if self._hosts == SAME_HOST else price_ends
        return Predictions.joined(parts, counts, self._source, ends, explain)

    def _rows(self, columns: dict[str, Any], asked: Workload) -> tuple[Architecture, Work]:
        loads = {short: columns.pop(name) for name, short in WORK_COLUMNS.items() if name in columns}
        work = work_of(asked)._replace(**loads)
        aligned = all_aligned(*(columns[k] for k in ("hidden_size", "intermediate_size", "head_dim", "vocab_size")))
        return uniform(**columns, aligned=aligned), work

    def memory(self, model: Architecture, work: Work, retained: Array = 0.0, parameters: Array | None = None) -> Memory:
        """What fills the device's memory at the peak; `retained` positions of an older cache included."""
        return peak_memory(
            model, batch=work.batch, prompt=work.prompt, new=work.new, logits_all=work.logits_all, numbers=work.numbers,
            implementation=self._implementation, overhead_bytes=self._part.memory_overhead_bytes, retained=retained,
            parameters=parameters, cache_copies=self._part.memory_cache_copies,
        )  # fmt: skip

    def _costs(self, model: Architecture, work: Work, dtype: str) -> tuple[Cost, Cost]:
        """Of the blocks and of what is around them, the same on any host."""
        target = self.target(dtype, work.numbers.format)
        return blocks_cost(model, work, target), head_cost(model, work, target)

    def _price(self, model: Architecture, work: Work, dtype: str, costs: tuple[Cost, Cost]) -> Values:
        target, measured = self._target(dtype, work.numbers.format)
        depth, parameters = model.num_hidden_layers, model.num_parameters
        blocks, head = costs
        times = respond(depth, blocks, head, work, target)
        return Values(
            parameters,
            times.prefill_s,
            times.step_s,
            times.response_s,
            times.prefill_blocks_s / depth,
            times.decode_blocks_s / depth,
            self.memory(model, work, parameters=parameters).peak_bytes,
            bound_code(times, blocks, head, work.new),
            self._outside(model, work, measured),
        )

    def _ends(self, model: Architecture, work: Work, dtype: str, costs: tuple[Cost, Cost]) -> Ends:
        """Times on the fastest and on the slowest host that the intervals hold."""
        target, sides = self.target(dtype, work.numbers.format), []
        for factor in self._hosts:
            times = respond(model.num_hidden_layers, *costs, work, target.on_slower_host(factor))
            sides.append(Times(times.prefill_s, times.step_s, times.response_s))
        return Ends(*sides)

    def extrapolates(self, columns: Mapping[str, Array], workload: Workload | None = None) -> Array:
        """1 where shapes (Hugging Face names → arrays) lie outside what the profile was fitted on, else 0."""
        asked = workload or Workload()
        measured = self._target(asked.dtype, asked.numbers().format)[1]
        return self._outside(uniform(**columns), work_of(asked), measured)

    def _because(self, model: Architecture, work: Work, dtype: str) -> tuple[str, ...]:
        """What of a model and a workload was not measured: the dtype, kinds of layer, formats, dimensions."""
        lines = () if self._target(dtype, work.numbers.format)[1] else (f"dtype {dtype}",)
        return (*lines, *reasons(model, work, self._part, self._implementation, self.profile.gpu))

    def _outside(self, model: Architecture, work: Work, measured: bool) -> Array:
        return outside(model, work, self._part, self._implementation, Known(self.profile.gpu, measured))


def _keep_freed_memory() -> None:
    """Tell the C library's allocator that large blocks come and go here, so that it keeps what is freed for the next.

    glibc gives freed memory back to the system beyond a threshold that is low at first; every temporary array is then
    paid for in page faults, a third of the time of `predict_many`. The threshold follows the largest block that was
    freed, so one that is never touched raises it. Other allocators pay a microsecond.
    """
    np.empty(KEPT_BYTES, dtype=np.uint8)


def work_of(workload: Workload) -> Work:
    """A checked workload as the numbers that the formulas take."""
    return Work(
        float(workload.prompt_tokens), float(workload.new_tokens), float(workload.batch_size),
        workload.logits == "all", workload.numbers(),
    )  # fmt: skip
