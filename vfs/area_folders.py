"""The folders of shares and homes: made, renamed, given up, and put right after a restore.

Promises that the folder of an open share is `root:gid`, mode 2770, and that of a home `uid:uid`, mode 0700, with a
visible way into the past in each; whatever a restore put there. Whoever is not in the share's group stops at the
folder, and nothing below it needs to be looked at. The folder `Homes` can be walked through and not be listed.

What somebody made there is never removed: the folder of a share that is given up stays, for root alone, unless it is
empty.
"""

import stat
from collections.abc import Callable

from vfs.actors import Caller
from vfs.drive import Drive
from vfs.errors import Exists
from vfs.ids import ROOT
from vfs.inodes import Inode
from vfs.names import SNAPSHOTS
from vfs.namespace import RENAME_NOREPLACE
from vfs.people import User
from vfs.shares import HOMES, Share
from vfs.state import VISIBLE_DOOR

SHARE_MODE, HOMES_MODE, HOME_MODE, CLOSED_MODE = 0o2770, 0o711, 0o700, 0o700


class AreaFolders:
    """`renamed(folder, name)` is told what stands for something else now, `changed(folder)` what has other rights."""

    def __init__(self, drive: Drive, renamed: Callable[[int, bytes], None], changed: Callable[[int], None]) -> None:
        self._drive = drive
        self._renamed = renamed
        self._changed = changed
        self._root = Caller(0, 0, drive.actors.local(0))

    def settle(self) -> None:
        """Make the folders that are missing, and put those right that have another owner or mode."""
        for share in self._drive.shares.all():
            self.make_share(share)
        for user in self._drive.people.users():
            self.make_home(user)

    def refuse_taken(self, share: str, besides: str = "") -> None:
        """Raise Exists if something stands at the root that a share of that name must not take over.

        `besides`: the name of a share that goes.
        """
        name = share.encode()
        stored = self._drive.namespace.stored_name(ROOT, name)
        if stored is None or stored == besides.encode():
            return
        found = self._drive.namespace.lookup(ROOT, stored)
        before = self._drive.shares.closed(share)
        if before is None or found is None or found.gid != before.gid or stored != name or not found.is_folder:
            raise Exists(f"there is {stored.decode(errors='replace')} at the root of the drive already")

    def make_share(self, share: Share) -> None:
        """Make the folder of a share, or put its owner and mode right."""
        self._folder(ROOT, share.name.encode(), 0, share.gid, SHARE_MODE, has_door=True)

    def rename_share(self, old: str, new: str) -> None:
        """Let the folder follow the name."""
        self._drive.namespace.rename(ROOT, old.encode(), ROOT, new.encode(), RENAME_NOREPLACE, self._root)
        self._renamed(ROOT, old.encode())
        self._renamed(ROOT, new.encode())

    def close_share(self, share: Share) -> bool:
        """Leave the folder of a share that is given up to root; remove it if nobody made anything in it.

        True if it was removed.
        """
        name, namespace = share.name.encode(), self._drive.namespace
        folder = namespace.lookup(ROOT, name)
        if folder is None:
            return True
        door = namespace.lookup(folder.ino, VISIBLE_DOOR)
        if door is not None and door.is_symlink and self._has_only(folder, VISIBLE_DOOR):
            namespace.unlink(folder.ino, VISIBLE_DOOR, self._root)
        if namespace.is_empty(folder.ino):
            namespace.rmdir(ROOT, name, self._root)
            self._renamed(ROOT, name)
            return True
        self._set(folder, 0, share.gid, CLOSED_MODE)
        return False

    def refuse_home(self, name: str) -> None:
        """Raise Exists if there is the home of somebody who was removed."""
        homes = self._drive.namespace.lookup(ROOT, HOMES.encode())
        if homes is not None and self._drive.namespace.stored_name(homes.ino, name.encode()) is not None:
            raise Exists(f"there is a folder {HOMES}/{name} already, of somebody who had that name")

    def make_home(self, user: User) -> None:
        """Make somebody's home, or put its owner and mode right."""
        homes = self._folder(ROOT, HOMES.encode(), 0, 0, HOMES_MODE, has_door=False)
        self._folder(homes.ino, user.name.encode(), user.uid, user.uid, HOME_MODE, has_door=True)

    def _has_only(self, folder: Inode, name: bytes) -> bool:
        rows = self._drive.database.rows("SELECT name FROM dentries WHERE parent = ? LIMIT 2", (folder.ino,))
        return [found for (found,) in rows] == [name]

    def _folder(self, parent: int, name: bytes, uid: int, gid: int, mode: int, *, has_door: bool) -> Inode:
        namespace = self._drive.namespace
        folder = namespace.lookup(parent, name)
        if folder is None:
            maker = Caller(uid, gid, self._root.actor_id)
            folder = namespace.create(parent, name, stat.S_IFDIR | mode, maker)
            self._drive.areas.forget()
            if has_door:
                namespace.create(folder.ino, VISIBLE_DOOR, stat.S_IFLNK | 0o777, maker, target=SNAPSHOTS)
            self._renamed(parent, name)
        self._set(folder, uid, gid, mode)
        return folder

    def _set(self, folder: Inode, uid: int, gid: int, mode: int) -> None:
        wanted = stat.S_IFMT(folder.mode) | mode
        if folder.is_folder and (folder.uid, folder.gid, folder.mode) != (uid, gid, wanted):
            folder.uid, folder.gid, folder.mode = uid, gid, wanted
            self._drive.inodes.changed(folder, self._root.actor_id)
            self._changed(folder.ino)
