"""The quickest draft for a target as a function of the target's check and of the memory that is left: an envelope.

Of one lookahead, draft j adds to a response offset_j + slope_j · V, where V is what one check takes the target: the
rounds' checks cost slope_j = new tokens / tokens a round, all else of the draft is its offset. The least over the
drafts that fit is a lower envelope of lines, one for each amount of memory at which another draft comes in.
"""

from typing import NamedTuple

import numpy as np

from ...arrays import Array


class Envelope(NamedTuple):
    """Lines of the least, level by level: levels × lines, padded with lines that are never least.

    `levels` are bytes, rising: at so many and more the drafts of a level's lines fit.
    """

    levels: Array
    slope: Array
    offset: Array
    draft: Array

    def least(self, check_s: Array, room_bytes: Array) -> tuple[Array, Array]:
        """The least seconds at each check and room, and the draft's index; infinite and −1 where none fits."""
        level = np.searchsorted(self.levels, room_bytes, side="right") - 1
        best = np.full(check_s.shape, np.inf)
        found = np.full(check_s.shape, -1, dtype=np.int64)
        if not self.levels.size:
            return best, found
        row = np.maximum(level, 0)
        for column in range(self.slope.shape[1]):
            seconds = self.offset[row, column] + self.slope[row, column] * check_s
            better = (seconds < best) & (level >= 0)
            best = np.where(better, seconds, best)
            found = np.where(better, self.draft[row, column], found)
        return best, found


def envelope(slope: Array, offset: Array, kept_bytes: Array) -> Envelope:
    """The envelope of drafts; those that are never least, whatever the check and the room, are in no line."""
    lines: list[int] = []
    levels: list[tuple[float, list[int]]] = []
    for draft in np.lexsort((offset, slope, kept_bytes)).tolist():
        if lines and not _helps(draft, lines, slope, offset):
            continue
        lines = _lower(sorted([*lines, draft], key=lambda j: (-slope[j], offset[j])), slope, offset)
        if levels and levels[-1][0] == kept_bytes[draft]:
            levels.pop()
        levels.append((float(kept_bytes[draft]), lines))
    width = max((len(some) for _, some in levels), default=0)
    table = [np.zeros((len(levels), width)), np.full((len(levels), width), np.inf)]
    index = np.full((len(levels), width), -1, dtype=np.int64)
    for row, (_, some) in enumerate(levels):
        table[0][row, : len(some)], table[1][row, : len(some)] = slope[some], offset[some]
        index[row, : len(some)] = some
    return Envelope(np.array([level for level, _ in levels]), table[0], table[1], index)


def _helps(draft: int, lines: list[int], slope: Array, offset: Array) -> bool:
    """Whether a line is below all others somewhere at V ≥ 0: at 0, at a corner of the envelope, or far out."""
    a, b = slope[lines], offset[lines]
    if offset[draft] < b[0] or slope[draft] < a[-1]:
        return True
    corners = (b[1:] - b[:-1]) / (a[:-1] - a[1:])
    return bool(np.any(offset[draft] + slope[draft] * corners < b[:-1] + a[:-1] * corners))


def _lower(ordered: list[int], slope: Array, offset: Array) -> list[int]:
    """Of lines by falling slope those that are least somewhere at V ≥ 0, in the order in which they are."""
    kept: list[int] = []
    for line in ordered:
        while kept and (
            (slope[line] == slope[kept[-1]] and offset[line] <= offset[kept[-1]])
            or (
                slope[line] < slope[kept[-1]]
                and _crossing(kept[-1], line, slope, offset)
                <= (_crossing(kept[-2], kept[-1], slope, offset) if len(kept) > 1 else 0.0)
            )
        ):
            kept.pop()
        if not kept or slope[line] < slope[kept[-1]]:
            kept.append(line)
    return kept


def _crossing(steep: int, flat: int, slope: Array, offset: Array) -> float:
    return float((offset[flat] - offset[steep]) / (slope[steep] - slope[flat]))
