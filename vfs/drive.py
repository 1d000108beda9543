"""The drive: every part of the file system, put together over one state directory.

What is here is the order of things: what is built on what, what happens at the start and at the end. No rule of the
file system stands in this file.
"""

import logging
import os
from pathlib import Path

import trio

from cachefs.cache import Cache
from cachefs.checkpoint_scrub import CheckpointScrub
from cachefs.cut import CutPolicy
from cachefs.database import Database
from cachefs.disk import Disk, RealDisk
from cachefs.errors import CacheError
from cachefs.mirror import Mirror
from cachefs.recovery import close, make_rows_durable, settle, wake
from cachefs.tier import Cloud, Tier
from cloud_tier.clock import Clock, SystemClock
from vfs.actors import Actors
from vfs.areas import Areas
from vfs.attic import Attic
from vfs.cloud_epochs import CloudEpochs
from vfs.contents import Contents
from vfs.damage import DamageLog, report_lost
from vfs.doors import Doors
from vfs.epochs import Epochs
from vfs.files import Files
from vfs.inodes import Inodes
from vfs.jobs import Jobs
from vfs.namespace import Namespace
from vfs.past import Past
from vfs.people import People
from vfs.pins import Pins
from vfs.policies import Policies
from vfs.pruning import Pruning
from vfs.reaper import Reaper
from vfs.recovered import lost_blocks
from vfs.recut import Recut
from vfs.resting import Resting, RestPolicy
from vfs.seal_pass import Names
from vfs.sealing import Sealing
from vfs.shares import Shares
from vfs.snapshots import Snapshots
from vfs.state import LOCAL_TABLES, open_database
from vfs.undo_epochs import UndoEpochs
from vfs.xattrs import Xattrs

log = logging.getLogger(__name__)

DEFAULT_SIZE_BYTES = 10 << 40


class Drive:
    """One open drive. Make it with `Drive.open`; it serves while `run` runs; `close` ends it."""

    def __init__(
        self,
        state: Path,
        database: Database,
        disk: Disk,
        clock: Clock,
        policy: CutPolicy,
        limit_bytes: int,
        size_bytes: int,
        names: Names | None,
        rest: RestPolicy,
        cloud: Cloud | None,
    ) -> None:
        self.state = state
        self.disk = disk
        self.clock = clock
        self.size_bytes = size_bytes
        self.database = database
        self.cache = Cache(state, database, disk, clock, policy, limit_bytes)
        self.cuts = self.cache.cuts
        self.tier = Tier(self.cache, cloud) if cloud is not None else None
        self.mirror: Mirror | None = None
        if self.tier is not None and cloud is not None:
            self.mirror = mirror = Mirror(self.cache, cloud, state, LOCAL_TABLES)
            self.tier.upkeep.collector.oldest_retained = lambda: mirror.checkpointing.oldest_position
            checkpoints = CheckpointScrub(cloud.store, cloud.keys, mirror.checkpointing)
            self.tier.upkeep.scrub.check_checkpoints = checkpoints.run
            self.tier.upkeep.scrub.found_lost = lambda lost: report_lost(self.past, lost, self.snapshots.all())
        counters = self.cache.counters
        self.epochs = Epochs(database, self.cuts)
        self.contents = Contents(database, self.cache.blocks, counters, self.epochs)
        self.inodes = Inodes(database, counters, self.epochs, self.contents, clock)
        self.xattrs = Xattrs(database, counters, self.inodes)
        self.actors = Actors(database, counters)
        self.people = People(database, counters)
        self.shares = Shares(database, self.people)
        self.areas = Areas(database, self.people, self.shares)
        self.namespace = Namespace(database, self.inodes, self.epochs, self.areas)
        resting = Resting(rest) if names is not None else None
        self.files = Files(self.cache, self.contents, self.inodes, self.epochs, resting)
        self.damage = DamageLog()
        self.sealing: Sealing | None = None
        self.recut: Recut | None = None
        if names is not None and resting is not None:
            self.sealing = Sealing(self.cache, self.contents, names, resting)
            self.recut = Recut(self.cache, self.contents, self.inodes, self.files, names, resting)
            self.sealing.found_damage = lambda error: self.damage.report_page(self.past, error, self.snapshots.all())
        self.snapshots = Snapshots(database, counters, self.epochs, clock)
        self.policies = Policies(database)
        self.pruning = Pruning(database, self.contents, self.inodes)
        self.doors = Doors(database, counters, self.snapshots, self.namespace, self.areas)
        self.past = Past(database, self.epochs)
        self.undo_epochs = UndoEpochs(database, counters, self.epochs, self.inodes, clock)
        self.cloud_epochs: CloudEpochs | None = None
        if self.tier is not None and resting is not None:
            self.cloud_epochs = self.files.cloud_epochs = CloudEpochs(
                database, counters, self.epochs, self.inodes, clock, resting.__contains__, self._is_all_sent
            )
            self.namespace.named = self.cloud_epochs.named
        evicting = self.tier.evicting if self.tier is not None else None
        self.pins = Pins(database, self.cuts, self.namespace, evicting, self.cache.budget.most_bytes)
        self.jobs = Jobs(database, counters, clock)
        self.attic = Attic(database, self.inodes, self.namespace)
        self.epochs.beginners.append(self.inodes.writers.clear)
        self.reaper = Reaper(
            self.cuts,
            [
                self.contents.sift_step,
                self.pruning.step,
                self.attic.reap_step,
                self.undo_epochs.expire_step,
                *([self.cloud_epochs.settle_step] if self.cloud_epochs is not None else []),
            ],
        )
        # Extents may free blocks, inodes give up contents: what is written first releases what comes after.
        self.cuts.unwritten += [self.inodes.unwritten, self.contents.unwritten]
        self.cuts.flushers[:0] = [self.inodes.flush, self.xattrs.flush, self.contents.flush]

    @classmethod
    async def open(
        cls,
        state: Path,
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        policy: CutPolicy = CutPolicy(),  # noqa: B008
        limit_bytes: int = 0,
        size_bytes: int = DEFAULT_SIZE_BYTES,
        vfs: str | None = None,
        names: Names | None = None,
        rest: RestPolicy = RestPolicy(),  # noqa: B008
        cloud: Cloud | None = None,
    ) -> "Drive":
        """Wake up and recover. The caller holds the state's lock.

        With `names`, what comes to `rest` is sealed; with `cloud`, what is sealed is sent, and may leave this machine.

        Raises FileNotFoundError, DatabaseDamaged, WrongVersion, StorageBroken.
        """
        disk = disk or RealDisk()
        database = open_database(state, vfs)
        try:
            drive = cls(
                state, database, disk, clock or SystemClock(), policy, limit_bytes, size_bytes, names, rest, cloud
            )
            try:
                await drive._start()
            except BaseException:
                drive._close_files()
                raise
        except BaseException:
            database.leave()  # or its open transaction would keep out whoever tries next
            raise
        return drive

    async def _start(self) -> None:
        self.epochs.load()  # as of the last cut
        if wake(self.cache, self.state, self.disk, self.epochs.newest_kept):
            self.inodes.recount()
        self.epochs.load()
        if self.mirror is not None:
            await trio.to_thread.run_sync(make_rows_durable, self.database, self.disk)
            self.mirror.outbox.load(self.cuts.number)
        self.cache.catalog.load()
        self.cache.suspects |= lost_blocks(self.database)  # the same bytes saved again heal what needs them
        self.actors.load()
        self.people.load()
        self.shares.load()
        self.snapshots.load()
        self.policies.load()
        if self.cloud_epochs is not None:
            self.cloud_epochs.load()
        self.doors.load()
        self.jobs.load()
        self.pins.load()
        self.attic.clear_workshop()
        orphans = self.inodes.reap_orphans()
        if orphans:
            log.info("removed %d files that were deleted while they were open", orphans)
        await settle(self.cache, self.state, self.disk)

    async def run(self) -> None:
        """Keep the promises of durability and tidy up, until cancelled. Raises StorageBroken when the disk fails."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.cuts.run)
            nursery.start_soon(self.reaper.run)
            if self.sealing is not None:
                nursery.start_soon(self.sealing.run)
            if self.recut is not None and self.tier is not None:
                nursery.start_soon(self.recut.run)
            if self.tier is not None and self.mirror is not None:
                nursery.start_soon(self.tier.run)
                nursery.start_soon(self.mirror.run)
                nursery.start_soon(self.pins.run)

    async def flush(self) -> None:
        """Return once everything that was closed before can be recovered from the store.

        While `run` runs, on a drive with a cloud.
        """
        assert self.sealing is not None
        assert self.tier is not None
        assert self.mirror is not None
        await self.sealing.seal_all()
        await self.tier.uploader.flush()
        await self.mirror.flush()

    async def close(self) -> None:
        """Last cut, files closed. After `run` has ended."""
        try:
            if self.cuts.broken is None:
                with trio.CancelScope(shield=True):
                    await close(self.cache)
        except (CacheError, OSError):
            log.exception("the last cut failed; what was acknowledged is in the intent log")
        finally:
            self._close_files()
            self.database.close()

    def _is_all_sent(self) -> bool:
        catalog = self.cache.catalog  # what is damaged here never is: the version before may be all that there is
        return not (catalog.unsent_blocks or catalog.unreadable or self.cache.blocks.open)

    def _close_files(self) -> None:
        self.past.close()
        self.cuts.close()
        self.cache.segments.close()

    def space(self) -> tuple[int, int]:
        """(size, free) in bytes: what the drive is said to hold, and what it can still accept."""
        free = self.cache.budget.free_bytes()
        disk = os.statvfs(self.state)
        size = min(self.size_bytes, disk.f_blocks * disk.f_frsize)
        return size, min(free, size)
