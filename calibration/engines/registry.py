"""The engines by the name of the runtime that each measures; a new one is a file beside this and a line here."""

from latmodel.errors import UsageError

from .engine import Engine
from .torch_blocks import torch_compiled_run, torch_eager_run
from .transformers_eager import check_installed, transformers_run

ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "transformers-eager",
            "transformers",
            transformers_run,
            any_decoder=True,
            check_installed=check_installed,
            packages=("transformers",),
        ),
        Engine("torch-eager", "torch", torch_eager_run),
        Engine("cuda-graph", "cuda-graph", torch_eager_run, graph=True, needs_cuda=True),
        # A compiler's own graph (`mode="reduce-overhead"`), which is what leaves the host out of a step.
        Engine("torch-compile", "compiled", torch_compiled_run, graph=True),
    )
}


def find_engine(name: str) -> Engine:
    """The engine that runs models as the runtime of that name does.

    Raises:
        UsageError: there is no such runtime, or what it needs is not installed.
    """
    if name not in ENGINES:
        raise UsageError(f"unknown runtime {name[:40]!r}: choose from {', '.join(ENGINES)}")
    ENGINES[name].check_installed()
    return ENGINES[name]
