"""Somebody at work on a drive, at random but by a seed, who writes down what is begun and what is promised.

Beside the drive stands a model: after every step, which names there are and which bytes each file has. Steps are
numbered in the order in which they happen. Among the calls of the losing disk the worker leaves facts:

    Begun(step)       from here on, the disk may hold something of the step
    Promised(step)    all steps up to this one survive: `closed`, the death of the core; `synced`, also a power loss;
                      `stored`, the loss of the machine

Some small steps happen while the disk is busy with a sync, where only a careful engine keeps rows and bytes together.
"""

import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import trio
from kit.drive_builder import DriveBuilder
from kit.losing_disk import LosingDisk

from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import Buffer, Pace

SIZES = (0, 1, 100, 4096, 5000, 20_000, 90_000)


class Begun(NamedTuple):
    step: int


class Promised(NamedTuple):
    step: int
    how: Literal["closed", "synced", "stored"]


class Arrived(NamedTuple):
    """The store has an object."""

    name: str


class Gone(NamedTuple):
    """The store has an object no more."""

    name: str


class ToldStore(MemoryStore):
    """Writes down, among the calls of the disk, which objects are there."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: Callable[[Arrived | Gone], None] = lambda fact: None
        self.bodies: dict[str, bytes] = {}
        """Of all objects that ever were there."""

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await super().put(name, body, if_absent=if_absent, pace=pace)
        self.bodies[name] = bytes(body)
        self.tell(Arrived(name))

    async def delete(self, names: Sequence[str]) -> None:
        await super().delete(names)
        for name in names:
            self.tell(Gone(name))


@dataclass(frozen=True)
class State:
    """What the drive shows after a step. `files`: number of the file behind a path; `kept`: step of a snapshot."""

    files: dict[str, int] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    contents: dict[int, bytes] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)

    def holding(self, path: str, file: int, data: bytes) -> "State":
        return replace(self, files={**self.files, path: file}, contents={**self.contents, file: data})


class Worker:
    """One run. `states[n]` is the state after step n; state 0 is the empty drive."""

    def __init__(self, built: DriveBuilder, disk: LosingDisk, seed: int) -> None:
        self.states = [State()]
        self._built = built
        self._disk = disk
        self._chance = random.Random(seed)
        self._done = 0  # last step that has ended for sure
        self._files = 0
        self._names = 0
        self._is_waiting = False
        disk.during_sync = self._while_syncing

    async def work(self, steps: int) -> None:
        """Take at least so many steps."""
        async with trio.open_nursery() as nursery:
            while len(self.states) <= steps:
                await self._step(nursery)
            nursery.cancel_scope.cancel()

    # --- facts ---

    @property
    def now(self) -> State:
        return self.states[-1]

    def _begin(self, state: State) -> None:
        self._done = len(self.states) - 1  # whoever begins a step has ended the one before
        self.states.append(state)
        self._disk.fact(Begun(len(self.states) - 1))

    def _close_point(self) -> None:
        self._done = len(self.states) - 1
        self._built.close_point()
        self._disk.fact(Promised(self._done, "closed"))

    async def _sync(self, wait: Callable[[], Awaitable[None]]) -> None:
        self._done = len(self.states) - 1
        await self._sync_behind(wait)

    async def _sync_behind(self, wait: Callable[[], Awaitable[None]]) -> None:
        """While another step may be under way."""
        step = self._done
        await wait()
        self._disk.fact(Promised(step, "synced"))

    async def _waiting(self, wait: Awaitable[Any]) -> None:
        self._is_waiting = True
        try:
            await wait
        finally:
            self._is_waiting = False

    def _while_syncing(self, path: Any) -> None:
        gate = self._built.drive.cuts.gate
        if not self._is_waiting or self._chance.random() < 0.5:
            return
        if gate.is_closed:
            if gate.is_shared:
                self._snapshot_while_still()
            return
        # Small changes never wait behind an open gate, so they can be made from here, in the middle of a sync.
        change: Any = self._chance.choice((self._write_new, self._overwrite, self._append, self._replace_small))(100)
        _without_waiting(change)
        if self._chance.random() < 0.5:
            self._close_point()

    def _snapshot_while_still(self) -> None:
        """Behind the gate of a cut that syncs the last bytes."""
        name, step = self._begin_snapshot()
        _without_waiting(self._built.drive.snapshots._create_now(None, False))
        assert name in {snapshot.name for snapshot in self._built.drive.snapshots.all()}
        self._disk.fact(Promised(step, "closed"))

    async def _restart(self) -> None:
        """The core dies, or is stopped, and comes back; what was closed before is durable once it serves again."""
        self._close_point()
        await self._built.restart(crash=self._chance.random() < 0.7)
        self._disk.fact(Promised(self._done, "synced"))

    # --- steps ---

    async def _step(self, nursery: trio.Nursery) -> None:
        size = self._chance.choice(SIZES)
        match self._chance.choices(range(22), (8, 8, 6, 5, 3, 4, 3, 3, 3, 2, 2, 2, 6, 3, 2, 4, 3, 4, 3, 3, 3, 3))[0]:
            case 0:
                await self._write_new(size)
            case 1:
                await self._overwrite(size)
            case 2:
                await self._append(size)
            case 3:
                await self._replace(size)
            case 4:
                await self._truncate()
            case 5:
                await self._unlink()
            case 6:
                await self._rename()
            case 7:
                await self._clone()
            case 8:
                await self._link()
            case 9:
                await self._mkdir()
            case 10:
                await self._snapshot()
            case 11:
                await self._delete_snapshot()
            case 12:
                self._close_point()
            case 13:
                await self._waiting(self._sync(self._built.fsync))
            case 14:
                await self._waiting(self._sync(self._built.cut))
            case 15:
                if self._chance.random() < 0.5:
                    nursery.start_soon(self._sync_behind, self._built.fsync)
                    await trio.lowlevel.checkpoint()
                else:
                    await self._waiting(trio.sleep(self._chance.uniform(0, 4)))
            case 16:
                await self._restart()
            case 17:
                await self._waiting(self._built.seal())  # changes nothing that anybody sees
            case 18:
                await self._flush()
            case 19:
                await self._waiting(self._evict())
            case 20:
                await self._waiting(self._tidy_up())
            case 21:
                await self._recut()

    async def _recut(self) -> None:
        """Small changes of a file, each sealed for itself, then all that is ragged is cut anew."""
        path = self._some_path()
        for _ in range(self._chance.randint(2, 6)):
            length = len(self.now.contents[self.now.files[path]]) if path in self.now.files else 0
            if path is not None and length > 100:
                await self._put(path, self._chance.randrange(length - 100), self._bytes(100))
            await self._waiting(self._built.seal())
        await self._waiting(self._built.recut())

    async def _flush(self) -> None:
        step = len(self.states) - 1
        await self._waiting(self._sync(self._built.drive.flush))
        self._disk.fact(Promised(step, "stored"))

    async def _evict(self) -> None:
        """Let everything go that may, and read some of it."""
        assert self._built.drive.tier is not None
        await self._built.drive.tier.evicting.evict(1 << 40)
        path = self._some_path()
        if path is not None:
            begun = len(self.states) - 1
            found = await self._built.read(path)
            # It may be written meanwhile (`_while_syncing`).
            states = [state for state in self.states[begun:] if path in state.files]
            assert found in [state.contents[state.files[path]] for state in states]

    async def _tidy_up(self) -> None:
        """Make a checkpoint; merge, repack, doom and delete."""
        drive = self._built.drive
        assert drive.tier is not None
        assert drive.mirror is not None
        await drive.mirror.checkpointing.make()
        await drive.tier.upkeep.round(is_daily=True)

    def _bytes(self, size: int) -> bytes:
        return self._chance.randbytes(size)

    def _new_path(self) -> str:
        self._names += 1
        folder = self._chance.choice(["", *sorted(self.now.folders)])
        return f"{folder}/{self._names}".lstrip("/")

    def _some_path(self) -> str | None:
        return self._chance.choice(sorted(self.now.files)) if self.now.files else None

    async def _write_new(self, size: int) -> None:
        path, data = self._new_path(), self._bytes(size)
        self._files += 1
        self._begin(self.now.holding(path, self._files, b""))
        await self._built.create(path)
        if data:
            self._begin(self.now.holding(path, self._files, data))
            await self._built.write(path, data, 0)

    async def _put(self, path: str, offset: int, data: bytes) -> None:
        file = self.now.files[path]
        old = self.now.contents[file].ljust(offset, b"\0")
        self._begin(self.now.holding(path, file, old[:offset] + data + old[offset + len(data) :]))
        await self._built.write(path, data, offset)

    async def _overwrite(self, size: int) -> None:
        path = self._some_path()
        if path is not None and size:
            length = len(self.now.contents[self.now.files[path]])
            await self._put(path, self._chance.randint(0, length + 5000), self._bytes(size))

    async def _append(self, size: int) -> None:
        path = self._some_path()
        if path is not None and size:
            await self._put(path, len(self.now.contents[self.now.files[path]]), self._bytes(size))

    async def _replace(self, size: int) -> None:
        """As editors save: a temporary file, closed or synced, then renamed over the old one."""
        path = self._some_path()
        if path is None:
            return
        await self._replace_small(size, path)
        if self._chance.random() < 0.5:
            self._close_point()
        else:
            await self._waiting(self._sync(self._built.fsync))

    async def _replace_small(self, size: int, path: str | None = None) -> None:
        path = path or self._some_path()
        if path is None:
            return
        await self._write_new(size)
        temporary = f"{self._names}"
        temporary = next(p for p in self.now.files if p.rpartition("/")[2] == temporary)
        await self._move(temporary, path)

    async def _move(self, old: str, new: str) -> None:
        files = dict(self.now.files)
        files[new] = files.pop(old)
        self._begin(replace(self.now, files=files))
        await self._built.rename(old, new)

    async def _rename(self) -> None:
        path = self._some_path()
        if path is not None:
            await self._move(path, self._new_path())

    async def _truncate(self) -> None:
        path = self._some_path()
        if path is None:
            return
        file = self.now.files[path]
        old = self.now.contents[file]
        size = self._chance.choice((0, self._chance.randint(0, len(old)), len(old) + 5000))
        self._begin(self.now.holding(path, file, old[:size].ljust(size, b"\0")))
        await self._built.truncate(path, size)

    async def _unlink(self) -> None:
        path = self._some_path()
        if path is not None:
            self._begin(replace(self.now, files={p: f for p, f in self.now.files.items() if p != path}))
            await self._built.unlink(path)

    async def _link(self) -> None:
        path = self._some_path()
        if path is not None:
            new = self._new_path()
            self._begin(replace(self.now, files={**self.now.files, new: self.now.files[path]}))
            await self._built.link(path, new)

    async def _mkdir(self) -> None:
        path = self._new_path()
        self._begin(replace(self.now, folders=self.now.folders | {path}))
        await self._built.mkdir(path)

    async def _clone(self) -> None:
        """A second file over the same blocks (T5)."""
        path = self._some_path()
        if path is None:
            return
        new, data = self._new_path(), self.now.contents[self.now.files[path]]
        self._files += 1
        self._begin(self.now.holding(new, self._files, b""))
        await self._built.create(new)
        self._begin(self.now.holding(new, self._files, data))
        self._built.clone(path, new)
        if data and self._chance.random() < 0.5:
            await self._put(self._chance.choice((path, new)), 0, self._bytes(100))  # the other keeps what it had

    async def _snapshot(self) -> None:
        name, step = self._begin_snapshot()
        made = await self._built.snapshot()
        assert made.name == name
        self._disk.fact(Promised(step, "closed"))
        if self._chance.random() < 0.5:
            await self._overwrite(100)  # the snapshot keeps what was there

    def _begin_snapshot(self) -> tuple[str, int]:
        """Its name, and the number of the step that makes it."""
        self._built.clock.advance(1)  # a second is the name of one snapshot only
        name = self._built.next_snapshot_name()
        step = len(self.states) - 1
        self._begin(replace(self.now, kept={**self.now.kept, name: step}))
        return name, step + 1

    async def _delete_snapshot(self) -> None:
        if self.now.kept:
            name = self._chance.choice(sorted(self.now.kept))
            self._begin(replace(self.now, kept={n: s for n, s in self.now.kept.items() if n != name}))
            await self._built.drive.cuts.gate.wait_open()
            self._built.drive.snapshots.delete(name)


def _without_waiting(change: Any) -> None:
    """Run something to its end that never waits at this moment."""
    with contextlib.suppress(StopIteration):
        change.send(None)
        raise AssertionError("a small change waited")
