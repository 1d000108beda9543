"""How many bytes may lie here, and who must be told no in time.

Without a store every byte is precious, so the budget is what the disk can hold: its free space less a floor that keeps
room for the database, its log and the intent log (T3). It is asked before an operation starts, so that a full disk is
an error of that operation, never of the commit. Who is refused when depends on what the operation leaves behind:

    free space left        new bytes    new names    removals, shorter files
    above the floor        yes          yes          yes
    above half of it       no           yes          yes
    above a quarter        no           no           yes       or nobody could ever make room
    below                  no           no           no        SQLite itself may fail

The disk is asked at most once per `RECHECK_BYTES` admitted or `RECHECK_S` seconds.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

from cachefs.errors import StorageFull
from cloud_tier.clock import Clock
from cloud_tier.reserve import reserve_bytes

RECHECK_BYTES = 8 << 20
RECHECK_S = 1.0
SHORT_BYTES = 1 << 30
PRECIOUS_SHARE = 0.7  # of the limit: most bytes that no store has
SLOWED_SHARE = 0.85  # of that: from here on writers are slowed down
SLOWEST_S_PER_BYTE = 1 / (1 << 20)  # 1 MiB a second, at the end
MOST_DELAY_S = 2.0


class Budget:
    """Admission of new bytes and rows.

    `limit_bytes`: most bytes that segments may hold (0 = whatever the disk has). `held`: asks for the bytes held now.
    """

    def __init__(self, directory: Path, clock: Clock, held: Callable[[], int], limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self.has_store = False
        self.evictable: Callable[[], int] = lambda: 0
        """Bytes held that a store has as well: they make room when it is needed."""
        self.pinned: Callable[[], int] = lambda: 0
        """Bytes held that a store has as well, and that stay: neither precious nor room."""
        self.coming_bytes = 0
        """Of writes that were admitted, and may not have reached the disk yet."""
        self._directory = directory
        self._clock = clock
        self._held = held
        self._free = 0  # as last seen
        self._left = 0  # bytes that may be admitted before the disk is asked again
        self._above_floor = 0
        self._is_low = self._is_short = False
        self._floor = 0
        self._checked_s = float("-inf")

    def held_bytes(self) -> int:
        """Bytes that the disk gives for segments, or will have given once all that was admitted is written."""
        return self._held() + self.coming_bytes

    def free_bytes(self) -> int:
        """Bytes that can still be accepted, now."""
        self._look()
        evictable = self.evictable()
        left = self._above_floor + evictable
        if self.limit_bytes:
            kept = self.held_bytes() - evictable
            left = min(left, self.limit_bytes - kept)
            if self.has_store:
                left = min(left, int(self.limit_bytes * PRECIOUS_SHARE) - (kept - self.pinned()))
        return max(0, left)

    def delay_s(self, size_bytes: int) -> float:
        """How long a writer of so many bytes should wait, so that a store that is slow or away slows him down before it
        stops him. 0 unless what no store has takes more than `SLOWED_SHARE` of its share.
        """
        excess = max(0.0, self._fullness() - SLOWED_SHARE) / (1 - SLOWED_SHARE)
        return min(MOST_DELAY_S, excess**2 * size_bytes * SLOWEST_S_PER_BYTE)

    def is_pressed(self) -> bool:
        """Whether writers are slowed down: what no store has should be on its way, at rest or not."""
        return self._fullness() > SLOWED_SHARE

    def has_room(self, size_bytes: int) -> bool:
        """Whether `admit` would let so many bytes in."""
        self._refresh(size_bytes)
        return size_bytes <= self._left

    def _fullness(self) -> float:
        if not self.limit_bytes or not self.has_store:
            return 0.0
        self._refresh(0)
        return 1 - self._free / (self.limit_bytes * PRECIOUS_SHARE)

    def most_bytes(self) -> int:
        """Most bytes that may lie here: the limit, or what the disk could give."""
        self._look()
        return min(self.limit_bytes or sys.maxsize, self._held() + max(0, self._above_floor))

    def _look(self) -> None:
        disk = os.statvfs(self._directory)
        size = disk.f_blocks * disk.f_frsize
        self._floor = reserve_bytes(size)
        self._above_floor = disk.f_bavail * disk.f_frsize - self._floor

    def _refresh(self, size_bytes: int) -> None:
        if size_bytes > self._left or self._clock.monotonic_s() - self._checked_s > RECHECK_S:
            self._checked_s = self._clock.monotonic_s()
            free = self._free = self.free_bytes()
            self._is_low = free < 4 * RECHECK_BYTES
            is_full = 0 < self.limit_bytes < self.held_bytes() + 4 * RECHECK_BYTES
            self._is_short = is_full or free < SHORT_BYTES
            self._left = min(free, max(RECHECK_BYTES, 2 * size_bytes))

    def admit(self, size_bytes: int) -> None:
        """Let an operation store `size_bytes` more. Raises StorageFull before anything was changed."""
        if not self.has_room(size_bytes):
            raise StorageFull(f"{size_bytes} bytes do not fit: the drive's local disk or budget is full")
        self._left -= size_bytes

    def admit_rows(self, *, is_removal: bool = False) -> None:
        """Let an operation write a few rows and no bytes. Raises StorageFull before anything was changed."""
        self._refresh(0)
        if self._above_floor < -self._floor * (3 if is_removal else 2) // 4:
            raise StorageFull("the drive's local disk is full to its last reserve; make room on the disk itself")

    def is_low(self) -> bool:
        """Whether new opens should write through, so that a full disk reaches write(2) and not only close(2) (T12)."""
        self._refresh(0)
        return self._is_low

    def is_short(self) -> bool:
        """Whether freed bytes are wanted back at once: little more fits, or what lies here comes up to the limit."""
        self._refresh(0)
        return self._is_short
