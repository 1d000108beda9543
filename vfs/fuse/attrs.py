"""Attributes, symlink targets, space."""

import pyfuse3

from vfs.areas import shared_mode
from vfs.errors import InvalidArgument, NotPermitted, Stale
from vfs.fuse.attributes import attributes_of, without_privileges
from vfs.fuse.base import Base, OpenFile
from vfs.fuse.errno import guarded
from vfs.ids import LINKS_VIEW, view_of
from vfs.names import MAX_NAME_BYTES

PERMISSION_BITS = 0o7777
BLOCK_BYTES = 4096
_EARLIEST_NS, _LATEST_NS = -(1 << 63), (1 << 63) - 1
"""What a row holds, 1677 to 2262. A time beyond becomes the last one that fits, as the kernel does for disks."""


class AttributeOperations(Base):
    """Handlers that read and change what stat shows."""

    @guarded
    async def getattr(self, ino: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return self.attributes(ino)

    @guarded
    async def setattr(
        self,
        ino: int,
        attr: pyfuse3.EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: pyfuse3.RequestContext,
    ) -> pyfuse3.EntryAttributes:
        writer = self._writer_behind(fields, fh)
        # A shorter file makes room, a longer one has a hole.
        await self.enter(ino, ctx.uid if writer is None else 0, is_removal=True)
        inode = self.drive.inodes.get(ino)
        actor_id = self.drive.actors.behind(ctx.uid, ctx.pid) if writer is None else writer.actor_id
        share = self.drive.areas.share_of(ino) if ctx.uid and (fields.update_mode or fields.update_gid) else None
        if share is not None and fields.update_gid and attr.st_gid != share:
            raise NotPermitted("what lies in a share belongs to its group")
        if fields.update_size:
            if fh is None and self.drive.namespace.is_detached(ino):
                raise Stale("the file was replaced")
            with self.drive.inodes.held(inode):
                await self.drive.undo_epochs.before_content(inode, actor_id)
                await self.drive.files.truncate(inode, attr.st_size, actor_id)
        if fields.update_mode:
            inode.mode = inode.mode & ~PERMISSION_BITS | attr.st_mode & PERMISSION_BITS
        elif not inode.is_folder and (fields.update_uid or fields.update_gid or (fields.update_size and ctx.uid)):
            inode.mode = without_privileges(inode.mode)
        if share is not None:
            inode.mode = shared_mode(inode.mode)
        if fields.update_uid:
            inode.uid = attr.st_uid
        if fields.update_gid:
            inode.gid = attr.st_gid
        self.drive.inodes.changed(inode, actor_id)
        if fields.update_atime:
            inode.atime_ns = _fitting(attr.st_atime_ns)
        if fields.update_mtime:
            inode.mtime_ns = _fitting(attr.st_mtime_ns)
        if fields.update_ctime:
            inode.ctime_ns = _fitting(attr.st_ctime_ns)
        return attributes_of(inode)

    def _writer_behind(self, fields: pyfuse3.SetattrFields, fh: int | None) -> OpenFile | None:
        """Who wrote the bytes whose time this is, where the kernel tells the time that it kept back.

        It does so at any close(2) of the file, in the name of whoever closes, by the handle of one who writes. Else the
        close of somebody who may only read would be refused.
        """
        if fh is None or fields.update_atime or fields.update_size or fields.update_mode:
            return None
        if fields.update_uid or fields.update_gid or not self.open_files[fh].is_writable:
            return None
        return self.open_files[fh]

    @guarded
    async def readlink(self, ino: int, ctx: pyfuse3.RequestContext) -> bytes:
        if view_of(ino) == LINKS_VIEW:
            return self.drive.doors.link_target(ino)
        inode = self.inode(ino)
        if inode.target is None:
            raise InvalidArgument("not a symlink")
        return inode.target

    @guarded
    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        size, free = self.drive.space()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_blocks = size // BLOCK_BYTES
        data.f_bfree = data.f_bavail = free // BLOCK_BYTES
        files = self.drive.inodes.count()
        data.f_files = files + (1 << 32)
        data.f_ffree = data.f_favail = 1 << 32
        data.f_namemax = MAX_NAME_BYTES
        return data


def _fitting(time_ns: int) -> int:
    return max(_EARLIEST_NS, min(time_ns, _LATEST_NS))
