"""Segment files: big sparse files in which blocks' bytes lie.

A segment is filled by a bump pointer and never written below it by anyone but the owner of a place. Two families keep
what must be synced (precious: OPEN and unsent bytes) apart from what may vanish (cache: fetched bytes, never synced).

Freed ranges go back to the disk through the free queue (`cachefs.free_queue`), and so does a segment without a living
place. Numbers are never reused, and neither are places: what a segment once was given out for is punched, not filled
again.

Rows are exact at a cut. Between cuts they say that more was given out than was, so that most writes need no row; what
lives in a segment a recovery counts anew.

Beside each segment lies the file of its page sums (`cachefs.sums`), which comes and goes with it.
"""

import errno
import logging
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cachefs.counters import Counters
from cachefs.database import Database
from cachefs.disk import Disk
from cachefs.errors import DatabaseDamaged, StorageBroken, StorageFull
from cachefs.free_queue import WHOLE_SEGMENT, Freed, FreeQueue, merged
from cachefs.sums import PAGE_BYTES, SEGMENT_CHUNKS, Sums
from cachefs.suspects import Suspects

log = logging.getLogger(__name__)

SEGMENT_BYTES = 256 << 20
PRECIOUS, CACHE = 1, 2  # on disk: do not change
BUMP_AHEAD_BYTES = 4 << 20  # rows say between cuts that so much more was given out
UNKNOWN = -1


class Segment:
    """One file, and what is known of it. `unsynced` says that bytes were written since the last sync began."""

    __slots__ = (
        "allocated", "bump", "family", "fd", "first_chunk", "is_new", "live", "number", "reserved", "row_dirty",
        "unsynced", "written_bump",
    )  # fmt: skip

    def __init__(self, number: int, family: int, fd: int, bump: int, live: int, *, is_new: bool) -> None:
        self.number = number
        self.family = family
        self.fd = fd
        self.bump = bump
        self.live = live
        self.reserved = 0  # of `live`: given out, to blocks that have no rows yet
        self.is_new = is_new
        self.written_bump = bump if not is_new else -1  # what its row says
        self.row_dirty = is_new
        self.unsynced = False
        self.first_chunk = number * SEGMENT_CHUNKS  # of its page sums
        self.allocated = UNKNOWN  # bytes that the disk gives for the file, as last asked


class Segments:
    """All segments of the drive."""

    def __init__(self, disk: Disk, directory: Path, database: Database, counters: Counters) -> None:
        self.directory = directory
        self.directory_dirty = False
        self.sums = Sums(disk, directory)
        self.free_queue = FreeQueue(database, counters)
        self._disk = disk
        self._database = database
        self._counters = counters
        self._open: dict[int, Segment] = {}
        self._filling: dict[int, Segment] = {}
        self._grown: list[Segment] = []  # beyond what their rows say

    def load(self, suspects: Suspects | None = None, doubted: int = 0) -> None:
        """Open the files that the rows name and cut off what lies above their bump pointers. Once, at start.

        `suspects`: the page sums not to believe; nor are those of cache segments up to number `doubted`.
        """
        ending = self.free_queue.load()
        for number, family, bump, live in self._database.rows("SELECT segment, family, bump, live FROM segments"):
            try:
                fd = self._disk.open(self._path(number), create=False)
            except FileNotFoundError:
                if number in ending:  # died between the unlink and the cut that records it
                    continue
                raise DatabaseDamaged(f"segment file {self._path(number).name} is missing") from None
            self._disk.truncate(fd, bump)
            self._open[number] = segment = Segment(number, family, fd, bump, live, is_new=False)
            self._load_sums(segment, suspects, is_ending=number in ending)
            if family == CACHE and number <= doubted:
                self.sums.forget_chunks(number, (), 0)
            # After the death of the core alone, rows come back whose bytes and names are in the page cache and were
            # never synced. The first cut must not commit those rows without them (I6).
            segment.unsynced = self.directory_dirty = True
            if number not in ending:
                self._retire_if_empty(segment)
        self._remove_unnamed_files()

    def _load_sums(self, segment: Segment, suspects: Suspects | None, *, is_ending: bool) -> None:
        if not self.sums.open(segment.number):
            self.directory_dirty = True
            if not is_ending:  # it is unlinked before its segment
                log.warning("%s was missing: those bytes are not checked", self.sums.path(segment.number).name)
        elif suspects is not None:
            suspects.forget(self.sums, segment.number, segment.bump)

    def _remove_unnamed_files(self) -> None:
        # A file whose number was never recorded as handed out is newer than the state we woke up in: no row names it.
        last = self._counters.last("segment")
        for path in self.directory.glob("*.seg"):
            if int(path.stem) > last:
                self._disk.unlink(path)
                self.directory_dirty = True
        for path in self.directory.glob("*.sum"):
            if int(path.stem) not in self._open:  # its segment may have gone alone
                self._disk.unlink(path)
                self.directory_dirty = True

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:010d}.seg"

    def rewrite(self, number: int, offset: int, data: bytes) -> None:
        """Put bytes back that a power loss may have taken. A segment that is gone needs none."""
        if number in self._open:
            self._disk.pwrite(self._open[number].fd, data, offset)

    def __getitem__(self, number: int) -> Segment:
        return self._open[number]

    def find(self, number: int) -> Segment | None:
        """The segment, if it is still there."""
        return self._open.get(number)

    # --- places ---

    def allocate(self, capacity: int, family: int = PRECIOUS) -> tuple[Segment, int]:
        """A fresh place of `capacity` bytes (rounded up to pages): its segment and offset.

        It is reserved until `occupy` or `free`. Raises StorageFull, StorageBroken.
        """
        capacity = -capacity % PAGE_BYTES + capacity
        segment = self._filling.get(family)
        if segment is None or segment.bump + capacity > SEGMENT_BYTES:
            segment = self._start_segment(family)
        offset = segment.bump
        segment.bump = offset + capacity
        segment.live += capacity
        segment.reserved += capacity
        segment.row_dirty = True
        if segment.bump > segment.written_bump and segment not in self._grown:
            self._grown.append(segment)
        return segment, offset

    def occupy(self, segment: Segment, capacity: int) -> None:
        """The block that lies in a reserved place has rows now."""
        segment.reserved -= capacity
        segment.row_dirty = True

    def _start_segment(self, family: int) -> Segment:
        number = self._counters.next("segment")
        try:
            fd = self._disk.open(self._path(number), create=True)
            self._create_sums(number, fd)
        except OSError as error:
            kind = StorageFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageBroken
            raise kind(f"no new segment could be made: {error.strerror}") from error
        self.directory_dirty = True
        full = self._filling.pop(family, None)
        segment = Segment(number, family, fd, 0, 0, is_new=True)
        self._open[number] = self._filling[family] = segment
        if full is not None:
            self._retire_if_empty(full)
        return segment

    def _create_sums(self, number: int, fd: int) -> None:
        try:
            self.sums.create(number)
        except OSError:
            self._disk.close(fd)
            with suppress(OSError):  # an empty file that nobody names
                self._disk.unlink(self._path(number))
            raise

    def free(self, segment: Segment, offset: int, capacity: int, *, is_reserved: bool = False) -> None:
        """Nobody names the place any more, in the running transaction."""
        segment.live -= capacity
        if is_reserved:
            segment.reserved -= capacity
        segment.row_dirty = True
        if (offset | capacity) % PAGE_BYTES:
            low, high = self._own_pages(segment.number, offset, offset + capacity)
            offset, capacity = low, high - low
        if capacity:
            self.free_queue.add(segment.number, offset, capacity)
        self._retire_if_empty(segment)

    def _own_pages(self, segment: int, low: int, high: int) -> tuple[int, int]:
        """The bytes of whole pages around [low, high), but for those in which other blocks still lie."""
        first, last = low // PAGE_BYTES, (high - 1) // PAGE_BYTES
        is_first_kept = self._leave_page(segment, first)
        is_last_kept = self._leave_page(segment, last) if last > first else is_first_kept
        low, high = first + is_first_kept, last + 1 - is_last_kept
        return low * PAGE_BYTES, max(low, high) * PAGE_BYTES

    def _leave_page(self, segment: int, page: int) -> bool:
        """One block less lies in the page. Whether others do."""
        row = self._database.row("SELECT users FROM shared_pages WHERE segment = ? AND page = ?", (segment, page))
        if row is None:
            return False
        if row[0] > 2:
            sql = "UPDATE shared_pages SET users = users - 1 WHERE segment = ? AND page = ?"
        else:
            sql = "DELETE FROM shared_pages WHERE segment = ? AND page = ?"
        self._database.write(sql, (segment, page))
        return True

    def divide(self, segment: Segment, offset: int, capacity: int, parts: Sequence[tuple[int, int]]) -> None:
        """The place belongs to several blocks from now on: `parts`, each (offset, capacity), in order, none overlap.

        Pages in which none of them lies are freed. In the running transaction.
        """
        segment.live -= capacity - sum(length for _, length in parts)
        segment.row_dirty = True
        users = Counter(page for low, length in parts for page in {low // PAGE_BYTES, (low + length - 1) // PAGE_BYTES})
        for page, count in sorted(users.items()):
            if count > 1:
                self._database.write("INSERT INTO shared_pages VALUES (?, ?, ?)", (segment.number, page, count))
        done, end = offset, offset + capacity
        for low, length in parts:
            if low - low % PAGE_BYTES > done:
                self.free_queue.add(segment.number, done, low - low % PAGE_BYTES - done)
            done = max(done, low + length + -(low + length) % PAGE_BYTES)
        if done < end:
            self.free_queue.add(segment.number, done, end - done)
        self._retire_if_empty(segment)

    def _retire_if_empty(self, segment: Segment) -> None:
        if segment.live == 0 and segment is not self._filling.get(segment.family):
            self.free_queue.add(segment.number, 0, WHOLE_SEGMENT)

    # --- called by the cut ---

    def flush(self) -> None:
        """Write what a recovery could not find out: freed places, new segments, and how far places were given out."""
        self.free_queue.flush()
        for segment in self._grown:
            self._write_row(segment, min(segment.bump + BUMP_AHEAD_BYTES, SEGMENT_BYTES))
        self._grown.clear()

    def flush_tallies(self) -> None:
        """Write the rows of segments that changed, exactly."""
        for segment in self._open.values():
            if segment.row_dirty:
                self._write_row(segment, segment.bump)
                segment.row_dirty = False
        self._grown.clear()

    def _write_row(self, segment: Segment, bump: int) -> None:
        live = segment.live - segment.reserved
        if segment.is_new:
            self._database.write(
                "INSERT INTO segments VALUES (?, ?, ?, ?)", (segment.number, segment.family, bump, live)
            )
            segment.is_new = False
        else:
            self._database.write(
                "UPDATE segments SET bump = ?, live = ? WHERE segment = ?", (bump, live, segment.number)
            )
        segment.written_bump = bump

    def recount(self) -> None:
        """Count the living places of each segment anew, before `load`: a crash left the counts of the last cut."""
        found = dict(self._database.rows("SELECT segment, sum(capacity) FROM residency GROUP BY segment"))
        for number, live in self._database.rows("SELECT segment, live FROM segments"):
            if live != found.get(number, 0):
                self._database.write("UPDATE segments SET live = ? WHERE segment = ?", (found.get(number, 0), number))

    def take_unsynced(self) -> list[Segment]:
        """The precious segments written since they were last taken. Their sync begins now (I6)."""
        taken = [segment for segment in self._open.values() if segment.unsynced and segment.family == PRECIOUS]
        for segment in taken:
            segment.unsynced = False
            segment.allocated = UNKNOWN
        return taken

    def put_back_unsynced(self, taken: list[Segment]) -> None:
        """Their sync did not happen."""
        for segment in taken:
            segment.unsynced = True

    def has_unsynced(self) -> bool:
        """Whether bytes, or the name of a segment, wait for a sync."""
        return self.directory_dirty or any(
            segment.unsynced and segment.family == PRECIOUS for segment in self._open.values()
        )

    def punch(self, freed: list[Freed]) -> None:
        """Give the ranges back to the disk. Blocks: call it in a thread, then `forget` on the loop."""
        for number, offset, length in merged([(entry.segment, entry.offset, entry.length) for entry in freed]):
            segment = self._open.get(number)
            if segment is None:
                continue
            if length == WHOLE_SEGMENT:
                self.sums.unlink(number)
                with suppress(FileNotFoundError):  # a second time
                    self._disk.unlink(self._path(number))
            else:
                self._disk.punch(segment.fd, offset, length)
                segment.allocated = UNKNOWN

    def forget(self, freed: list[Freed]) -> None:
        """The ranges are punched: their rows, and the descriptors of segments that went, are done with."""
        for entry in freed:
            self.free_queue.forget(entry)
            if entry.length == WHOLE_SEGMENT:
                number = entry.segment
                self._database.write("DELETE FROM segments WHERE segment = ?", (number,))
                if number in self._open:
                    self._disk.close(self._open.pop(number).fd)
                    self.sums.drop(number)
                    self.directory_dirty = True

    def statistics(self) -> dict[str, int]:
        """segments, live_bytes (set aside for blocks), free_queue_bytes (waiting to be punched)."""
        return {
            "segments": len(self._open),
            "live_bytes": sum(segment.live for segment in self._open.values()),
            "free_queue_bytes": self.free_queue.waiting_bytes(),
        }

    def allocated_bytes(self) -> int:
        """What the disk gives for all segments (st_blocks): places are larger than what is written to them."""
        total = 0
        for segment in self._open.values():
            # The others have not changed, and a full disk has thousands.
            if segment.unsynced or segment.allocated == UNKNOWN:
                segment.allocated = os.fstat(segment.fd).st_blocks * 512
            total += segment.allocated
        return total

    def close(self) -> None:
        for segment in self._open.values():
            self._disk.close(segment.fd)
        self._open.clear()
        self.sums.close()
