"""Small writes that no sync of their segments has covered yet, so that a sync point can put them into the intent log.

An fsync of a few pages would cost two waits for the disk: the segments', then the log's. As ZFS does with small
synchronous writes, the bytes themselves go into the log, whose one sync then covers rows and bytes (T17). They lie in
their segments all the same, unsynced; the next cut, or a sync point with more to carry than it may, syncs
those. Only a power loss in between makes recovery write them again.
"""

from typing import NamedTuple


class CarriedWrite(NamedTuple):
    """Bytes that were written to a segment."""

    segment: int
    offset: int
    data: bytes


class Carried:
    """What was written since a sync of all segments began, or since a sync point carried it."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self.is_complete = True
        """Whether `take` gives every byte that is not durable. False once there were too many."""
        self._writes: list[CarriedWrite] = []
        self._size = 0

    def note(self, segment: int, offset: int, data: bytes | memoryview) -> None:
        """Remember a write."""
        self._size += len(data)
        if self._size > self._most:
            self.miss()
        elif self.is_complete:
            self._writes.append(CarriedWrite(segment, offset, bytes(data)))

    def miss(self) -> None:
        """Bytes were written that only a sync of the segments can make durable."""
        self.is_complete = False
        self._writes.clear()

    def take(self) -> list[CarriedWrite]:
        """What a sync point carries now."""
        taken, self._writes, self._size = self._writes, [], 0
        return taken

    def restart(self) -> None:
        """A sync of all segments begins: it covers everything so far."""
        self.is_complete = True
        self.take()

    def __bool__(self) -> bool:
        return bool(self._writes) or not self.is_complete
