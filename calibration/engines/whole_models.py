"""The engines that run whole models, by the name of their runtime; a new one is a file beside this and a line here.

`python -m calibration.engines.whole_models ENGINE` is one of them, told what to do by lines of JSON on standard input.
Answers go to standard output, one line each; what the engine itself prints there is sent to standard error.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import ModelConfig

from .llama_cpp import LlamaCpp
from .vllm import Vllm
from .whole_model import WholeModelEngine

WHOLE_MODEL_ENGINES: dict[str, type[WholeModelEngine]] = {LlamaCpp.name: LlamaCpp, Vllm.name: Vllm}


def find_whole_model_engine(name: str) -> WholeModelEngine:
    """The engine of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in WHOLE_MODEL_ENGINES:
        raise UsageError(f"no engine runs whole models as {name[:40]!r}: choose from {', '.join(WHOLE_MODEL_ENGINES)}")
    return WHOLE_MODEL_ENGINES[name]()


def answer(engine: WholeModelEngine, message: dict[str, Any]) -> Any:
    """What one call gives."""
    call = message.pop("call")
    if "config" in message:
        message["config"] = ModelConfig(**message["config"])
    if "path" in message:
        message["path"] = Path(message["path"])
    return getattr(engine, call)(**message)


def serve(engine: WholeModelEngine) -> None:
    """Answer until standard input ends."""
    # The engine's own libraries print where they like: answers keep the pipe, everything else goes to the log.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            reply: dict[str, Any] = {"value": answer(engine, json.loads(line))}
        except LatmodelError as error:
            reply = {"error": str(error)}
        except (RuntimeError, ValueError, OSError, MemoryError, ImportError) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(reply) + "\n")
        out.flush()
    engine.close()


if __name__ == "__main__":
    serve(find_whole_model_engine(sys.argv[1]))
