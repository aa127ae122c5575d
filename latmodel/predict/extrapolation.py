"""What of a model and a workload lies outside what a profile was fitted on: marked on arrays, named for one."""

from ..arrays import Array, indicator
from ..device.profile import RuntimePart
from ..model.architecture import Architecture
from ..model.formats import WeightFormat
from ..model.implementation import Implementation
from ..model.kernels import Way
from .columns import WORK_COLUMNS
from .forward import Work


def outside(model: Architecture, work: Work, part: RuntimePart, implementation: Implementation, dtype: bool) -> Array:
    """1 where a dimension lies outside what a runtime's part was fitted on, something of the model was assumed, or a
    kind of layer, a weight format or the dtype (`dtype`: whether it was) was never measured."""
    form = work.numbers.format
    measured = dtype and (form is None or _measured(form, implementation))
    found: Array = bool(model.assumed) or not (measured and special_layers(model) <= set(part.layers))
    for name, (low, high) in part.ranges.items():
        value = _range_value(name, model, work)
        found = found | (value < low) | (value > high)
    return indicator(found, model.hidden_size)


def reasons(model: Architecture, work: Work, part: RuntimePart, implementation: Implementation) -> list[str]:
    """The same of one model, named: kinds of layer, the weights' format, dimensions with their range."""
    lines = [*model.assumed]
    lines += [f"layers of kind {kind}" for kind in sorted(special_layers(model) - set(part.layers))]
    form = work.numbers.format
    if form is not None and not _measured(form, implementation):
        lines.append(f"weights {form.name}")
    for name, (low, high) in part.ranges.items():
        value = _range_value(name, model, work)
        if not low <= value <= high:
            lines.append(f"{name} {value:g} ({low:g} to {high:g} measured)")
    return lines


def special_layers(model: Architecture) -> set[str]:
    """The kinds of layer besides attention and a dense feed-forward layer, which every profile is fitted on."""
    return {layer.kind for group in model.groups for layer in group.block.layers if not layer.always_measured}


def _measured(form: WeightFormat, implementation: Implementation) -> bool:
    """Whether times of such weights on the device are behind the profile: of products of 8-bit floats alone."""
    return implementation.kernel(form).way is Way.FLOAT8


def _range_value(name: str, model: Architecture, work: Work) -> Array:
    if name in WORK_COLUMNS:
        return getattr(work, WORK_COLUMNS[name])
    if name == "num_hidden_layers":
        return model.num_hidden_layers
    if name in ("hidden_size", "vocab_size"):
        return getattr(model, name)
    raise ValueError(f"no such range: {name}")
