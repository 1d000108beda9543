"""Bytes in places: reading and writing blocks that lie here, with the sum of every page.

Reads are served from the page cache on the loop where they can be (a hit costs a system call), from a thread where the
disk must be asked, and never believed: each page must have its sum (`cachefs.sums`). Writes up to `INLINE_BYTES` go
straight to the page cache; larger ones go to a thread, because the kernel may make a writer wait for the disk (T16).
Whoever crosses an `await` here holds a lease on the place (T4).

The sum of a page is set together with its bytes, on the loop. While a thread writes, the sums of its pages are not
known. A write of a part of a page adds the rest of it to the new sum, after a look whether that rest was still sound:
a page that was damaged stays damaged until all of it is written anew. The layer above sees to it that no two writers
are in one block at a time.
"""

import time
from collections.abc import Callable, Sequence

import trio
from xxhash import xxh3_64_intdigest

from cachefs.blocks import Block
from cachefs.disk import Disk
from cachefs.errors import BytesDamaged
from cachefs.segments import Segment, Segments
from cachefs.sums import CHUNK_SHIFT, LOW_HALF, PAGE_BYTES, page_sum, page_sums

INLINE_BYTES = 64 << 10
AROUND_BYTES = 128 << 10  # what lies around a page that the disk must be asked for comes along
SOON_S = 0.0004
AHEAD_BYTES = 4 << 20  # of a stream
STREAMS = 64
UNHURRIED = 32  # reads that go to a thread at once after one that did not come soon


class Places:
    """What `cachefs.cache.Cache` does with bytes that lie here."""

    def __init__(self, disk: Disk, segments: Segments) -> None:
        self.disk = disk
        self.segments = segments
        self.damaged: set[tuple[int, int]] = set()
        """Pages that were found damaged since the start: segment, byte in it."""
        self.suspects: set[int] = set()
        """SEALED blocks of which a page was found damaged: they satisfy no dedupe, new bytes take their place (T20)."""
        self.note_written: Callable[[int, int, bytes | memoryview], None]
        """Called with what was written to a segment, and where."""
        self._sums = segments.sums
        self._chunks = self._sums.chunks
        self._threads = trio.CapacityLimiter(8)
        self._unhurried = 0
        self._stream_ends: set[tuple[int, int]] = set()  # segment, place

    # --- reading ---

    def read_nowait(self, block: Block, offset: int, length: int) -> bytes | bytearray | None:
        """`length` bytes of a block from `offset`, or None when `read` must be asked: the disk, or a second look."""
        place = block.offset + offset
        if place % PAGE_BYTES or (length != PAGE_BYTES and (length > PAGE_BYTES or offset + length != block.length)):
            return self._read_pages_nowait(block, offset, length)
        page = bytearray(length)
        try:
            count = self.disk.read_cached(block.segment.fd, page, place)
        except OSError:  # `read` will say so
            return None
        if count != length:
            return None
        sums = self._chunks.get(block.segment.first_chunk + (place >> CHUNK_SHIFT))
        if sums is None:
            return self._read_pages_nowait(block, offset, length)
        known = sums[place >> 12 & 1023]
        return page if not known or known == xxh3_64_intdigest(page) & LOW_HALF else None

    def _read_pages_nowait(self, block: Block, offset: int, length: int) -> bytes | bytearray | None:
        place, high = pages_of(block, offset, length)
        segment = block.segment
        data = bytearray(high - place)
        try:
            count = self.disk.read_cached(segment.fd, data, place)
        except OSError:
            return None
        if count != high - place or self._sums.missing(segment.number, place, high):
            return None
        if first_wrong(self._sums.known(segment.number, place, high), page_sums(data)) is not None:
            return None
        first = block.offset + offset - place
        return data if count == length else data[first : first + length]

    async def read_held(self, block: Block, offset: int, length: int) -> bytes | bytearray:
        lease = self.segments.free_queue.lease()
        try:
            if length <= AROUND_BYTES:
                data = await self._read_soon(block, offset, length)
                if data is not None:
                    return data
            return await self._read(block, offset, length)
        except OSError as error:
            raise self._damaged(block, block.offset + offset, f"cannot be read ({error.strerror})") from error
        finally:
            self.segments.free_queue.release(lease)

    async def _read_soon(self, block: Block, offset: int, length: int) -> bytes | bytearray | None:
        """Ask the disk for the neighbourhood, and look again for a moment: a quick disk has brought it before a thread
        would be awake. A slow one is soon not waited for any more.
        """
        place, high = pages_of(block, offset, length)
        await self.load_sums(block.segment, place, high)
        self.disk.will_read(block.segment.fd, place - place % AROUND_BYTES, AROUND_BYTES)
        if self._unhurried:
            self._unhurried -= 1
            return None
        end = time.perf_counter() + SOON_S
        while time.perf_counter() < end:
            await trio.lowlevel.checkpoint()
            data = self.read_nowait(block, offset, length)
            if data is not None:
                return data
        self._unhurried = UNHURRIED
        return None

    async def _read(self, block: Block, offset: int, length: int) -> bytes:
        segment, seen = block.segment, None
        while True:
            place, high = pages_of(block, offset, length)
            await self.load_sums(segment, place, high)
            data, sums = await trio.to_thread.run_sync(
                self._read_and_sum, segment.fd, high - place, place, self._ahead(segment, place, high - place),
                limiter=self._threads,
            )  # fmt: skip
            if len(data) < high - place:
                raise self._damaged(block, place + len(data), "is missing: the file of the segment ends before it")
            known = self._sums.known(segment.number, place, high)
            wrong = first_wrong(known, sums)
            if wrong is None:
                first = block.offset + offset - place
                return data if len(data) == length else data[first : first + length]
            # A writer may have been faster than this read. Damage stands still.
            if seen == (wrong, known[wrong], sums[wrong]):
                raise self._damaged(block, place + wrong * PAGE_BYTES, "is not what was written")
            seen = (wrong, known[wrong], sums[wrong])

    def _ahead(self, segment: Segment, place: int, length: int) -> int:
        """How many bytes behind these somebody will soon want: he reads on where he stopped."""
        is_stream = length > AROUND_BYTES and (segment.number, place) in self._stream_ends
        if length > AROUND_BYTES:
            self._stream_ends.discard((segment.number, place))
            self._stream_ends.add((segment.number, place + length))
        if len(self._stream_ends) > STREAMS:
            self._stream_ends.clear()
        return min(AHEAD_BYTES, max(0, segment.bump - place - length)) if is_stream else 0

    def _read_and_sum(self, fd: int, length: int, place: int, ahead: int) -> tuple[bytes, memoryview]:
        if ahead:
            self.disk.will_read(fd, place, length + ahead)
        data = self.disk.pread(fd, length, place)
        return data, page_sums(data)

    async def load_sums(self, segment: Segment, low: int, high: int) -> None:
        """Bring the sums of bytes [low, high) into memory, so that the loop need not wait for them."""
        for chunk in self._sums.missing(segment.number, low, high):
            await trio.to_thread.run_sync(self._sums.read_file, chunk, limiter=self._threads)  # `load` finds it cached

    def _damaged(self, block: Block, place: int, what: str) -> BytesDamaged:
        # The one place where damage is stated: a SEALED block that a pack holds is to be fetched again instead.
        place -= place % PAGE_BYTES
        offset = max(0, place - block.offset)
        page = block.segment.number, place
        if block.block_id is not None:
            self.suspects.add(block.number)
        self.damaged.add(page)
        return BytesDamaged(block.segment.number, block.number, offset, what)

    # --- writing ---

    def write_nowait(self, block: Block, offset: int, data: bytes | memoryview) -> None:
        """Put bytes into a block's place, at `offset`. The caller decides that it is writable (I2). Raises OSError."""
        segment, place, size = block.segment, block.offset + offset, len(data)
        if place % PAGE_BYTES or (size != PAGE_BYTES and (size > PAGE_BYTES or offset + size < block.length)):
            if place % PAGE_BYTES + size <= PAGE_BYTES:
                self._write_part_nowait(block, offset, data)
            else:
                self._write_pages_nowait(block, offset, data)
        else:
            chunk = segment.first_chunk + (place >> CHUNK_SHIFT)
            sums = self._chunks.get(chunk)
            if sums is None:
                sums = self._sums.load(chunk)
            try:
                self.disk.pwrite(segment.fd, data, place)
            except OSError:
                self._sums.forget(segment.number, place, place + size)
                raise
            sums[place >> 12 & 1023] = xxh3_64_intdigest(data) & LOW_HALF
            self._sums.changed.add(chunk)
        segment.unsynced = True
        self.note_written(segment.number, place, data)

    def _write_part_nowait(self, block: Block, offset: int, data: bytes | memoryview) -> None:
        start = offset % PAGE_BYTES
        fd, low, place = block.segment.fd, offset - start, block.offset + offset - start
        old = self.disk.pread(fd, min(PAGE_BYTES, max(0, block.length - low)), place)
        chunk = block.segment.first_chunk + (place >> CHUNK_SHIFT)
        sums, index = self._sums.load(chunk), place >> 12 & 1023
        is_damaged = sums[index] and sums[index] != page_sum(old)
        page = bytearray(old.ljust(start, b"\0"))
        page[start : start + len(data)] = data
        sum_ = page_sum(page)
        self._sums.changed.add(chunk)
        sums[index] = 0
        self.disk.pwrite(fd, data, block.offset + offset)
        sums[index] = (sum_ ^ 1 or 2) if is_damaged else sum_  # damaged: anything but right, or unknown

    def _write_pages_nowait(self, block: Block, offset: int, data: bytes | memoryview) -> None:
        number, (place, high) = block.segment.number, pages_of(block, offset, len(data))
        known = self._sums.known(number, place, high)
        try:
            new = self._write_and_sum(block, offset, data, known)
        except OSError:
            self._sums.forget(number, place, high)
            raise
        self._sums.set(number, place, new)

    async def write(self, block: Block, offset: int, data: bytes | memoryview) -> None:
        """`write_nowait` in a thread. The caller stands inside the gate."""
        segment = block.segment
        place, high = pages_of(block, offset, len(data))
        lease = self.segments.free_queue.lease()
        block.writers += 1
        try:
            await self.load_sums(segment, place, high)
            known = self._sums.known(segment.number, place, high)
            self._sums.forget(segment.number, place, high)
            new = await trio.to_thread.run_sync(self._write_large, block, offset, data, known, limiter=self._threads)
            self._sums.set(segment.number, place, new)
        except BaseException:
            self._sums.forget(segment.number, place, high)  # somebody may have learned them
            raise
        finally:
            block.writers -= 1
            self.segments.free_queue.release(lease)
            segment.unsynced = True
        self.note_written(segment.number, block.offset + offset, data)

    def _write_large(self, block: Block, offset: int, data: bytes | memoryview, known: Sequence[int]) -> memoryview:
        sums = self._write_and_sum(block, offset, data, known)
        # The disk works while the stream flows; else all of it waits for the fsync or the cut at its end.
        self.disk.will_sync(block.segment.fd, block.offset + offset, len(data))
        return sums

    def _write_and_sum(self, block: Block, offset: int, data: bytes | memoryview, known: Sequence[int]) -> memoryview:
        """Write, and return the sums of the pages that were touched. `known`: those they had."""
        fd, end, length = block.segment.fd, offset + len(data), block.length
        first = offset // PAGE_BYTES
        head = tail = b""
        damaged: list[int] = []
        for index in sorted({first, (end - 1) // PAGE_BYTES}):
            low, high = index * PAGE_BYTES, min((index + 1) * PAGE_BYTES, length)
            if offset <= low and high <= end:
                continue  # nothing of the page stays
            old = self.disk.pread(fd, max(0, high - low), block.offset + low)
            if known[index - first] and known[index - first] != page_sum(old):
                damaged.append(index - first)
            if low < offset:
                head = old[: offset - low].ljust(offset - low, b"\0")
            if end < high:
                tail = old[end - low :]
        self.disk.pwrite(fd, data, block.offset + offset)
        sums = page_sums(b"".join((head, data, tail)) if head or tail else data)
        for index in damaged:
            sums[index] = sums[index] ^ 1 or 2  # as in `_write_part_nowait`
        return sums


def pages_of(block: Block, offset: int, length: int) -> tuple[int, int]:
    """The bytes of the segment, whole pages, around a range of a block; a last page that is its own ends with it."""
    start = block.offset + offset
    end = start + length
    high = end + -end % PAGE_BYTES
    if block.last_page_is_own:
        high = min(high, max(end, block.offset + block.length))
    return start - start % PAGE_BYTES, high


def first_wrong(known: Sequence[int], found: memoryview) -> int | None:
    """Index of the first page whose sum is known and not what was found."""
    if memoryview(known) == found:  # type: ignore[arg-type]
        return None
    return next((n for n, sum_ in enumerate(known) if sum_ and sum_ != found[n]), None)
