"""Ranges of segments that no row names any more, on their way back to the disk.

Freeing is dangerous in both directions (T4): a punch before the cut that stops naming the bytes is durable brings back
zeros after a power loss; a punch while a thread still reads or writes the range serves zeros, or another file's bytes.
So a freed range goes through three stations:

    freed       its row stands in `free_queue`, in the transaction that removed its last name
    durable     the cut of that transaction is on disk
    reclaimed   no lease from before the freeing is left: punched, its row removed (I11)

A segment without a living place goes the same way as one entry, and is unlinked at the end. Neighbours that are freed
together are one entry: whoever removes a folder frees what was once written together. A punch costs a busy disk more
than the removal did, so ranges also wait for their neighbours: until the drive rests, the queue is long, or space is
short.
"""

from collections import deque
from typing import NamedTuple

from cachefs.counters import Counters
from cachefs.database import Database

WHOLE_SEGMENT = -1  # free_queue.length: the file itself goes
LONG_ENTRIES, LONG_BYTES = 20_000, 256 << 20  # so much does not wait


class Freed(NamedTuple):
    """A range nobody names any more. `tick`: leases taken up to this one may still use it."""

    entry: int
    segment: int
    offset: int
    length: int
    tick: int


class FreeQueue:
    """What waits to be punched, and the leases that hold it back."""

    def __init__(self, database: Database, local_counters: Counters) -> None:
        self._database = database
        self._counters = local_counters
        self._new: list[tuple[int, int, int]] = []  # segment, offset, length; without rows
        self._freed: list[Freed] = []
        self._durable: deque[Freed] = deque()
        self._durable_bytes = 0
        self._is_ordered = False
        self._tick = 0
        self._leases: dict[int, int] = {}

    def load(self) -> set[int]:
        """Read the rows that the last life left. Returns the segments whose file itself goes."""
        rows = self._database.rows("SELECT entry, segment, offset, length FROM free_queue")
        self.made_durable([Freed(entry, segment, offset, length, -1) for entry, segment, offset, length in rows])
        return {freed.segment for freed in self._durable if freed.length == WHOLE_SEGMENT}

    # --- leases ---

    def lease(self) -> int:
        """Promise to whoever crosses an `await` with a place that its bytes stay where they are.

        Give back with `release`.
        """
        tick = self._tick
        self._leases[tick] = self._leases.get(tick, 0) + 1
        return tick

    def release(self, lease: int) -> None:
        """End a lease."""
        left = self._leases[lease] - 1
        if left:
            self._leases[lease] = left
        else:
            del self._leases[lease]

    # --- freed ---

    def add(self, segment: int, offset: int, length: int) -> None:
        """Nobody names the range any more, in the running transaction, which `flush` completes."""
        self._new.append((segment, offset, length))

    def flush(self) -> None:
        """Write the rows."""
        new, self._new = self._new, []
        for segment, offset, length in merged(new):
            entry = self._counters.next("free")
            self._database.write("INSERT INTO free_queue VALUES (?, ?, ?, ?)", (entry, segment, offset, length))
            self._freed.append(Freed(entry, segment, offset, length, self._tick))

    # --- durable, reclaimed ---

    def take_freed(self) -> list[Freed]:
        """What the transaction that commits now has freed; hand it to `made_durable` once the cut is on disk."""
        freed, self._freed = self._freed, []
        self._tick += 1
        return freed

    def made_durable(self, freed: list[Freed]) -> None:
        """The cut that freed these ranges is on disk."""
        self._durable.extend(freed)
        self._durable_bytes += sum(range_.length for range_ in freed if range_.length > 0)
        self._is_ordered = False

    def is_long(self) -> bool:
        """Whether so much waits that it should be given back now, however busy the drive is."""
        return len(self._durable) > LONG_ENTRIES or self._durable_bytes > LONG_BYTES

    def take_reclaimable(self, most: int = 1000) -> list[Freed]:
        """Ranges that may be punched now: durable, and no lease is older. By place, ends of segments last."""
        if not self._is_ordered:
            self._durable = deque(sorted(self._durable, key=_by_place))
            self._is_ordered = True
        oldest = min(self._leases, default=self._tick)
        taken: list[Freed] = []
        held: list[Freed] = []
        while self._durable and len(taken) < most:
            freed = self._durable.popleft()
            (taken if freed.tick < oldest else held).append(freed)
        self._durable.extendleft(reversed(held))
        self._durable_bytes -= sum(freed.length for freed in taken if freed.length > 0)
        return taken

    def put_back(self, freed: list[Freed]) -> None:
        """Their punch was refused, or did not happen; a second one does no harm to those that went."""
        self.made_durable(freed)

    def forget(self, freed: Freed) -> None:
        """The range was given back: its row goes."""
        self._database.write("DELETE FROM free_queue WHERE entry = ?", (freed.entry,))

    def waiting_bytes(self) -> int:
        """Freed bytes that were not given back yet; segments that go as a whole not counted."""
        queued = sum(freed.length for freed in (*self._freed, *self._durable) if freed.length > 0)
        return queued + sum(length for _, _, length in self._new if length > 0)


def _by_place(freed: Freed) -> tuple[bool, int, int]:
    return freed.length == WHOLE_SEGMENT, freed.segment, freed.offset


def merged(ranges: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """(segment, offset, length) of freed ranges, neighbours as one; whole segments stay behind all others."""
    found: list[tuple[int, int, int]] = []
    ends = [freed for freed in ranges if freed[2] == WHOLE_SEGMENT]
    for segment, offset, length in sorted(freed for freed in ranges if freed[2] != WHOLE_SEGMENT):
        if found and found[-1][0] == segment and found[-1][1] + found[-1][2] == offset:
            found[-1] = (segment, found[-1][1], found[-1][2] + length)
        else:
            found.append((segment, offset, length))
    return found + ends
