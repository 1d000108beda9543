"""Open folders: listings that stay right while entries come and go.

The kernel asks with the cookie of the last entry it was given. Cookies only grow, so what is asked next is "the entries
behind that cookie", from the rows as they are now; a rewind (cookie 0) lists afresh. Cookies 1 and 2 are `.` and `..`.
"""

from bisect import bisect_right
from itertools import islice

import pyfuse3

from vfs.errors import NotAFolder, Stale
from vfs.fuse.attributes import PAST_TIMEOUT_S, attributes_of
from vfs.fuse.base import Base, OpenFolder
from vfs.fuse.errno import guarded
from vfs.ids import FILE_MASK, ROOT, VIEW_SHIFT
from vfs.inodes import COLUMNS, Inode
from vfs.shares import Access

ROWS_PER_QUERY = 128
ENTRIES_PER_REPLY = 256  # the kernel would take a thousand, which keeps others waiting for 20 ms and more
VIEWS_PER_REPLY = 64  # each may have to be numbered, and written down
_ROWS = (
    f"SELECT d.cookie, d.name, {', '.join('i.' + column.strip() for column in COLUMNS.split(','))}"
    " FROM dentries d JOIN inodes i ON i.ino = d.ino WHERE d.parent = ? AND d.cookie > ? ORDER BY d.cookie LIMIT ?"
)


class FolderOperations(Base):
    """Handlers that list folders."""

    @guarded
    async def opendir(self, ino: int, ctx: pyfuse3.RequestContext) -> int:
        if not self.is_door(ino) and not self.inode(ino).is_folder:
            raise NotAFolder("not a folder")
        if not ino >> VIEW_SHIFT:
            self.drive.areas.require(ctx.uid, ino, Access.READ)
        elif not self.is_door(ino):
            self.drive.areas.require_past(ctx.uid, self.inode(ino).gid)
        return self.open_folders.add(OpenFolder(ino))

    @guarded
    async def readdir(self, fh: int, cookie: int, token: pyfuse3.ReaddirToken) -> None:
        folder = self.open_folders[fh]
        if cookie < 2 and not self._dots(folder.ino, cookie, token):
            return
        if self.is_door(folder.ino):
            self._list_door(folder, cookie, token)
        elif folder.ino >> VIEW_SHIFT:
            await self._list_past(folder, cookie, token)
        else:
            self._list_live(folder.ino, max(cookie, 2), token)

    def _dots(self, ino: int, cookie: int, token: pyfuse3.ReaddirToken) -> bool:
        above: int = ROOT
        if not ino >> VIEW_SHIFT:
            parents = self.drive.namespace.parents(ino)
            above = parents[0][0] if parents else ROOT
        for number, name, target in ((1, b".", ino), (2, b"..", above)):
            if cookie < number and not pyfuse3.readdir_reply(token, name, self.attributes(target), number):
                return False
        return True

    def _list_live(self, ino: int, cookie: int, token: pyfuse3.ReaddirToken) -> None:
        inodes = self.drive.inodes
        inodes.flush()  # the join below reads rows
        for _ in range(ENTRIES_PER_REPLY // ROWS_PER_QUERY):
            rows = self.drive.database.rows(_ROWS, (ino, cookie, ROWS_PER_QUERY))
            for row in rows:
                if not pyfuse3.readdir_reply(token, row[1], attributes_of(Inode(*row[2:])), row[0]):
                    return
                inodes.looked_up(row[2])
            if len(rows) < ROWS_PER_QUERY:
                return
            cookie = rows[-1][0]

    async def _list_past(self, folder: OpenFolder, cookie: int, token: pyfuse3.ReaddirToken) -> None:
        view = folder.ino >> VIEW_SHIFT
        if cookie < 2 or folder.past is None:
            children = await self.drive.past.children(folder.ino & FILE_MASK, self.drive.doors.epoch_of(view))
            self.drive.doors.epoch_of(view)  # deleted meanwhile, some of its names would have been missing
            folder.past = children
        first = bisect_right(folder.past, cookie, key=lambda child: child[0].cookie)
        for entry, inode in islice(folder.past, first, first + ENTRIES_PER_REPLY):
            if not pyfuse3.readdir_reply(token, entry.name, attributes_of(inode, view, PAST_TIMEOUT_S), entry.cookie):
                return

    def _list_door(self, folder: OpenFolder, cookie: int, token: pyfuse3.ReaddirToken) -> None:
        doors = self.drive.doors
        if not self.drive.cuts.gate.is_closed:
            self.drive.cuts.bound_pending()  # each view that is shown for the first time is a row
        if cookie < 2 or folder.door is None:
            folder.door = doors.entries(folder.ino)
        first = bisect_right(folder.door, cookie, key=lambda entry: entry.cookie)
        given = 0
        for entry in islice(folder.door, first, None):
            if given == VIEWS_PER_REPLY:  # given, not looked at: a reply without any would be the end
                return
            try:
                attributes = self.attributes(doors.behind(folder.ino, entry))
            except Stale:  # deleted since the rewind
                continue
            if not pyfuse3.readdir_reply(token, entry.name, attributes, entry.cookie):
                return
            given += 1

    @guarded
    async def releasedir(self, fh: int) -> None:
        self.open_folders.pop(fh)

    @guarded
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self.drive.cuts.wait_synced()
