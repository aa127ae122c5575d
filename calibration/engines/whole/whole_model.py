"""An engine that runs whole models, in a process of its own: what it must offer, and the process that carries it.

An engine may crash or hang, and some keep threads and memory until their process ends; so each model is opened in a
child, which ends when its standard input does: with its parent, however that ends.
"""

import contextlib
import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError
from latmodel.model.config import DType, ModelConfig

COMMAND = (sys.executable, "-m", "calibration.engines.whole.whole_models")
START_TIMEOUT_S, TIMEOUT_S, END_S = 120.0, 600.0, 10.0
TAIL = 400  # characters of the engine's own log that an error shows


class WholeModelEngine(Protocol):
    """What runs a whole model. Every method may raise; seconds are wall time as the engine or its caller tells it."""

    name: str
    formats: tuple[str, ...]
    dtypes: tuple[DType, ...]  # that a workload may name: of its cache, and of what is not quantised
    few_rows: bool  # a few tokens behind a cache take ggml's kernels, of which the law knows: they are measured too

    def version(self) -> str:
        """Version and build of the engine: measurements of different ones do not mix."""

    def write(self, path: Path, config: ModelConfig, weights: str, seed: int) -> None:
        """Write a model with random weights."""

    def open(self, path: Path, options: EngineOptions, context: int) -> None:
        """Load a model for so many positions; an option that the engine lacks is refused (`UsageError`)."""

    def memory(self, path: Path, options: EngineOptions, context: int) -> dict[str, float]:
        """The same, with the bytes that the engine says it holds, by what they hold."""

    def prefill(self, tokens: int) -> float:
        """Seconds to read a prompt of so many tokens into an empty cache."""

    def decode(self, start: int, steps: int) -> float:
        """Mean seconds a token of `steps` tokens after a prompt of `start`."""

    def behind(self, cached: int, tokens: int) -> float:
        """Seconds to read so many more tokens of a prompt, `cached` of which are in the cache."""

    def query_tile(self, options: EngineOptions) -> float:
        """Queries of a prompt that attention on a CPU computes together, fewer one by one; 0: no difference."""

    def close(self) -> None:
        """Give everything back."""


class Child:
    """An engine in a process of its own; a context manager.

    Raises, from every call:
        LatmodelError: the engine raised, crashed, or did not answer in time; its process is gone then.
    """

    def __init__(self, engine: str, timeout_s: float = TIMEOUT_S, command: Sequence[str] = COMMAND) -> None:
        self.engine, self._timeout_s = engine, timeout_s
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115  # closed by `end`
        self._process = subprocess.Popen(
            [*command, engine],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        self.version = str(self._ask({"call": "version"}, START_TIMEOUT_S))

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def write(self, path: Path, config: ModelConfig, weights: str, seed: int) -> None:
        """Write a model with random weights."""
        self._ask({
            "call": "write", "path": str(path), "config": config.model_dump(), "weights": weights, "seed": seed,
        })  # fmt: skip

    def write_whole(self, path: Path, config: ModelConfig, weights: str, seed: int = 0) -> None:
        """The same, so that nothing is at `path` until all is: a writer that fails leaves its part beside it."""
        part = path.with_name(f"{path.name}.part")
        self.write(part, config, weights, seed)
        part.replace(path)

    def open(self, path: Path, options: EngineOptions, context: int) -> None:
        """Load a model for so many positions."""
        self._ask({"call": "open", "path": str(path), "options": options.model_dump(), "context": context})

    def memory(self, path: Path, options: EngineOptions, context: int) -> dict[str, float]:
        """The same, with the bytes that the engine says it holds."""
        message = {"call": "memory", "path": str(path), "options": options.model_dump(), "context": context}
        return {str(name): float(value) for name, value in self._ask(message).items()}

    def prefill(self, tokens: int) -> float:
        """Seconds to read a prompt."""
        return float(self._ask({"call": "prefill", "tokens": tokens}))

    def decode(self, start: int, steps: int) -> float:
        """Mean seconds a token."""
        return float(self._ask({"call": "decode", "start": start, "steps": steps}))

    def behind(self, cached: int, tokens: int) -> float:
        """Seconds to read more of a prompt behind what is cached."""
        return float(self._ask({"call": "behind", "cached": cached, "tokens": tokens}))

    @property
    def returncode(self) -> int | None:
        """How the process ended; None while it runs."""
        return self._process.poll()

    def end(self) -> None:
        """End the process, by force if it does not do so itself."""
        process = self._process
        if process.stdin is not None and not process.stdin.closed:
            with contextlib.suppress(OSError):  # it is gone already
                process.stdin.close()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._log.close()

    def _ask(self, message: Mapping[str, Any], timeout_s: float | None = None) -> Any:
        process = self._process
        assert process.stdin is not None, "both ends are pipes"
        assert process.stdout is not None, "both ends are pipes"
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            ready, _, _ = select.select([process.stdout], [], [], timeout_s or self._timeout_s)
            line = process.stdout.readline() if ready else None
        except OSError:
            line = ""
        if line is None:
            raise self._failed(f"did not answer {message['call']} within {timeout_s or self._timeout_s:g} s")
        try:
            answer = json.loads(line)
        except json.JSONDecodeError:
            raise self._failed(f"ended in {message['call']}") from None
        if "error" in answer:
            raise self._failed(str(answer["error"]))
        return answer["value"]

    def _failed(self, what: str) -> LatmodelError:
        """The error that tells it, with the end of the engine's log; the process is ended."""
        self._process.kill()
        self._process.wait()
        self._log.seek(0)
        log = self._log.read()[-TAIL:].strip().replace("\n", " | ")
        self.end()
        return LatmodelError(f"{self.engine} {what}" + (f"; its log ends: {log}" if log else ""))
