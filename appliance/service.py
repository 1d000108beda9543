"""The core's own answers to the control interface: each verb a few lines over the drive.

Whatever changes the drive here stands behind the same gate as the kernel's requests, survives the death of the core when
the answer is given, and tells the kernel what it must forget.
"""

from datetime import UTC, datetime
from importlib.metadata import version

import trio

from appliance.control.protocol import (
    CacheStats,
    CheckReport,
    Job,
    RestorePlan,
    RestoreRequest,
    ServiceError,
    Snapshot,
    Status,
    Version,
)
from appliance.loop_watch import LoopWatch
from vfs import errors, snapshots
from vfs.fuse.mount import Mount


def instant(ns: int) -> datetime:
    """A wall-clock time of the engine as one of the interface."""
    return datetime.fromtimestamp(ns / 1e9, UTC)


class CoreService:
    """The `DriveService` of a mounted drive."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self._drive = mount.drive
        self._started = instant(mount.drive.clock.now_ns())
        self._watch = LoopWatch()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Background work of the service, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch.run)
            task_status.started()

    # --- health ---

    async def status(self) -> Status:
        drive = self._drive
        size, free = drive.space()
        reason = self._mount.operations.read_only_reason
        return Status(
            state="read_only" if reason else "serving",
            reason=reason,
            version=version("hybrid-drive"),
            mount=str(self._mount.path),
            started=self._started,
            epoch=drive.epochs.current,
            snapshots=len(drive.snapshots),
            files=drive.inodes.count(),
            last_cut=instant(drive.cuts.last_cut_ns),
            uncommitted_rows=drive.cuts.uncommitted_rows(),
            slow_turns=self._watch.slow_turns,
            cache=await self.cache_stats(),
            jobs_running=0,
            size_bytes=size,
            free_bytes=free,
        )

    async def cache_stats(self) -> CacheStats:
        stats = self._drive.cache.statistics()
        return CacheStats(**stats)

    # --- snapshots ---

    async def create_snapshot(self, label: str | None) -> Snapshot:
        await self._mount.collect()
        try:
            made = await self._drive.snapshots.create(label)
        except errors.InvalidArgument as error:
            raise ServiceError("usage", f"No snapshot was made: {error}.") from error
        return shown(made)

    async def list_snapshots(self) -> list[Snapshot]:
        return [shown(snapshot) for snapshot in self._drive.snapshots.all()]

    async def delete_snapshot(self, name: str) -> None:
        await self._drive.cuts.gate.wait_open()
        try:
            self._drive.snapshots.delete(name)
        except errors.NotFound as error:
            raise not_found(name) from error
        except errors.Refused as error:
            raise ServiceError("held", f"The snapshot {name} is held and was not deleted; release it first.") from error
        self._drive.cuts.log()

    async def hold(self, name: str, held: bool) -> Snapshot:
        await self._drive.cuts.gate.wait_open()
        try:
            snapshot = self._drive.snapshots.hold(name, held)
        except errors.NotFound as error:
            raise not_found(name) from error
        self._drive.cuts.log()
        return shown(snapshot)

    # --- the past ---

    async def versions(self, path: str) -> list[Version]:
        raise ServiceError("unexpected", "not built yet")

    async def plan_restore(self, request: RestoreRequest) -> RestorePlan:
        raise ServiceError("unexpected", "not built yet")

    async def start_restore(self, request: RestoreRequest) -> Job:
        raise ServiceError("unexpected", "not built yet")

    async def undo(self, job_id: int, force: bool) -> Job:
        raise ServiceError("unexpected", "not built yet")

    async def jobs(self) -> list[Job]:
        return []

    async def job(self, job_id: int) -> Job:
        raise ServiceError("not_found", f"There is no job {job_id}.")

    async def check(self) -> CheckReport:
        raise ServiceError("unexpected", "not built yet")


def shown(snapshot: snapshots.Snapshot) -> Snapshot:
    """A snapshot as the interface shows it."""
    return Snapshot(
        name=snapshot.name,
        created=instant(snapshot.created_ns),
        epoch=snapshot.epoch,
        held=snapshot.is_held,
        label=snapshot.label,
    )


def not_found(name: str) -> ServiceError:
    """There is no such snapshot."""
    return ServiceError("not_found", f"There is no snapshot {name}; `hybrid-drive snapshot list` shows those there are.")
