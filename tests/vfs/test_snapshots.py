"""Snapshots: O(1) to make, named once, refused when held, and gone without a trace when deleted."""

from datetime import UTC, datetime

import pytest
import trio
from kit.drive_builder import DriveBuilder
from kit.still_drive import StillDrive

import vfs.pruning
from vfs.errors import InvalidArgument, NotFound, Refused
from vfs.snapshots import NAME_FORMAT, Snapshot


def statements_of_a_snapshot(still: StillDrive) -> int:
    """How many rows a snapshot writes once everything else is written."""
    still.drive.cuts.log()
    before = still.drive.cuts.uncommitted_rows()
    still.snap()
    return int(still.drive.cuts.uncommitted_rows() - before)


def test_a_snapshot_costs_the_same_whatever_the_drive_holds(still: StillDrive) -> None:
    empty = statements_of_a_snapshot(still)
    for number in range(200):
        still.do(still.write, f"file {number}", b"x")
    assert statements_of_a_snapshot(still) == empty
    assert empty < 10


def test_a_name_is_the_second_and_the_label(still: StillDrive) -> None:
    assert [still.snap().name, still.snap("before_work").name] == [
        "2027-01-15T08-00-01Z",
        "2027-01-15T08-00-02Z_before_work",
    ]


@pytest.mark.parametrize("label", ["", "_a", "a/b", "ä", "a b", "x" * 101])
def test_an_odd_label_is_refused(label: str, still: StillDrive) -> None:
    epoch = still.drive.epochs.current
    with pytest.raises(InvalidArgument):
        still.snap(label)
    assert still.drive.epochs.current == epoch


async def test_a_second_is_used_once(running: DriveBuilder) -> None:
    """Who asks twice within one second waits for the next; also for one that a deleted snapshot had."""
    first = await running.snapshot()
    running.drive.snapshots.delete(first.name)
    second = await running.snapshot()
    assert second.name > first.name


def test_a_second_is_used_once_over_a_restart(still: StillDrive) -> None:
    name = still.snap().name
    still.drive.snapshots.delete(name)
    still.reap()
    still.rest()
    assert still.drive.cache.counters.last("snapshot_second") == 1_800_000_001


def test_a_held_snapshot_is_not_deleted(still: StillDrive) -> None:
    name = still.snap(is_held=True).name
    still.rest()
    with pytest.raises(Refused):
        still.drive.snapshots.delete(name)
    still.drive.snapshots.hold(name, False)
    still.rest()
    still.drive.snapshots.delete(name)
    with pytest.raises(NotFound):
        still.drive.snapshots.get(name)


def test_holding_what_is_not_there_is_refused(still: StillDrive) -> None:
    with pytest.raises(NotFound):
        still.drive.snapshots.hold("2027-01-15T08-00-01Z", True)


def test_holding_keeps_the_order(still: StillDrive) -> None:
    names = [still.snap().name for _ in range(3)]
    still.drive.snapshots.hold(names[0], True)
    assert [snapshot.name for snapshot in still.drive.snapshots.all()] == names


def overwritten(still: StillDrive, count: int) -> Snapshot:
    """A snapshot of `count` files whose bytes, names and attributes were all changed since."""
    for number in range(count):
        still.do(still.write, f"{number}", b"old" * 100)
        still.drive.xattrs.set(still.inode(f"{number}"), b"user.n", b"%d" % number, 0)
    snapshot = still.snap()
    for number in range(count):
        still.do(still.write, f"{number}", b"new" * 100)
        still.drive.xattrs.remove(still.inode(f"{number}"), b"user.n", 0)
        still.do(still.rename, f"{number}", f"new {number}")
    still.drive.cuts.log()
    return snapshot


def test_bytes_of_a_deleted_snapshot_are_freed(still: StillDrive) -> None:
    snapshot = overwritten(still, 5)
    assert len(still.rows("blocks")) == 10
    still.drive.snapshots.delete(snapshot.name)
    still.reap()
    assert len(still.rows("blocks")) == len(still.rows("residency")) == 5
    assert sum(length for *_, length in still.rows("free_queue")) == 5 * 4096
    assert still.rows("xattr_sets") == []
    still.do(still.drive.cuts.cut)
    still.do(still.drive.cuts.cut)
    assert still.rows("free_queue") == []
    assert still.do(still.read, "new 3") == b"new" * 100


@pytest.mark.parametrize("ends", ["die", "rest"])
def test_deleting_goes_on_after_a_restart_in_the_middle(
    ends: str, still: StillDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vfs.pruning, "STEP_ROWS", 2)
    snapshot = overwritten(still, 5)
    still.drive.snapshots.delete(snapshot.name)
    rounds = 0
    while still.do(still.drive.reaper.round):
        still.drive.cuts.log()
        getattr(still, ends)()
        with pytest.raises(NotFound):
            still.drive.snapshots.get(snapshot.name)
        rounds += 1
        assert rounds < 100, "each life must get further"
        if rounds > 3:
            break
    still.reap()
    for table in ("snapshots", "inodes_history", "dentries_history", "extents_history", "xattr_sets"):
        assert still.rows(table) == []


def test_a_large_file_deleted_ahead_of_a_snapshot_leaves_nothing(still: StillDrive) -> None:
    """Its extents wait to be sifted when the epoch is kept; that epoch does not see them, so they must go."""
    for number in range(40):
        still.do(still.write, "large", b"x", 8192 * number)
    still.drive.cuts.log()
    still.do(still.unlink, "large")
    still.snap()
    still.reap()
    assert (still.rows("extents"), still.rows("gone_contents"), still.rows("blocks")) == ([], [], [])


def test_a_snapshot_that_a_crash_brings_back_is_unchanged(still: StillDrive) -> None:
    """Rows of an unacknowledged deletion come back; bytes that were overwritten in place would not."""
    still.do(still.write, "a", b"old")
    snapshot = still.snap()
    still.drive.snapshots.delete(snapshot.name)
    still.do(still.write, "a", b"new", 0)
    still.die()
    epoch = still.drive.snapshots.get(snapshot.name).epoch
    inode = still.drive.past.inode(still.inode("a").ino, epoch)
    assert inode is not None
    pieces = still.drive.contents.pieces(inode.content, 0, 3)
    assert bytes(still.do(still.drive.files.read_pieces, pieces, 0, 3)) == b"old"


async def test_clock_that_was_set_back_holds_nobody_up(running: DriveBuilder) -> None:
    """Somebody sets the clock back by a year: names go on from the last second used, and nobody waits a year."""
    drive = running.drive
    first = await drive.snapshots.create("before")
    drive.cache.counters.raise_to("snapshot_second", drive.clock.now_ns() // 10**9 + 365 * 86400)
    with trio.fail_after(5):
        second = await drive.snapshots.create("after")
    assert second.name > first.name
    assert second.bare_name == datetime.fromtimestamp(drive.cache.counters.last("snapshot_second"), UTC).strftime(
        NAME_FORMAT
    )
    assert second.created_ns <= drive.clock.now_ns(), "retention is told what the clock says"
