"""The header of a GGUF file: metadata and the shape and type of each tensor; never the weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian).
"""

import os
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from ...errors import UsageError
from ...model.gguf import TENSOR_TYPES
from ...strict_json import open_regular

MAX_HEADER = 64_000_000  # vocabularies and merges take up to 20 MB
MAX_ENTRIES, MAX_TENSORS, MAX_DIMENSIONS = 10_000, 100_000, 4
MAX_TEXT = 1_000  # longer texts, templates, are passed over
MAX_NUMBERS = 5_000  # longer lists, vocabularies, are counted and passed over
CHUNK = 1_000_000
# Type by its number in a file; its block stands in `model.gguf`.
TYPES: dict[int, str] = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0",
    9: "q8_1", 10: "q2_k", 11: "q3_k", 12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k",
    16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20: "iq4_nl", 21: "iq3_s", 22: "iq2_s",
    23: "iq4_xs", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "f64", 29: "iq1_m",
    30: "bf16", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4", 40: "nvfp4", 41: "q1_0",
}  # fmt: skip
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


class Tensor(NamedTuple):
    """One tensor: its dimensions, the quickest first (inputs × outputs × experts), and the number of its type."""

    name: str
    shape: tuple[int, ...]
    kind: int

    @property
    def values(self) -> int:
        """Number of values."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        """Bytes in the file, alignment left out."""
        stored = TENSOR_TYPES[TYPES[self.kind]]
        return self.values // int(stored.block) * int(stored.block_bytes)


class Header(NamedTuple):
    """What a file says before its weights. A list too long to matter is its length alone."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class _Bytes:
    """The start of a file, read as far as it is asked for."""

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file, self._where = file, where
        self._held, self._at = bytearray(), 0

    def _ensure(self, count: int) -> None:
        missing = self._at + count - len(self._held)
        if missing <= 0:
            return
        if self._at + count > MAX_HEADER:
            raise UsageError(f"{self._where}: the header says it is longer than {MAX_HEADER} bytes")
        self._held += self._file.read(max(missing, CHUNK))
        if self._at + count > len(self._held):
            raise UsageError(f"{self._where} ends within its header, at byte {len(self._held)}")

    def number(self, code: str) -> Any:
        size = struct.calcsize("<" + code)
        self._ensure(size)
        (value,) = struct.unpack_from("<" + code, self._held, self._at)
        self._at += size
        return value

    def numbers(self, code: str, count: int) -> list[Any] | None:
        """So many numbers, or None if they are too many to keep."""
        size = count * struct.calcsize("<" + code)
        self._ensure(size)
        values = list(struct.unpack_from(f"<{count}{code}", self._held, self._at)) if count <= MAX_NUMBERS else None
        self._at += size
        return values

    def text(self, limit: int) -> str | None:
        """A text, or None if it is longer than `limit` bytes."""
        length = self.number("Q")
        self._ensure(length)
        raw = bytes(self._held[self._at : self._at + length]) if length <= limit else None
        self._at += length
        return None if raw is None else raw.decode("utf-8", "replace")

    def pass_texts(self, count: int) -> None:
        """Pass over so many texts."""
        self._ensure(8 * count)  # each has at least a length
        unpack = struct.Struct("<Q").unpack_from
        for _ in range(count):
            if self._at + 8 > len(self._held):
                self._ensure(8)
            self._at += 8 + unpack(self._held, self._at)[0]
            if self._at > len(self._held):
                behind = self._at - len(self._held)
                self._at = len(self._held)
                self._ensure(behind)
                self._at += behind


def read_header(path: str | os.PathLike[str]) -> Header:
    """Metadata and tensors of a GGUF file.

    Raises:
        UsageError: it cannot be read, is no GGUF file of versions 2 or 3, is cut off, or is beyond the limits.
    """
    where = os.fspath(path)
    try:
        with open_regular(path) as file:
            return _header(_Bytes(file, where), where)
    except (OSError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from None


def _header(source: _Bytes, where: str) -> Header:
    magic, version = source.number("I"), source.number("I")
    if magic != 0x46554747:  # "GGUF"
        raise UsageError(f"{where} is no GGUF file: it begins with other letters")
    if version not in (2, 3):
        raise UsageError(f"{where}: GGUF version {version} is not read; 2 and 3 are, little-endian")
    tensors, entries = source.number("Q"), source.number("Q")
    for count, limit, what in ((tensors, MAX_TENSORS, "tensors"), (entries, MAX_ENTRIES, "metadata entries")):
        if count > limit:
            raise UsageError(f"{where} says it has {count} {what}; more than {limit} are not read")
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        name = _name(source, where)
        if name in metadata:
            raise UsageError(f"{where}: {name[:60]!r} appears twice")
        metadata[name] = _value(source, source.number("I"), where, name)
    found = [_tensor(source, where) for _ in range(tensors)]
    by_name = {one.name: one for one in found}
    if len(by_name) != len(found):
        raise UsageError(f"{where}: a tensor's name appears twice")
    return Header(metadata, by_name)


def _name(source: _Bytes, where: str) -> str:
    name = source.text(MAX_TEXT)
    if name is None:
        raise UsageError(f"{where}: a name is longer than {MAX_TEXT} bytes")
    return name


def _value(source: _Bytes, kind: int, where: str, name: str) -> Any:
    if kind == _TEXT:
        return source.text(MAX_TEXT)
    if kind in _NUMBERS:
        return source.number(_NUMBERS[kind])
    if kind != _LIST:
        raise UsageError(f"{where}: {name[:60]!r} is of type {kind}, which GGUF does not have")
    inner, count = source.number("I"), source.number("Q")
    if inner == _LIST:
        raise UsageError(f"{where}: {name[:60]!r} is a list of lists, which is not read")
    if count > MAX_HEADER:
        raise UsageError(f"{where}: {name[:60]!r} says it has {count} entries")
    if inner == _TEXT:
        source.pass_texts(count)
        return count
    if inner not in _NUMBERS:
        raise UsageError(f"{where}: {name[:60]!r} is a list of type {inner}, which GGUF does not have")
    values = source.numbers(_NUMBERS[inner], count)
    return count if values is None else values


def _tensor(source: _Bytes, where: str) -> Tensor:
    name, rank = _name(source, where), source.number("I")
    if not 1 <= rank <= MAX_DIMENSIONS:
        raise UsageError(f"{where}: tensor {name[:60]!r} has {rank} dimensions")
    shape = tuple(source.number("Q") for _ in range(rank))
    kind, _offset = source.number("I"), source.number("Q")
    if kind not in TYPES:
        raise UsageError(f"{where}: tensor {name[:60]!r} is of type {kind}, which is not known")
    if not all(0 < size < 2**40 for size in shape) or shape[0] % int(TENSOR_TYPES[TYPES[kind]].block):
        raise UsageError(f"{where}: tensor {name[:60]!r} has dimensions {shape[:4]}, which its type cannot have")
    return Tensor(name, shape, kind)
