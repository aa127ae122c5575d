"""What each block adds to a model, and what sums of it make: response and peak memory of a choice by adding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...model.architecture import Architecture, Block, Group
from ...model.config import Workload
from ...model.implementation import Implementation
from ...model.memory import workspace_of
from ...predict.forward import Around, around_blocks, block_cost, head_cost, host_seconds
from ...predict.inputs import work_of
from ...predict.predictor import Predictor
from ...predict.target import Work
from ...predict.timeline import overlapped

# Slopes of a decode step in host, first and last device seconds.
Tangent = tuple[float, float, float]
# A step bound by the host all along, and one bound by the device.
ENDS: tuple[Tangent, Tangent] = ((1.0, 0.0, 0.0), (0.0, 0.5, 0.5))


class Sums(NamedTuple):
    """What adds: layers (0: left out), host and device seconds, bytes kept. One value a choice, or their totals."""

    present: Array
    prefill_host: Array
    prefill_device: Array
    decode_host: Array
    first_device: Array
    last_device: Array
    held_bytes: Array


class Fixed(NamedTuple):
    """What the parts around the layers add: to the response and its timelines, and to memory."""

    around: Around
    held_bytes: float
    largest_bytes: Array  # [kinds], as in `LayerCosts`

    @property
    def prefill_s(self) -> float:
        """Seconds of a prefill without blocks."""
        return float(self.around.prefill(0.0))


@dataclass(frozen=True)
class LayerCosts:
    """What one layer of each choice costs.

    Attributes:
        each: [7, choices], rows as in `Sums`.
        largest_bytes: [kinds, choices]; of a model the largest of each kind counts: of its transients, and of outputs
            and of unpacked matrices that kernels of quantised weights hold, where they do.
        loss: share of the shorter timeline that does not hide.
        work: the workload.
        implementation: of the runtime.
    """

    blocks: tuple[Block, ...]
    shared: tuple[float, float, float]
    each: Array
    largest_bytes: Array
    fixed: Fixed
    loss: float
    work: Work
    implementation: Implementation

    @property
    def new(self) -> float:
        """Tokens generated."""
        return float(self.work.new)

    @property
    def sums(self) -> Sums:
        """The rows of `each` by name."""
        return Sums(*self.each)

    def model(self, groups: Sequence[tuple[float, Block]]) -> Architecture:
        """Groups of blocks with the head around them."""
        return _model(groups, self.shared)

    def total(self, picked: Array) -> Array:
        """Sums of a choice, one block for each layer: [7]."""
        return self.each[:, picked].sum(axis=1)

    def response(self, totals: Array) -> Array:
        """Seconds of models with such sums; totals are [7, ...], the result has the other axes."""
        s, around = Sums(*totals), self.fixed.around
        blocks = overlapped(s.prefill_host, s.prefill_device, self.loss) * self.prompt_share(s.present)
        return around.prefill(blocks) + self.new * around.step(s.decode_host, s.first_device, s.last_device, self.loss)

    def prompt_share(self, layers: Array) -> Array:
        """Share of so many layers' work on a prompt that is done: a runtime may cut the last one short."""
        return self.implementation.prompt_share(layers, self.work.prompt, self.work.logits_all)

    @property
    def cuts_last(self) -> bool:
        """Whether it does, so that the prefill is no sum over layers unless their number is known."""
        return bool(self.prompt_share(1.0) < 1.0)

    def peak_bytes(self, totals: Array, largest_bytes: Array) -> Array:
        """Memory at the peak of models with such sums, and the largest of each kind: [kinds, ...]."""
        own = self.fixed.largest_bytes.reshape(-1, *[1] * (np.ndim(largest_bytes) - 1))
        return Sums(*totals).held_bytes + self.fixed.held_bytes + np.maximum(largest_bytes, own).sum(axis=0)

    def tangent(self, totals: Array) -> Tangent:
        """Slopes of a decode step's mean max(host, device) in host, first and last device seconds at some sums.

        The device grows evenly from first to last; from the share t of the step on, it exceeds the host:
        t, (1 - t)² / 2 and (1 - t²) / 2.
        """
        s, around = Sums(*totals), self.fixed.around
        # What the device always takes around the blocks is taken off the host's side of the comparison.
        host, first, last = s.decode_host + (around.step_host_s - around.step_device_s), s.first_device, s.last_device
        t = float(np.clip((host - first) / max(last - first, 1e-300), 0.0, 1.0))
        return t, (1.0 - t) ** 2 / 2.0, (1.0 - t * t) / 2.0

    def step_along(self, tangent: Tangent) -> tuple[Array, float]:
        """Seconds that a tangent gives a decode step: of a layer of each choice, and of what is around the layers."""
        s, around = self.sums, self.fixed.around
        host, first, last = np.array(tangent) * (1.0 - self.loss) + self.loss * np.array([1.0, 0.5, 0.5])
        per_layer = host * s.decode_host + first * s.first_device + last * s.last_device
        return per_layer, float(host * around.step_host_s + (first + last) * around.step_device_s)

    def prefill_along(self, share: float) -> tuple[Array, Array]:
        """Seconds of prefill of a layer of each choice by the two planes of max(host, device) + loss · min, of which
        `share` is done (`prompt_share`)."""
        s, rest = self.sums, self.loss * share
        return share * s.prefill_host + rest * s.prefill_device, rest * s.prefill_host + share * s.prefill_device


def layer_costs(
    predictor: Predictor, blocks: tuple[Block, ...], shared: tuple[float, float, float], workload: Workload
) -> LayerCosts:
    """Cost every choice once; `shared` is hidden size, vocabulary and whether embeddings are tied."""
    work, target = work_of(workload), predictor.target(workload.dtype, workload.numbers().format)
    empty = _model([], shared)
    bare = predictor.memory(empty, work)
    rows, largest = [], []
    for block in blocks:
        present = float(bool(block.layers))
        cost = block_cost(block, shared[0], work, target)
        model = _model([(present, block)], shared)
        memory = predictor.memory(model, work)
        prefill_host, decode_host = host_seconds(1.0, cost, target)
        rows.append((
            present, present * prefill_host, present * cost.prefill.seconds, present * decode_host,
            present * cost.first.seconds, present * cost.last.seconds,
            memory.weight_bytes - bare.weight_bytes + memory.cache_bytes,
        ))  # fmt: skip
        held = workspace_of(model, work.numbers, target.implementation)
        largest.append((memory.transient_bytes, *held) if present else (0.0, 0.0, 0.0))
    kinds = np.array(largest, dtype=np.float64).T
    there = kinds.any(axis=1) | np.array([True, False, False])
    head, own = head_cost(empty, work, target), np.array([bare.transient_bytes, 0.0, 0.0])
    fixed = Fixed(around_blocks(head, work, target), bare.weight_bytes + bare.overhead_bytes, own[there])
    return LayerCosts(
        blocks, shared, np.array(rows, dtype=np.float64).T, kinds[there], fixed, target.runtime.overlap_loss,
        work, target.implementation,
    )  # fmt: skip


def _model(groups: Sequence[tuple[float, Block]], shared: tuple[float, float, float]) -> Architecture:
    return Architecture(tuple(Group(count, block) for count, block in groups), *shared)
