"""Plain PyTorch's kernels replayed from a CUDA graph.

A graph holds a fixed list of kernels, so that experts cannot be looped over by the host: they are grouped products, as
in Transformers (`tests/test_recurrent.py` counts those).
"""

from .torch_eager import TORCH
from .transformers_eager import TRANSFORMERS

CUDA_GRAPH = TORCH._replace(name="cuda-graph", routing_kernels=TRANSFORMERS.routing_kernels, expert_kernels=0)
