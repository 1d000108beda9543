"""Sending the log: entries of the outbox into the store, a few seconds after their cut.

    outbox ──oldest first──▶ one object of entries that follow each other (thread) ──▶ store ──▶ outbox.sent

    step                          died here → what is left
    1 read entries, seal them     the entries here
    2 put the object              the object there, perhaps, and the entries here: they are sent once more, under
                                  another name. Whoever reads finds equal entries twice
    3 tell the outbox             the same

Every hour the many small objects of that hour become one:

    4 seal the entries that are still here, put           both, which is harmless
    5 delete the small objects                            some of them: they lie there until a checkpoint covers them
    6 let the entries go                                  the same

A put that fails is tried again with the same bytes for as long as the core lives, and then the entries wait.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence

import trio

from cachefs.outbox import Outbox
from cloud_tier.clock import Clock
from cloud_tier.errors import CloudError, LogDamaged, StoreError
from cloud_tier.keys import DriveKeys
from cloud_tier.log_entry import LogEntry
from cloud_tier.log_object import open_entries, seal_entries
from cloud_tier.object_names import LogName
from cloud_tier.object_store import ObjectStore, delete_all
from cloud_tier.sealed import SealedObject

log = logging.getLogger(__name__)

AGE_S = 4.0
"""How long the oldest entry waits for others that go with it. With the cut's five seconds: ten, on a good line."""
OBJECT_BYTES = 4 << 20
COMPACT_S = 3600.0
LEAST_OBJECTS = 16
"""So many objects must have been sent for it."""
KEPT_BYTES = 32 << 20
"""Or as much as this, for all that stays here meanwhile."""
FIRST_WAIT_S, LONGEST_WAIT_S = 2.0, 60.0


class Shipping:
    """The task that sends the log. `run` must be running; `wake` it when the outbox has grown."""

    def __init__(
        self, store: ObjectStore, keys: Callable[[], DriveKeys], outbox: Outbox, fence: int, clock: Clock
    ) -> None:
        self.trouble: StoreError | None = None
        self.sent_bytes = 0
        """Since the start."""
        self.before_delete: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """Awaited before each batch of deletes; raises CloudError when this machine may not delete."""
        self._store = store
        self._keys = keys
        self._outbox = outbox
        self._fence = fence
        self._clock = clock
        self._wanted = trio.Event()
        self._progress = trio.lowlevel.ParkingLot()
        self._hurries = 0
        self._due_s: float | None = None  # when what waits goes
        self._compacted_s = float("-inf")
        self._small: list[LogName] = []  # sent in this life, since the last compaction

    def wake(self) -> None:
        """The outbox may have grown."""
        self._wanted.set()
        self._progress.unpark_all()

    @property
    def behind_s(self) -> float:
        """How old the oldest entry is that the store lacks; 0 when it has them all."""
        waiting = list(self._outbox.waiting.values())
        return max(0.0, (self._clock.now_ns() - waiting[0][0]) / 1e9) if waiting else 0.0

    async def flush(self, position: int) -> None:
        """Return once the entry of cut `position`, which was made, is in the store."""
        self._hurries += 1
        self.wake()
        try:
            while self._outbox.position < position or any(one <= position for one in list(self._outbox.waiting)):
                await self._progress.park()
        finally:
            self._hurries -= 1

    async def run(self) -> None:
        """Send for ever."""
        while True:
            self._wanted = trio.Event()
            waiting = list(self._outbox.waiting.items())
            if not waiting:
                self._due_s = None
            elif self._due_s is None:
                self._due_s = trio.current_time() + AGE_S
            if self._due_s is not None and (self._hurries or trio.current_time() >= self._due_s):
                await self._send([position for position, _ in waiting])
                self._due_s = None
                self._progress.unpark_all()
                await self._compact()
                continue
            with trio.move_on_at(float("inf") if self._due_s is None else self._due_s):
                await self._wanted.wait()

    async def _send(self, positions: Sequence[int]) -> None:
        entries, sealed = await trio.to_thread.run_sync(self._seal, positions)
        if not entries or sealed is None:
            return
        first, last = entries[0].position, entries[-1].position
        name = LogName(self._fence, first, last, sealed.salt)
        await self._put(str(name), sealed.body)
        await trio.to_thread.run_sync(self._outbox.sent, last)
        self._small.append(name)
        self.sent_bytes += len(sealed.body)

    def _seal(self, positions: Sequence[int]) -> tuple[list[LogEntry], SealedObject | None]:
        """Some entries from the first on that follow each other, in one object."""
        entries: list[LogEntry] = []
        size = 0
        for position in positions:
            try:
                entry = self._outbox.entry(position)
            except (OSError, LogDamaged) as error:
                log.error("entry %d of the log cannot be sent (%s): a checkpoint takes its place", position, error)
                self._outbox.abandon()
                break
            if entries and (entry.before != entries[-1].digest or size + len(entry.body) > OBJECT_BYTES):
                break
            entries.append(entry)
            size += len(entry.body)
        return entries, seal_entries(self._keys(), entries) if entries else None

    # --- many into one ---

    async def _compact(self) -> None:
        if self._compacted_s == float("-inf"):
            self._compacted_s = trio.current_time()
        is_due = trio.current_time() - self._compacted_s >= COMPACT_S and len(self._small) >= LEAST_OBJECTS
        if not is_due and sum(self._outbox.kept.values()) < KEPT_BYTES:
            return
        self._compacted_s = trio.current_time()
        try:
            while len(self._small) >= LEAST_OBJECTS:
                await self._compact_some()
            await trio.to_thread.run_sync(self._outbox.forget, self._outbox.position)
        except CloudError as error:  # harmless: the small ones stay
            log.info("the log stays in small objects for now: %s", error)
        self._small.clear()

    async def _compact_some(self) -> None:
        first = self._small[0].first
        kept = [position for position in self._outbox.kept if position >= first]
        entries, sealed = await trio.to_thread.run_sync(self._seal, kept)
        if sealed is None:
            self._small.clear()
            return
        last = entries[-1].position
        needless = [name for name in self._small if name.last <= last]
        if not needless or entries[0].position > first:
            self._small.clear()
            return
        name = LogName(self._fence, entries[0].position, last, sealed.salt)
        await self._store.put(str(name), sealed.body)
        if await trio.to_thread.run_sync(open_entries, self._keys(), await self._store.get(str(name))) != entries:
            raise LogDamaged("the store gave back other entries than it was given")
        await delete_all(self._store, [str(name) for name in needless], self.before_delete)
        self._small = self._small[len(needless) :]
        await trio.to_thread.run_sync(self._outbox.forget, last)

    async def _put(self, name: str, body: memoryview) -> None:
        wait = FIRST_WAIT_S
        while True:
            try:
                await self._store.put(name, body)
            except StoreError as error:
                if self.trouble is None:
                    log.info("the log waits: %s", error)
                self.trouble = error
                await trio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
            else:
                self.trouble = None
                return
