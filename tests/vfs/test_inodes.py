"""Inodes in memory: who may be forgotten, and when an orphan goes."""

import pytest
from kit.still_drive import StillDrive

import vfs.inodes
from vfs.errors import Stale
from vfs.ids import ROOT


def loaded(still: StillDrive) -> set[str]:
    return {path for path in "abcdefghijklmnop" if still.drive.inodes.loaded(numbers(still)[path]) is not None}


def numbers(still: StillDrive) -> dict[str, int]:
    rows = still.drive.database.rows("SELECT name, ino FROM dentries WHERE parent = ?", (ROOT,))
    return {name.decode(): ino for name, ino in rows}


@pytest.fixture
def crowded(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> StillDrive:
    """Sixteen files, and memory for few inodes."""
    for path in "abcdefghijklmnop":
        still.do(still.write, path, path.encode())
    still.rest()
    monkeypatch.setattr(vfs.inodes, "CACHED_INODES", 2)
    monkeypatch.setattr(vfs.inodes, "SPARED_INODES", 2)
    return still


def load_others(still: StillDrive) -> None:
    for path in "klmnop":
        still.inode(path)


def test_inodes_longest_unused_are_forgotten(crowded: StillDrive) -> None:
    for path in "abcdefghij":
        crowded.inode(path)
    assert "j" in loaded(crowded)
    assert "a" not in loaded(crowded)


def test_a_changed_inode_stays_until_it_is_written(crowded: StillDrive) -> None:
    inode = crowded.inode("a")
    inode.mode |= 0o111
    crowded.drive.inodes.touch(inode)
    load_others(crowded)
    assert crowded.inode("a") is inode
    crowded.drive.inodes.flush()
    load_others(crowded)
    assert crowded.inode("a") is not inode
    assert crowded.inode("a").mode == inode.mode


def test_an_open_inode_stays(crowded: StillDrive) -> None:
    inode = crowded.inode("a")
    crowded.drive.inodes.opened(inode)
    load_others(crowded)
    assert crowded.inode("a") is inode
    crowded.drive.inodes.released(inode)
    load_others(crowded)
    assert crowded.inode("a") is not inode


def test_an_orphan_goes_with_the_last_handle(still: StillDrive) -> None:
    still.do(still.write, "a", b"x")
    inode = still.inode("a")
    for _ in range(2):
        still.drive.inodes.opened(inode)
    still.do(still.unlink, "a")
    still.drive.inodes.released(inode)
    assert bytes(still.do(still.drive.files.read, inode, 0, 10)) == b"x"
    still.drive.inodes.released(inode)
    with pytest.raises(Stale):
        still.drive.inodes.get(inode.ino)
    assert still.rows("blocks") == []


def test_an_orphan_goes_with_the_last_forget(still: StillDrive) -> None:
    inode = still.do(still.create, "a")
    for _ in range(3):
        still.drive.inodes.looked_up(inode.ino)
    still.do(still.unlink, "a")
    still.drive.inodes.forget([(inode.ino, 2)])
    assert still.drive.inodes.is_known(inode.ino)
    still.drive.inodes.forget([(inode.ino, 1)])
    with pytest.raises(Stale):
        still.drive.inodes.get(inode.ino)


@pytest.mark.parametrize("forgets_first", [True, False])
def test_an_orphan_waits_for_handle_and_kernel(forgets_first: bool, still: StillDrive) -> None:
    inode = still.do(still.create, "a")
    steps = [
        lambda: still.drive.inodes.forget([(inode.ino, 1)]),
        lambda: still.drive.inodes.released(inode),
    ]
    still.drive.inodes.looked_up(inode.ino)
    still.drive.inodes.opened(inode)
    still.do(still.unlink, "a")
    first, last = steps if forgets_first else reversed(steps)
    first()
    assert still.drive.inodes.get(inode.ino) is inode
    last()
    with pytest.raises(Stale):
        still.drive.inodes.get(inode.ino)


@pytest.mark.parametrize("ends", ["rest", "die"])
def test_a_start_removes_every_orphan(ends: str, still: StillDrive) -> None:
    still.do(still.write, "a", b"x")
    still.do(still.mkdir, "b")
    for path in "ab":
        still.drive.inodes.looked_up(still.inode(path).ino)
    before = still.drive.inodes.count()
    still.do(still.unlink, "a")
    still.do(still.rmdir, "b")
    still.drive.cuts.log()
    assert still.drive.inodes.count() == before
    getattr(still, ends)()
    assert still.drive.inodes.count() == before - 2
    assert still.rows("blocks") == []
    assert len(still.rows("inodes")) == 4


def test_a_file_made_and_removed_leaves_no_row(still: StillDrive) -> None:
    before = still.rows("inodes"), still.drive.inodes.count()
    still.do(still.write, "a", b"x")
    still.do(still.unlink, "a")
    rows = still.rows("inodes")
    assert [row[0] for row in rows] == [row[0] for row in before[0]]
    assert still.drive.inodes.count() == before[1]


def test_a_number_is_never_used_again(still: StillDrive) -> None:
    used = set()
    for _ in range(3):
        ino = still.do(still.create, "a").ino
        assert ino not in used
        used.add(ino)
        still.do(still.unlink, "a")
        still.rest()
