"""Reading everything that lies here, to find damage before somebody needs the bytes.

Blocks are read in their order, a batch at a time, in a thread; only the comparison of sums is done on the loop. Nothing
is locked: a block that does not look right (perhaps it was written meanwhile) is looked at again page by page, as any
reader would. Where a sum was not known, because the core had died, the bytes are taken as they are and checked from now
on.
"""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

import apsw
import trio

from cachefs.cache import Cache
from cachefs.errors import BytesDamaged, UnknownBlock
from cachefs.places import first_wrong
from cachefs.segments import PRECIOUS, Segment
from cachefs.sums import PAGE_BYTES, page_sums

BATCH_ROWS = 64
BATCH_BYTES = 4 << 20  # one block at least

_NEXT = (
    "SELECT block, segment, offset, capacity, length FROM blocks JOIN residency USING (block)"
    " WHERE block > ? AND length > 0 ORDER BY block LIMIT ?"
)


class Place(NamedTuple):
    """A block as of the last cut, and where it lies."""

    block: int
    segment: int
    offset: int
    capacity: int
    length: int

    @property
    def pages(self) -> tuple[int, int]:
        """The bytes of the segment that its pages have sums of; as `cachefs.places.pages_of`."""
        end = self.offset + self.length
        is_last_own = (self.offset + self.capacity) % PAGE_BYTES == 0
        return self.offset - self.offset % PAGE_BYTES, end if is_last_own else end + -end % PAGE_BYTES


class Scrub:
    """One pass over all blocks, or over a `share` of them by chance, or over some of them from one on. `found` hears of
    each damaged page.
    """

    def __init__(self, cache: Cache, found: Callable[[BytesDamaged], None], share: float = 1.0) -> None:
        self.checked_bytes = 0
        self.checked_blocks = 0
        self.learned_pages = 0
        self._cache = cache
        self._found = found
        self._share = share
        self._dice = random.Random()
        self._thread = trio.CapacityLimiter(1)

    async def run(self, last: int = 0, most_bytes: float = float("inf")) -> int:
        """The pass over the blocks behind number `last`, until about so many bytes are read. Returns the last block, 0
        at the end of all. Raises StorageBroken.
        """
        reader = self._cache.database.reader()
        try:
            while rows := await trio.to_thread.run_sync(_next, reader, last, limiter=self._thread):
                last = rows[-1].block
                if self._share < 1.0:
                    rows = [row for row in rows if self._dice.random() < self._share]
                for batch in _batches(rows):
                    for block in await self._suspects(batch):
                        await self._look_closely(block)
                if self.checked_bytes >= most_bytes:
                    return last
            return 0
        finally:
            reader.close()

    async def _suspects(self, batch: list[Place]) -> list[int]:
        """Read a batch at once. Returns the blocks that are not plainly sound."""
        cache, sums = self._cache, self._cache.segments.sums
        lease = cache.segments.free_queue.lease()
        try:
            held = [
                (place, segment)
                for place in batch
                if (segment := cache.segments.find(place.segment)) is not None
                and (segment.family == PRECIOUS or segment.number > cache.blocks.doubted)  # or its reader compares it
            ]
            for place, segment in held:
                await cache.load_sums(segment, *place.pages)
            before = sums.forgotten
            found = await trio.to_thread.run_sync(self._read, held, limiter=self._thread)
            suspects = []
            for (place, _), read in zip(held, found, strict=True):
                low, high = place.pages
                known = sums.known(place.segment, low, high)
                if read is None or first_wrong(known, read) is not None:
                    suspects.append(place.block)
                    continue
                self.checked_blocks += 1
                self.checked_bytes += place.length
                # A write that was refused since would leave other bytes, and no sum, behind.
                if 0 in known and sums.forgotten == before and self._is_as_long(place):
                    self.learned_pages += sums.learn(place.segment, low, read)
            return suspects
        finally:
            cache.segments.free_queue.release(lease)

    def _read(self, held: list[tuple[Place, Segment]]) -> list[memoryview | None]:
        found: list[memoryview | None] = []
        for place, segment in held:
            low, high = place.pages
            try:
                data = self._cache.disk.pread(segment.fd, high - low, low)
            except OSError:
                data = b""
            found.append(page_sums(data) if len(data) == high - low else None)
        return found

    def _is_as_long(self, place: Place) -> bool:
        try:
            return self._cache.blocks.get(place.block).length == place.length
        except UnknownBlock:
            return False

    async def _look_closely(self, number: int) -> None:
        offset = 0
        while True:
            try:
                block = self._cache.blocks.get(number)  # anew each time: it may go, or grow
            except UnknownBlock:
                return
            if not block.is_held:
                return
            if offset >= block.length:
                self.checked_blocks += 1
                return
            length = min(PAGE_BYTES, block.length - offset)
            try:
                await self._cache.read(block, offset, length)
            except BytesDamaged as error:
                self._found(error)
            self.checked_bytes += length
            offset += PAGE_BYTES


def _next(reader: apsw.Connection, last: int) -> list[Place]:
    return [Place(*row) for row in reader.execute(_NEXT, (last, BATCH_ROWS))]


def _batches(rows: list[Place]) -> Iterator[list[Place]]:
    batch: list[Place] = []
    for row in rows:
        if batch and sum(place.length for place in batch) + row.length > BATCH_BYTES:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
