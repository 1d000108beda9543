"""A disk that forgets what was not synced.

It works on real files, so the drive runs on it at full speed, and keeps a journal of every call beside them. At a power
loss the directory is put back to what the journal proves to be durable, see `kit.disk_journal`. SQLite's files take
part: open the drive with `vfs=` a `WatchedVfs` whose watch is this disk; then a WAL that SQLite wrote and the core
synced is one file with one history.

Nothing is really synced: a test gains nothing from waiting for the machine's disk.
"""

import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kit.disk_journal import Event, Survival, Survivors, put, synced
from kit.drive_builder import GID, UID, DriveBuilder
from kit.fake_clock import FakeClock
from kit.fault_plan import FaultPlan
from kit.sqlite_files import watched

from cachefs.cut import CutPolicy
from cachefs.disk import Disk, RealDisk
from cachefs.tier import Cloud
from vfs.seal_pass import Names
from vfs.state import make_state


class LosingDisk:
    """A `cachefs.disk.Disk` and a `kit.sqlite_files.Watch` over the state directory `root`.

    What lies there when it is made counts as durable.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.boot = 1  # counts the lives of the machine
        self._real = RealDisk()
        self._lock = threading.Lock()
        self._start_anew()

    def _start_anew(self) -> None:
        self.journal: list[Event] = []
        self._paths: dict[int, Path] = {}  # by descriptor
        paths = [path for path in sorted(self.root.rglob("*")) if path.is_file() and not path.name.endswith("-shm")]
        self._names = {path: number for number, path in enumerate(paths, 1)}
        self._last_file = len(paths)
        self._changes = dict.fromkeys(self._names.values(), 0)  # by file: events that a sync must cover
        self._synced = dict(self._changes)
        self.first = (
            {path.relative_to(self.root): number for path, number in self._names.items()},
            {number: path.read_bytes() for path, number in self._names.items()},
        )

    # --- crashes ---

    def fact(self, fact: Any) -> None:
        """Write down, among the calls, what the drive has promised by now."""
        with self._lock:
            self.journal.append(Event("fact", fact=fact))

    def survivors(self) -> Survivors:
        """What was durable when the journal began; feed it the journal."""
        return Survivors(*self.first)

    def power_loss(self, survives: Survival = synced) -> None:
        """Put the directory back to what is left of it now. Nobody may have a file of it open."""
        state = self.survivors()
        for event in self.journal:
            state.take(event)
        found = state.found(survives)
        for path in self.root.rglob("*"):
            if path.is_file():
                path.unlink()
        put(found, self.root)
        self.boot += 1
        self._start_anew()

    def boot_id(self) -> bytes:
        """Stands in for `cachefs.intent_log.boot_id`."""
        return self.boot.to_bytes(16, "little")

    # --- what was done, by whomever ---

    def created(self, path: Path) -> None:
        with self._lock:
            self._last_file += 1
            self._names[path] = self._last_file
            self._changes[self._last_file] = self._synced[self._last_file] = 0
            self.journal.append(Event("create", self._last_file, self._local(path)))

    def wrote(self, path: Path, offset: int, data: bytes) -> None:
        self._change(path, offset=offset, data=data)

    def truncated(self, path: Path, length: int) -> None:
        self._change(path, truncate=length)

    def punched(self, path: Path, offset: int, length: int) -> None:
        self._change(path, offset=offset, punch=length)

    def _change(
        self, path: Path, *, offset: int = 0, data: bytes = b"", truncate: int | None = None, punch: int | None = None
    ) -> None:
        with self._lock:
            file = self._names[path]
            self._changes[file] += 1
            if truncate is not None:
                self.journal.append(Event("truncate", file, length=truncate))
            elif punch is not None:
                self.journal.append(Event("punch", file, offset=offset, length=punch))
            else:
                self.journal.append(Event("write", file, offset=offset, data=data))

    def sync_begins(self, path: Path) -> int:
        """How many changes of the file a sync that begins now will cover; for `sync_ended`."""
        with self._lock:
            return self._changes[self._names[path]]

    def sync_ended(self, path: Path, covered: int) -> None:
        with self._lock:
            file = self._names[path]
            new = max(0, covered - self._synced[file])
            self._synced[file] += new
            self.journal.append(Event("sync", file, length=new))

    def unlinked(self, path: Path) -> None:
        with self._lock:
            # The number stays with whoever has the file open; only its name goes.
            self.journal.append(Event("unlink", self._names[path], self._local(path)))

    def directory_synced(self, path: Path) -> None:
        with self._lock:
            self.journal.append(Event("sync directory", path=self._local(path)))

    def _local(self, path: Path) -> Path:
        return path.relative_to(self.root)

    # --- cachefs.disk.Disk ---

    def open(self, path: Path, *, create: bool) -> int:
        fd = self._real.open(path, create=create)
        self._paths[fd] = path
        if create:
            self.created(path)
        return fd

    def close(self, fd: int) -> None:
        del self._paths[fd]
        self._real.close(fd)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        self._real.pwrite(fd, data, offset)
        self.wrote(self._paths[fd], offset, bytes(data))

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return self._real.pread(fd, length, offset)

    def read_cached(self, fd: int, buffer: bytearray, offset: int) -> int:
        return self._real.read_cached(fd, buffer, offset)

    def will_read(self, fd: int, offset: int, length: int) -> None:
        self._real.will_read(fd, offset, length)

    def will_sync(self, fd: int, offset: int, length: int) -> None:
        self._real.will_sync(fd, offset, length)

    def sync(self, fd: int) -> None:
        path = self._paths[fd]
        covered = self.sync_begins(path)
        self.during_sync(path)
        self.sync_ended(path, covered)

    def during_sync(self, path: Path) -> None:
        """For tests to replace: what happens while the disk is busy with a sync."""

    def sync_directory(self, path: Path) -> None:
        self.directory_synced(path)

    def punch(self, fd: int, offset: int, length: int) -> None:
        self._real.punch(fd, offset, length)
        self.punched(self._paths[fd], offset, length)

    def truncate(self, fd: int, length: int) -> None:
        self._real.truncate(fd, length)
        self.truncated(self._paths[fd], length)

    def unlink(self, path: Path) -> None:
        self._real.unlink(path)
        self.unlinked(path)

    def rename(self, path: Path, new: Path) -> None:
        self._real.rename(path, new)
        with self._lock:
            file = self._names[new] = self._names.pop(path)
            self.journal.append(Event("rename", file, self._local(new), source=self._local(path)))

    def make_folder(self, path: Path) -> None:
        self._real.make_folder(path)
        with self._lock:
            self.journal.append(Event("make folder", path=self._local(path)))


def _itself(disk: Disk) -> Disk:
    return disk


def follow_boots(monkeypatch: pytest.MonkeyPatch, disk: LosingDisk) -> None:
    """Let the drive see another boot id after each power loss of the disk."""
    for module in ("cachefs.cut", "cachefs.recovery"):
        monkeypatch.setattr(f"{module}.boot_id", disk.boot_id)


@asynccontextmanager
async def losing_drive(
    state: Path,
    *,
    policy: CutPolicy = CutPolicy(),  # noqa: B008  (frozen)
    plan: FaultPlan | None = None,
    over: Callable[[Disk], Disk] = _itself,
    names: Names | None = None,
    cloud: Cloud | None = None,
) -> AsyncIterator[tuple[DriveBuilder, LosingDisk]]:
    """A running drive all of whose files lie on a losing disk; `over` puts another disk between the two.

    With `names`, files that come to rest are sealed; with `cloud`, sent.
    """
    clock = FakeClock()
    make_state(state, clock, UID, GID)
    disk = LosingDisk(state)
    with pytest.MonkeyPatch.context() as patch, watched(f"losing {state}", disk, plan) as vfs:
        follow_boots(patch, disk)
        builder = DriveBuilder(state, disk=over(disk), clock=clock, policy=policy, vfs=vfs, names=names, cloud=cloud)
        async with builder as built:
            yield built, disk


def crash_points(disk: LosingDisk, every: int = 1, first: int = 0) -> Iterable[tuple[int, Survivors, list[Any]]]:
    """After every so many calls: how many there were, what could be found then, and the facts written down by then."""
    state, facts, calls = disk.survivors(), list[Any](), 0
    for event in disk.journal:
        if event.kind == "fact":
            facts.append(event.fact)
            continue
        if calls % every == first % every:
            yield calls, state, facts
        state.take(event)
        calls += 1
    yield calls, state, facts
