"""The extents of one 64 MiB window of a content, in memory: pure arithmetic on four packed arrays.

A window knows which of its rows no longer match the database (`touched`, by start). It never holds more than 64 MiB of
a file, so a file of any size and any number of extents costs what is being used of it (T18).
"""

from array import array
from bisect import bisect_left, bisect_right
from typing import NamedTuple

WINDOW_BYTES = 64 << 20


class Piece(NamedTuple):
    """Bytes [start, start + length) of the content are bytes from `offset` of block number `block`."""

    start: int
    length: int
    block: int
    offset: int


class Window:
    """Extents sorted by start, none overlapping, all inside one window."""

    __slots__ = ("blocks", "lengths", "offsets", "starts", "touched")

    def __init__(self) -> None:
        self.starts = array("q")
        self.lengths = array("q")
        self.blocks = array("q")
        self.offsets = array("q")
        self.touched: set[int] = set()

    def append(self, start: int, length: int, block: int, offset: int) -> None:
        """Add a row as loaded from the database, in order of start."""
        self.starts.append(start)
        self.lengths.append(length)
        self.blocks.append(block)
        self.offsets.append(offset)

    def find(self, position: int) -> int:
        """Index of the first extent that ends after `position`; the count of extents when there is none."""
        index = bisect_right(self.starts, position) - 1
        if index >= 0 and self.starts[index] + self.lengths[index] > position:
            return index
        return index + 1

    def at(self, index: int) -> Piece:
        """The extent with that index."""
        return Piece(self.starts[index], self.lengths[index], self.blocks[index], self.offsets[index])

    def row(self, start: int) -> Piece | None:
        """The extent that starts exactly there."""
        index = bisect_left(self.starts, start)
        if index < len(self.starts) and self.starts[index] == start:
            return self.at(index)
        return None

    def pieces(self, low: int, high: int) -> list[Piece]:
        """What covers [low, high), clipped to it, in order; what is missing is a hole."""
        index = bisect_right(self.starts, low) - 1
        if index >= 0:
            skip = low - self.starts[index]
            if high - low <= self.lengths[index] - skip:  # most often one extent has all of it
                return [Piece(low, high - low, self.blocks[index], self.offsets[index] + skip)]
        found: list[Piece] = []
        index = self.find(low)
        while index < len(self.starts) and self.starts[index] < high:
            start, length, block, offset = self.at(index)
            skip = max(0, low - start)
            end = min(high, start + length)
            found.append(Piece(start + skip, end - start - skip, block, offset + skip))
            index += 1
        return found

    def ending_at(self, position: int) -> Piece | None:
        """The extent that ends exactly at `position`."""
        index = bisect_left(self.starts, position) - 1
        if index >= 0 and self.starts[index] + self.lengths[index] == position:
            return self.at(index)
        return None

    def replace(self, low: int, high: int, block: int = 0, offset: int = 0) -> tuple[int, list[int]]:
        """Let [low, high) be bytes from `offset` of `block`, or a hole if `block` is 0.

        Returns by how many bytes the window covers more than before, and the blocks that lost a piece.
        """
        starts, lengths, blocks, offsets, touched = self.starts, self.lengths, self.blocks, self.offsets, self.touched
        first = last = self.find(low)
        rows: list[tuple[int, int, int, int]] = []
        removed = 0
        lost: list[int] = []
        tail: tuple[int, int, int, int] | None = None
        count = len(starts)
        while last < count:
            start = starts[last]
            if start >= high:
                break
            end, old = start + lengths[last], blocks[last]
            touched.add(start)
            if start < low:
                rows.append((start, low - start, old, offsets[last]))
            if end > high:
                tail = high, end - high, old, offsets[last] + high - start
            removed += (end if end < high else high) - (start if start > low else low)
            lost.append(old)
            last += 1
        if block:
            if not rows and first > 0:
                left = first - 1
                if blocks[left] == block and starts[left] + lengths[left] == low:
                    rows.append((starts[left], lengths[left], block, offsets[left]))
                    first = left
            if rows and rows[-1][2] == block and rows[-1][3] + rows[-1][1] == offset:
                start, _, _, begin = rows[-1]
                rows[-1] = start, high - start, block, begin
            else:
                rows.append((low, high - low, block, offset))
        if tail is not None:
            rows.append(tail)
        if not rows:
            del starts[first:last], lengths[first:last], blocks[first:last], offsets[first:last]
        elif first == count:
            for row in rows:
                touched.add(row[0])
                self.append(*row)
        else:
            new = [array("q", column) for column in zip(*rows, strict=True)]
            touched.update(new[0])
            starts[first:last], lengths[first:last], blocks[first:last], offsets[first:last] = new
        return (high - low if block else 0) - removed, lost
