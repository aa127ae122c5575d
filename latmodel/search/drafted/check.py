"""What one check of drafted tokens takes a target, from tables of its layers: the same sums as a pass of its own."""

from typing import NamedTuple

import numpy as np

from ...arrays import Array
from ...model.memory import Memory
from ...predict.forward import Cost, Load, around_blocks, host_seconds
from ...predict.inputs import work_of
from ...predict.target import Work
from ...predict.timeline import mean_overlapped
from ..goals import Corner, Scenario
from ..space import SearchSpace
from ..tabled import at
from ..tables import Tables, tables


class CheckTables(NamedTuple):
    """Of one lookahead: passes of a round over the shortest and the longest cache, and memory with its positions."""

    lookahead: int
    first: Tables
    last: Tables
    held: Tables

    def seconds(self, shapes: Corner) -> Array:
        """The mean check while the cache grows, as `predict.generation` has it; of a low corner the least."""
        first, last = (_blocks(table, shapes) for table in (self.first, self.last))
        head = _head(self.first, shapes)
        work, target = self.first.work, self.first.target
        host, _ = host_seconds(shapes.depth, Cost(first, first, last), target)
        ends = around_blocks(Cost(head, head, head), work, target)  # every new position has logits: no block is cut
        seconds: Array = ends.prefill(mean_overlapped(host, first.seconds, last.seconds, target.runtime.overlap_loss))
        return seconds

    def memory(self, shapes: Corner) -> Memory:
        """What the target alone holds at its peak, room for a round beyond the last token included."""
        return self.held.memory(shapes.stem, shapes.ffn, shapes.depth)


def check_tables(space: SearchSpace, where: Scenario, lookahead: int, part: tuple[int, int], keep: int) -> CheckTables:
    """Tables of one part of a space for one lookahead."""
    work, dtype = work_of(where.workload), where.workload.dtype
    start = work.cached + work.prompt

    def of(some: Work) -> Tables:
        return tables(where.predictor, space, some, dtype, part, keep)

    check = Work(lookahead + 1.0, 1.0, work.batch, True, work.numbers, start)
    last = check._replace(cached=start + max(work.new, 1.0) - 1.0)
    return CheckTables(lookahead, of(check), of(last), of(work._replace(new=work.new + lookahead)))


def _blocks(table: Tables, shapes: Corner) -> Load:
    each = table.blocks(shapes.stem, shapes.ffn, shapes.least)
    return Load(each.prefill_kernels * shapes.depth, each.prefill_s * shapes.depth, 0.0)


def _head(table: Tables, shapes: Corner) -> Load:
    head = table.head
    return Load(at(head.prefill_kernels, shapes.stem), head.prefill_s[shapes.stem], np.zeros(shapes.size))
