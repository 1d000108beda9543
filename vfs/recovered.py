"""A drive that came back from its store: the tables of a checkpoint and the log behind it, made fit for a new machine.

What is of the old machine is gone with it. Names and attributes are those of the last entry; bytes are where the
catalog says. What had not been sent is *lost*: blocks that no pack has. So for every live file that needs one:

    a version of the file, or of what had its name before it,   the file holds that version: the newest complete one
    that a kept epoch saw, is complete
    none is                                                     the file keeps its name, its size and what was sent;
                                                                whoever reads the rest is told that it is lost

Either is listed by path. A past state is never changed: a snapshot that saw a file half sent shows it so. Nothing is
silently zero, and a lost block never satisfies dedupe: the same bytes saved again heal every version (T20).

Runs on a database that nobody serves, in one transaction: all of it or nothing.
"""

from typing import NamedTuple

from cachefs.database import Database
from vfs.check import path_of
from vfs.extents import Piece
from vfs.inodes import Inode
from vfs.past import inode_as_of, pieces_as_of
from vfs.state import LOCAL_TABLES

LOST = "lost"  # local counter: how many blocks a recovery did not find; 0 or none = there never was one

_LOST_BLOCKS = "SELECT block FROM blocks WHERE block NOT IN (SELECT block FROM catalog)"
_STILL_LOST = f"{_LOST_BLOCKS} AND block NOT IN (SELECT block FROM residency)"
_SUFFERING = (
    "SELECT ino FROM inodes WHERE nlink > 0 AND content IN"
    f" (SELECT content FROM extents WHERE block IN ({_LOST_BLOCKS})) ORDER BY ino"
)
_VERSIONS = (
    "SELECT max(s.epoch) FROM inodes_history h JOIN snapshots s ON s.state = 'kept' AND s.epoch >= h.since"
    " AND s.epoch < h.until WHERE h.ino = ? GROUP BY h.until ORDER BY h.until DESC"
)
_EARLIER = (
    "SELECT h.ino, max(s.epoch) FROM dentries_history h JOIN snapshots s ON s.state = 'kept' AND s.epoch >= h.since"
    " AND s.epoch < h.until WHERE h.parent = ? AND h.name = ? AND h.ino != ? GROUP BY h.until ORDER BY h.until DESC"
)


class Behind(NamedTuple):
    """A file whose newest bytes had not all been sent.

    `missing_bytes` of its newest version are lost. `version_ns`: when the version that it holds now was written; None
    when no complete one was found, so that it still is the newest, with holes that cannot be read.
    """

    path: bytes
    size_bytes: int
    missing_bytes: int
    version_ns: int | None


def forget_machine(database: Database, position: int) -> None:
    """Empty the tables of the machine that was. The next cut is the one behind `position`."""
    for table in sorted(LOCAL_TABLES):
        database.write(f"DELETE FROM {table}")
    database.write("INSERT INTO local_counters VALUES ('cut', ?)", (position,))


def lost_blocks(database: Database) -> set[int]:
    """Blocks that a recovery did not find, and that have not been saved anew since."""
    if database.row("SELECT value FROM local_counters WHERE name = ?", (LOST,)) is None:
        return set()
    return {block for (block,) in database.rows(_STILL_LOST)}


def put_back(database: Database, now_ns: int) -> list[Behind]:
    """Give every file the newest version that is complete; list what was behind, by path."""
    return _PuttingBack(database, now_ns).run()


class _PuttingBack:
    def __init__(self, database: Database, now_ns: int) -> None:
        self._database = database
        self._now_ns = now_ns
        self._epoch: int = database.row("SELECT epoch FROM clock")[0]
        self._lost: set[int] = set()

    def run(self) -> list[Behind]:
        database = self._database
        self._lost = {block for (block,) in database.rows(_LOST_BLOCKS)}
        if not self._lost:
            return []
        behind = [self._mend(ino) for ino in self._suffering()]
        # What was never sealed has no name that anything could match. As if it were sealed, nobody writes to it.
        database.write("UPDATE blocks SET block_id = randomblob(32), shared = 1 WHERE block_id IS NULL")
        database.write("INSERT INTO local_counters VALUES (?, ?)", (LOST, len(self._lost)))
        return sorted(one for one in behind if one is not None)

    def _suffering(self) -> list[int]:
        """Live files that need a lost block."""
        return [ino for (ino,) in self._database.rows(_SUFFERING)]

    def _mend(self, ino: int) -> Behind | None:
        rows = self._database.rows
        size, content = self._database.row("SELECT size, content FROM inodes WHERE ino = ?", (ino,))
        missing = sum(
            length
            for length, block in rows("SELECT length, block FROM extents WHERE content = ?", (content,))
            if block in self._lost
        )
        path = path_of(self._database.row, ino)
        found = self._newest_complete(ino)
        version_ns = self._take(ino, content, *found) if found is not None else None
        if path is None:
            return None  # in the workshop or the attic: reaped at the start
        return Behind(path, size, missing, version_ns)

    def _newest_complete(self, ino: int) -> tuple[Inode, list[Piece]] | None:
        """The newest version of the file, or else of what had its name, that can be read whole."""
        for (epoch,) in self._database.rows(_VERSIONS, (ino,)):
            if found := self._whole(ino, epoch):
                return found
        for parent, name in self._database.rows("SELECT parent, name FROM dentries WHERE ino = ?", (ino,)):
            for earlier, epoch in self._database.rows(_EARLIER, (parent, name, ino)):
                if found := self._whole(earlier, epoch):
                    return found
        return None

    def _whole(self, ino: int, epoch: int) -> tuple[Inode, list[Piece]] | None:
        """The file as it was at the end of the epoch, with its extents, if it held something and none of it is lost."""
        past = inode_as_of(self._database.rows, ino, epoch)
        if past is None or not past.is_file or past.content is None or not past.size:
            return None
        pieces = pieces_as_of(self._database.rows, past.content, epoch, 0, past.size)
        if not pieces or any(piece.block in self._lost for piece in pieces):
            return None
        return past, pieces

    def _take(self, ino: int, content: int, past: Inode, pieces: list[Piece]) -> int:
        """Let the file hold what `past` held. Returns when that was written."""
        database = self._database
        new = self._next_content()
        for piece in pieces:
            row = (new, piece.start, self._epoch, piece.length, piece.block, piece.offset)
            database.write("INSERT INTO extents VALUES (?, ?, ?, ?, ?, ?)", row)
        database.write("INSERT OR IGNORE INTO gone_contents VALUES (?, ?, 0)", (content, self._epoch))
        database.write(
            "UPDATE inodes SET content = ?, size = ?, mapped = ?, mtime_ns = ?, ctime_ns = ?, since = ?, actor_id = 0"
            " WHERE ino = ?",
            (new, past.size, past.mapped, past.mtime_ns, self._now_ns, self._epoch, ino),
        )
        return past.mtime_ns

    def _next_content(self) -> int:
        # A leased counter: the row says up to where numbers may have been handed out.
        value: int = self._database.row("SELECT value FROM counters WHERE name = 'content'")[0] + 1
        self._database.write("UPDATE counters SET value = ? WHERE name = 'content'", (value,))
        return value
