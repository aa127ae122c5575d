"""The engines that run whole models, by the name of their runtime; a new one is a file beside this and a line here."""

from latmodel.errors import UsageError

from .llama_cpp import LlamaCpp
from .whole_model import WholeModelEngine

WHOLE_MODEL_ENGINES: dict[str, type[WholeModelEngine]] = {LlamaCpp.name: LlamaCpp}


def find_whole_model_engine(name: str) -> WholeModelEngine:
    """The engine of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in WHOLE_MODEL_ENGINES:
        raise UsageError(f"no engine runs whole models as {name[:40]!r}: choose from {', '.join(WHOLE_MODEL_ENGINES)}")
    return WHOLE_MODEL_ENGINES[name]()
