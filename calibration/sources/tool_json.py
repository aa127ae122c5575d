"""JSON files that other tools write: size first, plain data, and only the fields that are needed, strictly."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from latmodel.errors import UsageError
from latmodel.model.config import describe
from latmodel.strict_json import read_regular, strict_loads

MAX_FILE_BYTES = 20_000_000
Found = TypeVar("Found", bound="ToolPart")


class ToolPart(BaseModel):
    """Part of another tool's output: its other fields are let be, those named here are checked."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, protected_namespaces=())


def load_tool_json(path: Path, tool: str) -> Any:
    """Plain data.

    Raises:
        UsageError: the file cannot be read, is too large, or is no JSON.
    """
    try:
        raw = read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if len(raw) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes: no output of {tool}")
    try:
        return strict_loads(raw)
    except ValueError as error:
        raise UsageError(f"{path}: {str(error)[:120]}; give the JSON that {tool} writes") from None


def parsed(data: Any, form: type[Found], path: Path, tool: str) -> Found:
    """The fields of `form`.

    Raises:
        UsageError: one is missing or wrong, as in another tool's file.
    """
    try:
        return form.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{path} is no output of {tool}: {describe(error, 'file')}") from None
