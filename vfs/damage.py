"""Which files a damaged page is part of: the words for whoever must do something about it.

A page belongs to one block; the extents that point there, live or past, lead to contents, inodes and names. The live
way is short. The past has no index for it, so `hits` looks through tables: for a reader in a thread, and rare.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cachefs.errors import BytesDamaged
from cachefs.sums import PAGE_BYTES
from vfs.ids import ROOT
from vfs.past import Past, Query
from vfs.snapshots import Snapshot

log = logging.getLogger(__name__)

LATEST = 1 << 62  # later than any epoch
MOST_LOST = 100  # blocks whose files are named

_EXTENTS = (
    "SELECT content, start, offset, length, since, ?4 FROM extents"
    " WHERE block = ?1 AND offset < ?3 AND offset + length > ?2"
    " UNION ALL SELECT content, start, offset, length, since, until FROM extents_history"
    " WHERE block = ?1 AND offset < ?3 AND offset + length > ?2"
)
_INODES = (
    "SELECT ino, since, ?2 FROM inodes WHERE content = ?1"
    " UNION ALL SELECT ino, since, until FROM inodes_history WHERE content = ?1"
)
_NAMES = "SELECT parent, name FROM dentries WHERE ino = ?"
_PAST_NAME = (
    "SELECT parent, name FROM dentries WHERE ino = ?1 AND since <= ?2"
    " UNION ALL SELECT parent, name FROM dentries_history WHERE ino = ?1 AND since <= ?2 AND until > ?2 LIMIT 1"
)


class DamageLog:
    """The lines of the log about damaged pages: one for each, written before whoever met it first hears of the error.

    A page is a block and an offset in it. Who only passes by, as an upload, does not use up the line: it is for those
    who know whose bytes they wanted.
    """

    def __init__(self) -> None:
        self._told: set[tuple[int, int]] = set()

    def is_news(self, page: tuple[int, int]) -> bool:
        """Whether no line tells of the page yet."""
        return page not in self._told

    def report(self, where: str, offset: int, page: tuple[int, int], error: Exception) -> None:
        """The line: `where` names the file, as far as it has a name, `offset` the place in it."""
        self._told.add(page)
        log.error(
            "%s is damaged at byte %d: %s. Nobody is given these 4 KiB; all other bytes are good. Save them anew, or"
            " bring the file back from a backup; `hybrid-drive scrub` looks for more; have the disk looked at.",
            where,
            offset,
            error,
        )

    async def report_page(self, past: Past, error: BytesDamaged, snapshots: Sequence[Snapshot]) -> None:
        """`report` a page that nobody has asked for, under the first file that it is part of."""
        page, end = (error.block, error.offset), error.offset + PAGE_BYTES
        if not self.is_news(page):
            return
        found = await past.study(lambda query: list(hits(query, error.block, error.offset, end, snapshots)))
        if self.is_news(page):  # still, after the search
            hit = found[0] if found else Hit(None, 0, ())
            where = os.fsdecode(hit.path) if hit.path is not None else "a file without a name"
            self.report(where + (f" as {hit.shown_by[-1]} shows it" if hit.shown_by else ""), hit.offset, page, error)


async def report_lost(past: Past, blocks: Sequence[int], snapshots: Sequence[Snapshot]) -> None:
    """Name the files of blocks of which neither the store nor this machine has the bytes; of the first few blocks."""

    def look(query: Query) -> list[str]:
        found = [hit for block in blocks[:MOST_LOST] for hit in hits(query, block, 0, LATEST, snapshots)]
        shown = {(hit.path, hit.shown_by[-1] if hit.shown_by else None) for hit in found if hit.path is not None}
        return sorted(os.fsdecode(path) + (f" as {by} shows it" if by else "") for path, by in shown if path)

    for where in await past.study(look):
        log.error(
            "%s has bytes that neither the store nor this machine has any more. Save the file again, or copy it back"
            " from a backup: that heals every version with the same bytes.",
            where,
        )


class Hit(NamedTuple):
    """A file with damaged bytes. `path` from the root; None: it has no name. `offset`: the first of them in the file.

    `shown_by`: names of the snapshots that show the damage, oldest first; the live file when there are none.
    """

    path: bytes | None
    offset: int
    shown_by: tuple[str, ...]


def paths_of(query: Query, ino: int) -> list[bytes]:
    """All paths of a live inode from the root."""
    return [path for parent, name in query(_NAMES, (ino,)) if (path := _path(query, parent, name)) is not None]


def _path(query: Query, parent: int, name: bytes, epoch: int | None = None) -> bytes | None:
    names = [name]
    while parent != ROOT:
        rows = query(_NAMES, (parent,)) if epoch is None else query(_PAST_NAME, (parent, epoch))
        if not rows or len(names) > 4096:
            return None
        parent, name = rows[0]
        names.append(name)
    return b"/".join(reversed(names))


def hits(query: Query, block: int, low: int, high: int, snapshots: Iterable[Snapshot]) -> Iterator[Hit]:
    """The files with a byte of [low, high) of the block: live ones, then those that snapshots show."""
    kept = [(int(snapshot.epoch), snapshot.name) for snapshot in snapshots]
    past: dict[tuple[int, int], set[tuple[int, str]]] = {}  # inode, byte -> epochs and snapshots that show it
    for content, start, offset, _, since, until in query(_EXTENTS, (block, low, high, LATEST)):
        byte = start + max(0, low - offset)
        for ino, born, gone in query(_INODES, (content, LATEST)):
            if until == gone == LATEST:
                yield from _live(query, ino, byte)
            shown_by = {one for one in kept if max(since, born) <= one[0] < min(until, gone)}
            if shown_by:
                past.setdefault((ino, byte), set()).update(shown_by)
    for (ino, byte), shown in past.items():
        in_order = sorted(shown)
        newest = in_order[-1][0]
        names = query(_PAST_NAME, (ino, newest))
        path = _path(query, names[0][0], names[0][1], newest) if names else None
        yield Hit(path, byte, tuple(name for _, name in in_order))


def _live(query: Query, ino: int, byte: int) -> list[Hit]:
    return [Hit(path, byte, ()) for path in paths_of(query, ino)] or [Hit(None, byte, ())]
