"""Running out of memory, in the words of `measure` whatever the device says."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..measure.bench import Bench, OutOfMemory, Times


@contextmanager
def memory_errors() -> Iterator[None]:
    """Running out of memory, as `measure` knows it, however torch says it: on a CPU with a plain RuntimeError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error).splitlines()[0][:200]) from None
    except RuntimeError as error:
        if "can't allocate memory" not in str(error):
            raise
        raise OutOfMemory(str(error).splitlines()[0][:200]) from None


class Guarded:
    """A bench that says in `measure`'s words when a run does not fit the memory."""

    def __init__(self, inner: Bench) -> None:
        self._inner = inner

    def time(self, runs: int) -> Times:
        with memory_errors():
            return self._inner.time(runs)

    def close(self) -> None:
        self._inner.close()
