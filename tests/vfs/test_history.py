"""The past: every kept epoch stays what it was, and of all other epochs nothing is left."""

import shutil
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.still_drive import StillDrive

import vfs.contents
import vfs.pruning
from vfs.ids import NEVER, ROOT
from vfs.inodes import COLUMNS
from vfs.past import entries_as_of, entry_as_of, inode_as_of, pieces_as_of

FILE = stat.S_IFREG | 0o644
HISTORIES = ("inodes_history", "dentries_history", "extents_history")
names = st.sampled_from(["a", "b", "c"])
Moment = tuple[Any, ...]


def moment(still: StillDrive, epoch: int) -> Moment:
    """All that can be known of a kept epoch: its names, its inodes, its extents, its attributes."""
    query = still.drive.database.rows
    entries = entries_as_of(query, ROOT, epoch)
    for entry in entries:
        assert entry_as_of(query, ROOT, entry.name, epoch) == entry.ino
    inodes = [inode_as_of(query, ino, epoch) for ino in (ROOT, *(entry.ino for entry in entries))]
    facts = []
    for inode in inodes:
        assert inode is not None
        pieces = pieces_as_of(query, inode.content, epoch, 0, NEVER) if inode.content is not None else []
        attributes = still.drive.xattrs.read_set(inode.xattr_set)
        facts.append((*(getattr(inode, column.strip()) for column in COLUMNS.split(",")), pieces, attributes))
    return entries, facts


def kept_epochs(still: StillDrive) -> list[int]:
    return [row[0] for row in still.drive.database.rows("SELECT epoch FROM snapshots WHERE state = 'kept'")]


def unseen_rows(still: StillDrive) -> list[Any]:
    """By brute force: every past row, also of contents that are gone, that no kept epoch shows."""
    kept = kept_epochs(still)
    rows = [
        (table, since, until, *row)
        for table in HISTORIES
        for since, until, *row in still.drive.database.rows(f"SELECT since, until, * FROM {table}")
    ]
    rows += [
        ("gone", *row)
        for row in still.drive.database.rows(
            "SELECT since, gone, content, start, block FROM extents JOIN gone_contents USING (content)"
        )
    ]
    return [row for row in rows if not any(row[1] <= epoch < row[2] for epoch in kept)]


def change(still: StillDrive, what: str, name: str, number: int) -> None:
    """One change of a file in the root; made if it is missing."""
    if still.find(name) is None:
        still.do(still.create, name)
    if what == "write":
        still.do(still.write, name, bytes([1 + number]) * 10, 7 * number)
    elif what == "truncate":
        still.do(still.truncate, name, 9 * number)
    elif what == "remove":
        still.do(still.unlink, name)
    elif what == "rename":
        still.do(still.rename, name, "abc"[number % 3])
    else:
        still.drive.xattrs.set(still.inode(name), b"user.one", bytes([number]), 0)


CHANGES = ["write", "write", "truncate", "remove", "rename", "attribute"]
TIMES = ["keep", "keep", "keep", "delete", "reap", "reap a little", "close", "die", "rest"]
steps = st.tuples(st.sampled_from([*CHANGES, *CHANGES, *TIMES]), names, st.integers(0, 5))


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=15, max_size=50), st.booleans())
def test_kept_epochs_stay_and_nothing_else_does(fresh_state: Path, plan: list, is_tight: bool) -> None:
    folder = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        if is_tight:  # steps so small that every kind of work needs several
            patch.setattr(vfs.contents, "STEP_ROWS", 1)
            patch.setattr(vfs.pruning, "STEP_ROWS", 1)
            patch.setattr(vfs.contents, "SMALL_CONTENT", 0)
        still = StillDrive.opened(folder / "state", fresh_state)
        recorded: dict[str, Moment] = {}
        try:
            for what, name, number in [*plan, ("delete", "a", 0), ("reap", "a", 0)]:
                if what == "keep":
                    snapshot = still.snap()
                    recorded[snapshot.name] = moment(still, snapshot.epoch)
                elif what == "delete":
                    if recorded:
                        gone = sorted(recorded)[number % len(recorded)]
                        del recorded[gone]
                        still.drive.snapshots.delete(gone)
                        still.drive.cuts.log()
                elif what == "reap a little":
                    still.do(still.drive.reaper.round)
                elif what == "reap":
                    still.reap()
                    still.drive.cuts.log()
                    assert unseen_rows(still) == []
                elif what == "close":
                    still.drive.cuts.log()
                elif what in ("die", "rest"):
                    still.die() if what == "die" else still.rest()
                else:
                    change(still, what, name, number)
                for kept, then in recorded.items():
                    assert moment(still, still.drive.snapshots.get(kept).epoch) == then
            still.assert_sound()
        finally:
            still.abandon()
            shutil.rmtree(folder)


def history_of(still: StillDrive, name: str) -> list[Any]:
    still.drive.cuts.log()
    return still.drive.database.rows(
        "SELECT since, until, size FROM inodes_history WHERE ino = ? ORDER BY until", (still.inode(name).ino,)
    )


def test_first_change_of_an_epoch_leaves_a_copy_and_later_ones_do_not(still: StillDrive) -> None:
    still.do(still.write, "a", b"1")
    still.snap()
    for size in (2, 3, 4):
        still.do(still.truncate, "a", size)
        assert history_of(still, "a") == [(1, 2, 1)]


def test_nothing_is_kept_before_the_first_snapshot(still: StillDrive) -> None:
    for size in (2, 3, 4):
        still.do(still.write, "a", b"1" * size)
        still.do(still.rename, "a", "b")
        still.do(still.rename, "b", "a")
        still.drive.cuts.log()
    assert all(still.rows(table) == [] for table in HISTORIES)


def test_a_row_that_did_not_change_between_two_snapshots_leaves_one_copy(still: StillDrive) -> None:
    still.do(still.write, "a", b"1")
    still.snap()
    still.snap()
    still.do(still.truncate, "a", 5)
    assert history_of(still, "a") == [(1, 3, 1)]


def test_rows_change_in_place_again_once_the_newest_snapshot_is_deleted(still: StillDrive) -> None:
    still.do(still.write, "a", b"1")
    snapshot = still.snap()
    still.drive.snapshots.delete(snapshot.name)
    for size in (2, 3):
        still.do(still.truncate, "a", size)
        assert history_of(still, "a") == []


def test_the_past_is_there_between_two_changes(still: StillDrive) -> None:
    """As of an epoch in which nothing happened: what was true in the one before."""
    still.do(still.write, "a", b"1")
    epochs = [still.snap().epoch for _ in range(3)]
    still.do(still.unlink, "a")
    last = still.snap().epoch
    query = still.drive.database.rows
    inos = [entry_as_of(query, ROOT, b"a", epoch) for epoch in (*epochs, last)]
    assert inos[0] is not None
    assert inos == [inos[0], inos[0], inos[0], None]
    assert inode_as_of(query, inos[0], epochs[1]) is not None
    assert inode_as_of(query, inos[0], last) is None
    assert inode_as_of(query, inos[0], 0) is None


def test_readers_in_a_thread_see_a_kept_epoch_after_a_cut(still: StillDrive) -> None:
    still.do(still.write, "a", b"1")
    epoch = still.snap().epoch
    still.do(still.unlink, "a")
    still.do(still.drive.cuts.cut)
    entries = still.do(still.drive.past.in_thread, lambda query: entries_as_of(query, ROOT, epoch))
    assert [entry.name for entry in entries] == [b"Previous Versions", b"a"]
