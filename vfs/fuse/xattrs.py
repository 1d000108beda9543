"""Extended attributes, and one that is a question.

Samba's module `glusterfs_fuse` asks a folder for the attribute `glusterfs.get_real_filename:NAME` and takes the value,
which ends in a NUL, for the stored name that equals NAME but for case; ENODATA means that there is none. It is answered
by one seek, and never listed. In the past nothing is asked for that often: there the answer is that the question is not
supported, and smbd reads the folder.
"""

import pyfuse3

from vfs.errors import NoAttribute, NotSupported
from vfs.fuse.base import Base
from vfs.fuse.errno import guarded
from vfs.ids import VIEW_SHIFT

_STORED_NAME = b"glusterfs.get_real_filename:"


class XattrOperations(Base):
    """Handlers of extended attributes. smbd asks for them about nine times a created file."""

    @guarded
    async def getxattr(self, ino: int, name: bytes, ctx: pyfuse3.RequestContext) -> bytes:
        if self.is_door(ino):
            raise (
                NoAttribute("a door has no attributes") if not name.startswith(b"system.") else NotSupported("not kept")
            )
        if name.startswith(_STORED_NAME) and not ino >> VIEW_SHIFT:
            stored = self.drive.namespace.stored_name(ino, name.removeprefix(_STORED_NAME))
            if stored is None:
                raise NoAttribute("no entry has that name in any case")
            return stored + b"\0"
        return self.drive.xattrs.get(self.inode(ino), name)

    @guarded
    async def listxattr(self, ino: int, ctx: pyfuse3.RequestContext) -> list[bytes]:
        if self.is_door(ino):
            return []
        names = list(self.drive.xattrs.all(self.inode(ino)))
        if ctx.uid:  # trusted attributes are not shown to users
            names = [name for name in names if not name.startswith(b"trusted.")]
        return names

    @guarded
    async def setxattr(self, ino: int, name: bytes, value: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self.enter(ino, ctx.uid)
        self.drive.xattrs.set(self.drive.inodes.get(ino), name, value, self.drive.actors.behind(ctx.uid, ctx.pid))

    @guarded
    async def removexattr(self, ino: int, name: bytes, ctx: pyfuse3.RequestContext) -> None:
        await self.enter(ino, ctx.uid)
        assert not ino >> VIEW_SHIFT
        self.drive.xattrs.remove(self.drive.inodes.get(ino), name, self.drive.actors.behind(ctx.uid, ctx.pid))
