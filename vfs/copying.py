"""Copying a past tree into the workshop: new inodes over the same blocks, no byte read or written.

Every copied file gets a content of its own whose extents point to the blocks of the past one; the blocks are marked
shared, so that nobody writes them in place again (I2). Hard links inside the copied tree stay links of one new inode.
Work is cut into steps of `STEP_S`, each one operation behind an open gate; a long file takes several.
"""

import time
from collections import deque
from collections.abc import Callable

import trio
import trio.lowlevel

from cachefs.blocks import Blocks
from cachefs.counters import Counters
from cachefs.cut import Cuts
from cachefs.database import Database
from cloud_tier.clock import Clock
from vfs.epochs import Epochs
from vfs.errors import NotFound
from vfs.forks import fork_list
from vfs.ids import WORKSHOP
from vfs.inodes import COLUMNS, Inode, Inodes
from vfs.names import fold
from vfs.past import Entry, Past

STEP_S = 0.008
STRETCH_BYTES = 2 << 20  # extents copied in one statement lie in a stretch this long: 512 pages at most

_INSERT_INODE = f"INSERT INTO inodes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_DENTRY = "INSERT INTO dentries VALUES (?, ?, ?, ?, ?, ?, ?)"
_NEXT_START = (
    "SELECT min(start) FROM (SELECT min(start) AS start FROM extents WHERE content = ?1 AND start >= ?2"
    " UNION ALL SELECT min(start) FROM extents_history WHERE content = ?1 AND start >= ?2)"
)
_COPY_EXTENTS = (
    "INSERT INTO extents SELECT ?1, start, ?2, length, block, offset FROM extents"
    " WHERE content = ?3 AND start >= ?4 AND start < ?5 AND since <= ?6"
    " UNION ALL SELECT ?1, h.start, ?2, h.length, h.block, h.offset FROM json_each(?7) f"
    " CROSS JOIN extents_history h INDEXED BY extents_history_by_fork"
    " ON h.fork = f.value AND h.content = ?3 AND h.start >= ?4 AND h.start < ?5 AND h.until > ?6 AND h.since <= ?6"
    " WHERE f.value < (SELECT epoch FROM clock) RETURNING block"
)


class Copying:
    """One copy of a past tree. `report(done, found)` hears how far it is; `admit` refuses when rows do not fit."""

    def __init__(
        self,
        database: Database,
        cuts: Cuts,
        counters: Counters,
        blocks: Blocks,
        inodes: Inodes,
        epochs: Epochs,
        past: Past,
        clock: Clock,
        epoch: int,
        actor_id: int,
        report: Callable[[int, int], None],
        admit: Callable[[], None],
    ) -> None:
        self._database = database
        self._cuts = cuts
        self._counters = counters
        self._blocks = blocks
        self._inodes = inodes
        self._epochs = epochs
        self._past = past
        self._clock = clock
        self._epoch = epoch
        self._forks = fork_list(epoch)
        self._actor_id = actor_id
        self._report = report
        self._admit = admit
        self._long: list[tuple[int, int, int]] = []  # contents whose extents are still to be copied: past, new, size
        self._links: dict[int, int] = {}  # past inode of a file with several names -> its copy
        self._done = 0
        self._found = 1

    async def copy(self, ino: int, name: bytes) -> int:
        """Copy what `ino` was, and all below it, to `name` in the workshop.

        Returns the new inode number. Raises NotFound, NoSpace.
        """
        await self._cuts.gate.wait_open()
        past = self._past.inode(ino, self._epoch)
        if past is None:
            raise NotFound("the past tree has a name without a file")
        with self._database.operation:
            workshop = self._inodes.get(WORKSHOP)
            top = self._copy_one(WORKSHOP, Entry(workshop.next_cookie, name, ino), past)
            workshop.next_cookie += 1
            workshop.nlink += past.is_folder
            self._inodes.touch(workshop)
        await self._copy_long_files()
        folders = deque([(ino, top)] if past.is_folder else ())
        while folders:
            old, new = folders.popleft()
            children = await self._past.children(old, self._epoch)
            self._found += len(children)
            await self._fill(new, children, folders)
        self._report(self._done, self._done)
        return top

    async def _fill(self, folder: int, children: list[tuple[Entry, Inode]], folders: deque[tuple[int, int]]) -> None:
        index = 0
        while index < len(children):
            self._admit()
            await self._cuts.gate.wait_open()
            began = time.perf_counter()
            with self._database.operation:
                while index < len(children) and time.perf_counter() - began < STEP_S:
                    entry, inode = children[index]
                    copy = self._copy_one(folder, entry, inode)
                    if inode.is_folder:
                        folders.append((entry.ino, copy))
                    index += 1
            self._report(self._done, self._found)
            self._cuts.bound_pending()
            await trio.lowlevel.checkpoint()
            await self._copy_long_files()

    async def _copy_long_files(self) -> None:
        """Copy the extents of files that have inodes already and were too long for a step."""
        while self._long:
            past, content, size = self._long.pop()
            place: int | None = 0
            while place is not None:
                self._admit()
                await self._cuts.gate.wait_open()
                until = time.perf_counter() + STEP_S
                with self._database.operation:
                    while place is not None:
                        self._copy_stretch(past, content, place)
                        place = self._next_stretch(past, place + STRETCH_BYTES, size)
                        if time.perf_counter() > until:
                            break
                self._cuts.bound_pending()
                await trio.lowlevel.checkpoint()

    def _next_stretch(self, past: int, place: int, size: int) -> int | None:
        """Where the next stretch begins that has any extents, from `place` on."""
        start = self._database.row(_NEXT_START, (past, place))[0]
        return start // STRETCH_BYTES * STRETCH_BYTES if start is not None and start < size else None

    def _copy_one(self, folder: int, entry: Entry, past: Inode) -> int:
        cookie, name, ino = entry
        epoch = self._epochs.current
        copy = self._links.get(ino)
        if copy is not None:
            self._database.write("UPDATE inodes SET nlink = nlink + 1 WHERE ino = ?", (copy,))
        else:
            copy = self._copy_inode(past, epoch)
        self._database.write(_INSERT_DENTRY, (folder, name, epoch, self._actor_id, copy, cookie, fold(name)))
        self._done += 1
        return copy

    def _copy_inode(self, past: Inode, epoch: int) -> int:
        ino = self._counters.next("ino")
        self._counters.add("files", 1)
        content = None
        if past.content is not None and past.size:
            content = self._counters.next("content")
            if past.size > STRETCH_BYTES:
                self._long.append((past.content, content, past.size))
            else:
                self._copy_stretch(past.content, content, 0)
        # A folder keeps its link count and next cookie: the same entries are about to be made in it.
        nlink = past.nlink if past.is_folder else 1
        self._database.write(
            _INSERT_INODE,
            (
                ino, epoch, self._actor_id, past.mode, past.uid, past.gid, nlink, past.size, past.mapped, content,
                past.rdev, past.atime_ns, past.mtime_ns, self._clock.now_ns(), past.btime_ns, past.xattr_set,
                past.next_cookie, past.target,
            ),
        )  # fmt: skip
        if not past.is_folder and past.nlink > 1:
            self._links[past.ino] = ino
        return ino

    def _copy_stretch(self, past: int, content: int, low: int) -> None:
        where = (content, self._epochs.current, past, low, low + STRETCH_BYTES, self._epoch, self._forks)
        rows = self._database.write_returning(_COPY_EXTENTS, where)
        self._blocks.share({row[0] for row in rows})
