"""The core's own answers to the control interface: each verb a few lines over the drive.

Whatever changes the drive here stands behind the same gate as the kernel's requests, survives the death of the core
when the answer is given, and tells the kernel what it must forget.
"""

import logging
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Literal, cast

import trio

from appliance.assemble import check_open_state, scrub_drive
from appliance.cloud_status import cloud_status
from appliance.cloud_verbs import CloudVerbs
from appliance.config import Config
from appliance.control.protocol import (
    CacheStats,
    CheckReport,
    Difference,
    EntryKind,
    Job,
    JobState,
    RestorePlan,
    RestoreRequest,
    ServiceError,
    Snapshot,
    Status,
    Version,
)
from appliance.door_book import read_doors
from appliance.key_verbs import KeyVerbs
from appliance.loop_watch import LoopWatch
from appliance.own_verbs import OwnVerbs
from appliance.people_verbs import PeopleVerbs
from appliance.places import StatePlaces
from appliance.sessions import Sessions
from appliance.store_check import scrub_store
from appliance.store_link import StoreLink
from appliance.upkeep_verbs import UpkeepVerbs
from appliance.when import Unresolved, resolve_when
from vfs import diff, errors, jobs, restore, snapshots, versions
from vfs.actors import Caller
from vfs.area_folders import AreaFolders
from vfs.fuse.mount import Mount

log = logging.getLogger(__name__)

INCOMPLETE = (
    "The snapshot was made, but the kernel did not hand over in time what programs that are still writing wrote last; "
    "for these files it may show a state some seconds old. Make another one when the drive is less busy."
)


def instant(ns: int) -> datetime:
    """A wall-clock time of the engine as one of the interface."""
    return datetime.fromtimestamp(ns / 1e9, UTC)


class CoreService:
    """The `DriveService` of a mounted drive."""

    def __init__(self, mount: Mount, link: StoreLink, config: Config) -> None:
        self._mount = mount
        self._link = link
        self.sessions = Sessions(mount.drive.actors)
        self.cloud = CloudVerbs(mount, link, lambda: instant(mount.drive.clock.now_ns()))
        places = StatePlaces(mount.drive.state)
        folders = AreaFolders(mount.drive, mount.changed, mount.invalidations.inode)
        self.people = PeopleVerbs(mount.drive, folders, places.extra_users, mount.path, is_root=os.geteuid() == 0)
        self.own = OwnVerbs(self, mount.drive)
        self.keys = KeyVerbs(link.keys, link.store, link.url, mount.drive.clock)
        self.upkeep = UpkeepVerbs(mount, config, told)
        self._drive = mount.drive
        self._started = instant(mount.drive.clock.now_ns())
        self._watch = LoopWatch()
        self._restores = restore.Restores(mount.drive, mount.collect, self._replaced)
        self._caller = Caller(os.geteuid(), os.getegid(), mount.drive.actors.local(os.geteuid()))
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Background work of the service, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._watch.run)
            nursery.start_soon(self.upkeep.run)
            await nursery.start(self.cloud.run)
            await self.people.start()
            await nursery.start(self.sessions.run)
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
            jobs_running=drive.jobs.running(),
            size_bytes=size,
            free_bytes=free,
            store=self._link.status(),
            cloud=cloud_status(drive, self._link, instant(drive.clock.now_ns())),
            doors=read_doors(StatePlaces(drive.state).doors),
            upkeep=self.upkeep.status(),
            schedules=self.upkeep.schedules(),
        )

    async def cache_stats(self) -> CacheStats:
        stats = self._drive.cache.statistics()
        return CacheStats(**stats)

    # --- snapshots ---

    async def create_snapshot(self, label: str | None) -> Snapshot:
        is_complete = await self._mount.collect()
        try:
            made = await self._drive.snapshots.create(label)
        except errors.InvalidArgument as error:
            raise ServiceError("usage", f"No snapshot was made: {error}.") from error
        if is_complete:
            return shown(made)
        log.warning("snapshot %s: the kernel did not hand over in time what programs had just written", made.name)
        return shown(made).model_copy(update={"warning": INCOMPLETE})

    async def list_snapshots(self) -> list[Snapshot]:
        kept = self._drive.snapshots.all()
        return await trio.to_thread.run_sync(lambda: [shown(snapshot) for snapshot in kept])

    async def delete_snapshot(self, name: str) -> None:
        await self._drive.cuts.gate.wait_open()
        try:
            self._drive.snapshots.delete(name)
        except errors.NotFound as error:
            raise not_found(name) from error
        except errors.Refused as error:
            raise ServiceError("held", sentence(error)) from error
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
        await self._mount.collect()
        await self._drive.cuts.wait_cut()
        with told():
            names = restore.split(os.fsencode(path))
        kept = self._drive.snapshots.all()
        found = await self._drive.past.study(lambda query: versions.versions(query, names, kept))
        if not found:
            raise ServiceError(
                "not_found", f"No kept state has a file {path}; nothing was ever saved there, or it is a folder."
            )
        actors = {actor_id: self._actor(actor_id) for actor_id in {one.actor_id for one in found}}
        return await trio.to_thread.run_sync(
            lambda: [
                Version(
                    snapshot=one.snapshot,
                    size_bytes=one.size_bytes,
                    modified=instant(one.mtime_ns),
                    actor=actors[one.actor_id],
                    is_live=one.is_live,
                )
                for one in found
            ]
        )

    def _actor(self, actor_id: int) -> str:
        kind, uid, device = self._drive.actors.describe(actor_id)
        if uid < 0:
            return kind
        user = self._drive.people.by_uid(uid)
        try:
            name = user.name if user is not None else pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
        return f"{name} ({device or kind})"

    async def snapshot_at(self, when: str) -> Snapshot:
        return shown(await self._snapshot_at(when))

    async def plan_restore(self, request: RestoreRequest) -> RestorePlan:
        snapshot = await self._snapshot_at(request.at)
        with told():
            plan = await self._restores.plan(os.fsencode(request.path), snapshot, target_of(request))
        return RestorePlan(
            snapshot=snapshot.name,
            differences=[difference(one) for one in plan.listed],
            added=plan.added,
            removed=plan.removed,
            changed=plan.changed,
        )

    async def start_restore(self, request: RestoreRequest) -> Job:
        snapshot = await self._snapshot_at(request.at)
        self._refuse_read_only()
        with told():
            job = await self._restores.begin(os.fsencode(request.path), snapshot, target_of(request), self._caller)
        return self._start(job)

    async def undo(self, job_id: int, force: bool) -> Job:
        self._refuse_read_only()
        with told():
            job = await self._restores.begin_undo(job_id, force)
        return self._start(job)

    def _start(self, job: jobs.Job) -> Job:
        self._drive.cuts.log()
        assert self._nursery is not None
        self._nursery.start_soon(self._restores.run, job, self._caller)
        return shown_job(job)

    def _replaced(self, parent: int, name: bytes) -> None:
        """A restore has put something in place of a name; that may be a share's folder, as it was."""
        self._mount.changed(parent, name)
        if self._drive.areas.of(parent) is None:
            self.people.settle_folders()

    def _refuse_read_only(self) -> None:
        reason = self._mount.operations.read_only_reason
        if reason:
            raise ServiceError("read_only", f"The drive can only be read at the moment: {reason}. Nothing was changed.")

    async def _snapshot_at(self, when: str) -> snapshots.Snapshot:
        now = instant(self._drive.clock.now_ns())
        try:
            found = resolve_when(when, await self.list_snapshots(), now)
        except Unresolved as error:
            raise ServiceError(error.code, str(error)) from error
        with told():  # it may have been deleted while the list was made
            return self._drive.snapshots.get(found.name)

    # A job that is done is not called so before the kernel has forgotten what it replaced: for some milliseconds an old
    # path would still open the old file.

    async def jobs(self) -> list[Job]:
        known = [shown_job(job) for job in self._drive.jobs.all()]
        await self._mount.invalidations.settled()
        return known

    async def job(self, job_id: int) -> Job:
        with told():
            known = shown_job(self._drive.jobs.get(job_id))
        await self._mount.invalidations.settled()
        return known

    async def check(self) -> CheckReport:
        await self._mount.collect()
        async with self._restores.busy:  # what a restore is building is not sound yet
            await self._drive.cuts.wait_cut()
            return await trio.to_thread.run_sync(check_open_state, self._drive.state)

    async def scrub(self, percent: float) -> CheckReport:
        return await scrub_drive(self._drive, percent)

    async def scrub_store(self) -> CheckReport:
        return await scrub_store(self._drive)


@contextmanager
def told() -> Iterator[None]:
    """Refusals of the engine as refusals of the interface."""
    try:
        yield
    except restore.ChangedSince as error:
        plan = error.plan
        count = plan.added + plan.removed + plan.changed
        raise ServiceError(
            "changed_since",
            f"Nothing was undone: {count} things were changed since the restore and would be lost from the drive."
            " Look at them, then use --force"
            " (the state of now is kept as a snapshot either way).",
            {"differences": [difference(one).model_dump() for one in plan.listed]},
        ) from error
    except errors.NotFound as error:
        raise ServiceError("not_found", sentence(error)) from error
    except errors.Exists as error:
        raise ServiceError("exists", sentence(error)) from error
    except (errors.InvalidArgument, errors.NotAFolder, errors.NameTooLong, errors.NotPermitted) as error:
        raise ServiceError("usage", sentence(error)) from error
    except errors.VfsError as error:
        raise ServiceError("refused", sentence(error)) from error


def sentence(error: Exception) -> str:
    """An engine's clause as a full sentence."""
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}; nothing was changed."


def target_of(request: RestoreRequest) -> bytes | None:
    """Where a restore is to go, as the engine wants it."""
    return os.fsencode(request.to) if request.to is not None else None


def difference(found: diff.Difference) -> Difference:
    """A difference as the interface shows it."""
    kinds: dict[int, EntryKind] = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symlink"}
    return Difference(
        path=os.fsdecode(found.path), change=found.change, kind=kinds.get(stat.S_IFMT(found.mode), "special")
    )


def shown_job(job: jobs.Job) -> Job:
    """A job as the interface shows it."""
    return Job(
        id=job.number,
        kind=cast("Literal['restore', 'undo']", job.kind),
        state=cast("JobState", job.state),
        path=os.fsdecode(job.path),
        at=job.at,
        to=os.fsdecode(job.target) if job.target is not None else None,
        done=job.done,
        total=job.total,
        undo_snapshot=job.undo_snapshot,
        created=instant(job.created_ns),
        finished=instant(job.finished_ns) if job.finished_ns is not None else None,
        error=job.error,
    )


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
    return ServiceError(
        "not_found", f"There is no snapshot {name}; `hybrid-drive snapshot list` shows those there are."
    )
