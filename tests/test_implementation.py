"""The kernel counts of `latmodel.model.implementation` against what PyTorch's dispatcher sees in one block."""

from collections import Counter

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from calibration_support import config  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from calibration.engines.block import Arena  # noqa: E402
from calibration.engines.registry import find_engine  # noqa: E402
from calibration.measure.cases import Case, weight_elements  # noqa: E402
from latmodel.model.config import Workload  # noqa: E402
from latmodel.model.step import Step  # noqa: E402
from latmodel.model.transformer import context_ops, dense_ops  # noqa: E402
from latmodel.runtimes.registry import IMPLEMENTATIONS  # noqa: E402

# Operators that launch nothing: views and bookkeeping. `aten::to` is counted where it converts.
VIEWS = {"view", "transpose", "slice", "unsqueeze", "alias", "reshape", "lift_fresh", "detach_", "t", "expand", "_reshape_alias",
         "select", "_unsafe_view", "detach", "arange", "split"}  # fmt: skip


HEADS = {"heads": 4, "kv_heads": 2}


class Counting(TorchDispatchMode):
    """Counts operators by name; a `to` that changes no dtype launches nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        unchanged = (
            name in ("to", "_to_copy", "contiguous")
            and isinstance(result, torch.Tensor)
            and result.dtype == args[0].dtype
        )
        # Reshaping what was expanded over the heads of a group writes it out.
        written = name == "reshape" and 0 in args[0].stride() and result.data_ptr() != args[0].data_ptr()
        if (name not in VIEWS and not unchanged) or written:
            self.counts[name] += 1
        return result


def launches(name: str, phase: str) -> Counter[str]:
    """Kernels of one block: those of a ring of three less those of a ring of two."""
    found = []
    for layers in (2, 3):
        over = {"prompt_tokens": 4, "cached_tokens": 12} if phase == "over a cache" else {"prompt_tokens": 16}
        work, phase_of_case = Workload(new_tokens=1, dtype="bfloat16", **over), phase.replace("over a cache", "prefill")
        one = Case("x", "blocks", phase_of_case, config(layers=layers, **HEADS), work, name)  # type: ignore[arg-type]
        arena = Arena(weight_elements(one), torch.bfloat16, torch.device("cpu"))
        with torch.inference_mode():  # operators reach the mode whole, as one launch each
            run = find_engine(name).build(one, arena, torch.device("cpu"))
            run()
            with Counting() as counting:
                run()
        found.append(counting.counts)
    return found[1] - found[0]


@pytest.mark.parametrize(("name", "implementation"), [("torch-eager", "torch"), ("transformers-eager", "transformers")])
@pytest.mark.parametrize("phase", ["prefill", "decode", "over a cache"])
def test_the_dispatcher_sees_as_many_kernels_as_the_table_says(name: str, implementation: str, phase: str) -> None:
    shape = config(**HEADS).architecture()
    work = Workload(prompt_tokens=16, dtype="bfloat16").numbers()
    step = {"prefill": Step(16.0), "decode": Step(1.0, 16.0), "over a cache": Step(4.0, 12.0)}[phase]
    implementation = IMPLEMENTATIONS[implementation]
    block = shape.groups[0].block
    ops = [*dense_ops(block, 128.0, step.rows, implementation, work), *context_ops(block, step, implementation, work)]
    counted = launches(name, phase)
    assert sum(counted.values()) == sum(op.kernels for op in ops), dict(counted)
