"""The engines that run whole models, by the name of their runtime; a new one is a file beside this and a line here.

`python -m calibration.engines.whole.whole_models ENGINE` is one of them, told what to do by lines of JSON on standard
input. Answers go to standard output, one line each; what the engine itself prints there is sent to standard error.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import ModelConfig

from .llama_cpp import LlamaCpp
from .onnxruntime import OnnxRuntime
from .vllm import Vllm
from .whole_model import WholeModelEngine

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
WHOLE_MODEL_ENGINES: dict[str, type[WholeModelEngine]] = {
    LlamaCpp.name: LlamaCpp, OnnxRuntime.name: OnnxRuntime, Vllm.name: Vllm,
}  # fmt: skip


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
    if "options" in message:
        message["options"] = EngineOptions(**message["options"])
    if "path" in message:
        message["path"] = Path(message["path"])
    return getattr(engine, call)(**message)


def serve(engine: WholeModelEngine) -> None:
    """Answer until standard input ends."""
    _end_with_parent()
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


def _end_with_parent() -> None:
    """On Linux the process ends with its parent at once; elsewhere when it next looks at its standard input."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    serve(find_whole_model_engine(sys.argv[1]))
