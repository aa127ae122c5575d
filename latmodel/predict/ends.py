"""The ends that an interval must hold: other hosts, and a kernel of quantised weights that nobody timed on the card."""

from typing import NamedTuple

from ..device.hosts import SAME_HOST, HostFactors
from ..model.architecture import Architecture
from ..model.formats import WeightFormat
from .forward import Cost, blocks_cost, head_cost, response_times
from .prediction import Ends
from .target import Target, Work

# Of what such a kernel costs beyond reading the stored bytes, on another card, where it was measured at all.
LEAST_OVERHEAD, MOST_OVERHEAD = 0.0, 2.0


class Priced(NamedTuple):
    """What prices a model: its target, whether the dtype was measured, and the targets at both ends (None: itself)."""

    target: Target
    measured: bool
    ends: tuple[Target, Target] | None


def ends_of(own: Target, hosts: HostFactors, form: WeightFormat | None, gpu: str) -> tuple[Target, Target] | None:
    """The target on the fastest and on the slowest host.

    Where the kernel of a format was not timed on the card, its overhead is none at the one end and twice as much at the
    other: it is time of that host, so that both go together.
    """
    untimed = form is not None and not own.implementation.measured_on(form, gpu)
    if hosts == SAME_HOST and not untimed:
        return None
    fast = own.on_slower_host(hosts.fastest, 0.0 if hosts.hides_engine else hosts.fastest)
    slow = own.on_slower_host(hosts.slowest, hosts.slowest)
    if form is None or not untimed:
        return fast, slow
    implementation = own.implementation
    return (
        fast._replace(implementation=implementation.with_overhead(form, LEAST_OVERHEAD)),
        slow._replace(implementation=implementation.with_overhead(form, MOST_OVERHEAD)),
    )


def costs_on(target: Target, model: Architecture, work: Work) -> tuple[Cost, Cost]:
    """Of the blocks and of what is around them."""
    return blocks_cost(model, work, target), head_cost(model, work, target)


def times_at_ends(priced: Priced, model: Architecture, work: Work, costs: tuple[Cost, Cost]) -> Ends | None:
    """Times at both ends; `costs` are those on the target itself, which an end with the same kernels shares."""
    if priced.ends is None:
        return None
    sides = []
    for target in priced.ends:
        alike = target.implementation is priced.target.implementation
        blocks, head = costs if alike else costs_on(target, model, work)
        sides.append(response_times(model.num_hidden_layers, blocks, head, work, target))
    return Ends(*sides)
