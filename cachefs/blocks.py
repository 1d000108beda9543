"""Blocks: what they are, where they lie, and the rows behind them.

A `Block` in memory is the truth while it is loaded; its rows are written at the next flush. A block is OPEN until it
is named by its content. An OPEN block may be written in place only while nobody else can see its bytes (I2):
`is_writable` is that rule, and the only place where it stands. Sealing, evicting and fetching are the moves of
`cachefs.seals`.

Whether a block is still needed is not counted but asked: it dies when the last extent that points at it, live or
history, is gone. The layer above says so by `drop`.
"""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable

from cachefs.counters import Counters
from cachefs.database import Database
from cachefs.errors import UnknownBlock
from cachefs.segments import CACHE, Segment, Segments
from cachefs.sums import PAGE_BYTES

MAX_BLOCK_BYTES = 4 << 20
CACHED_BLOCKS = 50_000  # clean blocks kept in memory, about 250 bytes each
NOWHERE = Segment(0, CACHE, -1, 0, 0, is_new=False)
"""The segment of a block that is not held here. Reading its descriptor fails, so the quick paths need not ask."""
DOUBTED = Segment(0, CACHE, -1, 0, 0, is_new=False)
"""The segment of a block whose bytes must be compared with its id before they are believed."""


class Block:
    """One run of bytes. `length` counts the bytes ever written; [length, capacity) of its place is fresh.

    A block that moves (evicted, fetched) becomes another object: whoever reads goes on from the old place, which his
    lease keeps.
    """

    __slots__ = (
        "block_id",
        "born",
        "capacity",
        "doubted",
        "is_frozen",
        "is_new",
        "length",
        "number",
        "offset",
        "segment",
        "shared",
        "tallied",
        "writers",
    )

    def __init__(
        self,
        number: int,
        block_id: bytes | None,
        length: int,
        born: int,
        shared: bool,
        segment: Segment,
        offset: int,
        capacity: int,
    ) -> None:
        self.number = number
        self.block_id = block_id
        self.length = length
        self.born = born
        self.shared = shared
        self.segment = segment
        self.offset = offset
        self.capacity = capacity
        self.is_frozen = False
        self.is_new = False
        self.doubted: Segment | None = None  # where it lies, until its bytes are believed
        self.tallied = 0  # of `length` of an OPEN block, what `Blocks.open_bytes` counts
        self.writers = 0  # threads that write to it at this moment

    @property
    def is_held(self) -> bool:
        """Whether its bytes lie here."""
        return self.segment is not NOWHERE

    @property
    def home(self) -> Segment:
        """Where it lies, believed or not."""
        return self.doubted or self.segment

    @property
    def last_page_is_own(self) -> bool:
        """Whether its last page ends with it, so that the sum of that page covers no bytes of another block."""
        return (self.offset + self.capacity) % PAGE_BYTES == 0

    def is_writable(self, newest_kept: int) -> bool:
        """Whether its bytes may be changed in place: OPEN, born after every state that is kept, in one content only,
        not being sealed (I2).
        """
        return self.born > newest_kept and self.block_id is None and not self.shared and not self.is_frozen


class Blocks:
    """The block table: loaded blocks, and which of them have unwritten rows."""

    def __init__(self, database: Database, segments: Segments, counters: Counters) -> None:
        self._database = database
        self._segments = segments
        self._counters = counters
        self._loaded: OrderedDict[int, Block] = OrderedDict()
        self._dirty: dict[int, Block] = {}
        self._dropped: set[int] = set()  # their rows go at the next flush
        self._dropped_sealed: set[int] = set()
        self.dropped: Callable[[int], None] = lambda number: None
        """Hears of every SEALED block that is no more."""
        self.doubted = 0  # what was fetched to segments up to this number was never synced before a power loss
        self.held = 0  # rows; kept as a tally, for counting a million of them takes the loop away
        self.sealed = 0
        self.open = self.open_bytes = 0  # OPEN blocks and their bytes, as of their rows

    def load(self) -> None:
        """Count the rows. Once, at start."""
        self.held = self._database.row("SELECT count(*) FROM residency")[0]
        self.sealed = self._database.row("SELECT count(*) FROM blocks WHERE block_id IS NOT NULL")[0]
        self.open, self.open_bytes = self._database.row(
            "SELECT count(*), coalesce(sum(length), 0) FROM blocks WHERE block_id IS NULL"
        )

    def unwritten(self) -> int:
        """How many blocks wait for the next flush."""
        return len(self._dirty) + len(self._dropped)

    def get(self, number: int) -> Block:
        """The block. Raises UnknownBlock when it has no row."""
        block = self._loaded.get(number)
        if block is None:
            block = self._load(number)
        return block

    def loaded(self, number: int) -> Block | None:
        """The block if it is in memory."""
        return self._loaded.get(number)

    def _load(self, number: int) -> Block:
        row = self._database.row(
            "SELECT block_id, length, born, shared, segment, offset, capacity FROM blocks LEFT JOIN residency USING"
            " (block) WHERE block = ?",
            (number,),
        )
        if row is None or number in self._dropped:
            raise UnknownBlock(number)
        block_id, length, born, shared, segment, offset, capacity = row
        if segment is not None:
            block = Block(number, block_id, length, born, bool(shared), self._segments[segment], offset, capacity)
            if segment <= self.doubted and block.segment.family == CACHE:
                block.doubted, block.segment = block.segment, DOUBTED
        elif block_id is not None:
            block = Block(number, block_id, length, born, bool(shared), NOWHERE, 0, 0)
        else:
            raise UnknownBlock(number)
        if block_id is None:
            block.tallied = length
        self._loaded[number] = block
        if len(self._loaded) > CACHED_BLOCKS + len(self._dirty):
            self._shrink()
        return block

    def _shrink(self) -> None:
        for _ in range(min(1000, len(self._loaded) - 1)):
            number, block = self._loaded.popitem(last=False)
            if block.is_new or number in self._dirty:
                self._loaded[number] = block

    def create(self, capacity: int, born: int) -> Block:
        """A new OPEN block with room for `capacity` bytes and none written. It gets rows once `touch` is called."""
        number = self._counters.next("block")
        segment, offset = self._segments.allocate(capacity)
        block = Block(number, None, 0, born, False, segment, offset, -capacity % 4096 + capacity)
        block.is_new = True
        self._loaded[number] = block
        if len(self._loaded) > CACHED_BLOCKS + len(self._dirty):  # who only writes never misses one in `get`
            self._shrink()
        return block

    def touch(self, block: Block) -> None:
        """Its row must be written at the next flush."""
        self._dirty[block.number] = self._loaded[block.number] = block

    def share(self, numbers: Iterable[int]) -> None:
        """From now on more than one content may point at these blocks; in the running transaction."""
        for number in numbers:
            block = self._loaded.get(number)
            if block is not None:
                if block.shared:
                    continue
                block.shared = True
            self._database.write("UPDATE blocks SET shared = 1 WHERE block = ? AND shared = 0", (number,))

    def drop(self, number: int) -> None:
        """No extent points at the block any more: free its place and forget it, in the running transaction."""
        block = self.get(number)
        if block.is_held:
            self._segments.free(block.home, block.offset, block.capacity, is_reserved=block.is_new)
        if not block.is_new:
            self._dropped.add(number)
            self.held -= block.is_held
            if block.block_id is not None:
                self.sealed -= 1
                self._dropped_sealed.add(number)
                self.dropped(number)
            else:
                self.closed(block)
        self.forget(number)

    def closed(self, block: Block) -> None:
        """The block was OPEN and is sealed now, or no more."""
        self.open -= 1
        self.open_bytes -= block.tallied
        block.tallied = 0

    def forget(self, number: int) -> None:
        """Its rows were changed or removed by somebody else: the next `get` reads them."""
        self._dirty.pop(number, None)
        self._loaded.pop(number, None)

    def flush(self) -> None:
        """Write the rows of blocks that changed."""
        write = self._database.write
        for block in self._dirty.values():
            if block.is_new:
                write(
                    "INSERT INTO blocks VALUES (?, ?, ?, ?, ?)",
                    (block.number, block.block_id, block.length, block.born, int(block.shared)),
                )
                write(
                    "INSERT INTO residency VALUES (?, ?, ?, ?)",
                    (block.number, block.segment.number, block.offset, block.capacity),
                )
                self._segments.occupy(block.segment, block.capacity)
                block.is_new = False
                self.held += 1
                self.open += 1
            else:
                write(
                    "UPDATE blocks SET block_id = ?, length = ?, shared = ? WHERE block = ?",
                    (block.block_id, block.length, int(block.shared), block.number),
                )
            if block.block_id is None:
                self.open_bytes += block.length - block.tallied
                block.tallied = block.length
        self._dirty.clear()
        if self._dropped:
            numbers = json.dumps(sorted(self._dropped))
            write("DELETE FROM residency WHERE block IN (SELECT value FROM json_each(?))", (numbers,))
            write("DELETE FROM blocks WHERE block IN (SELECT value FROM json_each(?))", (numbers,))
            self._dropped.clear()
        if self._dropped_sealed:
            numbers = json.dumps(sorted(self._dropped_sealed))
            write("DELETE FROM unsent WHERE block IN (SELECT value FROM json_each(?))", (numbers,))
            write("DELETE FROM catalog WHERE block IN (SELECT value FROM json_each(?))", (numbers,))
            self._dropped_sealed.clear()
