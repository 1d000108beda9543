"""A running drive for tests, without a mount: the engine alone, called as the FUSE adapter calls it.

    async with DriveBuilder(tmp_path) as built:
        await built.write("notes/a.txt", b"hello")
        built.close_point()
        await built.restart(crash=True)
        assert await built.read("notes/a.txt") == b"hello"

Paths are strings from the root of the drive, without a leading slash. Whatever the helpers do not cover is reached
through `built.drive`. A drive that breaks by itself fails the test at the end, unless the test took the error with
`wait_broken`.
"""

import contextlib
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import apsw
import trio
from kit.fake_clock import FakeClock

from cachefs.cut import CutPolicy
from cachefs.disk import Disk, RealDisk
from cachefs.errors import StorageBroken
from cachefs.tier import Cloud
from cloud_tier.chunker import ChunkerParameters
from cloud_tier.clock import Clock
from vfs.actors import Caller
from vfs.drive import DEFAULT_SIZE_BYTES, Drive
from vfs.errors import Moved
from vfs.extents import WINDOW_BYTES, Piece
from vfs.ids import ROOT
from vfs.inodes import Inode
from vfs.seal_pass import Names
from vfs.snapshots import NAME_FORMAT, Snapshot
from vfs.state import DATABASE, make_state

UID, GID = 1000, 1000
SMALL_CUTS = Names(b"key of a test's block ids, 32 B.", ChunkerParameters(1024, 4096, 16_384))


class DriveBuilder:
    """One state directory and the drive that runs on it. Made at first entering; `restart` replaces `drive`."""

    drive: Drive

    def __init__(
        self,
        state: Path,
        *,
        disk: Disk | None = None,
        clock: Clock | None = None,
        policy: CutPolicy = CutPolicy(),  # noqa: B008  (frozen)
        limit_bytes: int = 0,
        size_bytes: int = DEFAULT_SIZE_BYTES,
        vfs: str | None = None,
        names: Names | None = None,
        cloud: Cloud | None = None,
    ) -> None:
        self.names_of_blocks = names
        self.cloud = cloud
        self.state = state
        self.disk = disk or RealDisk()
        self.clock = clock or FakeClock()
        self.policy = policy
        self.limit_bytes = limit_bytes
        self.size_bytes = size_bytes
        self.vfs = vfs
        self.dies_at_exit = False
        """Whether leaving the block is the death of the core, without a last cut."""
        self._exits = contextlib.AsyncExitStack()
        self._nursery: trio.Nursery
        self._running = trio.CancelScope()
        self._ended = trio.Event()
        self._failure: BaseException | None = None
        self._is_open = False

    # --- life ---

    async def __aenter__(self) -> Self:
        if not (self.state / DATABASE).exists():
            make_state(self.state, self.clock, UID, GID)
        self._nursery = await self._exits.enter_async_context(trio.open_nursery())
        try:
            await self._start()
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._stop(crash=error is not None or self.dies_at_exit)
            if error is None and self._failure is not None:
                raise self._failure
        finally:
            await self._exits.aclose()

    async def _start(self) -> None:
        self.drive = await Drive.open(
            self.state,
            disk=self.disk,
            clock=self.clock,
            policy=self.policy,
            limit_bytes=self.limit_bytes,
            size_bytes=self.size_bytes,
            vfs=self.vfs,
            names=self.names_of_blocks,
            cloud=self.cloud,
        )
        self.drive.cuts.is_space_short = lambda: True  # what is freed is punched at the next cut and not at rest
        self.caller = Caller(UID, GID, self.drive.actors.local(UID))
        self._running, self._ended, self._failure = trio.CancelScope(), trio.Event(), None
        self._is_open = True
        self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            with self._running:
                await self.drive.run()
        except BaseException as error:
            self._failure = _only(error)
        finally:
            self._ended.set()

    async def _stop(self, *, crash: bool) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self._running.cancel()
        with trio.CancelScope(shield=True):
            await self._ended.wait()
            if crash:
                self.abandon()
            else:
                await self.drive.close()

    def abandon(self) -> None:
        """Let go of every file as the kernel does for a process that died: nothing more is written or committed."""
        drive = self.drive
        drive.past.close()
        with contextlib.suppress(Exception):
            drive.cuts.close()
        with contextlib.suppress(Exception):
            drive.cache.segments.close()
        # The last connection would otherwise move SQLite's log into the database, which a dead process cannot.
        drive.database.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        drive.database.close()

    async def restart(self, *, crash: bool = False, between: Callable[[], None] | None = None) -> None:
        """Close, or let the core die, and open again, with the `disk`, `vfs` and `policy` that are set by now.

        `between` is called when nothing is open: to lose power, or to look at the files.
        """
        await self._stop(crash=crash)
        if not crash and self._failure is not None:
            raise self._failure
        if between is not None:
            between()
        await self._start()

    async def wait_broken(self) -> StorageBroken:
        """The error with which `Drive.run` ended, expected from now on. Then restart with `crash=True`, or leave."""
        await self._ended.wait()
        failure, self._failure = self._failure, None
        assert isinstance(failure, StorageBroken), failure
        return failure

    # --- names ---

    def inode(self, path: str) -> Inode:
        """The live inode at a path. Raises FileNotFoundError."""
        found = self.find(path)
        if found is None:
            raise FileNotFoundError(path)
        return found

    def find(self, path: str) -> Inode | None:
        """The live inode at a path, or None."""
        inode: Inode | None = self.drive.inodes.get(ROOT)
        for name in filter(None, path.split("/")):
            if inode is None:
                return None
            inode = self.drive.namespace.lookup(inode.ino, name.encode())
        return inode

    def place(self, path: str) -> tuple[int, bytes]:
        """Folder and name of a path."""
        folder, _, name = path.rpartition("/")
        return self.inode(folder).ino, name.encode()

    async def create(self, path: str) -> Inode:
        """A new empty file."""
        await self._enter()
        return self.drive.namespace.create(*self.place(path), stat.S_IFREG | 0o644, self.caller)

    async def mkdir(self, path: str) -> Inode:
        await self._enter()
        return self.drive.namespace.create(*self.place(path), stat.S_IFDIR | 0o755, self.caller)

    async def symlink(self, path: str, target: bytes) -> Inode:
        await self._enter()
        return self.drive.namespace.create(*self.place(path), stat.S_IFLNK | 0o777, self.caller, target=target)

    async def link(self, path: str, new: str) -> None:
        await self._enter()
        self.drive.namespace.link(self.inode(path), *self.place(new), self.caller)

    async def rename(self, old: str, new: str, flags: int = 0) -> None:
        if self.drive.cloud_epochs is not None:  # as the adapter does
            await self.drive.cloud_epochs.before_replacing(*self.place(old), *self.place(new))
        await self._enter()
        self.drive.namespace.rename(*self.place(old), *self.place(new), flags, self.caller)

    async def unlink(self, path: str) -> None:
        if self.drive.cloud_epochs is not None:
            await self.drive.cloud_epochs.before_removing(*self.place(path))
        await self._enter()
        self.drive.namespace.unlink(*self.place(path), self.caller)

    async def rmdir(self, path: str) -> None:
        await self._enter()
        self.drive.namespace.rmdir(*self.place(path), self.caller)

    def names(self, path: str = "") -> list[str]:
        """What a live folder holds, in the order of its listing; the visible door into the past is left out."""
        rows = self.drive.database.rows(
            "SELECT name FROM dentries WHERE parent = ? ORDER BY cookie", (self.inode(path).ino,)
        )
        return [name.decode() for (name,) in rows if path or name != b"Previous Versions"]

    async def _enter(self) -> None:
        self.drive.files.admit(0)
        await self.drive.cuts.gate.wait_open()

    # --- bytes ---

    async def write(self, path: str, data: bytes, offset: int | None = None) -> None:
        """Without `offset`, the file holds exactly `data` afterwards; with it, `data` is put there. Made if missing."""
        inode = self.find(path) or await self.create(path)
        if offset is None and inode.size:
            await self.drive.files.truncate(inode, 0, self.caller.actor_id)
        if data:
            await self.drive.files.write(inode, offset or 0, data, self.caller.actor_id)

    def clone(self, path: str, new: str) -> None:
        """Let the empty file `new` share every block of `path`. Nothing is awaited."""
        drive, source, target = self.drive, self.inode(path), self.inode(new)
        if source.content is not None:
            pieces = drive.contents.pieces(source.content, 0, source.size)
            drive.cache.blocks.share({piece.block for piece in pieces})
            target.content = drive.contents.create()
            for start, length, block, offset in pieces:
                target.mapped += drive.contents.replace(target.content, start, start + length, block, offset)
        target.size = source.size
        drive.inodes.changed(target, self.caller.actor_id, contents=True)

    async def seal(self) -> None:
        """Give a name to whatever is OPEN and announced, at rest or not."""
        assert self.drive.sealing is not None
        while await self.drive.sealing.seal_due(float("inf")):
            pass

    async def recut(self) -> None:
        """Cut anew what is worth it in files that were changed since they were sealed, cooled or not."""
        sealing, recut = self.drive.sealing, self.drive.recut
        assert sealing is not None
        assert recut is not None
        while (content := sealing.resting.cooling.take_due(float("inf"))) is not None:
            async for batch in recut.batches_of(content):
                await recut.recut(content, batch)

    async def truncate(self, path: str, size: int) -> None:
        await self.drive.files.truncate(self.inode(path), size, self.caller.actor_id)

    async def read(self, path: str) -> bytes:
        """The whole live file. Raises FileNotFoundError, DataLost."""
        inode = self.inode(path)
        return bytes(await self.drive.files.read(inode, 0, inode.size))

    async def read_past(self, snapshot: str, path: str) -> bytes | None:
        """The whole file as the snapshot of that name shows it; None when it has no such file."""
        drive = self.drive
        epoch = drive.snapshots.get(snapshot).epoch
        ino = drive.past.resolve(ROOT, [name.encode() for name in path.split("/")], epoch)
        inode = drive.past.inode(ino, epoch) if ino is not None else None
        if inode is None:
            return None
        if inode.content is None:
            return bytes(inode.size)
        try:
            return await self._read_past(inode, epoch)
        except Moved:  # as the adapter does
            await drive.cuts.wait_cut()
            return await self._read_past(inode, epoch)

    async def _read_past(self, inode: Inode, epoch: int) -> bytes:
        assert inode.content is not None
        pieces: list[Piece] = []
        for low in range(0, inode.size, WINDOW_BYTES):
            pieces += await self.drive.past.pieces(inode.content, epoch, low, low + WINDOW_BYTES)
        clipped = [p._replace(length=min(p.length, inode.size - p.start)) for p in pieces if p.start < inode.size]
        return bytes(await self.drive.files.read_pieces(clipped, 0, inode.size))

    # --- durability ---

    def close_point(self) -> None:
        """What close(2) waits for: everything done so far survives the death of the core."""
        self.drive.cuts.log()

    async def fsync(self) -> None:
        """What fsync(2) waits for: everything done so far survives a power loss."""
        await self.drive.cuts.wait_synced()

    async def cut(self) -> None:
        """Everything done so far is committed."""
        await self.drive.cuts.wait_cut()

    def next_snapshot_name(self) -> str:
        """What a snapshot made now, without a label, will be called."""
        return datetime.fromtimestamp(self.clock.now_ns() // 10**9, UTC).strftime(NAME_FORMAT)

    async def snapshot(self, label: str | None = None) -> Snapshot:
        return await self.drive.snapshots.create(label)


def _only(error: BaseException) -> BaseException:
    """The one exception inside of groups; several tasks may have met the same one."""
    while isinstance(error, BaseExceptionGroup) and len(set(map(id, error.exceptions))) == 1:
        error = error.exceptions[0]
    return error
