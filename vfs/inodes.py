"""Inodes in memory: attributes, how often the kernel knows them, how often they are open, and when an orphan goes.

A loaded `Inode` is the truth; its row is written at the next flush, where the triggers keep history. Rows that are
dirty, open, or being written never leave memory. The kernel's lookup counts are kept apart from the objects, so that a
million known inodes cost a dict entry each and not an object.
"""

import json
import stat
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from cachefs.counters import Counters
from cachefs.database import Database
from cloud_tier.clock import Clock
from vfs.contents import Contents
from vfs.epochs import Epochs
from vfs.errors import Stale
from vfs.ids import ATTIC, WORKSHOP
from vfs.lookups import Lookups

if TYPE_CHECKING:
    import trio

CACHED_INODES = 20_000
SPARED_INODES = 8  # an operation asks for fewer
COLUMNS = (
    "ino, since, actor_id, mode, uid, gid, nlink, size, mapped, content, rdev,"
    " atime_ns, mtime_ns, ctime_ns, btime_ns, xattr_set, next_cookie, target"
)
_SELECT = f"SELECT {COLUMNS} FROM inodes WHERE ino = ?"
_INSERT = f"INSERT INTO inodes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPDATE = (
    "UPDATE inodes SET since = ?, actor_id = ?, mode = ?, uid = ?, gid = ?, nlink = ?, size = ?, mapped"
    " = ?, content = ?, rdev = ?,"
    " atime_ns = ?, mtime_ns = ?, ctime_ns = ?, btime_ns = ?, xattr_set = ?, next_cookie = ?, target = ? WHERE ino = ?"
)
_DELETE = "DELETE FROM inodes WHERE ino IN (SELECT value FROM json_each(?))"


class Inode:
    """Attributes of one live file, as in stat, and what the core knows besides."""

    __slots__ = (
        "actor_id", "atime_ns", "btime_ns", "content", "ctime_ns", "gathering", "gid", "ino", "is_dirty", "is_new",
        "lock", "mapped", "mode", "mtime_ns", "next_cookie", "nlink", "opens", "rdev", "since", "size", "target", "uid",
        "xattr_set", "xattrs",
    )  # fmt: skip

    def __init__(
        self, ino: int, since: int, actor_id: int, mode: int, uid: int, gid: int, nlink: int, size: int, mapped: int,
        content: int | None, rdev: int, atime_ns: int, mtime_ns: int, ctime_ns: int, btime_ns: int,
        xattr_set: int | None, next_cookie: int, target: bytes | None,
    ) -> None:  # fmt: skip
        self.ino = ino
        self.since = since
        self.actor_id = actor_id
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.nlink = nlink
        self.size = size
        self.mapped = mapped
        self.content = content
        self.rdev = rdev
        self.atime_ns = atime_ns
        self.mtime_ns = mtime_ns
        self.ctime_ns = ctime_ns
        self.btime_ns = btime_ns
        self.xattr_set = xattr_set
        self.next_cookie = next_cookie
        self.target = target
        self.xattrs: dict[bytes, bytes] | None = None  # loaded on first use
        self.lock: trio.Lock | None = None  # made by the first write that leaves the loop
        self.gathering = 0  # number of the block that gathers what is overwritten here and there
        self.opens = 0
        self.is_new = False
        self.is_dirty = False

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)


class Inodes:
    """The inode table of the live tree."""

    def __init__(
        self, database: Database, counters: Counters, epochs: Epochs, contents: Contents, clock: Clock
    ) -> None:
        self._database = database
        self._counters = counters
        self._epochs = epochs
        self._contents = contents
        self._clock = clock
        self._loaded: OrderedDict[int, Inode] = OrderedDict()
        self._dirty: list[Inode] = []
        self._ended: set[int] = set()  # reaped; their rows go at the next flush
        self._lookups = Lookups()
        self._changed_in = 0  # the newest epoch in which a row was written, in this life
        self._orphans: set[int] = set()
        self.writers: set[int] = set()  # actors who changed something in this epoch
        self.released_sets: set[int] = set()  # xattr sets that lost an inode; `Xattrs.flush` asks who is left

    # --- finding ---

    def get(self, ino: int) -> Inode:
        """The inode. Raises Stale when it is gone."""
        inode = self._loaded.get(ino)
        if inode is not None:
            self._loaded.move_to_end(ino)
            return inode
        row = self._database.row(_SELECT, (ino,)) if ino not in self._ended else None
        if row is None:
            raise Stale(f"inode {ino} is gone")
        inode = Inode(*row)
        self._loaded[ino] = inode
        if len(self._loaded) > CACHED_INODES + len(self._dirty):
            self._shrink()
        return inode

    def loaded(self, ino: int) -> Inode | None:
        """The inode if it is in memory."""
        return self._loaded.get(ino)

    def _shrink(self) -> None:
        # An operation holds the few it asked for last, and has perhaps not changed them yet: they stay, in their order.
        spared = list(islice(reversed(self._loaded), SPARED_INODES))
        for _ in range(min(500, len(self._loaded) - len(spared))):
            ino, inode = self._loaded.popitem(last=False)
            if inode.is_dirty or inode.opens or inode.nlink == 0 or (inode.lock is not None and inode.lock.locked()):
                self._loaded[ino] = inode
        for ino in reversed(spared):
            self._loaded.move_to_end(ino)

    # --- changing ---

    def create(
        self, mode: int, uid: int, gid: int, actor_id: int, *, rdev: int = 0, target: bytes | None = None
    ) -> Inode:
        """A new inode without a name: nlink 0 until the caller gives it one in the same operation."""
        ino = self._counters.next("ino")
        self._counters.add("files", 1)
        now = self._clock.now_ns()
        inode = Inode(
            ino, self._epochs.current, actor_id, mode, uid, gid, 0, len(target) if target else 0, 0, None, rdev,
            now, now, now, now, None, 3 if stat.S_ISDIR(mode) else 0, target,
        )  # fmt: skip
        inode.is_new = inode.is_dirty = True
        self._loaded[ino] = inode
        self._dirty.append(inode)
        if len(self._loaded) > CACHED_INODES + len(self._dirty):  # who only makes files never misses one in `get`
            self._shrink()
        return inode

    def touch(self, inode: Inode, actor_id: int | None = None) -> None:
        """The inode changed: its row will be written at the next flush."""
        if actor_id is not None:
            inode.actor_id = actor_id
        if not inode.is_dirty:
            inode.is_dirty = True
            self._dirty.append(inode)

    def changed(self, inode: Inode, actor_id: int, *, contents: bool = False) -> None:
        """`touch`, with ctime now; and mtime, if its contents or entries changed."""
        now = self._clock.now_ns()
        inode.ctime_ns = now
        if contents:
            inode.mtime_ns = now
        inode.actor_id = actor_id
        self.writers.add(actor_id)
        if not inode.is_dirty:
            inode.is_dirty = True
            self._dirty.append(inode)

    def unlinked(self, inode: Inode) -> None:
        """A name of the inode was removed and `nlink` is right again. An orphan goes as soon as nobody holds it."""
        if inode.nlink == 0:
            self._orphans.add(inode.ino)
            self._reap_if_unheld(inode.ino)

    def is_changed_after(self, epoch: int) -> bool:
        """Whether anything was changed, in this life, since that epoch ended. O(1)."""
        return self._changed_in > epoch or bool(self._dirty or self._ended)

    def unwritten(self) -> int:
        """How many inodes wait for the next flush."""
        return len(self._dirty) + len(self._ended)

    def flush(self) -> None:
        """Write the rows that changed."""
        epoch, write = self._epochs.current, self._database.write
        if self._dirty or self._ended:
            self._changed_in = epoch
        for i in self._dirty:
            if not i.is_dirty:  # reaped meanwhile
                continue
            i.is_dirty = False
            i.since = epoch
            values = (
                epoch, i.actor_id, i.mode, i.uid, i.gid, i.nlink, i.size, i.mapped, i.content, i.rdev,
                i.atime_ns, i.mtime_ns, i.ctime_ns, i.btime_ns, i.xattr_set, i.next_cookie, i.target,
            )  # fmt: skip
            if i.is_new:
                i.is_new = False
                write(_INSERT, (i.ino, *values))
            else:
                write(_UPDATE, (*values, i.ino))
        self._dirty.clear()
        if self._ended:
            write(_DELETE, (json.dumps(sorted(self._ended)),))
            self._ended.clear()

    # --- who holds it ---

    def looked_up(self, ino: int) -> None:
        """The kernel was given the number once more."""
        self._lookups.add(ino)

    def forget(self, forgotten: Iterable[tuple[int, int]]) -> None:
        """The kernel gives numbers back: (ino, how often it was given)."""
        take, orphans = self._lookups.take, self._orphans
        for ino, count in forgotten:
            if take(ino, count) and ino in orphans:
                self._reap_if_unheld(ino)

    def is_known(self, ino: int) -> bool:
        """Whether the kernel knows the number."""
        return ino in self._lookups

    def opened(self, inode: Inode) -> None:
        """One more handle is open."""
        inode.opens += 1

    def released(self, inode: Inode) -> None:
        """A handle was closed."""
        inode.opens -= 1
        if not inode.opens and inode.nlink == 0:
            self._reap_if_unheld(inode.ino)

    @contextmanager
    def held(self, inode: Inode) -> Iterator[None]:
        """While an operation awaits in the middle, the inode it works on stays in memory."""
        self.opened(inode)
        try:
            yield
        finally:
            self.released(inode)

    def _reap_if_unheld(self, ino: int) -> None:
        if ino in self._lookups:
            return
        inode = self.get(ino)
        if inode.opens:
            return
        self._orphans.discard(ino)
        self._counters.add("files", -1)
        if inode.content is not None:
            self._contents.give_up(inode.content)
        if not inode.is_new:
            self._ended.add(ino)
        if inode.xattr_set is not None:
            self.released_sets.add(inode.xattr_set)
        inode.is_dirty = False
        self._loaded.pop(ino, None)

    def reap_orphans(self) -> int:
        """After a start nobody holds anything: remove every orphan. Returns how many."""
        orphans = [row[0] for row in self._database.rows("SELECT ino FROM inodes WHERE nlink = 0")]
        for ino in orphans:
            self._orphans.add(ino)
            self._reap_if_unheld(ino)
        return len(orphans)

    def recount(self) -> None:
        """Count the files anew: a crash left the tally of the last cut."""
        found = self._database.row("SELECT count(*) FROM inodes WHERE ino NOT IN (?, ?)", (WORKSHOP, ATTIC))[0]
        self._counters.add("files", found - self.count())

    def count(self) -> int:
        """How many files, folders and others there are."""
        return self._counters.last("files")
