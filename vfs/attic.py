"""The attic: detached trees wait here until the reaper has removed every name in them.

A restore swaps a whole folder by moving one name; what it replaced is hung up here under a number and taken apart in
steps, as `rm -r` would, each name leaving its history behind. The workshop, where restores are built, is emptied the
same way after a crash.
"""

from itertools import pairwise

from cachefs.database import Database
from vfs.actors import Caller
from vfs.ids import ATTIC, WORKSHOP
from vfs.inodes import Inode, Inodes
from vfs.namespace import Namespace

NAMES_PER_STEP = 100
NOBODY = Caller(0, 0, 0)


class Attic:
    """Hidden folders and the way out of them."""

    def __init__(self, database: Database, inodes: Inodes, namespace: Namespace) -> None:
        self._database = database
        self._inodes = inodes
        self._namespace = namespace
        self._path: list[int] = []  # folders from the attic down to the one being emptied

    def hang_up(self, parent: int, name: bytes) -> None:
        """Detach a name from the tree; what it stands for is reaped in the background."""
        inode = self._namespace.lookup(parent, name)
        assert inode is not None
        self._namespace.rename(
            parent, name, ATTIC, b"%d-%d" % (inode.ino, self._inodes.get(ATTIC).next_cookie), 0, NOBODY
        )

    def clear_workshop(self) -> None:
        """After a crash: whatever was being built is hung up in the attic."""
        for (name,) in self._database.rows("SELECT name FROM dentries WHERE parent = ?", (WORKSHOP,)):
            self.hang_up(WORKSHOP, name)

    def reap_step(self) -> bool:
        """Remove a few names. True while there is more to do."""
        if not self._path:
            if self._namespace.is_empty(ATTIC):
                self._namespace.may_be_detached = False
                return False
            self._path = [int(ATTIC)]
        self._turn_back()
        with self._database.operation:
            for _ in range(NAMES_PER_STEP):
                if not self._path:
                    break
                self._remove_one()
        return True

    def _turn_back(self) -> None:
        """Leave folders that somebody, who still had them, moved out of here since the last step."""
        for depth, (above, folder) in enumerate(pairwise(self._path), 1):
            if all(parent != above for parent, _ in self._namespace.parents(folder)):
                del self._path[depth:]
                return

    def _remove_one(self) -> None:
        folder = self._path[-1]
        row = self._database.row("SELECT name, ino FROM dentries WHERE parent = ? ORDER BY cookie LIMIT 1", (folder,))
        if row is None:
            self._path.pop()
            return
        name, ino = row
        inode: Inode = self._inodes.get(ino)
        if not inode.is_folder:
            self._namespace.unlink(folder, name, NOBODY)
        elif self._namespace.is_empty(ino):
            self._namespace.rmdir(folder, name, NOBODY)
        else:
            self._path.append(ino)
