"""An engine for tests, run as a child: it reads 1000 tokens a second, and can crash, hang or complain."""

import os
import time
from pathlib import Path

from calibration.engines.whole.whole_models import serve
from latmodel.device.engine_options import EngineOptions
from latmodel.errors import UsageError
from latmodel.model.config import DType, ModelConfig

CRASH, HANG, COMPLAIN = 13, 14, 15  # prompt tokens


class Fake:
    """See the module."""

    name = "fake"
    formats = ("f16",)
    dtypes: tuple[DType, ...] = ("float16",)
    few_rows = True

    def version(self) -> str:
        """Always the same; and noise on standard output, as real engines make."""
        print("loading backends")
        return "fake 1"

    def write(self, path: Path, config: ModelConfig, weights: str, seed: int) -> None:
        """A file that says what it was asked."""
        path.write_text(f"{config.hidden_size} {weights} {seed}")

    def open(self, path: Path, options: EngineOptions, context: int) -> None:
        """Nothing to load."""

    def memory(self, path: Path, options: EngineOptions, context: int) -> dict[str, float]:
        """A round figure."""
        return {"weights": 1e6}

    def prefill(self, tokens: int) -> float:
        """A millisecond a token."""
        if tokens == CRASH:
            os.abort()
        if tokens == HANG:
            time.sleep(60.0)
        if tokens == COMPLAIN:
            raise UsageError("no room")
        return tokens * 1e-3

    def decode(self, start: int, steps: int) -> float:
        """As long as the context says."""
        return (start + steps) * 1e-6

    def behind(self, cached: int, tokens: int) -> float:
        """A millisecond a token, and a microsecond a cached one."""
        return tokens * 1e-3 + cached * 1e-6

    def query_tile(self, options: EngineOptions) -> float:
        """Any number together."""
        return 0.0

    def close(self) -> None:
        """Nothing to give back."""


if __name__ == "__main__":
    serve(Fake())
