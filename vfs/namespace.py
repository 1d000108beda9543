"""Names: every operation on the tree of folders, each one statement or one savepoint, nothing awaited.

All checks come before the first change, so a refusal changes nothing. Who may do what is checked by the kernel
(default_permissions); here stand the rules that the kernel leaves to a file system: setgid folders, link counts, times,
reserved names, and those of shares and homes (`Areas`).
"""

import stat
from collections.abc import Callable, Iterable

from cachefs.database import Database
from vfs.actors import Caller
from vfs.areas import Area, Areas, shared_mode
from vfs.epochs import Epochs
from vfs.errors import (
    Exists,
    InvalidArgument,
    IsAFolder,
    NotAFolder,
    NotEmpty,
    NotFound,
    NotPermitted,
    OtherArea,
    Stale,
)
from vfs.ids import ATTIC, ROOT, Ino
from vfs.inodes import Inode, Inodes
from vfs.names import check_new_name, fold, upper

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2  # as in renameat2(2)

_FIND = "SELECT ino FROM dentries WHERE parent = ? AND name = ?"
_ALIKE = "SELECT name FROM dentries WHERE parent = ? AND fold = ?"
_INSERT = "INSERT INTO dentries VALUES (?, ?, ?, ?, ?, ?, ?)"
_POINT = "UPDATE dentries SET since = ?, actor_id = ?, ino = ? WHERE parent = ? AND name = ?"
_RENAME = "UPDATE dentries SET name = ?, fold = ?, since = ?, actor_id = ? WHERE parent = ? AND name = ?"
_DELETE = "DELETE FROM dentries WHERE parent = ? AND name = ?"


class Namespace:
    """The live tree's names."""

    def __init__(self, database: Database, inodes: Inodes, epochs: Epochs, areas: Areas) -> None:
        self._database = database
        self._inodes = inodes
        self._epochs = epochs
        self._areas = areas
        self.replaced: Callable[[int, int], None] = lambda old, new: None
        """Hears of a file (the first) in whose place another one was put, in the running transaction."""
        self.named: Callable[[int, bytes, Inode], None] = lambda parent, name, inode: None
        """Hears of each new name, in the running transaction: folder, name, what it leads to."""
        self.may_be_detached = True  # False while nothing hangs in the attic

    # --- finding ---

    def find(self, parent: int, name: bytes) -> Ino | None:
        """The inode number that a name of a folder stands for, or None."""
        row = self._database.row(_FIND, (parent, name))
        return Ino(row[0]) if row is not None else None

    def stored_name(self, parent: int, name: bytes) -> bytes | None:
        """The name of an entry of the folder that equals `name` ignoring case, as it was given; `name` itself first.

        One seek, however many entries the folder has: smbd asks for every name that it does not find.
        """
        found = self._alike(parent, name)
        return name if name in found else next(iter(found), None)

    def lookup(self, parent: int, name: bytes) -> Inode | None:
        """The inode that a name of a folder stands for, or None."""
        row = self._database.row(_FIND, (parent, name))
        return self._inodes.get(row[0]) if row is not None else None

    def resolve(self, names: Iterable[bytes]) -> Ino | None:
        """The inode number at the end of a path from the root, or None."""
        ino: Ino | None = ROOT
        for name in names:
            ino = self.find(ino, name) if ino is not None else None
        return ino

    def is_empty(self, folder: int) -> bool:
        """Whether the folder has no entries."""
        return self._database.row("SELECT 1 FROM dentries WHERE parent = ? LIMIT 1", (folder,)) is None

    def parents(self, ino: int) -> list[tuple[int, bytes]]:
        """Every name of an inode: (folder, name)."""
        return self._database.rows("SELECT parent, name FROM dentries WHERE ino = ?", (ino,))

    def is_detached(self, ino: int) -> bool:
        """Whether every name of the inode lies in the attic: a restore replaced it, and it is about to be reaped."""
        if not self.may_be_detached:
            return False
        parents = self.parents(ino)
        return bool(parents) and all(self._hangs(parent) for parent, _ in parents)

    def _hangs(self, folder: int) -> bool:
        while folder not in (ROOT, ATTIC):
            row = self._database.row("SELECT parent FROM dentries WHERE ino = ?", (folder,))
            if row is None:
                return False
            folder = row[0]
        return folder == ATTIC

    def _taking(self, parent: int) -> Inode:
        """A folder that is about to take a name. Raises Stale for one that will be reaped, with all in it."""
        folder = self._folder(parent)
        if self.is_detached(parent):
            raise Stale("the folder was replaced")
        return folder

    def _folder(self, parent: int) -> Inode:
        folder = self._inodes.get(parent)
        if not folder.is_folder:
            raise NotAFolder("the parent is not a folder")
        if folder.nlink == 0:
            raise NotFound("the folder was removed")
        return folder

    # --- making ---

    def create(
        self, parent: int, name: bytes, mode: int, caller: Caller, *, rdev: int = 0, target: bytes | None = None
    ) -> Inode:
        """Make a file, folder, symlink (`target`) or special file; `mode` has the type.

        Raises Exists, NotFound, Stale.
        """
        folder = self._taking(parent)
        check_new_name(parent, name)
        area = self._areas.of(parent)
        self._refuse_taken(area, parent, name)
        gid = caller.gid
        is_folder = stat.S_ISDIR(mode)
        if area is not None and area.gid is not None:
            gid, mode = area.gid, shared_mode(mode)
        elif folder.mode & stat.S_ISGID:
            gid = folder.gid
            if is_folder:
                mode |= stat.S_ISGID
        inode = self._inodes.create(mode, caller.uid, gid, caller.actor_id, rdev=rdev, target=target)
        self._add(folder, name, inode, caller)
        inode.nlink = 2 if is_folder else 1
        return inode

    def _refuse_taken(self, area: Area | None, parent: int, name: bytes, besides: bytes | None = None) -> None:
        """Raise Exists if the name is taken; in a share or home, also by another case. `besides`: a name that goes."""
        if area is None:
            if self.find(parent, name) is not None:
                raise Exists("the name is taken")
            return
        for stored in self._alike(parent, name):
            if stored != besides:
                raise Exists("the name is taken, or differs only by case from one that is")

    def _alike(self, parent: int, name: bytes) -> list[bytes]:
        """The names of a folder that equal `name` ignoring case."""
        raised = upper(name)
        return [stored for (stored,) in self._database.rows(_ALIKE, (parent, fold(name))) if upper(stored) == raised]

    def link(self, inode: Inode, parent: int, name: bytes, caller: Caller) -> None:
        """Give an inode one more name. Raises NotPermitted for folders, NotFound for an orphan, OtherArea."""
        folder = self._taking(parent)
        check_new_name(parent, name)
        if inode.is_folder:
            raise NotPermitted("a folder has exactly one name")
        if inode.nlink == 0:
            raise NotFound("the file was removed")
        area = self._areas.of(parent)
        if caller.uid and any(self._areas.of(above) != area for above, _ in self.parents(inode.ino)):
            raise OtherArea("a file has all its names in one share or home")
        self._refuse_taken(area, parent, name)
        self._add(folder, name, inode, caller)
        inode.nlink += 1
        self._inodes.changed(inode, caller.actor_id)

    def _add(self, folder: Inode, name: bytes, inode: Inode, caller: Caller) -> None:
        cookie = folder.next_cookie
        folder.next_cookie = cookie + 1
        self._database.write(
            _INSERT, (folder.ino, name, self._epochs.current, caller.actor_id, inode.ino, cookie, fold(name))
        )
        if inode.is_folder:
            folder.nlink += 1
        self._inodes.changed(folder, caller.actor_id, contents=True)
        self.named(folder.ino, name, inode)

    # --- removing ---

    def unlink(self, parent: int, name: bytes, caller: Caller) -> Inode:
        """Remove a name of anything but a folder. Returns the inode, which lives on while somebody holds it."""
        folder = self._folder(parent)
        check_new_name(parent, name)
        inode = self._existing(parent, name)
        if inode.is_folder:
            raise IsAFolder("a folder is removed by rmdir")
        self._remove(folder, name, inode, caller)
        return inode

    def rmdir(self, parent: int, name: bytes, caller: Caller) -> Inode:
        """Remove an empty folder."""
        folder = self._folder(parent)
        check_new_name(parent, name)
        inode = self._existing(parent, name)
        if not inode.is_folder:
            raise NotAFolder("only a folder is removed by rmdir")
        if not self.is_empty(inode.ino):
            raise NotEmpty("the folder has entries")
        self._remove(folder, name, inode, caller)
        return inode

    def _existing(self, parent: int, name: bytes) -> Inode:
        inode = self.lookup(parent, name)
        if inode is None:
            raise NotFound("no such name")
        return inode

    def _remove(self, folder: Inode, name: bytes, inode: Inode, caller: Caller) -> None:
        self._database.write(_DELETE, (folder.ino, name))
        self._drop_name(folder, inode, caller)
        self._inodes.changed(folder, caller.actor_id, contents=True)
        self._inodes.unlinked(inode)

    def _drop_name(self, folder: Inode, inode: Inode, caller: Caller) -> None:
        if inode.is_folder:
            inode.nlink = 0
            folder.nlink -= 1
        else:
            inode.nlink -= 1
        self._inodes.changed(inode, caller.actor_id)

    # --- renaming ---

    def rename(
        self, parent: int, name: bytes, to_parent: int, to_name: bytes, flags: int, caller: Caller
    ) -> Inode | None:
        """rename(2) with RENAME_NOREPLACE and RENAME_EXCHANGE. Returns the inode that lost its name, if any.

        Raises Exists, NotFound, Stale, OtherArea.
        """
        if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            raise InvalidArgument("unknown rename flags")
        source = self._taking(parent) if flags == RENAME_EXCHANGE else self._folder(parent)
        target = self._taking(to_parent)
        if to_parent == ATTIC:
            self.may_be_detached = True
        check_new_name(parent, name)
        check_new_name(to_parent, to_name)
        inode = self._existing(parent, name)
        other = self.lookup(to_parent, to_name)
        area, to_area = self._areas.of(parent), self._areas.of(to_parent)
        if caller.uid and area != to_area:
            raise OtherArea("what lies in one share or home is moved into another by copying")
        if flags == RENAME_EXCHANGE:
            if other is None:
                raise NotFound("nothing to exchange with")
            self._refuse_loop(inode, target)
            self._refuse_loop(other, source)
            if other is not inode:
                self._exchange(source, name, inode, target, to_name, other, caller)
            if inode.is_folder or other.is_folder:
                self._areas.moved(area, to_area)
            return None
        if other is inode:
            if flags == RENAME_NOREPLACE:
                raise Exists("the name is taken")
            return None  # POSIX: two names of one file: nothing happens
        if other is not None:
            self._check_replaceable(inode, other, flags)
        else:
            self._refuse_taken(to_area, to_parent, to_name, besides=name if parent == to_parent else None)
        self._refuse_loop(inode, target)
        with self._database.operation:
            self._move(source, name, inode, target, to_name, other, caller)
        if inode.is_folder:
            self._areas.moved(area, to_area)
        if other is not None:
            self._inodes.unlinked(other)
        return other

    def _check_replaceable(self, inode: Inode, other: Inode, flags: int) -> None:
        if flags == RENAME_NOREPLACE:
            raise Exists("the name is taken")
        if other.is_folder:
            if not inode.is_folder:
                raise IsAFolder("a file cannot replace a folder")
            if not self.is_empty(other.ino):
                raise NotEmpty("the folder to be replaced has entries")
        elif inode.is_folder:
            raise NotAFolder("a folder cannot replace a file")

    def _refuse_loop(self, inode: Inode, folder: Inode) -> None:
        """A folder cannot move below itself. The kernel sees to it; a control call does not go through the kernel."""
        if not inode.is_folder:
            return
        ino: int | None = folder.ino
        while ino is not None:
            if ino == inode.ino:
                raise InvalidArgument("a folder cannot be moved into itself")
            row = self._database.row("SELECT parent FROM dentries WHERE ino = ?", (ino,))
            ino = row[0] if row is not None else None

    def _move(
        self,
        source: Inode,
        name: bytes,
        inode: Inode,
        target: Inode,
        to_name: bytes,
        other: Inode | None,
        caller: Caller,
    ) -> None:
        epoch, write = self._epochs.current, self._database.write
        if other is not None:
            self.replaced(other.ino, inode.ino)
            write(_DELETE, (source.ino, name))
            write(_POINT, (epoch, caller.actor_id, inode.ino, target.ino, to_name))
            self._drop_name(target, other, caller)
        elif source is target:  # stays at its place in listings that are being read
            write(_RENAME, (to_name, fold(to_name), epoch, caller.actor_id, source.ino, name))
        else:
            write(_DELETE, (source.ino, name))
            cookie = target.next_cookie
            target.next_cookie = cookie + 1
            write(_INSERT, (target.ino, to_name, epoch, caller.actor_id, inode.ino, cookie, fold(to_name)))
        if inode.is_folder:
            source.nlink -= 1
            target.nlink += 1
        self._inodes.changed(inode, caller.actor_id)
        self._inodes.changed(source, caller.actor_id, contents=True)
        if target is not source:
            self._inodes.changed(target, caller.actor_id, contents=True)

    def _exchange(
        self, source: Inode, name: bytes, inode: Inode, target: Inode, to_name: bytes, other: Inode, caller: Caller
    ) -> None:
        epoch = self._epochs.current
        with self._database.operation:
            self._database.write(_POINT, (epoch, caller.actor_id, other.ino, source.ino, name))
            self._database.write(_POINT, (epoch, caller.actor_id, inode.ino, target.ino, to_name))
            shift = inode.is_folder - other.is_folder
            source.nlink -= shift
            target.nlink += shift
            self._inodes.changed(inode, caller.actor_id)
            self._inodes.changed(other, caller.actor_id)
            self._inodes.changed(source, caller.actor_id, contents=True)
            self._inodes.changed(target, caller.actor_id, contents=True)
