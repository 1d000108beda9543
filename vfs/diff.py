"""What differs between a folder as it was and as it is now. Read-only, run in a reader's thread.

Two files are equal when nobody could tell them apart by reading: type, permissions, owner, size, modification time,
target, attributes, and the same extents over the same blocks. Times of access and change of status do not count.

A folder is compared at once: its entries by one query a side, the extents of all pairs of files that look alike by a
few more. So a hundred thousand files cost a second or two, not a query each.
"""

import stat
from collections.abc import Iterator
from typing import Literal, NamedTuple

from vfs.extents import Piece
from vfs.forks import fork_list
from vfs.ids import NEVER
from vfs.inodes import Inode
from vfs.past import Query, children_as_of, inode_as_of

NOW = NEVER - 1  # an epoch that only live rows reach
CONTENTS_PER_QUERY = 400
_MARKS = ",".join(f"?{number + 3}" for number in range(CONTENTS_PER_QUERY))
_EXTENTS = (
    f"SELECT content, start, length, block, offset FROM extents WHERE content IN ({_MARKS}) AND since <= ?1"
    " UNION ALL SELECT h.content, h.start, h.length, h.block, h.offset FROM json_each(?2) f"
    f" CROSS JOIN extents_history h ON h.fork = f.value AND h.content IN ({_MARKS}) AND h.until > ?1 AND h.since <= ?1"
    " WHERE f.value < (SELECT epoch FROM clock) ORDER BY content, start"
)

Change = Literal["added", "removed", "changed"]
Children = dict[bytes, Inode]


class Difference(NamedTuple):
    """What bringing the past back would do to one path below the folder (b'' is the folder itself)."""

    path: bytes
    change: Change
    mode: int


def differences(query: Query, past: int | None, epoch: int, live: int | None) -> Iterator[Difference]:
    """All differences, a folder before what is in it. `past`, `live`: inode numbers, None = was not, is not there."""
    then = inode_as_of(query, past, epoch) if past is not None else None
    now = inode_as_of(query, live, NOW) if live is not None else None
    here: Children = {b"": then} if then is not None else {}
    there: Children = {b"": now} if now is not None else {}
    yield from _compare(query, b"", here, epoch, there)


def _compare(query: Query, path: bytes, then: Children, epoch: int, now: Children) -> Iterator[Difference]:
    """Compare the entries of one folder, given by name, and then what is below them."""
    alike = [
        (name, then[name], now[name])
        for name in then.keys() & now.keys()
        if stat.S_IFMT(then[name].mode) == stat.S_IFMT(now[name].mode)
    ]
    changed = _changed(query, alike, epoch)
    same_type = {name for name, _, _ in alike}
    for name in sorted(then.keys() | now.keys()):
        place = _join(path, name)
        if name not in same_type:
            if name in now:
                yield from _all_of(query, place, now[name], NOW, "removed")
            if name in then:
                yield from _all_of(query, place, then[name], epoch, "added")
            continue
        if name in changed:
            yield Difference(place, "changed", now[name].mode)
        if then[name].is_folder:
            inside = _children(query, then[name], epoch)
            yield from _compare(query, place, inside, epoch, _children(query, now[name], NOW))


def _children(query: Query, folder: Inode, epoch: int) -> Children:
    return {entry.name: inode for entry, inode in children_as_of(query, folder.ino, epoch)}


def _all_of(query: Query, path: bytes, inode: Inode, epoch: int, change: Change) -> Iterator[Difference]:
    yield Difference(path, change, inode.mode)
    if inode.is_folder:
        for name, child in _children(query, inode, epoch).items():
            yield from _all_of(query, _join(path, name), child, epoch, change)


def _changed(query: Query, pairs: list[tuple[bytes, Inode, Inode]], epoch: int) -> set[bytes]:
    """Which of these pairs of the same type differ."""
    changed: set[bytes] = set()
    doubtful: list[tuple[bytes, Inode, Inode]] = []
    for name, then, now in pairs:
        if then.ino == now.ino and now.since <= epoch:
            continue
        if _attributes(then) != _attributes(now):
            changed.add(name)
        elif then.is_file:
            doubtful.append((name, then, now))
    past = _extents(query, [then.content for _, then, _ in doubtful], epoch)
    live = _extents(query, [now.content for _, _, now in doubtful], NOW)
    changed.update(name for name, then, now in doubtful if past.get(then.content) != live.get(now.content))
    return changed


def _attributes(inode: Inode) -> tuple[object, ...]:
    shown = (inode.mode, inode.uid, inode.gid, inode.rdev, inode.target, inode.xattr_set)
    # A folder's size and times follow from its entries.
    return shown if inode.is_folder else (*shown, inode.size, inode.mtime_ns)


def same_bytes(query: Query, one: Inode, one_epoch: int, other: Inode, other_epoch: int) -> bool:
    """Whether two files are made of the same bytes of the same blocks."""
    if one.size != other.size:
        return False
    first = _extents(query, [one.content], one_epoch).get(one.content)
    return first == _extents(query, [other.content], other_epoch).get(other.content)


def _extents(query: Query, contents: list[int | None], epoch: int) -> dict[int | None, list[Piece]]:
    """The extents of contents at the end of the epoch; neighbours that continue each other are joined."""
    wanted = [content for content in contents if content is not None]
    found: dict[int | None, list[Piece]] = {}
    for first in range(0, len(wanted), CONTENTS_PER_QUERY):
        part = wanted[first : first + CONTENTS_PER_QUERY]
        part += [0] * (CONTENTS_PER_QUERY - len(part))  # always the same statement
        for content, *piece in query(_EXTENTS, (epoch, fork_list(epoch), *part)):
            _append(found.setdefault(content, []), Piece(*piece))
    return found


def _append(pieces: list[Piece], piece: Piece) -> None:
    if pieces:
        last = pieces[-1]
        continues = last.start + last.length == piece.start and last.offset + last.length == piece.offset
        if continues and last.block == piece.block:
            pieces[-1] = last._replace(length=last.length + piece.length)
            return
    pieces.append(piece)


def _join(path: bytes, name: bytes) -> bytes:
    return path + b"/" + name if path and name else path or name
