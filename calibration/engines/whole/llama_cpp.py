"""llama.cpp through `xllamacpp`, a binding of its server with prebuilt wheels; times are the server's own.

One sequence, greedy sampling. The server's sampler and its loop are part of a token.
"""

import time
from pathlib import Path
from typing import Any

from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError
from latmodel.model.config import DType, ModelConfig
from latmodel.model.gguf import FILE_TYPES
from latmodel.runtimes.llama_cpp import LLAMA_CPP

from .gguf_file import FIRST_WORDS, write_gguf
from .llama_cpp_log import buffers, standard_error
from .packages import engine_package

MICRO_BATCH = 512
FLASH_ATTENTION = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}
QUIET, TELLING = -1, 4  # of its log
OLDEST = (2026, 10)
QUERY_TILE = 64.0  # GGML_FA_TILE_Q


class LlamaCpp:
    """llama.cpp on the CPU, or on the GPU that the installed wheel was built for."""

    name = LLAMA_CPP.name
    formats = tuple(FILE_TYPES)
    dtypes: tuple[DType, ...] = ("float16", "bfloat16", "float32")  # whichever: the cache has 16 bits
    few_rows = True

    def __init__(self) -> None:
        self._server: Any = None
        self._threads = 1

    def version(self) -> str:
        """Version of the binding, which is that of llama.cpp's build too."""
        return f"xllamacpp {_library().__version__}"

    def write(self, path: Path, config: ModelConfig, weights: str, seed: int) -> None:
        """Write a GGUF file."""
        write_gguf(path, config, weights, seed)

    def open(self, path: Path, options: EngineOptions, context: int) -> None:
        """Load a GGUF file."""
        self._open(path, options, context, QUIET)

    def memory(self, path: Path, options: EngineOptions, context: int) -> dict[str, float]:
        """Bytes that the log of loading the file tells of, by what they hold; the model stays open."""
        with standard_error() as log:
            self._open(path, options, context, TELLING)
            self.prefill(1)  # the log is complete then; and a server that never ran may not end
        return buffers(log[0])

    def _open(self, path: Path, options: EngineOptions, context: int, verbosity: int) -> None:
        library = _library()
        self.close()
        self._threads = options.threads
        micro_batch = options.micro_batch or MICRO_BATCH
        settings = library.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx, settings.n_parallel = context, 1
        settings.n_batch, settings.n_ubatch = max(context, micro_batch), micro_batch
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = options.threads
        if options.flash_attention is not None:
            kinds = library.llama_flash_attn_type
            settings.flash_attn_type = getattr(
                kinds, f"LLAMA_FLASH_ATTN_TYPE_{FLASH_ATTENTION[options.flash_attention]}"
            )
        if options.kv_cache is not None:
            kind = getattr(library.ggml_type, f"GGML_TYPE_{options.kv_cache.upper()}")
            settings.cache_type_k = settings.cache_type_v = kind
        settings.n_ctx_checkpoints = settings.cache_ram_mib = 0
        settings.verbosity = verbosity
        self._server = library.Server(settings)

    def prefill(self, tokens: int) -> float:
        """Seconds that the server says it read the prompt in."""
        timings, share = self._run(tokens, 1)
        return float(timings["prompt_ms"]) * 1e-3 * share

    def decode(self, start: int, steps: int) -> float:
        """Mean seconds from one token to the next; the first comes with the prompt.

        The prompt is read before, and kept, so that what is timed is hardly anything but the generation.
        """
        self._run(start, 1, keep=True)
        timings, share = self._run(start, steps + 1, keep=True)
        return float(timings["predicted_ms"]) * 1e-3 * share / (int(timings["predicted_n"]) - 1)

    def behind(self, cached: int, tokens: int) -> float:
        """Seconds that the server says it read so many more tokens of a prompt in, whose beginning it has kept."""
        self._run(cached, 1, keep=True)
        timings, share = self._run(cached + tokens, 1, keep=True)
        if timings.get("prompt_n") != tokens:
            raise LatmodelError(f"the server read {timings.get('prompt_n')} tokens behind {cached}, not {tokens}")
        return float(timings["prompt_ms"]) * 1e-3 * share

    def query_tile(self, options: EngineOptions) -> float:
        """That of flash attention on 16-bit keys and values. On quantised ones every query of a prompt is alone too."""
        plain = options.flash_attention != "off" and options.kv_cache is None
        return QUERY_TILE if plain else 0.0

    def close(self) -> None:
        """Let go of the model."""
        self._server = None

    def _run(self, prompt: int, new: int, *, keep: bool = False) -> tuple[dict[str, Any], float]:
        """The server's timings, and the share of the wall time in which its one thread had the processor.

        With one thread that leaves out what other processes take, as the CPU's clock of the PyTorch runtimes does;
        with several there is no such clock, and the share is 1.
        """
        if self._server is None:
            raise LatmodelError("no model is open")
        wall, busy = time.perf_counter(), time.process_time()
        reply = self._server.handle_completions({
            # The same made-up words over and over: what they are changes nothing in what is computed.
            "prompt": [FIRST_WORDS + index % 199 for index in range(prompt)], "n_predict": new, "cache_prompt": keep,
            "ignore_eos": True, "temperature": 0.0, "samplers": ["temperature"], "stream": False,
        })  # fmt: skip
        timings = reply.get("timings") if isinstance(reply, dict) else None
        if not isinstance(timings, dict) or timings.get("predicted_n") != new or _read(timings) != prompt:
            raise LatmodelError(f"the server answered {str(reply)[:200]}")
        share = (time.process_time() - busy) / (time.perf_counter() - wall)
        return timings, min(share, 1.0) if self._threads == 1 else 1.0


def _read(timings: dict[str, Any]) -> int:
    """Tokens of the prompt: computed now, and those that were in the cache."""
    return int(timings.get("prompt_n", 0)) + int(timings.get("cache_n", 0))


def _library() -> Any:
    return engine_package(LLAMA_CPP.name, "xllamacpp", "xllamacpp", "llama-cpp", OLDEST)
