"""The moves of a block that has a name: OPEN → SEALED, SEALED → evicted, and back.

    seal      OPEN, as a whole                  SEALED where it lies; no byte moves
    divide    OPEN, cut into parts              several SEALED blocks, each where its bytes lie; parts that nobody names
                                                are freed, pages shared by two parts are counted (`shared_pages`)
    evict     SEALED, in a durable pack, held   SEALED, not held: the place is freed
    settle    SEALED, not held                  SEALED, held: its bytes were fetched to a place

Each is rows of the running transaction and nothing else; the caller stands in an operation and has no await in it. A
new SEALED block is *unsent* until a pack holds it (`cachefs.catalog`).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cachefs.blocks import Block, Blocks
from cachefs.counters import Counters
from cachefs.database import Database
from cachefs.segments import Segment, Segments
from cachefs.sums import PAGE_BYTES
from cloud_tier.packer import Lane


class Part(NamedTuple):
    """Bytes [start, start + length) of an OPEN block, which become the SEALED block `number` of this id."""

    number: int
    start: int
    length: int
    block_id: bytes
    lane: Lane


def can_lie(block: Block, start: int, end: int) -> bool:
    """Whether bytes [start, end) of an OPEN block can become a block where they lie.

    Not if another part may follow in the block's last, partial page: the sum of that page ends where the block does.
    """
    return end == block.length or end <= block.length - block.length % PAGE_BYTES


class Seals:
    """The moves, and what is unsent."""

    def __init__(self, database: Database, blocks: Blocks, segments: Segments, counters: Counters) -> None:
        self._database = database
        self._blocks = blocks
        self._segments = segments
        self._counters = counters
        self.sealed: Callable[[int, int, Lane], None] = lambda block, size_bytes, lane: None
        """Hears of every new SEALED block."""
        self.evicted: Callable[[int], None] = lambda block: None
        """Hears of every block that is not held any more."""

    def find(self, block_id: bytes) -> int | None:
        """The SEALED block of this id, if there is one. Rows in memory must have been written."""
        row = self._database.row("SELECT block FROM blocks WHERE block_id = ?", (block_id,))
        return None if row is None else int(row[0])

    def seal(self, block: Block, block_id: bytes, lane: Lane) -> None:
        """The whole block gets its name. What lies behind its last page is freed."""
        end = block.length + -block.length % PAGE_BYTES
        if end < block.capacity:
            self._segments.divide(block.segment, block.offset, block.capacity, [(block.offset, end)])
            self._database.write("UPDATE residency SET capacity = ? WHERE block = ?", (end, block.number))
        self._database.write("UPDATE blocks SET block_id = ? WHERE block = ?", (block_id, block.number))
        self._note_sealed(block.number, block.length, lane)
        self._blocks.closed(block)
        self._blocks.forget(block.number)
        block.block_id = block_id

    def divide(self, block: Block, parts: Sequence[Part]) -> None:
        """The parts, in order, become SEALED blocks; the block is no more. No extent leads to it any longer."""
        self._database.write("DELETE FROM residency WHERE block = ?", (block.number,))
        self._database.write("DELETE FROM blocks WHERE block = ?", (block.number,))
        self._blocks.held -= 1
        self._blocks.closed(block)
        self._blocks.forget(block.number)
        block.shared = True  # whoever still holds the object must not write to it
        places = []
        for part in parts:
            begin, end = block.offset + part.start, block.offset + part.start + part.length
            if part.start + part.length == block.length:
                end += -end % PAGE_BYTES
            places.append((begin, end - begin))
            self._database.write(
                "INSERT INTO blocks VALUES (?, ?, ?, ?, 1)", (part.number, part.block_id, part.length, block.born)
            )
            self._note_sealed(part.number, part.length, part.lane)
            self._occupy(part.number, block.segment.number, *places[-1])
        self._segments.divide(block.segment, block.offset, block.capacity, places)

    def _note_sealed(self, number: int, length: int, lane: Lane) -> None:
        self._database.write("INSERT INTO unsent VALUES (?, ?)", (number, lane.value))
        self._blocks.sealed += 1
        self.sealed(number, length, lane)

    def evict(self, block: Block) -> None:
        """The caller knows that a durable pack has the block, and by a durable commit (I14). Its place is freed."""
        self._database.write("DELETE FROM residency WHERE block = ?", (block.number,))
        self._segments.free(block.home, block.offset, block.capacity)
        self._blocks.held -= 1
        self._blocks.forget(block.number)
        self.evicted(block.number)

    def settle(self, number: int, segment: Segment, offset: int, capacity: int) -> None:
        """The bytes of a block that was not held lie in a place that was reserved for them."""
        self._occupy(number, segment.number, offset, capacity)
        self._segments.occupy(segment, capacity)
        self._blocks.forget(number)

    def _occupy(self, number: int, segment: int, offset: int, capacity: int) -> None:
        self._database.write("INSERT INTO residency VALUES (?, ?, ?, ?)", (number, segment, offset, capacity))
        self._blocks.held += 1
