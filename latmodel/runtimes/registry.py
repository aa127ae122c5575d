"""The runtimes that a profile can name, one line each (`implementation` of a profile's runtime)."""

from ..model.implementation import Implementation
from .cuda_graph import CUDA_GRAPH
from .llama_cpp import LLAMA_CPP
from .onnxruntime import ONNXRUNTIME
from .serving import SERVING
from .torch_compile import COMPILED, COMPILED_STEP
from .torch_eager import TORCH
from .transformers_eager import TRANSFORMERS, TRANSFORMERS_CPU

_RUNTIMES = (
    TRANSFORMERS,
    TRANSFORMERS_CPU,
    TORCH,
    CUDA_GRAPH,
    COMPILED,
    COMPILED_STEP,
    SERVING,
    LLAMA_CPP,
    ONNXRUNTIME,
)
IMPLEMENTATIONS: dict[str, Implementation] = {one.name: one for one in _RUNTIMES}
