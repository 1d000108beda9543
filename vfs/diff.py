"""What differs between a folder as it was and as it is now. Read-only, run in a reader's thread.

Two files are equal when nobody could tell them apart by reading: type, permissions, owner, size, modification time,
target, attributes, and the same extents over the same blocks. Times of access and change of status do not count.
"""

import stat
from collections.abc import Iterator
from typing import Literal, NamedTuple

from vfs.extents import Piece
from vfs.inodes import Inode
from vfs.past import Query, entries_as_of, inode_as_of, pieces_as_of
from vfs.snapshots import NEVER

NOW = NEVER - 1  # an epoch that only live rows reach
Change = Literal["added", "removed", "changed"]


class Difference(NamedTuple):
    """What bringing the past back would do to one path below the folder (b'' is the folder itself)."""

    path: bytes
    change: Change
    mode: int


def differences(query: Query, past: int | None, epoch: int, live: int | None) -> Iterator[Difference]:
    """All differences, folders before what is in them. `past`, `live`: inode numbers, None = was not, is not there."""
    yield from _compare(query, b"", past, epoch, live)


def _compare(query: Query, path: bytes, past: int | None, epoch: int, live: int | None) -> Iterator[Difference]:
    then = inode_as_of(query, past, epoch) if past is not None else None
    now = inode_as_of(query, live, NOW) if live is not None else None
    if then is not None and now is not None and stat.S_IFMT(then.mode) != stat.S_IFMT(now.mode):
        yield from _all_of(query, path, now, NOW, "removed")
        yield from _all_of(query, path, then, epoch, "added")
    elif then is None and now is not None:
        yield from _all_of(query, path, now, NOW, "removed")
    elif then is not None and now is None:
        yield from _all_of(query, path, then, epoch, "added")
    elif then is not None and now is not None:
        if not _is_equal(query, then, epoch, now):
            yield Difference(path, "changed", now.mode)
        if then.is_folder:
            yield from _compare_entries(query, path, then.ino, epoch, now.ino)


def _compare_entries(query: Query, path: bytes, past: int, epoch: int, live: int) -> Iterator[Difference]:
    then = {entry.name: entry.ino for entry in entries_as_of(query, past, epoch)}
    now = {entry.name: entry.ino for entry in entries_as_of(query, live, NOW)}
    for name in sorted(then.keys() | now.keys()):
        yield from _compare(query, _join(path, name), then.get(name), epoch, now.get(name))


def _all_of(query: Query, path: bytes, inode: Inode, epoch: int, change: Change) -> Iterator[Difference]:
    yield Difference(path, change, inode.mode)
    if inode.is_folder:
        for entry in entries_as_of(query, inode.ino, epoch):
            child = inode_as_of(query, entry.ino, epoch)
            if child is not None:
                yield from _all_of(query, _join(path, entry.name), child, epoch, change)


def _is_equal(query: Query, then: Inode, epoch: int, now: Inode) -> bool:
    if then.ino == now.ino and now.since <= epoch:
        return True
    if (then.mode, then.uid, then.gid, then.rdev, then.target, then.xattr_set) != (
        now.mode,
        now.uid,
        now.gid,
        now.rdev,
        now.target,
        now.xattr_set,
    ):
        return False
    if then.is_folder:
        return True  # its times follow from its entries
    return (then.size, then.mtime_ns) == (now.size, now.mtime_ns) and same_bytes(query, then, epoch, now, NOW)


def same_bytes(query: Query, one: Inode, one_epoch: int, other: Inode, other_epoch: int) -> bool:
    """Whether two files are made of the same bytes of the same blocks."""
    if one.size != other.size:
        return False
    return _pieces(query, one, one_epoch) == _pieces(query, other, other_epoch)


def _pieces(query: Query, inode: Inode, epoch: int) -> list[Piece]:
    if inode.content is None:
        return []
    joined: list[Piece] = []
    for piece in pieces_as_of(query, inode.content, epoch, 0, NEVER):
        last = joined[-1] if joined else None
        if (
            last
            and last.block == piece.block
            and last.start + last.length == piece.start
            and last.offset + last.length == piece.offset
        ):
            joined[-1] = last._replace(length=last.length + piece.length)
        else:
            joined.append(piece)
    return joined


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path else name
