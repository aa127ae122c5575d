"""llama.cpp's speeds as others published them, and the output of llama-bench itself.

The published table (`llama_bench/rows.csv`, with `devices.csv` beside it) has one test a row: a prompt read, or tokens
written after so many in the cache. llama-bench (`-o json`, `jsonl` or `csv`) says the same of a run of one's own; it
names the model's type and its size but no dimensions, which must come with it.
"""

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from latmodel.errors import UsageError
from latmodel.model.config import CONFIG_FIELDS, ModelConfig

from .tables import read_table

COLUMNS = (
    "source", "device", "backend", "build", "flash_attention", "model", "weights", *CONFIG_FIELDS,
    "phase", "prompt_tokens", "new_tokens", "tokens_per_s", "note",
)  # fmt: skip
DEVICE_COLUMNS = ("device", "memory_bandwidth_gb_s", "memory_gb", "cores", "bandwidth_source")
# A prompt on top of tokens that are in the cache already: llama-bench's `-d`, which the table keeps in its notes.
DEPTH = re.compile(r"on top of (\d+) tokens in the cache")
LLAMAFILE = "d893a/localscore-insights"  # LocalScore runs llamafile, whose kernels are not llama.cpp's own
# Its nine tests, prompt and new tokens, as recalled from LocalScore's source; their means are the 1332 and 1012
# that the table states. A row is the mean of their speeds, which no single test of the mean length has.
LOCALSCORE_TESTS = (
    (1024, 16), (4096, 256), (2048, 256), (2048, 768), (1024, 1024), (1280, 3072), (384, 1152), (64, 1024), (16, 1536),
)  # fmt: skip
# Gemma 3's local layers, which the table's columns do not hold: five in six see a window (its technical report, 2025).
GEMMA_3, SMALL_GEMMA_3 = re.compile(r"Gemma-3-"), re.compile(r"Gemma-3-(270m|1B)")
# What else decides which kernels run, by a word of the note: libraries, drivers, and hosts that launch slowly.
BUILDS = (
    ("hipBLASLt", "hipBLASLt"), ("rocwmma", "rocwmma"), ("amdvlk", "amdvlk"), ("no coopmat", "no coopmat"),
    ("Raspberry Pi", "slow host"), ("RISC-V", "slow host"),
)  # fmt: skip
# What tells one machine's drivers, libraries and hosts apart, where a publisher ran under several.
ENVIRONMENT = re.compile(
    r"env [\w.-]+|vulkan\w*|amdvlk|RADV|default HIP|\bhip\b|hipBLASLt|rocwmma|no coopmat|fork"
    r"|desktop host|Raspberry Pi \w+ host|RISC-V host"
)
OLD_BUILD = 4300  # about the end of 2024: the kernels of two backends are younger
YOUNG_BACKENDS = ("Vulkan", "ROCm")
OLD = "until 2024"
NUMBER, YEAR = re.compile(r"\((\d{3,4})\)$|^b(\d{3,4})\b"), re.compile(r"^20(\d\d)-")
# Metal ran one kernel after the other until about this build of September 2025, and fused none; since then independent
# ones run side by side (recalled of ggml-metal's history). LocalScore's llamafile is older too. A scoreboard that names
# a number says "later" of what came before that build as well.
SIDE_BY_SIDE = 6400
ANY_NUMBER = re.compile(r"\((\d{3,4})\)|^b(\d{3,5})\b")
MAX_FILE_BYTES = 20_000_000


class SpeedTest(NamedTuple):
    """One timed test: `depth` tokens in the cache, then `prompt_tokens` read at once or `new_tokens` written."""

    source: str
    device: str
    backend: str
    build: str  # what else distinguishes the kernels: "llamafile", "rocwmma", "hipBLASLt", …, or nothing
    flash_attention: bool | None  # None: not stated
    model: str
    config: ModelConfig
    weights: str
    window: int | None  # of five layers in six
    phase: str  # "prefill" or "decode"
    depth: int
    tokens: int
    seconds: float  # of the prompt, or of one new token
    setup: str = ""  # whose machine, which build, driver and libraries: tests alike in it are of one installation
    number: int | None = None  # of llama.cpp's build, where it is stated
    one_by_one: bool = False  # Metal's kernels are not run side by side yet

    @property
    def lengths(self) -> tuple[tuple[int, int], ...]:
        """Tokens in the cache and tokens read or written, of each test whose speed the row is the mean of."""
        if self.build != "llamafile":
            return ((self.depth, self.tokens),)
        if self.phase == "prefill":
            return tuple((0, prompt) for prompt, _ in LOCALSCORE_TESTS)
        return LOCALSCORE_TESTS


class DeviceFigures(NamedTuple):
    """What is promised of a device that has no data sheet in latmodel; None where nobody says. SI units."""

    bandwidth_bytes_per_s: float | None
    memory_bytes: float | None
    cores: float | None
    source: str


def read_tests(path: Path) -> list[SpeedTest]:
    """Rows of the published table.

    Raises:
        UsageError: the file cannot be read, a column is missing or a number is none.
    """
    return [_test(row) for row in read_table(path, COLUMNS)]


def read_devices(path: Path) -> dict[str, DeviceFigures]:
    """Figures of devices by name.

    Raises:
        UsageError: the file cannot be read or a column is missing.
    """
    rows = read_table(path, DEVICE_COLUMNS)
    return {
        row["device"]: DeviceFigures(
            _scaled(row["memory_bandwidth_gb_s"], 1e9), _scaled(row["memory_gb"], 2.0**30), _scaled(row["cores"], 1.0),
            row["bandwidth_source"],
        )
        for row in rows
    }  # fmt: skip


def read_whole_models(path: Path) -> list[SpeedTest]:
    """llama-bench rows of the table of whole models, on devices that it names as data sheets do.

    Raises:
        UsageError: the file cannot be read or a column is missing.
    """
    columns = ("source", "gpu", "runtime", "model", "weights", "phase", "seconds", *CONFIG_FIELDS)
    tests = []
    for row in read_table(path, columns):
        if row["runtime"] == "llama.cpp" and row["phase"] in ("prefill", "decode"):
            decode, apple = row["phase"] == "decode", row["gpu"].startswith("apple")
            tests.append(SpeedTest(
                row["source"], row["gpu"], "Metal" if apple else "CUDA", "", False,
                row["model"], _config(row), row["weights"], None, row["phase"], 0,
                int(row["new_tokens" if decode else "prompt_tokens"]), float(row["seconds"]), row["source"],
                one_by_one=apple,  # of May 2024
            ))  # fmt: skip
    return tests


def _test(row: dict[str, str]) -> SpeedTest:
    decode = row["phase"] == "decode"
    prompt, new = int(row["prompt_tokens"]), int(row["new_tokens"])
    on_top = DEPTH.search(row["note"])
    tokens = new if decode else prompt
    window = None
    if GEMMA_3.match(row["model"]):
        window = 512 if SMALL_GEMMA_3.match(row["model"]) else 1024
    return SpeedTest(
        row["source"], row["device"], row["backend"], _build(row),
        {"1": True, "0": False}.get(row["flash_attention"]), row["model"], _config(row), row["weights"], window,
        row["phase"], prompt if decode else int(on_top[1]) if on_top else 0, tokens,
        (1 if decode else tokens) / float(row["tokens_per_s"]), _setup(row), _number(row), _is_one_by_one(row),
    )  # fmt: skip


def _setup(row: dict[str, str]) -> str:
    publisher = row["source"].split("@", 1)[0]
    return "; ".join([publisher, row["build"], ", ".join(ENVIRONMENT.findall(row["note"]))])


def _number(row: dict[str, str]) -> int | None:
    found = NUMBER.search(row["build"])
    return int(found[1] or found[2]) if found else None


def _is_one_by_one(row: dict[str, str]) -> bool:
    if row["backend"] != "Metal":
        return False
    found = ANY_NUMBER.search(row["build"])
    return row["source"].startswith(LLAMAFILE) or (found is not None and int(found[1] or found[2]) < SIDE_BY_SIDE)


def _build(row: dict[str, str]) -> str:
    if row["source"].startswith(LLAMAFILE):
        return "llamafile"
    names = [name for word, name in BUILDS if word in row["note"]]
    if row["note"].startswith("hip") and "hipBLASLt" not in names:
        names.append("rocBLAS")  # which had no kernels of gfx1151's own
    number, year = _number(row), YEAR.match(row["build"])
    old = (number and number < OLD_BUILD) or (year and int(year[1]) <= 24)
    if old and row["backend"] in YOUNG_BACKENDS:
        names.append(OLD)
    return ", ".join(names)


def _config(row: dict[str, str]) -> ModelConfig:
    values: dict[str, Any] = {name: int(row[name]) for name in CONFIG_FIELDS if name != "tie_word_embeddings"}
    return ModelConfig(**values, tie_word_embeddings=row["tie_word_embeddings"] == "True")


def _scaled(text: str, unit: float) -> float | None:
    return float(text) * unit if text else None


def read_own_runs(path: Path, config: ModelConfig, device: str, backend: str) -> list[SpeedTest]:
    """The output of llama-bench (`-o json`, `jsonl` or `csv`) for one model of these dimensions.

    Tests that read a prompt and write tokens (`-pg`) mix two times and are left out.

    Raises:
        UsageError: the file cannot be read, is of another tool, or its model has other dimensions.
    """
    tests = []
    for entry in _entries(path):
        missing = [key for key in ("n_prompt", "n_gen", "avg_ts", "model_type") if key not in entry]
        if missing:
            raise UsageError(f"{path}: {missing[0]!r} is missing: this is no output of llama-bench -o json, jsonl, csv")
        try:
            prompt, new, depth = (int(entry.get(key) or 0) for key in ("n_prompt", "n_gen", "n_depth"))
        except (TypeError, ValueError):
            raise UsageError(f"{path}: n_prompt, n_gen, n_depth must be whole numbers, as llama-bench has it") from None
        if (prompt > 0) == (new > 0):
            continue
        speed = _speed(entry)
        if not 0 < speed < 1e9:
            raise UsageError(f"{path}: {entry['avg_ts']!s:.40} is no speed in tokens per second")
        tests.append(SpeedTest(
            path.name, device, backend, "", str(entry.get("flash_attn", "0")).lower() in ("1", "true"),
            str(entry["model_type"]), config, _weights(str(entry["model_type"]), path), None,
            "prefill" if prompt else "decode", depth, prompt or new,
            (prompt or 1) / speed, str(entry.get("build_commit") or "")[:40], _own_number(entry, path),
        ))  # fmt: skip
    if not tests:
        raise UsageError(f"{path}: no test of a prompt or of generation alone; run llama-bench -p 512 -n 128 -o jsonl")
    return tests


def _own_number(entry: dict[str, Any], path: Path) -> int | None:
    """llama.cpp's build number, None where none is told (0: built outside its repository)."""
    try:
        return int(entry.get("build_number") or 0) or None
    except (TypeError, ValueError):
        raise UsageError(f"{path}: build_number {entry['build_number']!s:.40} is no whole number") from None


def _speed(entry: dict[str, Any]) -> float:
    """Tokens per second: the median of the repeats, where they are told; of three the first may be a cold one. NaN for
    what is no number."""
    repeats = entry.get("samples_ts")
    try:
        return statistics.median(map(float, repeats if isinstance(repeats, list) and repeats else [entry["avg_ts"]]))
    except (TypeError, ValueError):
        return math.nan


def _entries(path: Path) -> Iterable[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path} is larger than {MAX_FILE_BYTES} bytes: no output of llama-bench")
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    start = text.lstrip()[:1]
    try:
        if start == "[":
            entries: list[dict[str, Any]] = json.loads(text)
        elif start == "{":
            entries = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            entries = list(csv.DictReader(io.StringIO(text)))
    except (json.JSONDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: {error}; give the output of llama-bench -o json, jsonl or csv") from None
    if not all(isinstance(entry, dict) for entry in entries):
        raise UsageError(f"{path}: a list of tests was expected, as llama-bench -o json writes it")
    return entries


def _weights(model_type: str, path: Path) -> str:
    """The file type in llama-bench's `model_type`: "llama 7B Q4_K - Medium" is q4_k_m."""
    found = re.search(r"(BF16|F16|Q\d_\d|Q\d_K)( - (Small|Medium|Large))?$", model_type)
    if found is None:
        raise UsageError(f"{path}: model_type {model_type[:60]!r} names no known weight format")
    size = f"_{found[3][0]}" if found[3] else ""
    return (found[1] + size).lower()
