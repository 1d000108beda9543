"""What was written and is not durable yet, and the ways to make it so. The order of things is `cachefs.cut`'s.

A sync that fails is never tried again as success: the kernel may call the same bytes synced the next time, though they
are not on the disk. So a sign is left for the next start, which then believes only what was durable before.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import trio

from cachefs.carried import Carried
from cachefs.disk import Disk
from cachefs.intent_log import IntentLog
from cachefs.segments import Segment, Segments
from cloud_tier.clock import Clock

DISTRUST = "distrust"  # in the folder of the intent logs: a sync failed in the last life
LEAST_DETOURS, MOST_DETOURS = 4, 256


class Syncs:
    """The one place that syncs segments, page sums, intent logs and SQLite's log."""

    def __init__(
        self, disk: Disk, directory: Path, segments: Segments, clock: Clock, most_carried_bytes: int, quick_s: float
    ) -> None:
        self.carried = Carried(most_carried_bytes)
        self.unsynced_bytes = 0
        self.is_under_way = False  # a round has begun: what it covers is not durable yet
        self.threads = trio.CapacityLimiter(4)
        self._disk = disk
        self._directory = directory
        self._segments = segments
        self._clock = clock
        self._quick_s = quick_s
        self._detours = 0  # syncs of the log that take a thread before the loop waits for one again
        self._next_detours = LEAST_DETOURS

    def note_written(self, segment: int, offset: int, data: bytes | memoryview) -> None:
        """Bytes were written to a precious segment."""
        self.unsynced_bytes += len(data)
        self.carried.note(segment, offset, data)

    def can_carry(self) -> bool:
        """Whether one sync of the intent log, with the bytes that `carried` gives, makes everything durable."""
        return self.carried.is_complete and not self.is_under_way and not self._segments.directory_dirty

    @contextmanager
    def round(self) -> Iterator[None]:
        """Around what is not durable before its end."""
        self.is_under_way = True
        try:
            yield
        finally:
            self.is_under_way = False

    # --- in a thread, while operations go on ---

    async def bytes_by(self, sync: Callable[[list[Segment]], None]) -> None:
        """Let `sync` make the bytes of all unsynced segments durable. Raises OSError."""
        self.unsynced_bytes = 0
        self.carried.restart()
        unsynced = self._segments.take_unsynced()
        try:
            await trio.to_thread.run_sync(sync, unsynced, limiter=self.threads)
        except BaseException:  # cancelled before it began, say: the last cut must not believe that it happened
            self._segments.put_back_unsynced(unsynced)
            self.carried.miss()
            raise

    async def bytes_and_sums(self) -> None:
        """The rows of a cut name pages whose sums must be on the disk as well; those of a sync point do not."""
        sums = self._segments.sums
        taken = sums.take()

        def sync(unsynced: list[Segment]) -> None:
            files = sums.write(taken)
            self.segments(unsynced)
            for fd in files:
                self.file(fd)

        try:
            await self.bytes_by(sync)
        except BaseException:
            sums.put_back(taken)
            raise
        sums.written()

    # --- blocking ---

    def segments(self, unsynced: list[Segment]) -> None:
        """These segments, and the names of all. Raises OSError."""
        with self._trusting():
            for segment in unsynced:
                self._disk.sync(segment.fd)
            if self._segments.directory_dirty:
                self._segments.directory_dirty = False
                self._disk.sync_directory(self._segments.directory)

    def to_mark(self, intents: IntentLog, length: int, unsynced: list[Segment]) -> None:
        """These segments; then the log, with a mark that names the first `length` bytes of it. Raises OSError."""
        self.segments(unsynced)
        intents.mark(length)
        self.log(intents)

    def log(self, intents: IntentLog) -> None:
        """An intent log that ends in a mark. Raises OSError."""
        with self._trusting():
            intents.sync()

    def takes_detour(self) -> bool:
        """Whether the next sync of the log should go through a thread: the disk was slow when the loop waited last."""
        self._detours -= 1
        return self._detours >= 0

    def log_here(self, intents: IntentLog) -> None:
        """`log`, on the loop; if it takes long, the next ones go through threads. Raises OSError."""
        began = self._clock.monotonic_s()
        self.log(intents)
        if self._clock.monotonic_s() - began > self._quick_s:
            self._detours = self._next_detours
            self._next_detours = min(MOST_DETOURS, 2 * self._next_detours)
        else:
            self._next_detours = LEAST_DETOURS

    def file(self, fd: int) -> None:
        """Any other file. Raises OSError."""
        with self._trusting():
            self._disk.sync(fd)

    @contextmanager
    def _trusting(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            with suppress(OSError):
                self._disk.close(self._disk.open(self._directory / DISTRUST, create=True))
            raise
