"""Areas: the shares and homes, as parts of the tree with rules of their own.

What lies in an area, at whatever depth, follows them:

- names that differ only by case do not stand side by side (Windows could reach one of them only);
- nothing is renamed or linked across its border by anybody but root, as between two disks: whoever moves it copies, and
  the copy gets the group and rights of where it is; so no folder ever changes its area;
- in a share everything belongs to the share's group, which may always read and write; and whoever may only read is
  refused here, see `Shares`.

Which area a folder lies in is asked at each created file, so the answer is remembered for every folder. It changes only
when root, or a restore, moves a folder across a border, or a share is made, removed or renamed: then all of it is
forgotten. Numbers of folders are never reused.
"""

import stat
from typing import NamedTuple

from cachefs.database import Database
from vfs.errors import NoAccess, NotPermitted
from vfs.ids import ATTIC, ROOT, WORKSHOP
from vfs.people import People
from vfs.shares import HOMES, Access, Shares

MOST_KNOWN = 200_000  # folders, about 100 bytes each
_ABOVE = "SELECT parent, name FROM dentries WHERE ino = ?"


class Area(NamedTuple):
    """A share or a home. `root`: its folder. `gid`: of the share's group; None of a home."""

    root: int
    gid: int | None


def shared_mode(mode: int) -> int:
    """The mode of something in a share: its group may always read and write, whatever the umask of a door."""
    if stat.S_ISDIR(mode):
        return mode | stat.S_ISGID | 0o070
    return mode | 0o060 if stat.S_ISREG(mode) else mode


class Areas:
    """Where folders lie, and what follows for somebody who wants to change something there."""

    def __init__(self, database: Database, people: People, shares: Shares) -> None:
        self._database = database
        self._people = people
        self._shares = shares
        self._known: dict[int, Area | None] = {}
        self._homes: int | None = None  # the folder of homes, once met
        self.forget()
        shares.on_change(self.forget)

    def forget(self) -> None:
        """Something moved across a border, or the borders did."""
        self._homes = None
        self._known = {ROOT: None, WORKSHOP: None, ATTIC: None}

    def moved(self, source: Area | None, target: Area | None) -> None:
        """A folder was renamed. Outside of areas it may have become the folder of one, or no longer be it."""
        if source is None or source != target:
            self.forget()

    def of(self, folder: int) -> Area | None:
        """The area that a folder lies in, or is the root of."""
        if folder in self._known:
            return self._known[folder]
        return self._find(folder)

    def _find(self, folder: int) -> Area | None:
        below: list[int] = []
        area, name = None, b""
        while folder not in self._known:
            row = self._database.row(_ABOVE, (folder,))
            if row is None:  # removed, and still open
                break
            below.append(folder)
            folder, name = row
        else:
            if folder == ROOT:
                area = self._at_the_root(below, name)
            elif folder == self._homes:
                area = Area(below[-1], None)
            else:
                area = self._known[folder]
        if len(self._known) > MOST_KNOWN:
            self.forget()
        for each in below:
            self._known[each] = area
        return area

    def _at_the_root(self, below: list[int], name: bytes) -> Area | None:
        """The area of `below`, whose last one is a folder at the root."""
        if name == HOMES.encode():
            self._homes = below.pop()
            self._known[self._homes] = None
            return Area(below[-1], None) if below else None
        share = self._shares.of_folder(name)
        return Area(below[-1], share.gid) if share is not None else None

    def is_root(self, folder: int) -> bool:
        """Whether a folder is a share or a home."""
        area = self.of(folder)
        return area is not None and area.root == folder

    def holding(self, ino: int) -> list[Area]:
        """The areas that hold a file or folder: of every name that it has."""
        if ino in self._known:
            found = [self._known[ino]]
        else:
            found = [self._holding(ino, parent, name) for parent, name in self._database.rows(_ABOVE, (ino,))]
        return [area for area in found if area is not None]

    def _holding(self, ino: int, parent: int, name: bytes) -> Area | None:
        # Of a file at the root nothing is remembered: a file may be moved without anything being forgotten.
        if parent == ROOT:
            share = self._shares.of_folder(name)
            return Area(ino, share.gid) if share is not None else None
        return Area(ino, None) if parent == self._homes else self.of(parent)

    def require(self, uid: int, ino: int, access: Access) -> None:
        """Raise NoAccess if somebody may not do that to what lies in a share. One look-up for most people."""
        if self._shares.is_watched(uid):
            for area in self.holding(ino):
                if area.gid is not None and (self._shares.access(area.gid, uid) or 0) < access:
                    raise NoAccess("this user may only read here")

    def require_past(self, uid: int, gid: int) -> None:
        """Raise NoAccess if a past file or folder of group `gid` was in a share where somebody may not even read now.

        The kernel asks for its modes of then, and for groups that a program may have had since before.
        """
        if self._shares.is_watched(uid) and self._shares.is_share(gid) and self._shares.access(gid, uid) is None:
            raise NoAccess("this user is no member of the share any more")

    def share_of(self, ino: int) -> int | None:
        """The number of the share that holds a file or folder, if one does."""
        return next((area.gid for area in self.holding(ino) if area.gid is not None), None)

    def refuse_fixed(self, parent: int, name: bytes) -> None:
        """Raise NotPermitted for the folder of a share, of somebody's home, or of all homes: commands care for them."""
        if parent == ROOT:
            if self._shares.of_folder(name) is not None:
                raise NotPermitted("a share is renamed and removed by a command")
            if name == HOMES.encode():
                raise NotPermitted("the folder of homes stays where it is")
        elif self.of(parent) is None and parent == self._homes and self._has_user(name):
            raise NotPermitted("the home of a user stays where it is")

    def _has_user(self, name: bytes) -> bool:
        return any(user.name.encode() == name for user in self._people.users())
