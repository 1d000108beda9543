"""The tree as of an epoch, read from rows.

One seek answers "as of e" for an inode or a name: of the history rows the first with until > e; the live row if there
is none. A folder, or a stretch of a file, is found by its forks (`forks.py`). What may be long (a folder's entries, a
file's extents) is read by a connection of its own in a thread, once per open, after a cut has made the epoch visible to
readers (T19). A past tree never changes, so nothing here is locked.

Rows in memory that are not written yet belong to the current epoch; what the database holds is exact for every kept
one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import trio

from cachefs.database import Database, rows_of
from vfs.epochs import Epochs
from vfs.extents import Piece
from vfs.forks import fork_list
from vfs.inodes import COLUMNS, Inode

T = TypeVar("T")
Query = Callable[[str, tuple[Any, ...]], list[Any]]

_INODE_PAST = f"SELECT {COLUMNS} FROM inodes_history WHERE ino = ? AND until > ? ORDER BY until LIMIT 1"
_INODE_LIVE = f"SELECT {COLUMNS} FROM inodes WHERE ino = ? AND since <= ?"
_ENTRY_PAST = (
    "SELECT since, ino, cookie FROM dentries_history WHERE parent = ? AND name = ? AND until > ? ORDER BY until LIMIT 1"
)
_ENTRY_LIVE = "SELECT since, ino, cookie FROM dentries WHERE parent = ? AND name = ? AND since <= ?"
_ENTRIES = (
    "SELECT cookie, name, ino FROM dentries WHERE parent = ?1 AND since <= ?2"
    " UNION ALL SELECT h.cookie, h.name, h.ino FROM json_each(?3) f CROSS JOIN dentries_history h"
    " ON h.fork = f.value AND h.parent = ?1 AND h.until > ?2 AND h.since <= ?2"
    " WHERE f.value < (SELECT epoch FROM clock)"
)
_EXTENTS = (
    "SELECT start, length, block, offset FROM extents WHERE content = ?1 AND start >= ?3 AND start < ?4 AND since <= ?2"
    " UNION ALL SELECT h.start, h.length, h.block, h.offset FROM json_each(?5) f"
    " CROSS JOIN extents_history h INDEXED BY extents_history_by_fork"
    " ON h.fork = f.value AND h.content = ?1 AND h.start >= ?3 AND h.start < ?4 AND h.until > ?2 AND h.since <= ?2"
    " WHERE f.value < (SELECT epoch FROM clock) ORDER BY start"
)


def _children() -> str:
    columns = [column.strip() for column in COLUMNS.split(",")]
    live, past = (", ".join(f"{table}.{column}" for column in columns) for table in ("i", "h"))
    return (
        f"SELECT d.cookie, d.name, d.ino, {live}, {past} FROM ({_ENTRIES}) d"
        " LEFT JOIN inodes i ON i.ino = d.ino AND i.since <= ?2"
        " LEFT JOIN inodes_history h ON i.ino IS NULL AND h.ino = d.ino AND h.since <= ?2"
        " AND h.until = (SELECT min(until) FROM inodes_history WHERE ino = d.ino AND until > ?2) ORDER BY d.cookie"
    )


_CHILDREN = _children()
_WIDTH = COLUMNS.count(",") + 1


class Entry(NamedTuple):
    """A name in a past folder."""

    cookie: int
    name: bytes
    ino: int


def inode_as_of(query: Query, ino: int, epoch: int) -> Inode | None:
    """The inode as it was at the end of the epoch, or None if there was none. Not part of the live table."""
    rows = query(_INODE_PAST, (ino, epoch)) or query(_INODE_LIVE, (ino, epoch))
    if not rows or rows[0][1] > epoch:
        return None
    return Inode(*rows[0])


def entry_as_of(query: Query, parent: int, name: bytes, epoch: int) -> int | None:
    """The inode number that a name stood for at the end of the epoch."""
    rows = query(_ENTRY_PAST, (parent, name, epoch)) or query(_ENTRY_LIVE, (parent, name, epoch))
    if not rows or rows[0][0] > epoch:
        return None
    return int(rows[0][1])


def entries_as_of(query: Query, parent: int, epoch: int) -> list[Entry]:
    """All names of a folder at the end of the epoch, in the order of their cookies."""
    return [Entry(*row) for row in query(f"{_ENTRIES} ORDER BY cookie", (parent, epoch, fork_list(epoch)))]


def children_as_of(query: Query, parent: int, epoch: int) -> list[tuple[Entry, Inode]]:
    """All names of a folder at the end of the epoch with the inodes they stood for; one query."""
    found = []
    for row in query(_CHILDREN, (parent, epoch, fork_list(epoch))):
        live, past = row[3 : 3 + _WIDTH], row[3 + _WIDTH :]
        inode = live if live[0] is not None else past
        if inode[0] is not None:
            found.append((Entry(*row[:3]), Inode(*inode)))
    return found


def pieces_as_of(query: Query, content: int, epoch: int, low: int, high: int) -> list[Piece]:
    """The extents of a content at the end of the epoch that start in [low, high)."""
    return [Piece(*row) for row in query(_EXTENTS, (content, epoch, low, high, fork_list(epoch)))]


class Past:
    """Past trees, for the rest of the core."""

    def __init__(self, database: Database, epochs: Epochs) -> None:
        self._database = database
        self._epochs = epochs
        self._reader = database.reader()
        self._one_thread = trio.CapacityLimiter(1)
        self._students = trio.CapacityLimiter(2)

    def inode(self, ino: int, epoch: int) -> Inode | None:
        """One inode; a seek."""
        return inode_as_of(self._database.rows, ino, epoch)

    def find(self, parent: int, name: bytes, epoch: int) -> int | None:
        """One name; a seek."""
        return entry_as_of(self._database.rows, parent, name, epoch)

    def resolve(self, anchor: int, names: list[bytes], epoch: int) -> int | None:
        """The inode number at the end of a path below the anchor."""
        ino: int | None = anchor
        for name in names:
            if ino is None:
                return None
            ino = self.find(ino, name, epoch)
        return ino

    async def children(self, parent: int, epoch: int) -> list[tuple[Entry, Inode]]:
        """All names of a past folder with the inodes they stood for."""
        return await self.in_thread(lambda query: children_as_of(query, parent, epoch))

    async def pieces(self, content: int, epoch: int, low: int, high: int) -> list[Piece]:
        """The extents of a past content that start in [low, high)."""
        return await self.in_thread(lambda query: pieces_as_of(query, content, epoch, low, high))

    async def in_thread(self, work: Callable[[Query], T]) -> T:
        """Run `work` with a query function over the last cut, which every kept epoch is part of."""
        await self._epochs.wait_visible()
        return await trio.to_thread.run_sync(work, self._query, limiter=self._one_thread)

    async def study(self, work: Callable[[Query], T]) -> T:
        """`in_thread` for what may take seconds, on a connection of its own: no reader of a file waits behind it."""
        await self._epochs.wait_visible()
        return await trio.to_thread.run_sync(self._study, work, limiter=self._students)

    def _study(self, work: Callable[[Query], T]) -> T:
        reader = self._database.reader()
        try:
            return work(lambda sql, parameters: rows_of(reader, sql, parameters))
        finally:
            reader.close()

    def _query(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        return rows_of(self._reader, sql, parameters)

    def close(self) -> None:
        self._reader.close()
