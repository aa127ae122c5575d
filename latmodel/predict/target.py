"""What a price is for: a device with a runtime (`Target`), and a workload as numbers (`Work`)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..arrays import Array, is_array, maximum
from ..laws.coefficients import ENGINE_TERMS, HOST_TERMS, Device, RuntimeCoefficients, Sheet
from ..laws.corrector import Corrector
from ..laws.dispatch import DeviceLaws
from ..laws.splitting import unsplit
from ..model.formats import Numbers
from ..model.implementation import Implementation
from ..model.ops import OpCost
from ..model.record import Record
from ..model.step import Step


@dataclass(frozen=True, slots=True)
class Target(Record):
    """What the model runs on: a device, and a runtime that implements the operators."""

    sheet: Sheet
    device: Device
    runtime: RuntimeCoefficients
    implementation: Implementation
    corrector: Corrector | None = None
    laws: DeviceLaws = field(init=False, repr=False, compare=False)  # of the device's coefficients and sheet
    waits_unsplit: bool = field(init=False, repr=False, compare=False)  # whether gaps depend on the products at all

    def __post_init__(self) -> None:
        object.__setattr__(self, "laws", DeviceLaws(self.device, self.sheet))
        more = self.runtime.unsplit_gap_s
        object.__setattr__(self, "waits_unsplit", is_array(more) or more > 0.0)

    def every_logit(self, work: "Work") -> bool:
        """Whether a prompt's logits are computed at all positions, asked for or not."""
        return work.logits_all or self.implementation.attention.float32_logits

    def block_gap_s(self, dense: Sequence[OpCost], aligned: bool = False) -> Array:
        """Seconds between two kernels of a block with such products; `aligned`: all sizes are multiples of 8.

        gap_s + unsplit_gap_s where none of them splits k. Seen on an H100, in graphs of identical blocks: kernels of
        one in which a product splits k follow each other 0.3 µs sooner, all of them. Why is not known, nor whether in
        a mixed model it is the block that decides, which is assumed, or the graph.
        """
        r = self.runtime
        return r.gap_s + r.unsplit_gap_s * unsplit(dense, aligned=aligned) if self.waits_unsplit else r.gap_s

    def on_slower_host(self, factor: float, engine: float) -> "Target":
        """The same device on a host that takes `factor` times as long for everything, a serving engine's own part
        `engine` times."""
        slower = {name: getattr(self.runtime, name) * factor for name in HOST_TERMS}
        slower |= {name: getattr(self.runtime, name) * engine for name in ENGINE_TERMS}
        return self._replace(runtime=self.runtime._replace(**slower))


@dataclass(slots=True)
class Work(Record):
    """A workload as numbers or arrays: prompt and new tokens, sequences at once, which logits, bytes per element, and
    positions before the prompt that are cached."""

    prompt: Array
    new: Array
    batch: Array
    logits_all: bool
    numbers: Numbers
    cached: Array = 0.0

    def prefill(self) -> Step:
        """The pass over the prompt, into an empty cache or behind a cached prefix."""
        return Step(self.prompt, self.cached, self.batch)

    def decode(self) -> tuple[Step, Step]:
        """The first and the last step of the generation: over `cached + prompt` positions, and `new - 1` more."""
        first = self.prompt
        if is_array(self.cached) or self.cached:
            first = first + self.cached
        last = first + (maximum(self.new, 1.0) - 1.0)
        return Step(1.0, first, self.batch), Step(1.0, last, self.batch)
