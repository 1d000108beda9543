"""Restore: bring a file, a folder or the whole drive back to a kept state. Metadata only, at once or not at all.

    1 the wanted tree is built in the workshop, with new inodes, in short steps; nobody sees it
    2 a held snapshot of now, so that everything can be taken back
    3 without an await after 2, one short transaction swaps the tree in; what was there is hung up in the attic and
      reaped later

Building takes minutes, and people go on working meanwhile: the snapshot comes last, so that it holds their work too.
Nothing but the kernel changes an existing regular inode (I6): a program that has the old file open keeps writing to the
old file, which has lost its name. A crash before step 3 leaves the drive as it was, after it as wanted. The root cannot
be swapped; its entries are, and its attributes set. Undo is a restore to the held snapshot of step 2: it lists what was
changed since, and wants `force` if anything was.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

import trio

from cachefs.errors import CacheError
from vfs.actors import Caller
from vfs.copying import Copying
from vfs.diff import Difference, differences
from vfs.drive import Drive
from vfs.errors import Exists, InvalidArgument, NotAFolder, NotFound, Refused, VfsError
from vfs.ids import ROOT, WORKSHOP
from vfs.inodes import Inode
from vfs.jobs import Job
from vfs.names import PREVIOUS, SNAPSHOTS, check_new_name
from vfs.snapshots import Snapshot

log = logging.getLogger(__name__)

MOST_LISTED = 1000


class Plan(NamedTuple):
    """What a restore would do. The counts are whole, the list is cut at `MOST_LISTED`."""

    listed: list[Difference]
    added: int
    removed: int
    changed: int

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed)


class ChangedSince(Refused):
    """An undo would lose what was changed since the restore; `plan` lists it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("something was changed since the restore")
        self.plan = plan


class Place(NamedTuple):
    """A path of the live tree: the folder, and the name in it. The root has no name."""

    parent: int
    name: bytes


class Restores:
    """All restores of a drive, one at a time.

    `collect` brings what the kernel holds dirty; `changed` is told each (folder, name) that stands for something else
    now.
    """

    def __init__(
        self, drive: Drive, collect: Callable[[], Awaitable[object]], changed: Callable[[int, bytes], None]
    ) -> None:
        self._drive = drive
        self._collect = collect
        self._changed = changed
        self.busy = trio.Lock()  # held while a restore builds and swaps

    # --- asking ---

    async def plan(self, path: bytes, snapshot: Snapshot, target: bytes | None = None) -> Plan:
        """What bringing `path` back as it was at `snapshot` would do (at `target`, or in its own place).

        Changes nothing.
        """
        past = self._past_of(path, snapshot)
        place = target if target is not None else path
        with self._drive.snapshots.using(snapshot):
            await self._collect()
            await self._drive.cuts.wait_cut()
            live = self._live_of(place)
            return await self._drive.past.study(
                lambda query: summed(differences(query, past, snapshot.epoch, live), place)
            )

    def _past_of(self, path: bytes, snapshot: Snapshot) -> int:
        ino = self._drive.past.resolve(ROOT, split(path), snapshot.epoch)
        if ino is None:
            raise NotFound(f"{show(path)} did not exist at {snapshot.name}")
        return ino

    def _live_of(self, path: bytes) -> int | None:
        return self._drive.namespace.resolve(split(path))

    def _place_of(self, path: bytes) -> Place:
        *above, name = split(path)
        parent = self._live_of(b"/".join(above))
        if parent is None:
            raise NotFound(
                f"the folder {show(b'/'.join(above))} does not exist any more; restore it, or restore to another place"
            )
        if not self._drive.inodes.get(parent).is_folder:
            raise NotAFolder(f"{show(b'/'.join(above))} is not a folder")
        check_new_name(parent, name)
        return Place(parent, name)

    # --- doing ---

    async def begin(self, path: bytes, snapshot: Snapshot, target: bytes | None, caller: Caller) -> Job:
        """Record a restore. Run it with `run`. Raises NotFound, Exists, InvalidArgument."""
        self._past_of(path, snapshot)
        place = b"/".join(split(path))
        self._goal_of(target if target is not None else place, is_free=target is not None)
        await self._drive.cuts.gate.wait_open()
        return self._drive.jobs.record("restore", place, target, snapshot.name)

    def _goal_of(self, path: bytes, *, is_free: bool) -> Place | None:
        """The place of a path as things are now, None for the root. Raises NotFound; Exists if it should be free."""
        if not split(path) and not is_free:
            return None
        goal = self._place_of(path)
        if is_free and self._drive.namespace.find(*goal) is not None:
            raise Exists(f"there is something at {show(path)} already")
        return goal

    async def begin_undo(self, number: int, force: bool) -> Job:
        """Record the undo of a restore. Raises NotFound, Refused, ChangedSince."""
        done = self._drive.jobs.get(number)
        if done.kind != "restore" or done.state != "done" or done.undo_snapshot is None:
            raise Refused(f"job {number} is not a restore that can be taken back (it is {done.kind}, {done.state})")
        self._drive.snapshots.get(done.undo_snapshot)
        if not force:
            since = await self.plan(done.path, self._drive.snapshots.get(done.at), done.target)
            if not since.is_empty:
                raise ChangedSince(since)
        await self._drive.cuts.gate.wait_open()
        return self._drive.jobs.record("undo", done.path, done.target, done.undo_snapshot, undoes=number)

    async def run(self, job: Job, caller: Caller) -> None:
        """Do a recorded job; its record says how it ended. Raises nothing but what ends the core."""
        async with self.busy:
            try:
                snapshot = self._drive.snapshots.get(job.at)
                with self._drive.snapshots.using(snapshot):
                    await self._build_and_swap(job, snapshot, caller)
            except (VfsError, OSError) as error:
                log.warning("job %d was not done: %s", job.number, error)
                await self._drive.cuts.gate.wait_open()
                self._drive.attic.clear_workshop()
                self._drive.jobs.fail(job, str(error))
            except CacheError as error:
                self._drive.jobs.fail(job, str(error))
                raise
            finally:
                self._drive.cuts.log()

    async def _build_and_swap(self, job: Job, snapshot: Snapshot, caller: Caller) -> None:
        drive = self._drive
        path = job.target if job.kind == "undo" and job.target is not None else job.path
        past = drive.past.resolve(ROOT, split(path), snapshot.epoch)
        hidden = b"%d" % job.number
        if past is not None:
            copying = Copying(
                drive.database, drive.cuts, drive.cache.counters, drive.cache.blocks, drive.inodes, drive.epochs,
                drive.past, drive.clock, snapshot.epoch, caller.actor_id,
                lambda done, found: drive.jobs.progress(job.number, done, found),
                lambda: drive.files.admit_rows(is_removal=False),
            )  # fmt: skip
            await copying.copy(past, hidden)
        self._goal_of_job(job)
        await self._collect()
        undo = await drive.snapshots.create(f"before-{job.kind}", is_held=True)
        # No await from here on: what is taken away is exactly what the snapshot holds.
        try:
            with drive.database.operation, drive.pins.staying():
                goal = self._goal_of_job(job)
                if goal is not None:
                    told = self._swap(goal, hidden if past is not None else None, caller)
                else:
                    told = self._swap_root(hidden, caller)
                drive.jobs.finish(job.number, undo.name)
                if job.undoes is not None:
                    drive.jobs.mark_undone(job.undoes)
        except VfsError:
            drive.snapshots.hold(undo.name, False)
            drive.snapshots.delete(undo.name)
            raise
        for parent, name in told:
            self._changed(parent, name)

    def _goal_of_job(self, job: Job) -> Place | None:
        place = job.target if job.target is not None else job.path
        return self._goal_of(place, is_free=job.kind == "restore" and job.target is not None)

    def _swap(self, place: Place, hidden: bytes | None, caller: Caller) -> list[Place]:
        """Put the hidden tree at the place; if it is None, nothing stands there afterwards."""
        namespace = self._drive.namespace
        old = namespace.lookup(place.parent, place.name)
        told = [place]
        if hidden is None:
            if old is not None:
                self._drive.attic.hang_up(place.parent, place.name)
            return told
        new = namespace.lookup(WORKSHOP, hidden)
        assert new is not None
        if old is not None and old.is_file and new.is_file and old.nlink > 1:
            told += self._repoint_links(old, place, hidden, caller)
        if old is not None and (old.is_folder or new.is_folder):
            self._drive.attic.hang_up(place.parent, place.name)
        namespace.rename(WORKSHOP, hidden, place.parent, place.name, 0, caller)
        return told

    def _repoint_links(self, old: Inode, place: Place, hidden: bytes, caller: Caller) -> list[Place]:
        """All other names of a hard-linked file follow it."""
        namespace = self._drive.namespace
        new = namespace.lookup(WORKSHOP, hidden)
        assert new is not None
        others = [Place(parent, name) for parent, name in namespace.parents(old.ino) if (parent, name) != place]
        for number, other in enumerate(others):
            spare = hidden + b"-%d" % number
            namespace.link(new, WORKSHOP, spare, caller)
            namespace.rename(WORKSHOP, spare, other.parent, other.name, 0, caller)
        return others

    def _swap_root(self, hidden: bytes, caller: Caller) -> list[Place]:
        drive, namespace = self._drive, self._drive.namespace
        new = namespace.lookup(WORKSHOP, hidden)
        assert new is not None
        root = drive.inodes.get(ROOT)
        old = [name for (name,) in drive.database.rows("SELECT name FROM dentries WHERE parent = ?", (ROOT,))]
        for name in old:
            drive.attic.hang_up(ROOT, name)
        names = [
            name
            for (name,) in drive.database.rows("SELECT name FROM dentries WHERE parent = ? ORDER BY cookie", (new.ino,))
        ]
        for name in names:
            namespace.rename(new.ino, name, ROOT, name, 0, caller)
        if root.xattr_set is not None:
            drive.inodes.released_sets.add(root.xattr_set)
        root.mode, root.uid, root.gid, root.xattr_set, root.xattrs = new.mode, new.uid, new.gid, new.xattr_set, None
        drive.inodes.touch(root, caller.actor_id)
        drive.attic.hang_up(WORKSHOP, hidden)
        return [Place(ROOT, name) for name in {*old, *names}]


def split(path: bytes) -> list[bytes]:
    """The names of a path from the root down. Raises InvalidArgument."""
    names = [name for name in path.split(b"/") if name]
    if any(name in (b".", b"..") for name in names):
        raise InvalidArgument("a path may not contain . or ..")
    if any(name == SNAPSHOTS for name in names) or names[:1] == [PREVIOUS]:
        raise InvalidArgument("the path leads into the past; name the live path and the moment instead")
    return names


def show(path: bytes) -> str:
    """A path for a sentence."""
    return path.decode("utf-8", "backslashreplace") or "the drive"


def summed(found: Iterable[Difference], place: bytes) -> Plan:
    """Count all differences, list the first; their paths from the root."""
    listed: list[Difference] = []
    counts = {"added": 0, "removed": 0, "changed": 0}
    prefix = b"/".join(split(place))
    for difference in found:
        counts[difference.change] += 1
        if len(listed) < MOST_LISTED:
            whole = b"/".join(part for part in (prefix, difference.path) if part)
            listed.append(difference._replace(path=whole))
    return Plan(listed, counts["added"], counts["removed"], counts["changed"])
