"""The least a Python file system can do: names in dicts, bytes in bytearrays, nothing on a disk.

It is the ceiling that the drive is measured against: whatever a request costs here is the kernel, pyfuse3, trio and the
interpreter, and what the drive costs more is ours. It asks the kernel for the same favours (timeouts, writeback cache,
kept pages) and answers ENOSYS, once, to what it can do without. It promises nothing: no fsync, no links, no errors
beyond those that a benchmark meets, and all is gone at the end.

    python tests/bench/null_fs.py MOUNTPOINT [--sleepy]

It waits for the kernel as the drive does (`vfs.fuse.request_loop`); with `--sleepy`, as pyfuse3 does by itself.
"""

import errno
import gc
import os
import stat
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pyfuse3
import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vfs.fuse import request_loop

TIMEOUT_S = 300.0
BLOCK_BYTES = 4096
BLOCKS = 1 << 24


def entry(ino: int, mode: int, uid: int, gid: int) -> pyfuse3.EntryAttributes:
    """Attributes of a new inode; kept, changed and handed out again, because making them costs more than a lookup."""
    made = pyfuse3.EntryAttributes()
    made.st_ino = ino
    made.st_mode = mode
    made.st_nlink = 1
    made.st_uid = uid
    made.st_gid = gid
    made.st_size = 0
    made.attr_timeout = made.entry_timeout = TIMEOUT_S
    return made


class NullFs(pyfuse3.Operations):  # type: ignore[misc]
    """Inodes by number; an open file's handle is its inode's number."""

    enable_writeback_cache = True

    def __init__(self) -> None:
        super().__init__()
        self.entries = {pyfuse3.ROOT_INODE: entry(pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, os.geteuid(), os.getegid())}
        self.folders: dict[int, dict[bytes, int]] = {pyfuse3.ROOT_INODE: {}}
        self.contents: dict[int, bytearray] = {}
        self.listings: dict[int, list[tuple[bytes, int]]] = {}
        self.last = pyfuse3.ROOT_INODE
        self.last_listing = 0
        self.missing = pyfuse3.EntryAttributes()
        self.missing.st_ino = 0
        self.missing.entry_timeout = TIMEOUT_S

    async def lookup(self, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        ino = self.folders[parent].get(name)
        return self.missing if ino is None else self.entries[ino]

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for ino, _ in inode_list:
            if ino in self.entries and not self.entries[ino].st_nlink:
                del self.entries[ino]
                self.contents.pop(ino, None)

    async def getattr(self, ino: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self.entries[ino]

    async def setattr(
        self,
        ino: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        kept = self.entries[ino]
        if fields.update_size:
            content, size = self.contents[ino], attr.st_size
            del content[size:]
            content.extend(bytes(size - len(content)))
            kept.st_size = size
        if fields.update_mode:
            kept.st_mode = attr.st_mode
        if fields.update_uid:
            kept.st_uid = attr.st_uid
        if fields.update_gid:
            kept.st_gid = attr.st_gid
        if fields.update_atime:
            kept.st_atime_ns = attr.st_atime_ns
        if fields.update_mtime:
            kept.st_mtime_ns = attr.st_mtime_ns
        if fields.update_ctime:
            kept.st_ctime_ns = attr.st_ctime_ns
        return kept

    def _make(self, parent: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        self.last = ino = self.last + 1
        self.folders[parent][name] = ino
        made = self.entries[ino] = entry(ino, mode & ~ctx.umask, ctx.uid, ctx.gid)
        return made

    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        made = self._make(parent, name, mode | stat.S_IFDIR, ctx)
        self.folders[made.st_ino] = {}
        return made

    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: pyfuse3.RequestContext
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        made = self._make(parent, name, mode | stat.S_IFREG, ctx)
        self.contents[made.st_ino] = bytearray()
        return pyfuse3.FileInfo(fh=made.st_ino, keep_cache=True), made

    async def unlink(self, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        self.entries[self.folders[parent].pop(name)].st_nlink = 0

    async def rmdir(self, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        ino = self.folders[parent][name]
        if self.folders[ino]:
            raise pyfuse3.FUSEError(errno.ENOTEMPTY)
        del self.folders[parent][name], self.folders[ino]
        self.entries[ino].st_nlink = 0

    async def rename(
        self, parent: int, name: bytes, to_parent: int, to_name: bytes, flags: int, ctx: pyfuse3.RequestContext
    ) -> None:
        if flags:
            raise pyfuse3.FUSEError(errno.EINVAL)
        replaced = self.folders[to_parent].get(to_name)
        self.folders[to_parent][to_name] = self.folders[parent].pop(name)
        if replaced is not None:
            self.entries[replaced].st_nlink = 0

    async def open(self, ino: int, flags: int, ctx: pyfuse3.RequestContext) -> pyfuse3.FileInfo:
        if flags & os.O_TRUNC:
            self.contents[ino].clear()
            self.entries[ino].st_size = 0
        return pyfuse3.FileInfo(fh=ino, keep_cache=True)

    async def read(self, fh: int, offset: int, length: int) -> bytearray:  # type: ignore[override]
        return self.contents[fh][offset : offset + length]

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        content = self.contents[fh]
        gap = offset - len(content)
        if gap > 0:
            content.extend(bytes(gap))
        content[offset : offset + len(data)] = data
        self.entries[fh].st_size = len(content)
        return len(data)

    async def release(self, fh: int) -> None:
        pass

    async def opendir(self, ino: int, ctx: pyfuse3.RequestContext) -> int:
        self.last_listing += 1
        self.listings[self.last_listing] = list(self.folders[ino].items())
        return self.last_listing

    async def readdir(self, fh: int, cookie: int, token: pyfuse3.ReaddirToken) -> None:
        reply, entries = pyfuse3.readdir_reply, self.entries
        for number, (name, ino) in enumerate(islice(self.listings[fh], cookie, None), cookie + 1):
            if not reply(token, name, entries[ino], number):
                return

    async def releasedir(self, fh: int) -> None:
        del self.listings[fh]

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_blocks = data.f_bfree = data.f_bavail = data.f_files = data.f_ffree = data.f_favail = BLOCKS
        data.f_namemax = 255
        return data


def main() -> None:
    if "--sleepy" not in sys.argv:
        request_loop.install()
    pyfuse3.init(NullFs(), sys.argv[1], {"fsname=null", "subtype=null", "default_permissions"})
    # As the drive's core does: its objects form no cycles, and a collection would show up as the drive's advantage.
    gc.freeze()
    gc.set_threshold(50_000, 20, 500)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main()
