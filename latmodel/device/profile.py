"""`Profile`: the coefficients of one device with its runtimes, where they come from and how far to trust them.

Strict: no unknown key, every number in range.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ..errors import ProfileError
from ..laws.coefficients import Device, DeviceCoefficients, RuntimeCoefficients, Sheet, device_coefficients
from ..laws.correction_part import CorrectionPart, Family, check_family, corrections_of
from ..laws.corrector import Corrector
from ..laws.float8 import FLOAT8_PRIORS
from ..laws.priors import ENGINE_PRIORS, GGML_PRIORS, GRAPH_PRIORS, RUNTIME_PRIORS, device_priors
from ..model.config import DType
from ..model.implementation import AttentionPath, Implementation
from ..model.layers.registry import KINDS
from ..runtimes.registry import IMPLEMENTATIONS
from ..version import __version__
from .coefficient import AroundOne, NonNegative, check_names, check_values
from .coefficient import Coefficient as Coefficient  # noqa: PLC0414  # whoever builds a profile takes it from here
from .engine_options import EngineOptions

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, le=1e24, allow_inf_nan=False)]
Text = Annotated[str, Field(max_length=2000)]
WRITTEN_SCORES = AttentionPath(name="eager", kernels=2, score_kernels=1, score_moves=2)  # of an engine without flash
FLOAT8: Literal["float8"] = "float8"
SIXTEEN_BITS = "f16"  # the format of GGUF files that stands for weights in 16 bits
FLOAT8_PHASE = "gemm fp8"  # of an error: that of its products
TableName = Literal["bfloat16", "float16", "float32", "float8"]
Phase = Literal["prefill", "decode", "response"]
RangeName = Literal[
    "num_hidden_layers", "hidden_size", "intermediate_size", "head_dim", "vocab_size", "prompt_tokens", "new_tokens",
    "batch_size", "cached_tokens",
]  # fmt: skip


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())


class SheetPart(_Part):
    """Data-sheet figures; rates are dense."""

    peak_flops_per_s: dict[TableName, Positive]
    bandwidth_bytes_per_s: Positive
    memory_bytes: Positive
    sm_count: Annotated[float, Field(ge=1, le=100_000)]
    cache_bytes: Positive
    source: Text
    matrix_rows: Annotated[float, Field(ge=1, le=256)] = 16.0  # of an instruction of its matrix units; 1: it has none


class DevicePart(_Part):
    """What is true of the device, by dtype; of "float8" there are matrix products alone."""

    sheet: SheetPart
    coefficients: dict[TableName, dict[str, Coefficient]]
    corrections: dict[TableName, dict[Family, CorrectionPart]] = {}

    @field_validator("coefficients")
    @classmethod
    def _complete(cls, tables: dict[str, dict[str, Coefficient]]) -> dict[str, dict[str, Coefficient]]:
        if not tables.keys() - {FLOAT8}:
            raise ValueError("no dtype has coefficients")
        for dtype, table in tables.items():
            priors = FLOAT8_PRIORS if dtype == FLOAT8 else device_priors(table)
            check_names(table, priors, f"coefficients.{dtype}")
        return tables

    @field_validator("corrections")
    @classmethod
    def _families(cls, tables: dict[str, dict[Family, CorrectionPart]]) -> dict[str, dict[Family, CorrectionPart]]:
        for dtype, families in tables.items():
            for family, part in families.items():
                check_family(family, part)
                if dtype == FLOAT8 and family != "gemm":
                    raise ValueError(f"corrections.{FLOAT8}.{family}: only gemm is computed in it")
        return tables

    @model_validator(mode="after")
    def _rated(self) -> "DevicePart":
        if FLOAT8 in self.coefficients and FLOAT8 not in self.sheet.peak_flops_per_s:
            raise ValueError(f"sheet.peak_flops_per_s.{FLOAT8} is missing: coefficients.{FLOAT8} are shares of it")
        return self


class RuntimePart(_Part):
    """What is true of a runtime on the host where it was measured."""

    implementation: Text  # a name of `runtimes.registry`
    host: Text
    machine: Annotated[str, Field(pattern=r"^[0-9a-f]{0,16}$")] = ""  # where a user measured it: `machine_key`
    note: Text = ""
    memory_overhead_bytes: NonNegative = 0.0
    memory_cache_copies: Annotated[float, Field(ge=1, le=10)] = 1.0  # of the whole KV cache alive at the peak
    unpack_moves: Annotated[float, Field(ge=0, le=100)] | None = None  # of `unpacking`; None: the implementation's
    coefficients: dict[str, Coefficient]
    device: dict[DType, dict[str, Coefficient]] = {}  # of the device, where its own kernels are not the common ones
    formats: dict[str, dict[str, Coefficient]] = {}  # of the device, by the weights' format, where each has kernels
    corrected: list[Family] = []  # families whose kernels, in this runtime, are those that the corrections saw
    host_range: AroundOne = (1.0, 1.0)  # of its time, nine of ten: few rows leave that open
    conformal_scores: dict[Phase, Annotated[list[NonNegative], Field(max_length=500)]] = {}
    ranges: dict[RangeName, tuple[Finite, Finite]] = {}
    layers: list[str] = []  # measured kinds besides attention and dense feed-forward layers
    extrapolation_factor: Annotated[float, Field(ge=1, le=100)] = 2.0
    engine: EngineOptions | None = None  # under which an engine that runs whole models was measured
    builds: tuple[int, int] | None = None  # lowest and highest build number of the engine's runs, where they say
    dtypes: list[DType] = []  # all that it computes in; empty: any

    @property
    def measured_as(self) -> Implementation:
        """The implementation, with what was measured of it or set in place of its defaults."""
        found, rows = IMPLEMENTATIONS[self.implementation], None if self.engine is None else self.engine.micro_batch
        found = found if self.unpack_moves is None else found._replace(unpack_moves=self.unpack_moves)
        if self.engine is not None and self.engine.flash_attention == "off":
            found = found._replace(attentions=(WRITTEN_SCORES,))
        return found if rows is None else found._replace(micro_batch=float(rows))

    @field_validator("implementation")
    @classmethod
    def _registered(cls, name: str) -> str:
        if name not in IMPLEMENTATIONS:
            raise ValueError(f"no such runtime is known; choose from {', '.join(IMPLEMENTATIONS)}")
        return name

    @field_validator("layers")
    @classmethod
    def _kinds(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in KINDS:
                raise ValueError(f"no such kind of layer is known; choose from {', '.join(KINDS)}")
        return names

    @field_validator("coefficients")
    @classmethod
    def _complete(cls, table: dict[str, Coefficient]) -> dict[str, Coefficient]:
        check_names(table, RUNTIME_PRIORS, "coefficients", ENGINE_PRIORS | GRAPH_PRIORS)
        return table

    @field_validator("device")
    @classmethod
    def _known(cls, tables: dict[str, dict[str, Coefficient]]) -> dict[str, dict[str, Coefficient]]:
        for dtype, table in tables.items():
            check_values(table, device_priors(table), f"device.{dtype}")
        return tables

    @field_validator("formats")
    @classmethod
    def _whole(cls, tables: dict[str, dict[str, Coefficient]]) -> dict[str, dict[str, Coefficient]]:
        for name, table in tables.items():
            check_names(table, GGML_PRIORS, f"formats.{name[:40]}")
        return tables

    @field_validator("ranges", mode="before")
    @classmethod
    def _pairs(cls, ranges: Any) -> Any:
        if isinstance(ranges, dict):
            return {key: tuple(pair) if isinstance(pair, list) else pair for key, pair in ranges.items()}
        return ranges


class ErrorRow(_Part):
    """One measured error: which rows, in or out of sample, how many, mean absolute percentage error."""

    split: Text
    phase: Text
    rows: Annotated[int, Field(ge=1)]
    mape_percent: NonNegative


class Quality(_Part):
    """How far to trust the profile."""

    kind: Literal["calibrated", "published", "data-sheet"]
    errors: list[ErrorRow] = []


class Provenance(_Part):
    """Where the numbers came from."""

    source: Text
    commit: Text = ""
    date: Text
    rows: Text
    made_by: Text
    latmodel_version: Text = __version__  # that made it; empty where a file does not say, as before 0.2
    notes: list[Text] = []


class Profile(_Part):
    """The fitted coefficients of one device with its runtimes."""

    schema_version: Literal[2]  # what it was under another: `profile_file`
    name: Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
    gpu: Text
    title: Text
    device: DevicePart
    runtimes: dict[str, RuntimePart]
    quality: Quality
    provenance: Provenance

    def runtime(self, name: str | None) -> tuple[str, RuntimePart]:
        """The named runtime, or the first one.

        Raises:
            ProfileError: the profile has no such runtime.
        """
        chosen = name or next(iter(self.runtimes), None)
        if chosen is None or chosen not in self.runtimes:
            known = ", ".join(self.runtimes) or "none"
            raise ProfileError(f"profile {self.name} has no runtime {name!r}; it has: {known}")
        return chosen, self.runtimes[chosen]

    def sheet(self, dtype: str) -> Sheet:
        """Data-sheet constants for `dtype`.

        Raises:
            ProfileError: the device has no rate for that dtype.
        """
        own, rates = self.device.sheet, {str(name): rate for name, rate in self.device.sheet.peak_flops_per_s.items()}
        if (peak := rates.get(dtype)) is None:
            raise ProfileError(f"profile {self.name} has no peak rate for {dtype}; try --dtype {next(iter(rates))}")
        vector_rows = peak / rates["float32"] if "float32" in rates else own.matrix_rows
        fixed = (own.bandwidth_bytes_per_s, own.sm_count, own.cache_bytes, rates.get(FLOAT8, 0.0), own.matrix_rows)
        return Sheet(peak, *fixed, vector_rows)

    def device_table(self, dtype: str, runtime: str | None = None) -> tuple[dict[str, Coefficient], bool]:
        """Coefficients for `dtype` as a runtime's kernels have them (None: the common ones), and whether they were
        measured with it (another's stand in if not). A GPU that was measured in bfloat16 runs float16 as fast."""
        tables: dict[str, dict[str, Coefficient]] = dict(self.device.coefficients)  # type: ignore[arg-type]
        tables.pop(FLOAT8, None)
        own: dict[str, dict[str, Coefficient]] = {} if runtime is None else dict(self.runtimes[runtime].device)  # type: ignore[arg-type]
        table = tables.get(dtype) or next(iter(tables.values()))
        replaced = own.get(dtype) or next(iter(own.values()), {})
        alike = {dtype, "bfloat16"} if dtype == "float16" and not self.is_cpu else {dtype}
        return {**table, **replaced}, not alike.isdisjoint({*tables, *own})

    def device_coefficients(
        self, dtype: str, runtime: str | None = None, weights: str | None = None
    ) -> tuple[Device, bool]:
        """The same as plain numbers; where the runtime has kernels by format, those of `weights` (None: 16 bits).

        Raises:
            ProfileError: the runtime cannot run weights in that format.
        """
        part = None if runtime is None else self.runtimes[runtime]
        if part is not None and part.dtypes and dtype not in part.dtypes:
            raise ProfileError(f"{runtime} was measured in {part.dtypes[0]}: use --dtype {part.dtypes[0]}")
        if part is not None and part.formats:
            formats = part.formats
            plain = dtype if dtype in formats else SIXTEEN_BITS
            chosen = formats.get(weights or plain)
            if chosen is None:
                raise ProfileError(f"{runtime} has no weights in {weights or plain}: choose from {', '.join(formats)}")
            values = {key: item.value for key, item in chosen.items()}
            return device_coefficients(values, part.measured_as.micro_batch), True
        table, measured = self.device_table(dtype, runtime)
        values = {key: item.value for key, item in table.items()}
        float8 = self.device.coefficients.get(FLOAT8, {})
        values |= {f"{FLOAT8}.{key}": item.value for key, item in float8.items()}
        return device_coefficients(values), measured

    @property
    def is_cpu(self) -> bool:
        """Whether the device is a CPU, which has laws and coefficients of its own."""
        return any(name.startswith("cpu.") for table in self.device.coefficients.values() for name in table)

    @property
    def multiplies_float8(self) -> bool:
        """Whether products of 8-bit floats were measured on the device."""
        return FLOAT8 in self.device.coefficients

    def corrector(self, dtype: str, runtime: str) -> Corrector | None:
        """The learned correction of a runtime's kernels in `dtype` (16-bit types share one), if there is any."""
        tables: dict[str, dict[str, CorrectionPart]] = dict(self.device.corrections)  # type: ignore[arg-type]
        twins = {"bfloat16": "float16", "float16": "bfloat16"}
        parts = tables.get(dtype) or tables.get(twins.get(dtype, ""), {})
        corrected = self.runtimes[runtime].corrected
        families = corrections_of(parts, corrected)
        if "gemm" in corrected and FLOAT8 in tables:
            families["gemm8"] = corrections_of(tables[FLOAT8], ["gemm"])["gemm"]
        if not families:
            return None
        device = self.device_coefficients(dtype, runtime)[0]
        if not isinstance(device, DeviceCoefficients):
            return None
        return Corrector(families, device.decode.window_whole)

    def runtime_coefficients(self, name: str) -> RuntimeCoefficients:
        """The coefficients of a runtime as plain numbers."""
        table = self.runtimes[name].coefficients
        return RuntimeCoefficients(**{key: item.value for key, item in table.items()})
