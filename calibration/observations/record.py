"""One record per measured time: strict, flat, appended as JSON Lines; a torn last line is dropped on reading."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import MAX_DIMENSION, DType, Logits, describe
from latmodel.strict_json import read_regular, strict_loads, write_whole

from .decoder_config import MAX_TEXT_BYTES

MAX_FILE_BYTES = 200_000_000
MAX_LINE_BYTES = 20_000  # a configuration's quotes are escaped

Size = Annotated[int, Field(ge=1, le=MAX_DIMENSION)]
Count = Annotated[int, Field(ge=0, le=MAX_DIMENSION)]
Seconds = Annotated[float, Field(gt=0, le=1e5, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]


class Observation(BaseModel):
    """One measured time, and what was run.

    `part` says how much of the model ran: all of it, its `num_hidden_layers` blocks back to back without embedding and
    head, or embedding, final norm and head alone. `phase` and `timing` say what was timed: seconds of one prefill, one
    decode step (mean over contexts `prompt_tokens + 1 … prompt_tokens + new_tokens`), or a whole response; `wall` with
    the device synchronised before and after, `loop` free-running with the token loop around it, `device` kernels only,
    `host` the launches only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())

    part: Literal["model", "blocks", "head"] = "model"
    phase: Literal["prefill", "decode", "response"]
    timing: Literal["wall", "loop", "device", "host"]
    seconds: Seconds
    noise: Share = 0.02  # standard deviation of log(seconds) between repeats
    flags: tuple[
        Annotated[str, Field(max_length=40)], ...
    ] = ()  # "noisy", "throttled", "held-out": why a row is set apart

    gpu: Annotated[str, Field(max_length=100)]
    runtime: Annotated[str, Field(max_length=40)]
    dtype: DType = "bfloat16"
    logits: Logits = "last"

    num_hidden_layers: Count = 0
    hidden_size: Size
    intermediate_size: Size | None = None
    num_attention_heads: Size | None = None
    num_key_value_heads: Size | None = None
    head_dim: Size | None = None
    vocab_size: Size = 1
    tie_word_embeddings: bool = False

    batch_size: Size = 1
    prompt_tokens: Count = 512
    new_tokens: Count = 0
    cached_tokens: Count = 0  # positions before the prompt that are in the cache already
    source: Annotated[str, Field(max_length=200)] = ""
    name: Annotated[str, Field(max_length=100)] = ""
    config: Annotated[str, Field(max_length=MAX_TEXT_BYTES)] | None = None  # of a decoder that is no plain Llama: JSON

    @model_validator(mode="after")
    def _says_what_ran(self) -> "Observation":
        if self.config is None:
            for name in ("intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name} is missing, and there is no config")
        return self


def shape_of(row: Observation) -> str:
    """The shape that an observation is of: what was timed of one shape is never told apart in held-out errors."""
    return row.name.removesuffix("-prefill").removesuffix("-decode").removesuffix("-pass")


class Loaded(NamedTuple):
    """What a measurement file held: the good records, and one line for each that was not."""

    records: list[dict[str, Any]]
    problems: list[str]


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Append one JSON line and make it durable before returning, so that an interruption loses at most the next one."""
    line = _line(record)
    with path.open("a+b") as file:
        _mend(file)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def write_records(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write a JSON Lines file whole or not at all (a temporary file beside it is renamed over it).

    Raises:
        LatmodelError: it cannot be written.
    """
    try:
        write_whole(path, b"".join(map(_line, records)))
    except OSError as error:
        raise LatmodelError(f"cannot write {path}: {error.strerror}; choose another --out") from None


def _line(record: dict[str, Any]) -> bytes:
    return json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def _mend(file: BinaryIO) -> None:
    """End a last line that is whole, and remove one that was torn while it was written."""
    size = file.seek(0, os.SEEK_END)
    tail_bytes = min(size, MAX_LINE_BYTES)
    file.seek(size - tail_bytes)
    tail = file.read(tail_bytes).rpartition(b"\n")[2]
    if not tail:
        return
    if _record(tail) is None and len(tail) < MAX_LINE_BYTES:
        file.truncate(size - len(tail))
    else:
        file.write(b"\n")


def read_records(path: Path) -> Loaded:
    """Every line of a JSON Lines file that is an object; the others are named by line, a torn last one is dropped.

    Raises:
        UsageError: the file cannot be read or is larger than 200 MB.
    """
    try:
        if path.is_file() and (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise UsageError(f"{path} has {size} bytes, more than {MAX_FILE_BYTES}; split it")
        lines = read_regular(path, MAX_FILE_BYTES).split(b"\n")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    records, problems = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = _record(line)
        if record is not None:
            records.append(record)
        elif number < len(lines):  # the last piece has no newline after it: torn while being written
            problems.append(f"{path}:{number}: not a JSON object of at most {MAX_LINE_BYTES} bytes; left out")
    return Loaded(records, problems)


def _record(line: bytes) -> dict[str, Any] | None:
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        value = strict_loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def observation(record: dict[str, Any], where: str) -> Observation:
    """A checked observation.

    Raises:
        UsageError: a field is missing, unknown or out of range; `where` and the field are named.
    """
    try:
        return Observation.model_validate_json(json.dumps(record))
    except ValidationError as error:
        raise UsageError(f"{where}: {describe(error, 'observation')}") from None


def read_observations(path: Path) -> list[Observation]:
    """All observations of a JSON Lines file.

    Raises:
        UsageError: it cannot be read, or a line is no observation; the line and the field are named.
    """
    loaded = read_records(path)
    if loaded.problems:
        raise UsageError(loaded.problems[0])
    return [observation(record, f"{path}:{number}") for number, record in enumerate(loaded.records, 1)]


def same_setup(observations: Iterable[Observation], *keys: str) -> None:
    """Refuse to mix what is not comparable.

    Raises:
        UsageError: the observations differ in one of `keys`; the key and two of its values are named.
    """
    rows = list(observations)
    for key in keys:
        values = sorted({str(getattr(row, key)) for row in rows})
        if len(values) > 1:
            raise UsageError(f"observations of different {key} do not mix: {values[0]} and {values[1]}; fit them apart")
