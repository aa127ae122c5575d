"""`torch-compile` in a profile, derived from its graph: a whole step compiled, as gpt-fast and torchao do.

A compiler writes matrix-vector kernels of its own for the one row of a decode step, at 90 to 97 % of the memory's
bandwidth where a library's reach 80 (told of gpt-fast and torchao; their own figures were not looked up). Not fitted:
compiled 7B models on an RTX 4090 (meta-pytorch/gpt-fast#27) and on an A100 of 40 GB (Lightning-AI/litgpt#726) are
compared by `benchmarks/whole_models.py`.
"""

from latmodel.device.profile import Coefficient, Profile, RuntimePart
from latmodel.device.uncalibrated import derived_scores

RUNTIME, GRAPH = "torch-compile", "cuda-graph"
RATE = "gemm.bandwidth_efficiency"
VECTOR_RATE, VECTOR_ERROR = 0.935, 0.04  # the middle of 90 and 97 %
NOTE = (
    "torch-compile: a whole step compiled as gpt-fast does, derived from cuda-graph: fused kernels by count, weights "
    "at {rate:.0f} % of the bandwidth in decode; run `latmodel calibrate --gpu {gpu} --runtime torch-compile`"
)


def compiled_part(graph: RuntimePart, gpu: str, library_rate: float) -> RuntimePart:
    """The compiled runtime of a device whose graph is `graph`; `library_rate` is what the library's products reach."""
    rate = max(VECTOR_RATE, library_rate)
    one = Coefficient(value=rate, stderr_log=VECTOR_ERROR, status="prior")
    tables = graph.device or {"bfloat16": {}}
    changed = {
        "implementation": "compiled-step",
        "note": NOTE.format(rate=100 * rate, gpu=gpu),
        "device": {dtype: {**table, RATE: one} for dtype, table in tables.items()},
        "conformal_scores": derived_scores(graph),
        "corrected": [],  # what the corrections saw are a library's kernels
    }
    return graph.model_copy(update=changed)


def with_compiled(profile: Profile) -> Profile:
    """The profile with the compiled runtime after its graph."""
    table, _ = profile.device_table("bfloat16", GRAPH)
    part = compiled_part(profile.runtimes[GRAPH], profile.gpu, table[RATE].value)
    runtimes = {}
    for name, one in profile.runtimes.items():
        runtimes[name] = one
        if name == GRAPH:
            runtimes[RUNTIME] = part
    return profile.model_copy(update={"runtimes": runtimes})
