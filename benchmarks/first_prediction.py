"""First prediction of every packaged profile, memory of its correction: `python benchmarks/first_prediction.py`.

A prediction of one model by a fresh `Predictor` on a profile that is loaded: the processor time of the best of some
runs, and the bytes that it leaves allocated. And the bytes that columns of random shapes, as a search has them, leave.
"""

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from speed import best_seconds, random_shapes

from latmodel import ModelConfig, Predictor
from latmodel.device.profile_file import read_profile
from latmodel.report.text import table

PROFILES = Path(__file__).resolve().parent.parent / "profiles"
MODEL = ModelConfig(
    num_hidden_layers=32, hidden_size=4096, intermediate_size=14_336, num_attention_heads=32, num_key_value_heads=8,
    vocab_size=128_256,
)  # fmt: skip
ROWS = 65_536
REPEATS = 9
MOST_S = 1e-3
MOST_BYTES = 1e6
SHOWN = 8


class First(NamedTuple):
    """What a profile's runtime took: seconds of the first prediction, bytes kept by one and by many."""

    name: str
    seconds: float
    one_bytes: float
    many_bytes: float


def kept_bytes(function: Callable[[], Any]) -> float:
    """Bytes that a call leaves allocated when its result is gone."""
    tracemalloc.start()
    function()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return float(kept)


def measured() -> list[First]:
    """Every runtime of every packaged profile."""
    shapes, found = random_shapes(ROWS), []
    for path in sorted(PROFILES.glob("*.json")):
        profile = read_profile(path)
        for runtime in profile.runtimes:
            fresh = [Predictor(profile, runtime) for _ in range(REPEATS)]
            seconds = best_seconds(lambda some=fresh: some.pop().predict(MODEL), REPEATS)  # type: ignore[misc]
            one, many = Predictor(profile, runtime), Predictor(profile, runtime)
            found.append(
                First(
                    f"{profile.name} {runtime}", seconds,
                    kept_bytes(lambda p=one: p.predict(MODEL)),  # type: ignore[misc]
                    kept_bytes(lambda p=many: p.predict_many(shapes)),  # type: ignore[misc]
                )
            )  # fmt: skip
    return found


def main() -> int:
    """Print the slowest; the exit status says whether every one keeps the limits."""
    # What only the first of a process pays.
    Predictor.load("3090").predict(MODEL)
    Predictor.load("a100", "vllm").predict_many(random_shapes(ROWS))
    found = sorted(measured(), key=lambda one: -one.seconds)
    lines = [
        [one.name, f"{1e3 * one.seconds:.2f} ms", f"{one.one_bytes / 1e6:.2f} MB", f"{one.many_bytes / 1e6:.2f} MB"]
        for one in found[:SHOWN]
    ]
    print(table(["slowest first predictions", "time", "kept by one", f"kept by {ROWS} shapes"], lines))
    slow = [one for one in found if one.seconds > MOST_S]
    large = [one for one in found if max(one.one_bytes, one.many_bytes) > MOST_BYTES]
    print(f"{len(slow)} of {len(found)} above {1e3 * MOST_S:g} ms; {len(large)} above {MOST_BYTES / 1e6:g} MB")
    return 1 if slow or large else 0


if __name__ == "__main__":
    sys.exit(main())
