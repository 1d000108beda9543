"""Copying a past tree into the workshop: new inodes over the same blocks, no byte read or written.

Every copied file gets a content of its own whose extents point to the blocks of the past one; the blocks are marked
shared, so that nobody writes them in place again (I2). Hard links inside the copied tree stay links of one new inode.
Work is cut into steps of `STEP_S`, each one operation behind an open gate.
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
from vfs.ids import WORKSHOP
from vfs.inodes import COLUMNS, Inode, Inodes
from vfs.names import fold
from vfs.past import Entry, Past

STEP_S = 0.008
STRETCH_BYTES = 16 << 20  # extents copied in one statement lie in a stretch this long

_INSERT_INODE = f"INSERT INTO inodes ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_DENTRY = "INSERT INTO dentries VALUES (?, ?, ?, ?, ?, ?, ?)"
_COPY_HISTORY = (
    "INSERT INTO extents SELECT ?1, start, ?2, length, block, offset FROM extents_history"
    " WHERE content = ?3 AND start >= ?4 AND start < ?5 AND until > ?6 AND since <= ?6"
)
_COPY_LIVE = (
    "INSERT INTO extents SELECT ?1, start, ?2, length, block, offset FROM extents"
    " WHERE content = ?3 AND start >= ?4 AND start < ?5 AND since <= ?6"
)


class Copying:
    """One copy of a past tree. `report(done, found)` hears how far it is."""

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
        self._actor_id = actor_id
        self._report = report
        self._links: dict[int, int] = {}  # past inode of a file with several names -> its copy
        self._done = 0
        self._found = 1

    async def copy(self, ino: int, name: bytes) -> int:
        """Copy what `ino` was, and all below it, to `name` in the workshop.

        Returns the new inode number. Raises NotFound.
        """
        await self._cuts.gate.wait_open()
        with self._database.operation:
            workshop = self._inodes.get(WORKSHOP)
            top = self._copy_one(WORKSHOP, Entry(workshop.next_cookie, name, ino))
            workshop.next_cookie += 1
            workshop.nlink += top.is_folder
            self._inodes.touch(workshop)
        folders = deque([(ino, top.ino)] if top.is_folder else ())
        while folders:
            past, new = folders.popleft()
            entries = await self._past.entries(past, self._epoch)
            self._found += len(entries)
            await self._fill(new, entries, folders)
        self._report(self._done, self._done)
        return top.ino

    async def _fill(self, folder: int, entries: list[Entry], folders: deque[tuple[int, int]]) -> None:
        index = 0
        while index < len(entries):
            await self._cuts.gate.wait_open()
            began = time.perf_counter()
            with self._database.operation:
                while index < len(entries) and time.perf_counter() - began < STEP_S:
                    entry = entries[index]
                    copied = self._copy_one(folder, entry)
                    if copied.is_folder:
                        folders.append((entry.ino, copied.ino))
                    index += 1
            self._report(self._done, self._found)
            self._cuts.note_written(0)
            await trio.lowlevel.checkpoint()

    def _copy_one(self, folder: int, entry: Entry) -> Inode:
        cookie, name, ino = entry
        inode = self._past.inode(ino, self._epoch)
        if inode is None:
            raise NotFound("the past tree has a name without a file")
        epoch = self._epochs.current
        known = self._links.get(ino)
        if known is not None:
            self._database.write("UPDATE inodes SET nlink = nlink + 1 WHERE ino = ?", (known,))
            inode.ino = known
        else:
            self._insert(inode, ino, epoch)
        self._database.write(_INSERT_DENTRY, (folder, name, epoch, self._actor_id, inode.ino, cookie, fold(name)))
        self._done += 1
        return inode

    def _insert(self, inode: Inode, past: int, epoch: int) -> None:
        has_more_names = not inode.is_folder and inode.nlink > 1
        inode.ino = self._counters.next("ino")
        self._counters.add("files", 1)
        content = None
        if inode.content is not None and inode.size:
            content = self._copy_content(inode.content, inode.size, epoch)
        # A folder keeps its link count and next cookie: the same entries are about to be made in it.
        nlink = inode.nlink if inode.is_folder else 1
        self._database.write(
            _INSERT_INODE,
            (
                inode.ino, epoch, self._actor_id, inode.mode, inode.uid, inode.gid, nlink, inode.size, inode.mapped,
                content, inode.rdev, inode.atime_ns, inode.mtime_ns, self._clock.now_ns(), inode.btime_ns,
                inode.xattr_set, inode.next_cookie, inode.target,
            ),
        )  # fmt: skip
        if has_more_names:
            self._links[past] = inode.ino

    def _copy_content(self, past: int, size: int, epoch: int) -> int:
        content = self._counters.next("content")
        for low in range(0, size, STRETCH_BYTES) if size <= 64 * STRETCH_BYTES else self._stretches(past, size):
            where = (content, epoch, past, low, low + STRETCH_BYTES, self._epoch)
            self._database.write(_COPY_HISTORY, where)
            self._database.write(_COPY_LIVE, where)
        rows = self._database.rows("SELECT DISTINCT block FROM extents WHERE content = ?", (content,))
        self._blocks.share(row[0] for row in rows)
        return content

    def _stretches(self, past: int, size: int) -> list[int]:
        """Where a large, perhaps sparse, content has any extents at all."""
        starts = self._database.rows(
            "SELECT DISTINCT start / ?2 FROM (SELECT start FROM extents WHERE content = ?1"
            " UNION ALL SELECT start FROM extents_history WHERE content = ?1)",
            (past, STRETCH_BYTES),
        )
        return [row[0] * STRETCH_BYTES for row in starts if row[0] * STRETCH_BYTES < size]
