"""Doors and views: numbers that stay, symlinks that lead there, and an even choice of what smbd sees."""

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.still_drive import StillDrive

from vfs.doors import thin
from vfs.errors import NotFound, Stale
from vfs.ids import FIRST_VIEW, PREVIOUS_VIEW, ROOT, SNAPSHOTS_VIEW, Epoch, in_view, view_of
from vfs.snapshots import Snapshot

SNAPSHOTS, PREVIOUS = in_view(SNAPSHOTS_VIEW, ROOT), in_view(PREVIOUS_VIEW, ROOT)


def of_ages(seconds: list[int]) -> list[Snapshot]:
    return [
        Snapshot(number, Epoch(number), f"s{number}", None, second * 10**9, False)
        for number, second in enumerate(sorted(seconds))
    ]


@given(st.lists(st.integers(0, 10**10), unique=True, max_size=80).map(of_ages), st.integers(1, 50))
def test_thinning_keeps_the_newest_and_no_more_than_asked(snapshots: list[Snapshot], most: int) -> None:
    kept = thin(snapshots, most)
    assert len(kept) == min(most, len(snapshots))
    assert set(kept) <= set(snapshots)
    assert [s.epoch for s in kept] == sorted({s.epoch for s in kept})
    assert not snapshots or kept[-1] == snapshots[-1]


def test_thinning_keeps_more_of_the_last_hours_than_of_last_year() -> None:
    hour, year = 3600, 365 * 86_400
    kept = thin(of_ages(list(range(0, year, hour))), 100)
    ages_h = [(year - snapshot.created_ns // 10**9) // hour for snapshot in kept]
    assert sum(age <= 48 for age in ages_h) > sum(age > 300 * 24 for age in ages_h) > 1


def test_a_view_keeps_its_number_over_a_restart(still: StillDrive) -> None:
    name = still.snap().name
    number = still.drive.doors.lookup(SNAPSHOTS, name.encode())
    assert view_of(number) >= FIRST_VIEW
    still.rest()
    assert still.drive.doors.lookup(SNAPSHOTS, name.encode()) == number
    doors = still.drive.doors
    assert [doors.behind(SNAPSHOTS, entry) for entry in doors.entries(SNAPSHOTS)] == [number]


def test_the_two_doors_of_the_root_are_two_views(still: StillDrive) -> None:
    snapshot = still.snap("label")
    one = still.drive.doors.lookup(SNAPSHOTS, snapshot.name.encode())
    other = still.drive.doors.lookup(PREVIOUS, snapshot.bare_name.encode())
    assert view_of(one) != view_of(other)
    assert still.drive.doors.epoch_of(view_of(one)) == still.drive.doors.epoch_of(view_of(other)) == snapshot.epoch


def test_a_number_of_a_view_is_never_used_again(still: StillDrive) -> None:
    used = set()
    for _ in range(3):
        name = still.snap().name
        number = view_of(still.drive.doors.lookup(SNAPSHOTS, name.encode()))
        assert number not in used
        used.add(number)
        still.drive.snapshots.delete(name)
        with pytest.raises(Stale):
            still.drive.doors.epoch_of(number)
        still.reap()
        still.rest()
        with pytest.raises(Stale):
            still.drive.doors.epoch_of(number)
    assert still.rows("views") == []


def test_previous_versions_come_and_go_with_their_snapshots(still: StillDrive) -> None:
    """The choice of which to show is kept, and never outlives what it was made from."""
    names: list[str] = []
    for number in range(4):
        names.append(still.snap().name)
        assert [entry.name.decode() for entry in still.drive.doors.entries(PREVIOUS)] == names
        if number % 2:
            still.drive.snapshots.delete(names.pop(0))
            assert [entry.name.decode() for entry in still.drive.doors.entries(PREVIOUS)] == names


def test_an_unknown_snapshot_is_not_found(still: StillDrive) -> None:
    for door in (SNAPSHOTS, PREVIOUS):
        with pytest.raises(NotFound):
            still.drive.doors.lookup(door, b"2027-01-15T08-00-01Z")


def test_a_link_follows_its_folder_to_where_it_is_now(still: StillDrive) -> None:
    still.do(still.mkdir, "a")
    folder = still.do(still.mkdir, "a/b")
    name = still.snap().name
    door = still.drive.doors.door_of(folder.ino, b".snapshots")
    assert door is not None
    link = still.drive.doors.lookup(door, name.encode())
    assert still.drive.doors.link_target(link) == b"../../../.snapshots/%s/a/b" % name.encode()
    still.do(still.rename, "a/b", "c")
    assert still.drive.doors.link_target(link) == b"../../.snapshots/%s/c" % name.encode()
    assert still.drive.doors.lookup(door, name.encode()) == link
    still.drive.inodes.looked_up(folder.ino)
    still.do(still.rmdir, "c")
    with pytest.raises(NotFound):
        still.drive.doors.link_target(link)


def test_doors_are_found_and_never_listed(still: StillDrive) -> None:
    folder = still.do(still.mkdir, "a")
    doors = still.drive.doors
    assert (doors.door_of(ROOT, b".snapshots"), doors.door_of(ROOT, b".previous")) == (SNAPSHOTS, PREVIOUS)
    assert doors.door_of(folder.ino, b".previous") is None
    assert doors.door_of(folder.ino, b"a") is None
    assert still.names() == ["a"]
    assert stat.S_ISLNK(still.inode("Previous Versions").mode)
