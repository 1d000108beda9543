"""The durability protocol: three promises of growing strength, one task that keeps them.

    log point   `log()`          close(2)   written out to the intent log: survives the death of the core
    sync point  `wait_synced()`  fsync(2)   segments and intent log synced: survives a power loss
    cut         `wait_cut()`     periodic   rows committed by SQLite: bounds the log, lets freed bytes go

Bytes before rows (I6). A sync point takes its measure first: it writes all rows out, notes the log's length and which
segments are unsynced, syncs those, and only then marks the log as durable up to that length. Rows that arrive during
the sync lie behind the mark (T1). Where few bytes were written, they go into the log beside the rows, and one sync of
the log is all (`carried`); while the disk answers quickly even the detour through a thread is left out.

A cut cannot choose which rows SQLite commits, so it closes the gate instead:

    step                                   died here → what is left
    1 sync segments and page sums, make    the log of the last cut, whole or up to its mark; the next log is empty and
      the next log, operations go on       belongs to no cut yet
    2 close the gate, wait for writers
    3 sync what was written during 1
    4 write rows out; with an outbox, all  the log of the last cut, ended
      of them go into the log
    5 COMMIT                               core dead: the new cut. Power lost: the new cut or the old one with its log,
                                           which is still there
    6 open the gate, sync the ended log    the same
      and SQLite's log
    7 remove the old log; with an outbox,  the new cut; freed ranges wait in the queue, and are punched at rest
      only after its entry was written

When SQLite's log has grown long, the sync of step 6 and a checkpoint happen before the gate opens: only then can the
next transaction start that log anew. Every fsync that waits when a round begins is answered by that round. A sync or
commit that fails is never tried again as success: `broken` is set, everybody who waits gets the error, nothing is
acknowledged any more, and the core ends.
"""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from cachefs.carried import CarriedWrite
from cachefs.counters import Counters
from cachefs.database import Database
from cachefs.disk import Disk
from cachefs.errors import StorageBroken
from cachefs.free_queue import Freed
from cachefs.gate import Gate
from cachefs.intent_log import IntentLog, boot_id
from cachefs.reclaiming import Reclaiming
from cachefs.segments import Segments
from cachefs.syncs import Syncs
from cloud_tier.clock import Clock

if TYPE_CHECKING:
    from cachefs.outbox import Outbox

log = logging.getLogger(__name__)

CHECKPOINT_WAL_BYTES = 8 << 20
LONG_LOG_BYTES = 8 << 20  # with the bytes it carries; the floor of free space keeps room for it
# Bounds of what one turn of the loop has to do, so that no other waits long for it. Beyond them, between operations:
PENDING_STATEMENTS = 500  # statements are written out to the log
UNWRITTEN_ROWS = 200  # changed rows in memory are written, too
SPILLED_STATEMENTS = 500  # pages that these changed leave SQLite's memory, or COMMIT would write them all at once
SPILLED_PAGES = 2_000  # a cut is due: COMMIT sums the pages of its transaction up once more


@dataclass(frozen=True)
class CutPolicy:
    """When a cut is made: after `period_s` of having something to commit, or sooner at so many rows or bytes."""

    period_s: float = 5.0
    max_rows: int = 20_000
    max_bytes: int = 256 << 20
    carried_bytes: int = 128 << 10  # so few written bytes are made durable through the intent log
    quick_s: float = 0.002  # a disk that syncs the log sooner is waited for on the loop


class Cuts:
    """The one writer of durable states. `run` must be running for the waiting calls to return."""

    def __init__(
        self,
        disk: Disk,
        directory: Path,
        database: Database,
        segments: Segments,
        local_counters: Counters,
        clock: Clock,
        policy: CutPolicy = CutPolicy(),
    ) -> None:
        self.gate = Gate()
        self.flushers: list[Callable[[], None]] = []
        self.tallies: list[Callable[[], None]] = []  # flushers of what a recovery counts anew
        self.unwritten: list[Callable[[], int]] = []  # how many rows each flusher would write
        self.is_space_short: Callable[[], bool] = lambda: False  # freed ranges do not wait for their neighbours then
        self.broken: StorageBroken | None = None
        self.last_cut_ns = clock.now_ns()
        self.outbox: Outbox | None = None  # whoever sets it wants to know what each cut changed
        self.when_gathered: Callable[[], None] = lambda: None  # called when the outbox has grown
        self.durable = 0  # number of the last cut that is on the disk; 0 before the first of this life
        self._syncs = Syncs(disk, directory, segments, clock, policy.carried_bytes, policy.quick_s)
        self._disk = disk
        self._directory = directory
        self._database = database
        self._segments = segments
        self._counters = local_counters
        self._clock = clock
        self._policy = policy
        self._boot = boot_id()
        database.when_broken = self._break
        self._log: IntentLog | None = None
        self._following: IntentLog | None = None  # made ahead, for the next cut
        self._wal_fd = -1
        self._reclaiming = Reclaiming(database, segments, self.gate, self._syncs.threads)
        self._rows = 0
        self._unspilled = 0
        self._flushed = 0  # rows that went from memory into `pending`
        self._spilled_pages = 0
        self._wanted = trio.Event()
        self._sync_waiters: list[trio.Event] = []
        self._cut_waiters: list[trio.Event] = []

    # --- for operations ---

    def log(self, *, with_tallies: bool = True) -> None:
        """Log point: whatever was done before this call survives the death of the core. Raises StorageBroken.

        `with_tallies`: and all rows are exact, for whoever reads them next. Not needed for the promise.
        """
        if self.broken is not None:  # a later batch would lie behind one that is missing
            raise self.broken
        self.flush_rows()
        if with_tallies:
            self._flush_tallies()
        self._write_out()

    def flush_rows(self) -> None:
        """Write the rows that changed in memory, as statements of the open transaction; tallies may be behind."""
        self._flushed += self._unwritten_rows()
        for flush in self.flushers:
            flush()

    def _flush_tallies(self) -> None:
        for flush in self.tallies:
            flush()

    def _write_out(self, carried: Sequence[CarriedWrite] = (), *, is_marked: bool = False) -> None:
        pending = self._database.pending
        if not pending and not is_marked:
            return
        assert self._log is not None
        try:
            self._log.append(pending, carried, is_marked=is_marked)
        except OSError as error:
            raise self._break(StorageBroken(f"the intent log could not be written: {error}")) from error
        changed = max(len(pending), self._flushed)  # one statement may remove many rows
        self._rows += changed
        self._unspilled += changed
        self._flushed = 0
        pending.clear()
        if self._unspilled > SPILLED_STATEMENTS:
            self._unspilled = 0
            self._spilled_pages += self._database.spill()
        if self._is_large():
            self._wanted.set()

    def note_written(self, segment: int, offset: int, data: bytes | memoryview) -> None:
        """Bytes were written to a precious segment; a cut comes early when there are many."""
        self._syncs.note_written(segment, offset, data)
        if self._syncs.unsynced_bytes > self._policy.max_bytes:
            self._wanted.set()

    def bound_pending(self) -> None:
        """Between operations: write statements out when there are many, which brings the cut forward as well."""
        if len(self._database.pending) > PENDING_STATEMENTS or self._unwritten_rows() > UNWRITTEN_ROWS:
            self.log(with_tallies=False)  # never without the rows in memory: each batch leaves the database consistent

    def _unwritten_rows(self) -> int:
        return sum([count() for count in self.unwritten])

    async def wait_synced(self) -> None:
        """Sync point: whatever was done before this call survives a power loss. Raises StorageBroken."""
        if self._log is not None and self.broken is None and self._syncs.can_carry():
            self.flush_rows()
            if self._log.is_durable and not self._database.pending and not self._syncs.carried:
                return
            if not self._syncs.takes_detour():
                self._write_out(self._syncs.carried.take(), is_marked=True)
                try:
                    self._syncs.log_here(self._log)
                except OSError as error:
                    raise self._break(error) from error
                return
        await self._wait(self._sync_waiters)

    async def wait_cut(self) -> None:
        """Return once a cut of all done before is durable, and short space given back. Raises StorageBroken."""
        await self._wait(self._cut_waiters)

    async def _wait(self, waiters: list[trio.Event]) -> None:
        if self.broken is None:
            event = trio.Event()
            waiters.append(event)
            self._wanted.set()
            await event.wait()
        if self.broken is not None:
            raise self.broken

    @property
    def number(self) -> int:  # of the last cut
        return self._counters.last("cut")

    def uncommitted_rows(self) -> int:  # changed, and not held by the last cut
        return self._rows + len(self._database.pending)

    # --- the task ---

    async def run(self) -> None:
        """Make sync points and cuts for ever. Raises StorageBroken when one fails, after telling who waits."""
        due = trio.current_time() + self._policy.period_s
        while True:
            with trio.move_on_at(due):
                await self._wanted.wait()
            self._wanted = trio.Event()
            if self.broken is not None:
                raise self.broken
            try:
                is_late = trio.current_time() >= due
                if self._cut_waiters or self._is_large() or (is_late and (self._sync_waiters or not self._is_idle())):
                    await self.cut()
                    due = trio.current_time() + self._policy.period_s
                elif is_late:
                    await self._reclaiming.run_once()  # at rest
                    due = trio.current_time() + self._policy.period_s
                elif self._sync_waiters:
                    await self._sync_round()
            except (StorageBroken, OSError) as error:
                raise self._break(error) from error

    def _is_large(self) -> bool:
        assert self._log is not None
        return (
            self._rows > self._policy.max_rows
            or self._spilled_pages > SPILLED_PAGES
            or self._syncs.unsynced_bytes > self._policy.max_bytes
            or self._log.length > LONG_LOG_BYTES
        )

    def _break(self, error: Exception) -> StorageBroken:
        if self.broken is None:
            self.broken = error if isinstance(error, StorageBroken) else StorageBroken(f"a sync failed: {error}")
            self._wanted.set()  # `run` ends, and with it the core
        _tell(self._sync_waiters, self._cut_waiters)
        return self.broken

    async def _sync_round(self) -> None:
        waiters, self._sync_waiters = self._sync_waiters, []
        try:
            assert self._log is not None
            intents, syncs = self._log, self._syncs
            is_carried = syncs.can_carry()
            self.log(with_tallies=False)
            with syncs.round():
                if is_carried:
                    self._write_out(syncs.carried.take(), is_marked=True)
                    await trio.to_thread.run_sync(syncs.log, intents, limiter=syncs.threads)
                else:
                    await syncs.bytes_by(partial(syncs.to_mark, intents, intents.length))
        except BaseException:
            self._sync_waiters.extend(waiters)
            raise
        _tell(waiters)

    async def cut(self) -> None:
        """Make one cut now: for `run`, and where it is not running. Raises StorageBroken."""
        cut_waiters, self._cut_waiters = self._cut_waiters, []
        sync_waiters, self._sync_waiters = self._sync_waiters, []
        try:
            with self._syncs.round():
                old, freed = await self._cut_durably()
        except BaseException as error:
            self._cut_waiters.extend(cut_waiters)
            self._sync_waiters.extend(sync_waiters)
            if isinstance(error, (StorageBroken, OSError)):
                raise self._break(error) from error
            raise
        self.last_cut_ns = self._clock.now_ns()
        self.durable = self.number
        self._segments.free_queue.made_durable(freed)
        try:
            is_short = self.is_space_short()
            _tell(sync_waiters, *([] if is_short else [cut_waiters]))
            await trio.to_thread.run_sync(self._tidy, old, limiter=self._syncs.threads)
            self.when_gathered()
            if is_short or self._segments.free_queue.is_long():
                await self._reclaiming.run_once()
        finally:
            _tell(sync_waiters, cut_waiters)

    async def _cut_durably(self) -> tuple[IntentLog | None, list[Freed]]:
        """Steps 1 to 6. Returns the log that the cut makes needless, and the ranges it has freed."""
        in_thread = partial(trio.to_thread.run_sync, limiter=self._syncs.threads)
        await self._syncs.bytes_and_sums()
        if self._following is None:
            self._following = await in_thread(self._make_log)
        is_wal_long = self._is_wal_long()
        if is_wal_long:  # most of it while operations go on, so that little is left to do behind the gate
            await in_thread(self._database.checkpoint)
        await self.gate.close()
        try:
            is_first = True
            # Again, if a segment was begun meanwhile, for what is fetched or copied: its name comes before its row.
            while self._segments.has_unsynced() or (is_first and self._segments.sums.has_changed()):
                is_first = False
                with self.gate.shared():  # a snapshot writes rows, and no bytes
                    await self._syncs.bytes_and_sums()
            old, freed = self._commit(is_wal_long)
            if is_wal_long:
                await in_thread(self._shorten_wal, old)
        finally:
            self.gate.open()
        if not is_wal_long:
            await in_thread(self._make_durable, old)
        return old, freed

    def _is_idle(self) -> bool:
        self.flush_rows()
        return not self._database.pending and not self._rows and not self._syncs.unsynced_bytes

    def _is_wal_long(self) -> bool:
        return self._wal_fd >= 0 and os.fstat(self._wal_fd).st_size > CHECKPOINT_WAL_BYTES

    def _shorten_wal(self, old: IntentLog | None) -> None:
        # SQLite starts its log anew only when a transaction begins at a moment when all of it was moved.
        self._make_durable(old)
        self._database.checkpoint()

    def _commit(self, is_wal_long: bool) -> tuple[IntentLog | None, list[Freed]]:
        self.flush_rows()
        cut = self._counters.next("cut")
        self._counters.flush()
        self._flush_tallies()
        if self.outbox is not None:
            self.outbox.end(self._log, cut, self._database.pending)
        following, self._following = self._following, None
        assert following is not None
        assert following.cut == cut
        self._database.commit()
        if is_wal_long:
            self._database.begin_late()
        else:
            self._database.begin()
        old, self._log = self._log, following
        self._rows = self._unspilled = self._flushed = self._spilled_pages = 0
        return old, self._segments.free_queue.take_freed()

    def _make_log(self) -> IntentLog:
        # Off the loop: making a file may wait for the disk's journal. Its name must be durable before its first mark.
        following = IntentLog(self._disk, self._directory, self.number + 1, self._boot)
        self._disk.sync_directory(self._directory)
        return following

    def _make_durable(self, old: IntentLog | None) -> None:
        if old is not None and self.outbox is not None:
            old.sync()
        if self._wal_fd < 0:
            self._wal_fd = self._disk.open(self._database.wal_path, create=False)
            self._disk.sync_directory(self._database.path.parent)
        self._syncs.file(self._wal_fd)

    def _tidy(self, old: IntentLog | None) -> None:
        if old is not None:
            old.close()
        if self.outbox is not None:
            self.outbox.gather(self.number)
        elif old is not None:
            try:
                self._disk.unlink(old.path)
            except OSError as error:  # the cut stands; the next start removes the file
                log.warning("%s could not be removed: %s", old.path.name, error)

    def close(self) -> None:
        """Close the files. No promise: make a cut before."""
        for intents in (self._log, self._following):
            if intents is not None:
                intents.close()
        if self._wal_fd >= 0:
            self._disk.close(self._wal_fd)


def _tell(*waiting: list[trio.Event]) -> None:
    for waiters in waiting:
        while waiters:
            waiters.pop().set()
