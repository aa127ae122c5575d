"""What every kind of layer says of itself. Parameters, memory, predictions, pruning and search are sums over layers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ...arrays import Array, is_array, total
from ..formats import Numbers
from ..implementation import Implementation
from ..ops import OpCost, gemm
from ..record import Record
from ..step import Step


@dataclass(slots=True)
class Linear(Record):
    """`count` matrices of `inputs` × `outputs` that a weight format applies to."""

    name: str
    inputs: Array
    outputs: Array
    count: Array = 1.0

    def op(self, rows: Array, numbers: Numbers) -> OpCost:
        """Their products with `rows` activations each."""
        each = numbers.product_bytes(self.name, self.inputs) if numbers.parts else numbers.weight_bytes
        return gemm(self.name, rows, self.outputs, self.inputs, each, numbers.activation_bytes, self.count)


@dataclass(frozen=True, slots=True)
class Layer(ABC):
    """One layer of a block, between a norm and a residual sum. `hidden` is the width of the residual stream.

    A kind must say its linear products, its operators and its live width. The rest has a default for a layer
    that is the same for every token and context: no cache, no state, nothing to prune.
    """

    always_measured: ClassVar[bool] = False  # every profile is fitted on this kind
    has_experts: ClassVar[bool] = False
    sizes: ClassVar[tuple[str, ...]] = ()  # attributes of which a profile may know the measured range

    @property
    def kind(self) -> str:
        """Name of the kind of layer, as in a profile's list of measured kinds."""
        return type(self).__name__

    @abstractmethod
    def linears(self, hidden: Array, *, fused: bool = False) -> list[Linear]:
        """The products that a weight format applies to; `fused` where a runtime joins those of one input."""

    @abstractmethod
    def dense_ops(self, hidden: Array, rows: Array, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Operators on `rows` tokens whose cost does not depend on the context, weights unpacked."""

    @property
    @abstractmethod
    def live_width(self) -> Array:
        """Values a token that the layer holds at once."""

    def live_width_in(self, implementation: Implementation) -> Array:
        """Values a token that the layer holds at once under a runtime."""
        return self.live_width

    def vectors(self, hidden: Array) -> list[Array]:
        """Sizes of what it learns beside the linear products: biases, norms, convolutions, routers."""
        return []

    def parameters(self, hidden: Array) -> Array:
        """All its parameters, exactly."""
        sizes = []
        for one in self.linears(hidden):
            once = type(one.count) is float and one.count == 1.0  # then spare a pass over an array
            sizes.append(one.inputs * one.outputs if once else one.inputs * one.outputs * one.count)
        return total(sizes + self.vectors(hidden))

    def context_ops(self, step: Step, implementation: Implementation, numbers: Numbers) -> list[OpCost]:
        """Operators that depend on the context, upkeep of the cache included."""
        return []

    @property
    def elements_per_position(self) -> Array:
        """Values that the layer keeps for one position of one sequence."""
        return 0.0

    @property
    def fills_at(self) -> Array | None:
        """The context from which a decode step costs the same; None if it always grows, or never does."""
        return None

    def kept_positions(self, positions: Array, implementation: Implementation) -> Array:
        """Positions held once `positions` have been seen."""
        return positions

    def state_bytes(self, numbers: Numbers) -> Array:
        """Bytes kept for one sequence whatever its length."""
        return 0.0

    def kept_bytes(self, positions: Array, implementation: Implementation, numbers: Numbers) -> Array:
        """Bytes kept for one sequence after `positions`."""
        each, state = self.elements_per_position, self.state_bytes(numbers)
        if not is_array(each) and not each:
            return state
        return each * (self.kept_positions(positions, implementation) * numbers.cache_bytes) + state

    def written_bytes(
        self, batch: Array, prompt: Array, positions: Array, implementation: Implementation, numbers: Numbers
    ) -> Array:
        """The largest thing that attention writes out for a moment, over a prompt and `positions` in the end."""
        return 0.0

    def dimensions(self) -> dict[str, Array]:
        """The dimensions that every `config.json` has a name for, by that name."""
        return {}

    def active(self) -> "Layer":
        """The part that one token passes through."""
        return self

    def fewer_heads(self, share: float) -> "Layer":
        """The same layer with about `share` of its heads, in whole groups that share keys or states."""
        return self

    def narrower(self, share: float, step: int) -> "Layer":
        """The same layer with about `share` of its inner width, a multiple of `step`."""
        return self

    def fewer_experts(self, share: float) -> "Layer":
        """The same layer with about `share` of its experts."""
        return self

    def gated_by_head(self) -> "Layer":
        """The same layer with a gate of one value a head on its output.

        Raises:
            NotImplementedError: it has no heads to gate.
        """
        raise NotImplementedError(f"{self.kind} has no gate by head")


def part_of(value: float, share: float, step: int = 1) -> float:
    """`share` of a dimension, rounded to a multiple of `step`; at least one step, at most the dimension."""
    if share >= 1.0:
        return value
    return float(min(max(round(value * share / step), 1) * step, value))
