"""The same calls on a drive and on the model, restarts and crashes in between, and no difference anybody could see.

Owns the Hypothesis machine. The drive runs without a mount and without background tasks: each rule is one short trio
run on a clock that stands still, so an example is the same every time. What runs in the background of a real drive
(cuts, reaping) are rules here.

After a core death the state is that of the last log point; `adopt` says with which liberty.
"""

import itertools
import random
import shutil
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from kit.model_fs import ModelFs, ModelInode, ModelSnapshot, walk
from kit.still_drive import StillDrive, run
from model.drive_seen import (  # type: ignore[import-not-found]
    adopt,
    live_pieces,
    live_tree,
    past_tree,
    same_bytes,
    same_tree,
)

import vfs.contents
import vfs.inodes
import vfs.pruning
from vfs.actors import Caller
from vfs.drive import Drive
from vfs.errors import Refused, VfsError
from vfs.ids import ATTIC, FIRST_FILE, ROOT, WORKSHOP
from vfs.inodes import Inode
from vfs.restore import Restores

LINE = 64 << 20
NAMES = [b"a", b"b", b"B", "Größe".encode()]
names = st.sampled_from([*NAMES * 3, b".snapshots", b".previous", b"..", b"", b"x" * 255, b"x" * 256])
spots = st.integers(0, 40)
edges = [4095, 4096, 4097, 65_536, 65_537, 131_073, LINE - 4096, LINE - 1, LINE, LINE + 4097]
offsets = st.one_of(st.integers(0, 20), st.sampled_from(edges))
lengths = st.one_of(st.integers(0, 20), st.sampled_from([4095, 4096, 65_536, 65_537, 140_000]))
uids = st.sampled_from([1000, 1001])
FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
kinds = st.sampled_from([FILE, FILE, FILE, FOLDER, stat.S_IFDIR | 0o2770, stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o600])
attributes = st.sampled_from([b"user.one", b"user.two", b"trusted.three", b"system.four", b"none"])
values = st.sampled_from([b"", b"1", b"2", b"xyz" * 100, bytes(65_537)])

TIGHT: list[tuple[object, str, int]] = [
    (vfs.inodes, "CACHED_INODES", 0),
    (vfs.inodes, "SPARED_INODES", 4),
    (vfs.contents, "WINDOWS_BYTES", 0),
    (vfs.contents, "SMALL_CONTENT", 0),
    (vfs.contents, "STEP_ROWS", 2),
    (vfs.pruning, "STEP_ROWS", 2),
]
LEFT_EMPTY = [
    *("dentries", "extents", "gone_contents", "blocks", "residency", "xattr_sets", "snapshots"),
    *("unsent", "catalog", "shared_pages"),
    *("inodes_history", "dentries_history", "extents_history"),
]


class DriveMachine(RuleBasedStateMachine):
    """A subclass names the parent folder and a state that was just made."""

    parent: Path
    fresh_state: Path
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        state = self.parent / str(next(self.numbers))
        self.still = StillDrive.opened(state, self.fresh_state)
        self.clock = self.still.clock
        self.model = ModelFs(self.clock, self.imported_root())
        self.handles: list[tuple[Inode, ModelInode]] = []
        self.acknowledge()

    @initialize(is_tight=st.booleans())
    def begin(self, is_tight: bool) -> None:
        """Plant a few files. Half of the examples have no room: all is evicted at once, and steps are tiny."""
        if is_tight:
            for part, limit, value in TIGHT:
                self.patches.setattr(part, limit, value)
        for spot, name, mode in [(0, b"a", FILE), (0, b"b", FOLDER), (1, b"a", FILE), (1, b"b", FOLDER)]:
            self.create(spot, name, mode, 1000)

    @property
    def drive(self) -> Drive:
        return self.still.drive

    def imported_root(self) -> ModelInode:
        """The tree of a new drive: the root and the visible door."""
        root, door = (
            ModelInode(i.mode, i.uid, i.gid, i.actor_id, i.atime_ns, i.mtime_ns, i.ctime_ns, i.btime_ns, i.target)
            for i in map(self.drive.inodes.get, (ROOT, FIRST_FILE))
        )
        root.names[b"Previous Versions"], root.next_place, door.links = (0, door), 1, 1
        return root

    def acknowledge(self) -> None:
        """From here on a core death leads back to what is true now."""
        self.acknowledged = self.model.copy()
        self.written: dict[int, list[tuple[int, bytes]]] = {}

    def keep_others_work(self, before: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """As the adapter does ahead of some calls. An epoch that is kept without a name is a log point, no more."""
        epoch = self.drive.epochs.current
        run(before, *arguments)
        if self.drive.epochs.current != epoch:
            self.acknowledge()

    # --- finding things ---

    def at(self, path: bytes) -> int:
        """The drive's inode number at a path of the model."""
        ino: int = ROOT
        for name in path.split(b"/")[1:]:
            found = self.drive.namespace.find(ino, name)
            assert found is not None, f"the drive lacks {path!r}"
            ino = found
        return ino

    def pick(self, spot: int, *, only: Callable[[ModelInode], bool] = lambda _: True) -> tuple[int, ModelInode]:
        """Something in the tree."""
        there = [(path, inode) for path, inode in walk(self.model.root) if only(inode)]
        path, inode = there[spot % len(there)]
        return self.at(path), inode

    def pick_folder(self, spot: int) -> tuple[int, ModelInode]:
        """A folder; once in a while something that is none."""
        return self.pick(spot, only=(lambda inode: inode.is_folder) if spot % 8 else lambda _: True)

    def pick_name(self, spot: int) -> tuple[int, ModelInode, bytes]:
        """A folder and a name in it."""
        there = [(path, inode, name) for path, inode in walk(self.model.root) for name in inode.names]
        if not there:
            return ROOT, self.model.root, b"a"
        path, inode, name = there[spot % len(there)]
        return self.at(path), inode, name

    def pick_file(self, spot: int) -> tuple[Inode, ModelInode] | None:
        """An open file, perhaps without a name, or one in the tree."""
        files = [inode for _, inode in walk(self.model.root) if inode.is_file]
        if not files and not self.handles:
            return None
        if self.handles and (spot % 3 == 0 or not files):
            return self.handles[spot % len(self.handles)]
        ino, inode = self.pick(spot, only=lambda inode: inode.is_file)
        return self.drive.inodes.get(ino), inode

    def both(self, on_drive: Callable[[], object], on_model: Callable[[], object]) -> bool:
        """Do it on both. True if it was done; the refusals must be the same."""
        self.clock.advance(0.001)
        refusals: list[type[VfsError] | None] = []
        for call in (on_drive, on_model):
            try:
                call()
                refusals.append(None)
            except VfsError as error:
                refusals.append(type(error))
        assert refusals[0] == refusals[1], f"the drive answers {refusals[0]}, the model {refusals[1]}"
        return refusals[0] is None

    # --- names ---

    @rule(spot=spots, name=names, mode=kinds, uid=uids)
    def create(self, spot: int, name: bytes, mode: int, uid: int) -> None:
        ino, folder = self.pick_folder(spot)
        target = b"../b" if stat.S_ISLNK(mode) else None
        caller = self.still.as_user(uid)
        self.both(
            lambda: self.drive.namespace.create(ino, name, mode, caller, target=target),
            lambda: self.model.create(folder, name, mode, caller, target=target),
        )

    @rule(spot=spots, to=spots, name=names, uid=uids)
    def link(self, spot: int, to: int, name: bytes, uid: int) -> None:
        (number, inode), (parent, folder) = self.pick(spot), self.pick_folder(to)
        if spot % 4 == 0 and self.handles:
            known, inode = self.handles[spot % len(self.handles)]
            number = known.ino
        caller = self.still.as_user(uid)
        self.both(
            lambda: self.drive.namespace.link(self.drive.inodes.get(number), parent, name, caller),
            lambda: self.model.link(inode, folder, name, caller),
        )

    @rule(spot=spots, uid=uids, is_folder=st.booleans())
    def remove(self, spot: int, uid: int, is_folder: bool) -> None:
        parent, folder, name = self.pick_name(spot)
        caller = self.still.as_user(uid)
        self.keep_others_work(self.drive.undo_epochs.before_name, parent, name, caller.actor_id)
        if is_folder:
            self.both(
                lambda: self.drive.namespace.rmdir(parent, name, caller), lambda: self.model.rmdir(folder, name, caller)
            )
        else:
            self.both(
                lambda: self.drive.namespace.unlink(parent, name, caller),
                lambda: self.model.unlink(folder, name, caller),
            )

    @rule(spot=spots, to=spots, new=st.one_of(st.none(), names), flags=st.sampled_from([0, 0, 1, 2]), uid=uids)
    def rename(self, spot: int, to: int, new: bytes | None, flags: int, uid: int) -> None:
        parent, folder, name = self.pick_name(spot)
        to_parent, to_folder, to_name = self.pick_name(to)
        if new is not None:
            (to_parent, to_folder), to_name = self.pick_folder(to), new
        caller = self.still.as_user(uid)
        self.keep_others_work(self.drive.undo_epochs.before_name, parent, name, caller.actor_id)
        self.both(
            lambda: self.drive.namespace.rename(parent, name, to_parent, to_name, flags, caller),
            lambda: self.model.rename(folder, name, to_folder, to_name, flags, caller),
        )

    # --- bytes and attributes ---

    @rule(spot=spots, offset=offsets, length=lengths, fill=st.integers(1, 255), uid=uids)
    def write(self, spot: int, offset: int, length: int, fill: int, uid: int) -> None:
        picked = self.pick_file(spot)
        if picked is None:
            return
        # What is plain deduplicates; what is not is cut where its content wants it, at any offset.
        data = bytes([fill]) * length if fill < 128 else random.Random(fill % 4).randbytes(length)
        (inode, model), caller = picked, self.still.as_user(uid)
        self.keep_others_work(self.drive.undo_epochs.before_content, inode, caller.actor_id)
        self.clock.advance(0.001)
        run(self.drive.files.write, inode, offset, data, caller.actor_id)
        self.model.write(model, offset, data, caller)
        self.written.setdefault(inode.ino, []).append((offset, data))

    @rule(spot=spots, size=offsets, uid=uids)
    def truncate(self, spot: int, size: int, uid: int) -> None:
        picked = self.pick_file(spot)
        if picked is None:
            return
        (inode, model), caller = picked, self.still.as_user(uid)
        self.keep_others_work(self.drive.undo_epochs.before_content, inode, caller.actor_id)
        self.clock.advance(0.001)
        run(self.drive.files.truncate, inode, size, caller.actor_id)
        self.model.truncate(model, size, caller)

    @rule(spot=spots, name=attributes, value=st.one_of(st.none(), values), uid=uids)
    def set_or_remove_xattr(self, spot: int, name: bytes, value: bytes | None, uid: int) -> None:
        (ino, model), caller = self.pick(spot), self.still.as_user(uid)
        inode = self.drive.inodes.get(ino)
        if value is None:
            self.both(
                lambda: self.drive.xattrs.remove(inode, name, caller.actor_id),
                lambda: self.model.remove_xattr(model, name, caller),
            )
        else:
            self.both(
                lambda: self.drive.xattrs.set(inode, name, value, caller.actor_id),
                lambda: self.model.set_xattr(model, name, value, caller),
            )

    @rule(spot=spots, mode=st.sampled_from([0o600, 0o4755, 0o2755]), uid=uids)
    def change_mode(self, spot: int, mode: int, uid: int) -> None:
        (ino, model), caller = self.pick(spot), self.still.as_user(uid)
        self.clock.advance(0.001)
        inode = self.drive.inodes.get(ino)
        inode.mode = inode.mode & ~0o7777 | mode
        self.drive.inodes.changed(inode, caller.actor_id)
        model.mode = model.mode & ~0o7777 | mode
        self.model.changed(model, caller)

    # --- who holds what ---

    @rule(spot=spots)
    def open_file(self, spot: int) -> None:
        picked = self.pick_file(spot)
        if picked is not None:
            self.drive.inodes.looked_up(picked[0].ino)
            self.drive.inodes.opened(picked[0])
            self.handles.append(picked)

    @precondition(lambda self: self.handles)
    @rule(spot=spots, forgets_first=st.booleans())
    def close_file(self, spot: int, forgets_first: bool) -> None:
        inode, _ = self.handles.pop(spot % len(self.handles))
        if forgets_first:
            self.drive.inodes.forget([(inode.ino, 1)])
        self.drive.inodes.released(inode)
        if not forgets_first:
            self.drive.inodes.forget([(inode.ino, 1)])

    # --- kept states ---

    @precondition(lambda self: len(self.model.snapshots) < 4)
    @rule(is_held=st.booleans())
    def take_snapshot(self, is_held: bool) -> None:
        snapshot = self.still.snap(is_held=is_held)
        self.model.snapshot(snapshot.name, is_held=is_held)
        self.acknowledge()

    @precondition(lambda self: self.model.snapshots)
    @rule(spot=spots)
    def delete_snapshot(self, spot: int) -> None:
        name = sorted(self.model.snapshots)[spot % len(self.model.snapshots)]
        if self.model.snapshots[name].is_held:
            with pytest.raises(Refused):
                self.drive.snapshots.delete(name)
            self.drive.snapshots.hold(name, False)
            self.model.snapshots[name].is_held = False
        else:
            self.drive.snapshots.delete(name)
            del self.model.snapshots[name]

    @precondition(lambda self: self.model.snapshots)
    @rule(spot=spots, which=spots, uid=uids)
    def restore(self, spot: int, which: int, uid: int) -> None:
        name = sorted(self.model.snapshots)[which % len(self.model.snapshots)]
        paths = [path for path, _ in walk(self.model.snapshots[name].root)]
        path, caller = paths[spot % len(paths)], self.still.as_user(uid)
        self.clock.advance(1.1)
        before, jobs = self.model.copy(), len(self.drive.jobs.all())
        self.both(
            lambda: run(self.brought_back, path, name, caller),
            lambda: self.model.restore(path.split(b"/")[1:], name, caller),
        )
        if len(self.drive.jobs.all()) > jobs:
            newest = self.drive.jobs.all()[0]
            assert newest.state == "done"
            assert newest.undo_snapshot is not None
            self.model.snapshots[newest.undo_snapshot] = ModelSnapshot(before.root, True)
            self.still.reap()
            self.drive.cuts.log()
            self.acknowledge()

    async def brought_back(self, path: bytes, name: str, caller: Caller) -> None:
        restores = Restores(self.drive, trio.lowlevel.checkpoint, lambda folder, entry: None)
        refusal: VfsError | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.drive.cuts.run)
            try:
                job = await restores.begin(path, self.drive.snapshots.get(name), None, caller)
                await restores.run(job, caller)
            except VfsError as error:
                refusal = error
            nursery.cancel_scope.cancel()
        if refusal is not None:
            raise refusal

    # --- what happens in the background ---

    @rule()
    def reap_a_little(self) -> None:
        run(self.drive.reaper.round)

    @rule()
    def reap_to_the_end(self) -> None:
        run(self.drive.reaper.finish)

    @rule()
    def seal(self) -> None:
        self.still.seal()
        self.close_point()

    @rule()
    def close_point(self) -> None:
        self.drive.cuts.log()
        self.acknowledge()

    @rule()
    def cut(self) -> None:
        run(self.drive.cuts.cut)
        self.acknowledge()

    @rule(days=st.sampled_from([0, 0, 3]))
    def wait(self, days: int) -> None:
        self.clock.advance(11 + days * 86_400)

    # --- ends and starts ---

    @rule()
    def restart(self) -> None:
        self.still.rest()
        self.handles = []
        self.acknowledge()
        self.still.assert_sound()

    @rule()
    def die(self) -> None:
        self.still.die()
        self.handles = []
        self.model = self.acknowledged
        self.still.assert_sound()
        run(adopt, live_tree(self.drive), self.model.root, self.written)
        self.acknowledge()

    # --- what must be the same ---

    async def compare_everything(self) -> None:
        await same_tree(live_tree(self.drive), self.model.root, "now")
        for inode, model in self.handles:
            assert (inode.size, inode.nlink) == (model.data.size, model.links)
            await same_bytes(self.drive, inode, live_pieces(self.drive, inode), model.data, "an open file")
        kept = {snapshot.name: snapshot.is_held for snapshot in self.drive.snapshots.all()}
        assert kept == {name: kept.is_held for name, kept in self.model.snapshots.items()}
        for name, state in self.model.snapshots.items():
            await same_tree(past_tree(self.drive, self.drive.snapshots.get(name).epoch), state.root, name)

    @invariant()
    def everything_is_the_same(self) -> None:
        run(self.compare_everything)
        here = {id(inode) for _, inode in walk(self.model.root)} | {id(inode) for _, inode in self.handles}
        in_attic = self.drive.database.row("SELECT count(*) FROM dentries WHERE parent IN (?, ?)", (ATTIC, WORKSHOP))[0]
        if not in_attic:
            assert self.drive.inodes.count() == len(here)

    def teardown(self) -> None:
        try:
            self.everything_is_the_same()
            self.still.assert_sound()
            self.clear_away()
        finally:
            self.patches.undo()
            self.still.abandon()
            shutil.rmtree(self.still.state)

    def clear_away(self) -> None:
        """Once everything is deleted, nothing is left: no row, no byte."""
        while self.handles:
            self.close_file(0, False)
        while self.model.snapshots:
            self.delete_snapshot(0)
        for path, folder in reversed(list(walk(self.model.root))):
            for name, inode in folder.listed():
                ino = self.at(path)
                remove = self.drive.namespace.rmdir if inode.is_folder else self.drive.namespace.unlink
                remove(ino, name, self.still.as_user(1000))
        root = self.drive.inodes.get(ROOT)
        for name in list(self.drive.xattrs.all(root)):
            self.drive.xattrs.remove(root, name, 0)
        self.drive.undo_epochs.is_clock_believed = lambda: True
        self.clock.advance(3 * 86_400)
        run(self.drive.reaper.finish)
        self.still.assert_sound()
        for table in LEFT_EMPTY:
            left = self.drive.database.rows(f"SELECT * FROM {table}")
            assert left == [], f"{table} still holds {left}"
        assert self.drive.cache.segments.statistics()["live_bytes"] == 0
