"""Re-pointing: the extents of a block that is no more lead to the same bytes elsewhere.

Sealing turns one OPEN block into several, or finds its bytes in a block that is there already. Every extent that
pointed into it, live, gone or history, is split where it must be and keeps its epochs: this is the one change that a
closed row ever sees (I4), and no state of the drive shows any other byte after it.

Rows are changed behind the windows of `Contents`, which must have been flushed; those of the contents that are touched
are forgotten.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cachefs.database import Database
from vfs.extents import WINDOW_BYTES

_LIVE = "SELECT content, start, since, length, offset FROM extents WHERE block = ?"
_PAST = "SELECT content, start, until, since, length, offset FROM extents_history WHERE block = ?"
_KEPT_BETWEEN = "SELECT EXISTS (SELECT 1 FROM snapshots WHERE epoch >= ? AND epoch < ?)"


class Target(NamedTuple):
    """Bytes [start, start + length) of the old block are bytes from `offset` of block number `block`."""

    start: int
    length: int
    block: int
    offset: int


class Uncovered(Exception):
    """An extent points to bytes for which there is no target. Nothing was changed."""


def used_ranges(database: Database, block: int) -> list[tuple[int, int]]:
    """The bytes of the block that any extent points to, as sorted ranges [low, high) that do not touch."""
    rows = database.rows(
        "SELECT offset, length FROM extents WHERE block = ?1"
        " UNION ALL SELECT offset, length FROM extents_history WHERE block = ?1 ORDER BY offset",
        (block,),
    )
    return union((offset, offset + length) for offset, length in rows)


def union(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges [low, high), sorted by `low`, with those that touch made one."""
    found: list[tuple[int, int]] = []
    for low, high in ranges:
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found


def without(ranges: Iterable[tuple[int, int]], done: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of `ranges` is not in `done`; both as `union` gives them."""
    found = []
    for low, high in ranges:
        for begin, end in done:
            if begin >= high:
                break
            if end <= low:
                continue
            if begin > low:
                found.append((low, begin))
            low = end
        if low < high:
            found.append((low, high))
    return found


def split(targets: Sequence[Target], offset: int, length: int) -> list[Target]:
    """What covers bytes [offset, offset + length) of the old block. `targets`: sorted. Raises Uncovered."""
    found: list[Target] = []
    index = bisect_right(targets, offset, key=lambda target: target.start) - 1
    position, end = offset, offset + length
    while position < end:
        if index < 0 or index >= len(targets):
            raise Uncovered
        target = targets[index]
        skip = position - target.start
        if not 0 <= skip < target.length:
            raise Uncovered
        size = min(end - position, target.length - skip)
        found.append(Target(position - offset, size, target.block, target.offset + skip))
        position += size
        index += 1
    return found


def repoint(database: Database, block: int, targets: Sequence[Target]) -> set[int]:
    """Let all extents of `block` lead to `targets`, in the running operation. Returns the contents that were touched.

    Raises Uncovered, before anything was changed.
    """
    live = [(row, split(targets, row[4], row[3])) for row in database.rows(_LIVE, (block,))]
    past = [(row, split(targets, row[5], row[4])) for row in database.rows(_PAST, (block,))]
    for (content, start, since, _, _), (first, *others) in live:
        database.write(
            "UPDATE extents SET length = ?, block = ?, offset = ? WHERE content = ? AND start = ?",
            (first.length, first.block, first.offset, content, start),
        )
        for one in others:
            values = (content, start + one.start, since, one.length, one.block, one.offset)
            database.write("INSERT INTO extents VALUES (?, ?, ?, ?, ?, ?)", values)
    for (content, start, until, since, _, _), (first, *others) in past:
        database.write(
            "UPDATE extents_history SET length = ?, block = ?, offset = ?"
            " WHERE content = ? AND start = ? AND until = ?",
            (first.length, first.block, first.offset, content, start, until),
        )
        for one in others:
            closed = (content, start + one.start, until, since, one.length, one.block, one.offset)
            database.write("INSERT INTO extents_history VALUES (?, ?, ?, ?, ?, ?, ?)", closed)
    return {row[0] for row, _ in live}


def join(database: Database, content: int, low: int, high: int) -> None:
    """Make one extent of neighbours in [low, high) that follow one another in their block.

    Only such as every kept epoch sees both of, or neither: then no state shows a difference. They are removed as those
    of a given-up content are, without a copy in history, which would hold what the joined extent says already.
    """
    if database.row("SELECT 1 FROM gone_contents WHERE content = ?", (content,)) is not None:
        return
    rows = database.rows(
        "SELECT start, length, block, offset, since FROM extents WHERE content = ? AND start >= ? AND start < ?"
        " ORDER BY start",
        (content, low, high),
    )
    grown: list[_Joined] = []
    one: _Joined | None = None
    for start, length, block, offset, since in rows:
        if one is not None and one.is_followed_by(start, block, offset) and one.is_seen_with(database, since):
            one.length += length
            one.since, one.newest = min(one.since, since), max(one.newest, since)
            one.removed.append(start)
            if len(one.removed) == 1:
                grown.append(one)
        else:
            one = _Joined(start, length, block, offset, since, since)
    if not grown:
        return
    database.write("INSERT INTO gone_contents VALUES (?, 0, 1)", (content,))
    for joined in grown:
        for start in joined.removed:
            database.write("DELETE FROM extents WHERE content = ? AND start = ?", (content, start))
    database.write("DELETE FROM gone_contents WHERE content = ?", (content,))
    for joined in grown:  # `since` only ever gets smaller here, which is no change to the rule of history
        values = (joined.length, joined.since, content, joined.start)
        database.write("UPDATE extents SET length = ?, since = ? WHERE content = ? AND start = ?", values)


@dataclass
class _Joined:
    """An extent, and the starts of those that it takes in; `since` and `newest` of all of them."""

    start: int
    length: int
    block: int
    offset: int
    since: int
    newest: int
    removed: list[int] = field(default_factory=list)

    def is_followed_by(self, start: int, block: int, offset: int) -> bool:
        is_next = self.start + self.length == start and self.block == block and self.offset + self.length == offset
        return is_next and start % WINDOW_BYTES != 0  # no extent crosses a line of its content

    def is_seen_with(self, database: Database, since: int) -> bool:
        low, high = min(self.since, since), max(self.newest, since)
        return low == high or not database.row(_KEPT_BETWEEN, (low, high))[0]
