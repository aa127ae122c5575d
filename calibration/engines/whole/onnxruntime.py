"""ONNX Runtime GenAI on the CPU: models from its own builder, greedy search, times by the clock of this process."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import DType, ModelConfig
from latmodel.runtimes.onnxruntime import ONNXRUNTIME

from .packages import engine_package

OLDEST = (0, 18)  # older ones were not tried
# `--weights` → the builder's precision. On a CPU it builds no 16-bit models (`is_gqa_supported`).
PRECISIONS = {"int4": "int4", "float32": "fp32"}
FIRST_WORD, WORDS = 3, 199  # the prompt: the same few words over and over


class OnnxRuntime:
    """ONNX Runtime GenAI with the CPU execution provider."""

    name = ONNXRUNTIME.name
    formats = tuple(PRECISIONS)
    dtypes: tuple[DType, ...] = ("float32",)
    # Its kernels are others (MLAS): with such passes in the fit, decode of unseen models was 26 % off, without 3 %.
    few_rows = False

    def __init__(self) -> None:
        self._model: Any = None
        self._generator: Any = None
        self._read: int | None = None  # tokens of the prompt that the generator has read
        self._threads, self._context = 1, 0

    def version(self) -> str:
        """Versions of GenAI and of ONNX Runtime below it."""
        library = _library()
        import onnxruntime

        return f"onnxruntime-genai {library.__version__}, onnxruntime {onnxruntime.__version__}"

    def write(self, path: Path, config: ModelConfig, weights: str, seed: int) -> None:
        """Build a model in the folder `path`."""
        from .onnx_model import build

        _library()
        build(path, config, PRECISIONS[weights], seed)

    def open(self, path: Path, options: EngineOptions, context: int) -> None:
        """Load a folder that the builder wrote."""
        if options.micro_batch is not None or options.flash_attention is not None or options.kv_cache is not None:
            raise UsageError(
                f"{self.name} has --threads alone: leave out --ubatch, --flash-attention and a quantised KV cache"
            )
        library = _library()
        self.close()
        if not (path / "genai_config.json").is_file():
            raise UsageError(f"{path.name} is no model of ONNX Runtime GenAI: it has no genai_config.json")
        settings = library.Config(str(path))
        session = {"intra_op_num_threads": options.threads, "inter_op_num_threads": 1}
        settings.overlay(json.dumps({"model": {"decoder": {"session_options": session}}}))
        self._model = library.Model(settings)
        self._threads, self._context = options.threads, context

    def memory(self, path: Path, options: EngineOptions, context: int) -> dict[str, float]:
        """Bytes that became resident as the model was loaded and read a prompt of the whole context (Linux).

        It keeps no account of its own. "loaded" is before the prompt, "resident" the most there ever was.
        """
        before = _resident("VmRSS")
        self.open(path, options, context)
        loaded = _resident("VmRSS")
        self.prefill(context - 1)
        return {"loaded": loaded - before, "resident": _resident("VmHWM") - before}

    def prefill(self, tokens: int) -> float:
        """Seconds to read the prompt into an empty cache and to choose the first token."""
        self._start()
        return self._timed(lambda: self._append(tokens, first=True))

    def decode(self, start: int, steps: int) -> float:
        """Mean seconds from one token to the next; the prompt is read before and kept."""
        if self._generator is not None and self._read is not None and self._read >= start > 1:
            self._generator.rewind_to(start - 1)
            self._generator.append_tokens(_prompt(start)[-1:])
            self._generator.generate_next_token()
            self._read = start
        else:
            self._start()
            self._append(start, first=True)

        def generate() -> None:
            for _ in range(steps):
                self._generator.generate_next_token()

        return self._timed(generate) / steps

    def behind(self, cached: int, tokens: int) -> float:
        """Seconds of one pass over `tokens` behind `cached` positions, which are kept."""
        if self._generator is not None and self._read is not None and self._read >= cached > 0:
            self._generator.rewind_to(cached)
        else:
            self._start()
            self._append(cached, first=False)
        self._read = cached
        words = _prompt(cached + tokens)[cached:]
        return self._timed(lambda: self._generator.append_tokens(words))

    def query_tile(self, options: EngineOptions) -> float:
        """0: its attention is products for any number of queries."""
        return 0.0

    def close(self) -> None:
        """Let go of the model."""
        self._generator = None
        self._model = None

    def _start(self) -> None:
        if self._model is None:
            raise LatmodelError("no model is open")
        library = _library()
        self._generator, self._read = None, None
        search = library.GeneratorParams(self._model)
        # Never shorter than the context: an end token would stop the generation.
        search.set_search_options(do_sample=False, max_length=self._context, min_length=self._context)
        self._generator = library.Generator(self._model, search)

    def _append(self, tokens: int, *, first: bool) -> None:
        self._generator.append_tokens(_prompt(tokens))
        if first:
            self._generator.generate_next_token()  # its logits are there: this chooses
        self._read = tokens

    def _timed(self, run: Callable[[], None]) -> float:
        """Seconds; with one thread those in which it had the processor, which other processes leave alone."""
        clock = time.process_time if self._threads == 1 else time.perf_counter
        begin = clock()
        run()
        return clock() - begin


def _resident(field: str) -> float:
    """Bytes of this process by a field of its status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) * 1024.0


def _prompt(tokens: int) -> Any:
    return np.array([FIRST_WORD + index % WORDS for index in range(tokens)], dtype=np.int32)


def _library() -> Any:
    return engine_package(ONNXRUNTIME.name, "onnxruntime-genai", "onnxruntime_genai", "onnxruntime", OLDEST)
