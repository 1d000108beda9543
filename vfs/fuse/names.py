"""Names: lookup, forget, making and removing."""

import stat
from collections.abc import Sequence

import pyfuse3

from vfs.errors import NameTooLong, NotFound, ReadOnly
from vfs.fuse.attributes import attributes_of, missing
from vfs.fuse.base import Base
from vfs.fuse.errno import Faults, guarded
from vfs.ids import FILE_MASK, FIRST_VIEW, ROOT, VIEW_SHIFT, in_view
from vfs.inodes import Inode
from vfs.names import MAX_NAME_BYTES


class NameOperations(Base):
    """Handlers that find, make and remove names."""

    @guarded
    async def lookup(self, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        view = parent >> VIEW_SHIFT
        if not view:
            inode = self.drive.namespace.lookup(parent, name)
            if inode is not None:
                self.drive.inodes.looked_up(inode.ino)
                return attributes_of(inode)
            door = self.drive.doors.door_of(parent, name)
            if door is not None:
                return self.attributes(door)
            if name in (b".", b".."):
                return self._dot(parent, name)
            if len(name) > MAX_NAME_BYTES:
                raise NameTooLong("no name is that long")
            return missing()
        if view < FIRST_VIEW:
            ino = self.drive.doors.lookup(parent, name)
        else:
            file = self.drive.past.find(parent & FILE_MASK, name, self.drive.doors.epoch_of(view))
            if file is None:
                raise NotFound("no such name then")
            ino = in_view(view, file)
        entry = self.attributes(ino)
        if view < FIRST_VIEW:
            entry.entry_timeout = 1.0  # a snapshot may be deleted at any time
        return entry

    def _dot(self, ino: int, name: bytes) -> pyfuse3.EntryAttributes:
        if name == b"..":
            parents = self.drive.namespace.parents(ino)
            ino = parents[0][0] if parents else ROOT
        self.drive.inodes.looked_up(ino)
        return self.attributes(ino)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        try:
            gate = self.drive.cuts.gate
            if gate.is_closed:
                await gate.wait_open()
            self.drive.inodes.forget(inode_list)
        except Exception:
            Faults.record("forget")

    @guarded
    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return await self._make(parent, name, mode, ctx, rdev=rdev)

    @guarded
    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        return await self._make(parent, name, mode | stat.S_IFDIR, ctx)

    @guarded
    async def symlink(
        self, parent: int, name: bytes, target: bytes, ctx: pyfuse3.RequestContext
    ) -> pyfuse3.EntryAttributes:
        return await self._make(parent, name, stat.S_IFLNK | 0o777, ctx, target=target)

    async def _make(
        self,
        parent: int,
        name: bytes,
        mode: int,
        ctx: pyfuse3.RequestContext,
        *,
        rdev: int = 0,
        target: bytes | None = None,
    ) -> pyfuse3.EntryAttributes:
        await self.enter(parent, ctx.uid)
        mode = mode if target is not None else mode & ~ctx.umask
        inode = self.drive.namespace.create(parent, name, mode, self.caller(ctx), rdev=rdev, target=target)
        return self._known(inode)

    def _known(self, inode: Inode) -> pyfuse3.EntryAttributes:
        self.drive.inodes.looked_up(inode.ino)
        return attributes_of(inode)

    @guarded
    async def link(self, ino: int, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        await self.enter(parent, ctx.uid)
        if ino >> VIEW_SHIFT:
            raise ReadOnly("the past cannot be linked into the present; restore it instead")
        inode = self.drive.inodes.get(ino)
        self.drive.namespace.link(inode, parent, name, self.caller(ctx))
        return self._known(inode)

    @guarded
    async def unlink(self, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        caller = self.caller(ctx)
        await self.drive.undo_epochs.before_name(parent, name, caller.actor_id)
        if self.drive.cloud_epochs is not None:
            await self.drive.cloud_epochs.before_removing(parent, name)
        await self.enter(parent, ctx.uid, is_removal=True)
        self.drive.namespace.unlink(parent, name, caller)

    @guarded
    async def rmdir(self, parent: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self.enter(parent, ctx.uid, is_removal=True)
        self.drive.areas.refuse_fixed(parent, name)
        self.drive.namespace.rmdir(parent, name, self.caller(ctx))

    @guarded
    async def rename(
        self, parent: int, name: bytes, to_parent: int, to_name: bytes, flags: int, ctx: pyfuse3.RequestContext
    ) -> None:
        caller = self.caller(ctx)
        await self.drive.undo_epochs.before_name(parent, name, caller.actor_id)
        await self.drive.undo_epochs.before_name(to_parent, to_name, caller.actor_id)
        if self.drive.cloud_epochs is not None:
            await self.drive.cloud_epochs.before_replacing(parent, name, to_parent, to_name)
            if flags & pyfuse3.RENAME_EXCHANGE:
                await self.drive.cloud_epochs.before_replacing(to_parent, to_name, parent, name)
        await self.enter(parent, ctx.uid, is_removal=True)
        await self.enter(to_parent, ctx.uid, is_removal=True)
        self.drive.areas.refuse_fixed(parent, name)
        self.drive.areas.refuse_fixed(to_parent, to_name)
        self.drive.namespace.rename(parent, name, to_parent, to_name, flags, caller)
