"""How many bytes may lie here, and who must be told no in time.

Without a store every byte is precious, so the budget is what the disk can hold: its free space less a floor that keeps
room for the database, its log and the intent log (T3). It is asked before an operation starts, so that a full disk is
an error of that operation, never of the commit. The disk is asked at most once per `RECHECK_BYTES` admitted or
`RECHECK_S` seconds.
"""

import os
from collections.abc import Callable
from pathlib import Path

from cachefs.errors import StorageFull
from cloud_tier.clock import Clock

FLOOR_SHARE = 0.05
FLOOR_MOST_BYTES = 2 << 30
FLOOR_LEAST_BYTES = 32 << 20
RECHECK_BYTES = 8 << 20
RECHECK_S = 1.0


class Budget:
    """Admission of new bytes.

    `limit_bytes`: most bytes that segments may hold (0 = whatever the disk has). `held`: asks for the bytes held now.
    """

    def __init__(self, directory: Path, clock: Clock, held: Callable[[], int], limit_bytes: int = 0) -> None:
        self.limit_bytes = limit_bytes
        self._directory = directory
        self._clock = clock
        self._held = held
        self._left = 0
        self._checked_s = float("-inf")

    def free_bytes(self) -> int:
        """Bytes that can still be accepted, now."""
        disk = os.statvfs(self._directory)
        size = disk.f_blocks * disk.f_frsize
        floor = min(max(int(size * FLOOR_SHARE), FLOOR_LEAST_BYTES), FLOOR_MOST_BYTES)
        left = disk.f_bavail * disk.f_frsize - floor
        if self.limit_bytes:
            left = min(left, self.limit_bytes - self._held())
        return max(0, left)

    def admit(self, size_bytes: int) -> None:
        """Let an operation store `size_bytes` more. Raises StorageFull before anything was changed."""
        if size_bytes > self._left or self._clock.monotonic_s() - self._checked_s > RECHECK_S:
            self._checked_s = self._clock.monotonic_s()
            self._left = min(self.free_bytes(), max(RECHECK_BYTES, 2 * size_bytes))
            if size_bytes > self._left:
                raise StorageFull(f"{size_bytes} bytes do not fit: the drive's local disk or budget is full")
        self._left -= size_bytes

    def is_low(self) -> bool:
        """Whether new opens should write through, so that a full disk reaches write(2) and not only close(2) (T12)."""
        return self._left < RECHECK_BYTES and self.free_bytes() < 4 * RECHECK_BYTES
