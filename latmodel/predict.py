"""`Predictor`: latency, memory, bound and interval of one architecture or of millions."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from .architecture import Architecture, Attention, Block, FeedForward, uniform
from .arrays import Array, indicator, is_array, maximum
from .config import CONFIG_FIELDS, DTYPE_BYTES, MAX_DIMENSION, ModelConfig, Numbers, Workload
from .errors import UsageError
from .forward import Forecast, Target, Work, blocks_cost, bound_shares, head_cost, respond
from .gemm import all_aligned
from .implementation import IMPLEMENTATIONS, Implementation
from .intervals import Interval
from .memory import Memory, peak_memory
from .profile import Profile
from .transformer import num_parameters

BOUNDS = ("host", "memory", "compute")
KEPT_BYTES = 1 << 24  # twice this much freed memory is kept, more than the temporaries of a chunk take
CHUNK = 8192  # rows at a time: all temporaries of a chunk stay in the second-level cache


@dataclass(frozen=True, slots=True)
class Prediction:
    """One prediction, by the names and units of the contract (seconds, bytes)."""

    num_parameters: int
    prefill_s: float
    decode_s_per_token: float
    response_s: float
    prefill_s_per_layer: float
    decode_s_per_layer: float
    prefill_s_low: float
    prefill_s_high: float
    decode_s_per_token_low: float
    decode_s_per_token_high: float
    response_s_low: float
    response_s_high: float
    interval: float
    peak_memory_bytes: float
    fits_memory: bool
    bound: str
    extrapolated: bool
    gpu: str
    runtime: str
    profile: str

    def as_dict(self) -> dict[str, Any]:
        """The JSON object of the contract."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Predictions:
    """Many predictions: one array for each field of `Prediction`, in the order of the rows given."""

    num_parameters: Array
    prefill_s: Array
    decode_s_per_token: Array
    response_s: Array
    prefill_s_per_layer: Array
    decode_s_per_layer: Array
    peak_memory_bytes: Array
    fits_memory: Array
    bound_code: Array  # index into BOUNDS
    extrapolated: Array
    source: "Predictor"

    def __len__(self) -> int:
        return int(np.size(self.response_s))

    @property
    def bound(self) -> Array:
        """Names of what holds the largest share of each response."""
        return np.asarray(BOUNDS)[self.bound_code]

    def low_high(self, phase: str) -> tuple[Array, Array]:
        """Lower and upper ends of the interval of `prefill`, `decode` or `response`, in seconds."""
        values = {"prefill": self.prefill_s, "decode": self.decode_s_per_token, "response": self.response_s}[phase]
        factor = np.exp(self.source.interval.width(phase, self.extrapolated))
        return values / factor, values * factor

    def __getitem__(self, index: int) -> Prediction:
        one = int(index)
        times = Forecast(
            prefill_s=float(self.prefill_s[one]),
            forward_s=math.nan,  # not kept: of a synchronised pass, which only a fit asks for
            step_s=float(self.decode_s_per_token[one]),
            prefill_blocks_s=math.nan,
            decode_blocks_s=math.nan,
            response_s=float(self.response_s[one]),
        )
        return _Priced(
            self.source,
            float(self.num_parameters[one]),
            times,
            float(self.prefill_s_per_layer[one]),
            float(self.decode_s_per_layer[one]),
            float(self.peak_memory_bytes[one]),
            float(self.bound_code[one]),
            float(self.extrapolated[one]),
        ).one()


class Predictor:
    """Predicts for one device and runtime.

    Args:
        profile: coefficients of the device.
        runtime: one of the profile's runtimes; its first if None.
        confidence: level of the intervals, 0.5 to 0.99.
        memory_bytes: memory of the device, if not the data sheet's.
        corrected: apply the profile's learned correction, if it has one for the runtime; without it times are the
            laws' alone, which never fall as a dimension grows.

    Raises:
        ProfileError: the profile has no such runtime.
        UsageError: the confidence or the memory is out of range.
    """

    def __init__(
        self,
        profile: Profile,
        runtime: str | None = None,
        confidence: float = 0.9,
        memory_bytes: float | None = None,
        *,
        corrected: bool = True,
    ) -> None:
        self.profile = profile
        self.runtime, self._part = profile.runtime(runtime)
        self.memory_bytes = profile.device.sheet.memory_bytes if memory_bytes is None else memory_bytes
        if not 0 < self.memory_bytes < 1e16:
            raise UsageError(f"memory of {memory_bytes} bytes: give a positive size such as 24GB")
        self.interval = Interval(self._part.conformal_scores, self._part.extrapolation_factor, confidence)
        self._corrected = corrected
        self._targets: dict[str, tuple[Target, bool]] = {}

    @classmethod
    def load(cls, name: str | os.PathLike[str], runtime: str | None = None, confidence: float = 0.9) -> "Predictor":
        """From the profile of a device ("3090"), of a name, or at a path.

        Raises:
            ProfileError: no such profile, an invalid one, or no such runtime in it.
        """
        from .store import load_profile

        return cls(load_profile(name), runtime, confidence)

    @property
    def notes(self) -> list[str]:
        """What a user must know before trusting the numbers: where the host term comes from."""
        return [self._part.note] if self._part.note else []

    def target(self, dtype: str) -> Target:
        """Coefficients that price a model of `dtype`."""
        return self._target(dtype)[0]

    def _target(self, dtype: str) -> tuple[Target, bool]:
        if dtype not in self._targets:
            device, measured = self.profile.device_coefficients(dtype)
            corrector = self.profile.corrector(dtype, self.runtime) if self._corrected else None
            runtime = self.profile.runtime_coefficients(self.runtime)
            target = Target(self.profile.sheet(dtype), device, runtime, self._implementation(), corrector)
            self._targets[dtype] = (target, measured)
        return self._targets[dtype]

    def predict(self, model: ModelConfig | Architecture, workload: Workload | None = None) -> Prediction:
        """Latency, memory and bound of one model under one workload.

        Raises:
            ProfileError: the profile cannot price the workload's dtype.
        """
        asked = workload or Workload()
        architecture = model.architecture() if isinstance(model, ModelConfig) else model
        return self._price(architecture, architecture, work_of(asked), asked.dtype).one()

    def predict_many(
        self,
        columns: Mapping[str, Any],
        workload: Workload | None = None,
        precision: Literal["double", "single"] = "double",
    ) -> Predictions:
        """The same for rows of a table: columns named as in `config.json`, arrays or single numbers that broadcast.

        `batch_size`, `prompt_tokens` and `new_tokens` may be columns too and then replace the workload's. With
        `precision="single"` times are computed in float32: twice as fast, good to 1e-5 (parameters and bytes stay
        exact), far below the error of any measurement.

        Raises:
            UsageError: a column is missing, unknown, of another length, not whole, or out of range; the row is named.
        """
        asked = workload or Workload()
        _keep_freed_memory()
        rows, table = check_columns(columns)
        chunk = CHUNK if precision == "double" else 2 * CHUNK
        parts = [
            self._price_rows(
                {k: v if isinstance(v, float) else v[start : start + chunk] for k, v in table.items()}, asked, precision
            ).spread(min(chunk, rows - start))
            for start in range(0, rows, chunk)
        ]
        return _joined(parts, self)

    def _price_rows(self, columns: dict[str, Any], asked: Workload, precision: str) -> "_Priced":
        loads = {short: columns.pop(name) for name, short in _WORK_COLUMNS.items() if name in columns}
        work = work_of(asked)._replace(**loads)
        aligned = all_aligned(*(columns[k] for k in ("hidden_size", "intermediate_size", "head_dim", "vocab_size")))
        exact = uniform(**columns, aligned=aligned)
        if precision == "double":
            return self._price(exact, exact, work, asked.dtype)
        rough = {k: v if isinstance(v, float) else v.astype(np.float32) for k, v in columns.items()}
        return self._price(uniform(**rough, aligned=aligned), exact, work, asked.dtype)

    def memory(self, model: Architecture, work: Work, retained: Array = 0.0) -> Memory:
        """What fills the device's memory at the peak; `retained` positions of an older cache included."""
        return peak_memory(
            model, batch=work.batch, prompt=work.prompt, new=work.new, logits_all=work.logits_all, numbers=work.numbers,
            how=self._implementation(), overhead_bytes=self._part.memory_overhead_bytes, retained=retained,
            cache_copies=self._part.memory_cache_copies,
        )  # fmt: skip

    def _implementation(self) -> Implementation:
        """How the runtime carries out the operators; what the profile measured of it replaces the default."""
        how, moves = IMPLEMENTATIONS[self._part.implementation], self._part.unpack_moves
        return how if moves is None else how._replace(unpack_moves=moves)

    def _price(self, model: Architecture, exact: Architecture, work: Work, dtype: str) -> "_Priced":
        """Times from `model`; parameters and bytes from `exact`, the same in double precision."""
        target, measured = self._target(dtype)
        depth = model.num_hidden_layers
        blocks, head = blocks_cost(model, work, target), head_cost(model, work, target)
        times = respond(depth, blocks, head, work, target)
        return _Priced(
            self,
            num_parameters(exact),
            times,
            times.prefill_blocks_s / depth,
            times.decode_blocks_s / depth,
            self.memory(exact, work).peak_bytes,
            dominant(*bound_shares(times, depth, blocks, head, work, target)),
            maximum(self._outside(model, work), 0.0 if measured else 1.0),
        )

    def extrapolates(self, columns: Mapping[str, Array], workload: Workload | None = None) -> Array:
        """1 where shapes (Hugging Face names → arrays) lie outside what the profile was fitted on, else 0."""
        asked = workload or Workload()
        measured = self._target(asked.dtype)[1]
        return maximum(self._outside(uniform(**columns), work_of(asked)), 0.0 if measured else 1.0)

    def _outside(self, model: Architecture, work: Work) -> Array:
        """1 where a dimension lies outside what the profile was fitted on, or a kind of layer was never measured."""
        outside: Array = 0.0 if all(is_plain(group.block) for group in model.groups) else 1.0
        for name, (low, high) in self._part.ranges.items():
            value = _range_value(name, model, work)
            if is_array(value):
                outside = maximum(outside, indicator((value < low) | (value > high), value))
            elif not low <= value <= high:
                outside = maximum(outside, 1.0)
        return outside


def is_plain(block: Block) -> bool:
    """Attention and a dense feed-forward layer: the kinds that profiles are fitted on."""
    return isinstance(block.attention, Attention | None) and isinstance(block.feed_forward, FeedForward | None)


@dataclass(slots=True)
class _Priced:
    """Results of one call of the formulas, floats or arrays as they came."""

    source: Predictor
    num_parameters: Array
    times: Forecast
    prefill_s_per_layer: Array
    decode_s_per_layer: Array
    peak_memory_bytes: Array
    bound_code: Array
    outside: Array

    def spread(self, rows: int) -> Predictions:
        """As arrays of `rows` values each."""

        def full(value: Array) -> Array:
            return np.broadcast_to(np.asarray(value, dtype=np.float64), (rows,))

        peak = full(self.peak_memory_bytes)
        return Predictions(
            full(self.num_parameters), full(self.times.prefill_s), full(self.times.step_s), full(self.times.response_s),
            full(self.prefill_s_per_layer), full(self.decode_s_per_layer), peak, peak <= self.source.memory_bytes,
            full(self.bound_code).astype(np.int8), full(self.outside) > 0.0, self.source,
        )  # fmt: skip

    def one(self) -> Prediction:
        """As one prediction; every value must be a plain number."""
        times, source = self.times, self.source
        outside = self.outside > 0.0
        width = source.interval.width
        prefill, decode, response = (math.exp(width(phase, outside)) for phase in ("prefill", "decode", "response"))
        return Prediction(
            num_parameters=int(self.num_parameters),
            prefill_s=times.prefill_s,
            decode_s_per_token=times.step_s,
            response_s=times.response_s,
            prefill_s_per_layer=self.prefill_s_per_layer,
            decode_s_per_layer=self.decode_s_per_layer,
            prefill_s_low=times.prefill_s / prefill,
            prefill_s_high=times.prefill_s * prefill,
            decode_s_per_token_low=times.step_s / decode,
            decode_s_per_token_high=times.step_s * decode,
            response_s_low=times.response_s / response,
            response_s_high=times.response_s * response,
            interval=source.interval.level,
            peak_memory_bytes=self.peak_memory_bytes,
            fits_memory=self.peak_memory_bytes <= source.memory_bytes,
            bound=BOUNDS[int(self.bound_code)],
            extrapolated=outside,
            gpu=source.profile.gpu,
            runtime=source.runtime,
            profile=source.profile.name,
        )


def dominant(host_s: Array, memory_s: Array, compute_s: Array) -> Array:
    """Index into BOUNDS of the largest share."""
    return (host_s < maximum(memory_s, compute_s)) * (1.0 + (memory_s < compute_s))


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


_WORK_COLUMNS = {"prompt_tokens": "prompt", "new_tokens": "new", "batch_size": "batch"}


def _range_value(name: str, model: Architecture, work: Work) -> Array:
    if name in _WORK_COLUMNS:
        return getattr(work, _WORK_COLUMNS[name])
    if name == "num_hidden_layers":
        return model.num_hidden_layers
    if name in ("hidden_size", "vocab_size"):
        return getattr(model, name)
    raise ValueError(f"no such range: {name}")


def check_columns(columns: Mapping[str, Any]) -> tuple[int, dict[str, Array]]:
    """Number of rows, and each column as a float or a float64 array, checked; defaults filled in.

    Raises:
        UsageError: naming the column, and the row where it is one row's fault.
    """
    unknown = sorted(columns.keys() - {*CONFIG_FIELDS, *_WORK_COLUMNS})
    if unknown:
        raise UsageError(f"unknown column {unknown[0]!r}; known: {', '.join((*CONFIG_FIELDS, *_WORK_COLUMNS))}")
    table: dict[str, Array] = {}
    for name, given in columns.items():
        table[name] = _check_column(name, given)
    for name in ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size"):
        if name not in table:
            raise UsageError(f"column {name!r} is missing")
    table.setdefault("num_key_value_heads", table["num_attention_heads"])
    if "head_dim" not in table:
        table["head_dim"] = table["hidden_size"] / table["num_attention_heads"]
        _refuse(
            table["head_dim"] != np.floor(table["head_dim"]),
            "hidden_size is not divisible by num_attention_heads; give head_dim",
        )
    grouped = table["num_attention_heads"] / table["num_key_value_heads"]
    _refuse(grouped != np.floor(grouped), "num_attention_heads is not divisible by num_key_value_heads")
    lengths = {value.shape[0] for value in table.values() if not isinstance(value, float)}
    if len(lengths) > 1:
        raise UsageError(f"columns have different lengths: {sorted(lengths)}")
    return (lengths.pop() if lengths else 1), table


def _check_column(name: str, given: Any) -> Array:
    try:
        value = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"column {name!r} holds something that is not a number") from None
    if value.ndim > 1:
        raise UsageError(f"column {name!r} has {value.ndim} dimensions; give one value a row")
    if name == "tie_word_embeddings":
        _refuse((value != 0.0) & (value != 1.0), "tie_word_embeddings is neither true nor false")
    else:
        low = 0.0 if name == "new_tokens" else 1.0
        wrong = ~((value >= low) & (value <= MAX_DIMENSION)) | (value != np.floor(value))
        _refuse(wrong, f"{name} must be a whole number from {low:.0f} to {MAX_DIMENSION}")
    return float(value) if value.ndim == 0 else value


def _refuse(wrong: Array, message: str) -> None:
    if np.any(wrong):
        raise UsageError(f"row {int(np.argmax(np.atleast_1d(wrong)))}: {message}")


def _joined(parts: Sequence[Predictions], source: Predictor) -> Predictions:
    columns: dict[str, Any] = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts]) if parts else np.zeros(0)
        for field in fields(Predictions)
        if field.name != "source"
    }
    return Predictions(**columns, source=source)


__all__ = ["BOUNDS", "DTYPE_BYTES", "Numbers", "Prediction", "Predictions", "Predictor", "check_columns", "work_of"]
