"""Re-pointing: the extents of a block that is no more lead to the same bytes elsewhere.

Sealing turns one OPEN block into several, or finds its bytes in a block that is there already. Every extent that
pointed into it, live, gone or history, is split where it must be and keeps its epochs: this is the one change that a
closed row ever sees (I4), and no state of the drive shows any other byte after it.

Rows are changed behind the windows of `Contents`, which must have been flushed; those of the contents that are touched
are forgotten.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cachefs.database import Database
from vfs.extents import WINDOW_BYTES

_LIVE = "SELECT content, start, since, length, offset FROM extents WHERE block = ?"
_PAST = "SELECT content, start, until, since, length, offset FROM extents_history WHERE block = ?"


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


def join(database: Database, content: int, low: int, high: int, newest_kept: int) -> None:
    """Make one extent of neighbours in [low, high) that follow one another in their block.

    Those that a kept epoch sees stay as they are: removing one would leave a copy in history.
    """
    rows = database.rows(
        "SELECT start, length, block, offset FROM extents WHERE content = ? AND start >= ? AND start < ? AND since > ?"
        " ORDER BY start",
        (content, low, high, newest_kept),
    )
    kept: tuple[int, int, int, int] | None = None
    grown = False
    for row in rows:
        start, length, block, _ = row
        if kept is not None and _follows(kept, row):
            database.write("DELETE FROM extents WHERE content = ? AND start = ?", (content, start))
            kept, grown = (kept[0], kept[1] + length, block, kept[3]), True
            continue
        _grow(database, content, kept, grown)
        kept, grown = row, False
    _grow(database, content, kept, grown)


def _follows(before: tuple[int, int, int, int], after: tuple[int, int, int, int]) -> bool:
    is_next = before[0] + before[1] == after[0] and before[2] == after[2] and before[3] + before[1] == after[3]
    return is_next and after[0] % WINDOW_BYTES != 0  # no extent crosses a line of its content


def _grow(database: Database, content: int, row: tuple[int, int, int, int] | None, is_grown: bool) -> None:
    if row is not None and is_grown:
        database.write("UPDATE extents SET length = ? WHERE content = ? AND start = ?", (row[1], content, row[0]))
