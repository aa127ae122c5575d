"""What of a model and a workload lies outside what a profile was fitted on: marked on arrays, named for one."""

from typing import NamedTuple

from ..arrays import Array, indicator, is_array, maximum, total
from ..device.profile import RuntimePart
from ..model.alignment import uneven
from ..model.architecture import LAYER_SIZES, Architecture
from ..model.config import MAX_DIMENSION
from ..model.formats import WeightFormat
from ..model.implementation import Implementation
from ..model.totals import products
from .columns import WORK_COLUMNS
from .intervals import OUTSIDE, with_other_kernels
from .target import Work


class Known(NamedTuple):
    """What the profile is of: its device, and whether the dtype was measured there."""

    gpu: str
    dtype: bool


def outside(model: Architecture, work: Work, part: RuntimePart, implementation: Implementation, known: Known) -> Array:
    """`OUTSIDE` where a dimension lies outside what a runtime's part was fitted on, something of the model was assumed,
    or a kind of layer, the dtype or, on this device, the weights' format was never measured; else 0.

    Where widths make the format's blocks give way to other types, whose kernels were not timed, the share of weights in
    those comes on top.
    """
    form = work.numbers.format
    measured = known.dtype and (form is None or _measured(form, part, implementation, known.gpu))
    found: Array = bool(model.assumed) or not (measured and model.special_layers.issubset(part.layers))
    if (is_array(work.cached) or work.cached) and "cached_tokens" not in part.ranges:
        found = found | ((work.cached > 0.0) & (work.prompt > 1.0))
    for name, (low, high) in part.ranges.items():
        extent = _extent(name, model, work)
        if extent is not None:
            found = found | (extent[0] < low) | (extent[1] > high)
    if "prompt_tokens" in part.ranges:
        found = found | (_last_context(work) > part.ranges["prompt_tokens"][1])
    level = OUTSIDE * indicator(found, model.hidden_size)
    if form is None or form.multiple == 1:
        return level
    untimed = undivided(model, form)
    return maximum(level, OUTSIDE * indicator(untimed > 0.0, model.hidden_size)) + untimed


def with_untimed(width: float, *models: tuple[Architecture, WeightFormat | None]) -> float:
    """A half-width of a time, in log units, that these models in these formats take together: as wide as the one with
    the largest share of weights on untimed kernels makes it."""
    shares = [float(undivided(model, form)) for model, form in models if form is not None and form.multiple > 1]
    return with_other_kernels(width, max(shares)) if shares else width


def undivided(model: Architecture, form: WeightFormat) -> Array:
    """Share of the products' weights whose inputs are no multiple of what the format packs together."""
    some = products(model)
    return total([weights * uneven(inputs, 1.0 / form.multiple) for inputs, weights in some]) / total(
        [weights for _, weights in some]
    )


def reasons(model: Architecture, work: Work, part: RuntimePart, implementation: Implementation, gpu: str) -> list[str]:
    """The same of one model, named: kinds of layer, weights, a cached prefix, dimensions with their range."""
    lines = [*model.assumed]
    lines += [f"layers of kind {kind}" for kind in sorted(model.special_layers - set(part.layers))]
    form = work.numbers.format
    if form is not None and not _measured(form, part, implementation, gpu):
        elsewhere = ", ".join(implementation.kernel(form).gpus)
        lines.append(f"weights {form.name}" + (f" (measured on {elsewhere})" if elsewhere else ""))
    if form is not None and form.multiple > 1:
        lines += [
            f"{form.name} of {inputs:g} inputs, which blocks of {form.multiple} do not divide"
            for inputs in dict.fromkeys(inputs for inputs, _ in products(model))
            if uneven(inputs, 1.0 / form.multiple)
        ]
    if work.cached and work.prompt > 1.0 and "cached_tokens" not in part.ranges:
        lines.append(over_cache(work.prompt, work.cached))
    for name, (low, high) in part.ranges.items():
        extent = _extent(name, model, work)
        if extent is not None and not low <= extent[0] <= extent[1] <= high:
            value = extent[0] if extent[0] < low else extent[1]
            known = f"{low:g} to {high:g}" if high < MAX_DIMENSION else f"{low:g} or more"
            lines.append(f"{name} {value:g} ({known} measured)")
        elif name == "prompt_tokens" and _last_context(work) > high:
            lines.append(f"a generation to {_last_context(work):g} positions (to {high:g} measured)")
    return lines


def over_cache(new: float, cached: float) -> str:
    """That no whole pass of several tokens over a cache was measured: its attention alone was, on one card."""
    return f"a pass of {new:g} tokens over {cached:g} cached: never measured"


def _measured(form: WeightFormat, part: RuntimePart, implementation: Implementation, gpu: str) -> bool:
    """Whether times of such weights on the device are behind the price. A part with laws by format has the formats that
    its machine was measured in; one that is of no one machine has its errors from devices left out, with all formats,
    so that its interval allows for them."""
    return implementation.measured_on(form, gpu) or form.name in part.formats or bool(part.formats and not part.machine)


def _last_context(work: Work) -> Array:
    """Positions once the last token is in: a profile's range of prompts ends where its measured generations ended."""
    return work.cached + work.prompt + work.new


def _extent(name: str, model: Architecture, work: Work) -> tuple[Array, Array] | None:
    """The smallest and the largest value of what a range is of; None where the model has no such layer."""
    if name in LAYER_SIZES:
        return model.extents.get(name)
    if name == "prompt_tokens" and (is_array(work.cached) or work.cached):  # where the prompt ends
        value = work.prompt + work.cached
    elif name in ("num_hidden_layers", "hidden_size", "vocab_size"):
        value = getattr(model, name)
    else:
        value = work.cached if name == "cached_tokens" else getattr(work, WORK_COLUMNS[name])
    return value, value
