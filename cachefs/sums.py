"""Page sums: what the bytes of each page of a segment must add up to.

Each 4 KiB page has a sum of 4 bytes: the low half of XXH3-64 over the page's bytes below its block's `length`. A block
starts at a page and places are never given out twice, so a page belongs to one block for ever. 0 means that the sum is
not known, and passes (of 4,000 million sums, one is 0 by chance).

The sums of a segment lie in a file beside it, in pieces of 1,024 (a *chunk*: 4 KiB of sums, 4 MiB of bytes), and are
kept in memory by chunk. They are no part of a transaction and need none: a chunk may be written out at any moment, must
be on the disk when the cut that names its pages commits, and after an unclean start the sums of all pages that could
have been written since the last cut are forgotten (`forget_chunks`), because they may be newer or older than the bytes.
At a sync point nothing is written here: what it adds is younger than the cut, so its sums would be forgotten anyway.

No mmap: a bad disk would kill the core (SIGBUS) instead of failing one read.
"""

import logging
from array import array
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from cachefs.disk import Disk

log = logging.getLogger(__name__)

PAGE_BYTES = 4096
CHUNK_BYTES = 4096  # of a sums file
CHUNK_SHIFT = 22  # bytes of a segment under one chunk: 1,024 pages
SEGMENT_CHUNKS = 64  # chunks of one segment of 256 MiB
MOST_CHUNKS = 4096  # in memory: 16 MiB, for 16 GiB of segments
LOW_HALF = 0xFFFFFFFF

_UNKNOWN = bytes(CHUNK_BYTES)
_PAGES = [slice(low, low + PAGE_BYTES) for low in range(0, 4 << 20, PAGE_BYTES)]

Chunk = int  # segment number * SEGMENT_CHUNKS + index in the segment


def page_sum(page: bytes | bytearray | memoryview) -> int:
    """The sum of one page, given its bytes below the block's length."""
    return xxh3_64_intdigest(page) & LOW_HALF


def page_sums(data: bytes | bytearray | memoryview) -> memoryview:
    """The sums of successive pages, 4 MiB at most; the last may be short."""
    pages = _PAGES[: (len(data) + PAGE_BYTES - 1) // PAGE_BYTES]
    sums = memoryview(array("Q", map(xxh3_64_intdigest, map(memoryview(data).__getitem__, pages))))
    return sums.cast("B").cast("I")[::2]  # little endian: the low halves


class Taken(NamedTuple):
    """What a cut writes: chunks as they were when it was taken, and the segments whose sums files must be synced."""

    chunks: list[tuple[Chunk, bytes]]
    files: set[int]


class Sums:
    """The sums of all segments. `chunks` and `changed` are for `cachefs.cache`, which looks one page up by itself."""

    def __init__(self, disk: Disk, directory: Path) -> None:
        self.chunks: dict[Chunk, array[int]] = {}  # oldest first
        self.changed: set[Chunk] = set()
        self.forgotten = 0
        """How often `forget` was called."""
        self._disk = disk
        self._directory = directory
        self._fds: dict[int, int] = {}
        self._unsynced: set[int] = set()
        self._writing: set[Chunk] = set()  # a thread writes what they were: newer sums must not come before that

    # --- files ---

    def path(self, segment: int) -> Path:
        return self._directory / f"{segment:010d}.sum"

    def create(self, segment: int) -> None:
        """Make the sums file of a new segment. Raises OSError."""
        self._fds[segment] = self._disk.open(self.path(segment), create=True)

    def open(self, segment: int) -> bool:
        """Open the sums file of a segment; False when there was none: an empty one is made. Raises OSError."""
        try:
            self._fds[segment] = self._disk.open(self.path(segment), create=False)
        except FileNotFoundError:
            self.create(segment)
            return False
        return True

    def drop(self, segment: int) -> None:
        """The segment is gone."""
        self._disk.close(self._fds.pop(segment))
        self._unsynced.discard(segment)
        for chunk in range(segment * SEGMENT_CHUNKS, (segment + 1) * SEGMENT_CHUNKS):
            self.chunks.pop(chunk, None)
            self.changed.discard(chunk)

    def unlink(self, segment: int) -> None:
        """Remove the file; a second time does no harm. Blocks. Raises OSError."""
        with suppress(FileNotFoundError):
            self._disk.unlink(self.path(segment))

    def close(self) -> None:
        for fd in self._fds.values():
            self._disk.close(fd)
        self._fds.clear()

    # --- sums ---

    def find(self, chunk: Chunk) -> "array[int] | None":
        """A chunk from memory or from the page cache; None when the disk would have to be asked."""
        sums = self.chunks.get(chunk)
        if sums is not None:
            return sums
        data = bytearray(CHUNK_BYTES)
        try:
            count = self._disk.read_cached(self._fds[chunk // SEGMENT_CHUNKS], data, _offset(chunk))
        except OSError:  # `load` will say so
            return None
        return None if count < 0 else self._keep(chunk, data)

    def load(self, chunk: Chunk) -> "array[int]":
        """A chunk, if need be from the disk: the kernel reads ahead, so one wait brings those of the next 100 MiB."""
        return self.find(chunk) or self._keep(chunk, self.read_file(chunk))

    def read_file(self, chunk: Chunk) -> bytes:
        """A chunk as its file has it. Blocks; for threads as well."""
        try:
            return self._disk.pread(self._fds[chunk // SEGMENT_CHUNKS], CHUNK_BYTES, _offset(chunk))
        except OSError as error:
            log.error(
                "%s cannot be read at byte %d (%s): the bytes it covers are served unchecked; look at the disk",
                self.path(chunk // SEGMENT_CHUNKS).name,
                _offset(chunk),
                error.strerror,
            )
            return b""

    def _keep(self, chunk: Chunk, data: bytes | bytearray) -> "array[int]":
        sums = array("I", bytes(data[: len(data) // 4 * 4]) + _UNKNOWN[len(data) // 4 * 4 :])
        if len(self.chunks) >= MOST_CHUNKS:
            self._shrink()
        self.chunks[chunk] = sums
        return sums

    def _shrink(self) -> None:
        for chunk in list(self.chunks)[: max(1, MOST_CHUNKS // 8)]:
            sums = self.chunks.pop(chunk)
            if chunk in self._writing or (chunk in self.changed and not self._write_early(chunk, sums)):
                self.chunks[chunk] = sums

    def _write_early(self, chunk: Chunk, sums: "array[int]") -> bool:
        try:
            self._disk.pwrite(self._fds[chunk // SEGMENT_CHUNKS], sums.tobytes(), _offset(chunk))
        except OSError:  # the cut tries again, and says so
            return False
        self.changed.discard(chunk)
        self._unsynced.add(chunk // SEGMENT_CHUNKS)
        return True

    def missing(self, segment: int, low: int, high: int) -> list[Chunk]:
        """The chunks for bytes [low, high) of a segment that only the disk has."""
        return [chunk for chunk, _, _ in _spans(segment, low, high) if self.find(chunk) is None]

    def known(self, segment: int, low: int, high: int) -> "array[int]":
        """The sums that the pages of [low, high) must have."""
        found: array[int] = array("I")
        for chunk, first, last in _spans(segment, low, high):
            found += self.load(chunk)[first:last]
        return found

    def set(self, segment: int, low: int, sums: memoryview) -> None:
        """The pages from byte `low` on have these sums now."""
        done = 0
        for chunk, first, last in _spans(segment, low, low + len(sums) * PAGE_BYTES):
            memoryview(self.load(chunk))[first:last] = sums[done : done + last - first]
            self.changed.add(chunk)
            done += last - first

    def forget(self, segment: int, low: int, high: int) -> None:
        """The sums of the pages of [low, high) are not known for now."""
        self.forgotten += 1
        for chunk, first, last in _spans(segment, low, high):
            self.load(chunk)[first:last] = array("I", bytes(4 * (last - first)))
            self.changed.add(chunk)

    def learn(self, segment: int, low: int, sums: memoryview) -> int:
        """Where a sum is not known, it is this one. Returns of how many pages."""
        known = self.known(segment, low, low + len(sums) * PAGE_BYTES)
        for index, one in enumerate(known):
            sums[index] = one or sums[index]
        self.set(segment, low, sums)
        return known.count(0)

    def forget_chunks(self, segment: int, chunks: Collection[Chunk], end: int) -> None:
        """In the file, at start: these sums, and all for bytes from `end` on, are not known. Raises OSError."""
        fd = self._fds[segment]
        first = segment * SEGMENT_CHUNKS
        kept = end // PAGE_BYTES * 4
        while kept and first + (kept - 1) // CHUNK_BYTES in chunks:
            kept = (kept - 1) // CHUNK_BYTES * CHUNK_BYTES
        self._disk.truncate(fd, kept)
        for chunk in chunks:
            if _offset(chunk) < kept:
                self._disk.pwrite(fd, _UNKNOWN, _offset(chunk))
        self._unsynced.add(segment)

    # --- called by the cut ---

    def take(self) -> Taken:
        """What changed since it was last taken; the cut writes and syncs it before it commits."""
        taken = Taken(
            [(chunk, self.chunks[chunk].tobytes()) for chunk in sorted(self.changed)],
            self._unsynced.union(chunk // SEGMENT_CHUNKS for chunk in self.changed),
        )
        self._writing = set(self.changed)
        self.changed.clear()
        self._unsynced = set()
        return taken

    def write(self, taken: Taken) -> list[int]:
        """Write the chunks; the descriptors that must be synced now. Blocks. Raises OSError."""
        for chunk, sums in taken.chunks:
            self._disk.pwrite(self._fds[chunk // SEGMENT_CHUNKS], sums, _offset(chunk))
        return [self._fds[segment] for segment in sorted(taken.files)]

    def written(self) -> None:
        """What was taken is in the files."""
        self._writing = set()

    def put_back(self, taken: Taken) -> None:
        """It was not written, or not synced."""
        self._writing = set()
        self.changed.update(chunk for chunk, _ in taken.chunks)
        self._unsynced |= taken.files

    def has_changed(self) -> bool:
        """Whether a cut has something to do here."""
        return bool(self.changed or self._unsynced)


def _offset(chunk: Chunk) -> int:
    return chunk % SEGMENT_CHUNKS * CHUNK_BYTES


def _spans(segment: int, low: int, high: int) -> Iterable[tuple[Chunk, int, int]]:
    """The chunks that cover bytes [low, high), each with the range of sums in it."""
    page, last = low // PAGE_BYTES, (high + PAGE_BYTES - 1) // PAGE_BYTES
    while page < last:
        first = page % 1024
        count = min(last - page, 1024 - first)
        yield segment * SEGMENT_CHUNKS + page // 1024, first, first + count
        page += count
