"""The versions of a file: its distinct contents in time, newest first. Read-only, run in a reader's thread."""

from collections.abc import Sequence
from typing import NamedTuple

from vfs.diff import NOW, same_bytes
from vfs.ids import ROOT
from vfs.inodes import Inode
from vfs.past import Query, entry_as_of, inode_as_of
from vfs.snapshots import Snapshot


class Version(NamedTuple):
    """One distinct content. `snapshot`: the newest that shows it; None for the live file."""

    snapshot: str | None
    size_bytes: int
    mtime_ns: int
    actor_id: int
    is_live: bool


def versions(query: Query, names: Sequence[bytes], snapshots: Sequence[Snapshot]) -> list[Version]:
    """Every distinct content that the path (names from the root down) ever showed, newest first. Folders have none."""
    found: list[Version] = []
    last: tuple[Inode, int] | None = None
    moments: list[tuple[str | None, int]] = [(None, NOW), *((s.name, int(s.epoch)) for s in reversed(snapshots))]
    for name, epoch in moments:
        inode = _at(query, names, epoch)
        if inode is None or not inode.is_file:
            last = None
            continue
        if last is None or not _is_same(query, last[0], last[1], inode, epoch):
            found.append(Version(name, inode.size, inode.mtime_ns, inode.actor_id, name is None))
        last = (inode, epoch)
    return found


def _at(query: Query, names: Sequence[bytes], epoch: int) -> Inode | None:
    ino: int | None = ROOT
    for name in names:
        ino = entry_as_of(query, ino, name, epoch) if ino is not None else None
    return inode_as_of(query, ino, epoch) if ino is not None else None


def _is_same(query: Query, newer: Inode, newer_epoch: int, older: Inode, older_epoch: int) -> bool:
    if newer.ino == older.ino and newer.since == older.since:
        return True
    return same_bytes(query, newer, newer_epoch, older, older_epoch)
