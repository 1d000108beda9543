"""Open files: create, open, read, write, flush, fsync, release."""

import errno
import os
import stat

import pyfuse3

from vfs.damage import paths_of
from vfs.errors import BadHandle, Damaged, DataLost, Moved, ReadOnly, Stale
from vfs.extents import WINDOW_BYTES, Piece
from vfs.fuse.attributes import PRIVILEGES, attributes_of, without_privileges
from vfs.fuse.base import Base, OpenFile
from vfs.fuse.errno import guarded
from vfs.ids import VIEW_SHIFT
from vfs.inodes import Inode
from vfs.shares import Access

KEPT_WINDOWS = 4  # of a past file while it is open; a fragmented one has 16,384 extents in each


class FileOperations(Base):
    """Handlers of open files. The kernel caches pages and writes them back; only it ever changes a file that exists."""

    @guarded
    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        await self.enter(parent, ctx.uid)
        caller = self.caller(ctx)
        inode = self.drive.namespace.create(parent, name, stat.S_IFREG | mode & 0o7777 & ~ctx.umask, caller)
        self.drive.inodes.looked_up(inode.ino)
        return self._open(inode, flags, caller.actor_id, is_roots=not ctx.uid), attributes_of(inode)

    @guarded
    async def open(self, ino: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        view = ino >> VIEW_SHIFT
        is_writable = flags & os.O_ACCMODE != os.O_RDONLY
        if view:
            if is_writable or flags & os.O_TRUNC:
                raise ReadOnly("the past cannot be changed")
            past = OpenFile(self.inode(ino), False, 0, view=view, windows={})
            self.drive.areas.require_past(ctx.uid, past.inode.gid)
            return pyfuse3.FileInfo(fh=self.open_files.add(past), keep_cache=True)
        if is_writable or flags & os.O_TRUNC:
            await self.enter(ino, ctx.uid, is_removal=bool(flags & os.O_TRUNC))
        else:
            self.drive.areas.require(ctx.uid, ino, Access.READ)
        inode = self.drive.inodes.get(ino)
        if is_writable and self.drive.namespace.is_detached(ino):
            raise Stale("the file was replaced")  # the kernel looks its path up again
        actor_id = self.drive.actors.behind(ctx.uid, ctx.pid)
        if flags & os.O_TRUNC:
            with self.drive.inodes.held(inode):
                await self.drive.undo_epochs.before_content(inode, actor_id)
                await self.drive.files.truncate(inode, 0, actor_id)
            if ctx.uid:
                inode.mode = without_privileges(inode.mode)
        return self._open(inode, flags, actor_id, is_roots=not ctx.uid, is_barrier=self.is_companion(ctx.pid))

    def _open(
        self, inode: Inode, flags: int, actor_id: int, *, is_roots: bool = False, is_barrier: bool = False
    ) -> pyfuse3.FileInfo:
        is_writable = flags & os.O_ACCMODE != os.O_RDONLY
        number = self.open_files.add(OpenFile(inode, is_writable, actor_id, is_roots=is_roots, is_barrier=is_barrier))
        self.drive.inodes.opened(inode)
        info = pyfuse3.FileInfo(fh=number, keep_cache=True)
        if is_writable and self.drive.cache.budget.is_low():
            info.direct_io = True  # a full disk must reach write(2), not only close(2) (T12)
        return info

    @guarded
    async def read(self, fh: int, offset: int, length: int) -> bytes | bytearray:
        file = self.open_files[fh]
        try:
            if not file.view:
                return await self.drive.files.read(file.inode, offset, length)
            try:
                return await self._read_past(file, offset, length)
            except Moved:  # sealed since its extents were read; those of the next cut lead there
                assert file.windows is not None
                file.windows.clear()
                await self.drive.cuts.wait_cut()
                return await self._read_past(file, offset, length)
        except DataLost as error:
            if file.view:
                self.drive.doors.epoch_of(file.view)  # Stale, if the snapshot was deleted meanwhile
            if isinstance(error, Damaged):
                self._report(file, error)
                raise pyfuse3.FUSEError(errno.EIO) from error
            raise

    def _report(self, file: OpenFile, error: Damaged) -> None:
        """One line for each page, though the kernel asks for it more than once."""
        if not self.drive.damage.is_news(error.page):
            return
        paths = paths_of(self.drive.database.rows, file.inode.ino)
        where = " = ".join(os.fsdecode(path) for path in paths) or f"file number {file.inode.ino}, which has no name"
        if file.view:
            where += f" as {self.drive.doors.snapshot_of(file.view).name} shows it"
        self.drive.damage.report(where, error.offset, error.page, error)

    async def _read_past(self, file: OpenFile, offset: int, length: int) -> bytes | bytearray:
        inode = file.inode
        end = min(offset + length, inode.size)
        if offset >= end or inode.content is None:
            return bytes(max(0, end - offset))
        epoch = self.drive.doors.epoch_of(file.view)
        assert file.windows is not None
        pieces: list[Piece] = []
        for index in range(offset // WINDOW_BYTES, (end - 1) // WINDOW_BYTES + 1):
            window = file.windows.get(index)
            if window is None:
                low = index * WINDOW_BYTES
                window = await self.drive.past.pieces(inode.content, epoch, low, low + WINDOW_BYTES)
                self.drive.doors.epoch_of(file.view)  # deleted meanwhile, its extents would have read as holes
                file.windows[index] = window
                if len(file.windows) > KEPT_WINDOWS:
                    del file.windows[next(iter(file.windows))]
            pieces += clip(window, offset, end)
        return await self.drive.files.read_pieces(pieces, offset, end)

    @guarded
    async def write(self, fh: int, offset: int, data: bytes) -> int:
        file = self.open_files[fh]
        if file.view:
            raise BadHandle("the file is open for reading only")
        if self.read_only_reason is not None:
            raise ReadOnly(self.read_only_reason)
        if file.actor_id != file.inode.actor_id:
            await self.drive.undo_epochs.before_content(file.inode, file.actor_id)
        if file.inode.mode & PRIVILEGES and not file.is_roots:
            file.inode.mode = without_privileges(file.inode.mode)
        return await self.drive.files.write(file.inode, offset, data, file.actor_id)

    @guarded
    async def flush(self, fh: int) -> None:
        """close(2) waits for this: what was written survives the death of the core from here on."""
        if self.open_files[fh].is_writable:
            self.drive.cuts.log(with_tallies=False)

    @guarded
    async def fsync(self, fh: int, datasync: bool) -> None:
        if not self.open_files[fh].is_barrier:
            await self.drive.cuts.wait_synced()

    @guarded
    async def release(self, fh: int) -> None:
        file = self.open_files.pop(fh)
        if file is not None and not file.view:
            gate = self.drive.cuts.gate
            if gate.is_closed:
                await gate.wait_open()
            self.drive.inodes.released(file.inode)


def clip(pieces: list[Piece], low: int, high: int) -> list[Piece]:
    """The parts of sorted pieces that lie in [low, high)."""
    found: list[Piece] = []
    for start, length, block, offset in pieces:
        if start + length <= low or start >= high:
            continue
        skip = max(0, low - start)
        found.append(Piece(start + skip, min(high, start + length) - start - skip, block, offset + skip))
    return found
