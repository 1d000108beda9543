"""What is kept in memory does not grow with what was done, only with what is in use."""

import pytest
from kit.still_drive import StillDrive

import vfs.doors
from vfs.errors import Stale
from vfs.ids import ROOT, SNAPSHOTS_VIEW, in_view


def test_who_only_makes_files_fills_no_memory(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vfs.inodes.CACHED_INODES", 50)
    monkeypatch.setattr("cachefs.blocks.CACHED_BLOCKS", 50)
    blocks = []
    for number in range(1000):
        file = still.do(still.create, str(number))
        still.do(still.drive.files.write, file, 0, b"x", still.caller.actor_id)
        blocks.append(still.drive.contents.pieces(file.content, 0, 1)[0].block)
        if number % 10 == 0:
            still.close_point()
    assert sum(still.drive.inodes.loaded(ino) is not None for ino in range(17, 1017)) < 100
    assert sum(number in still.drive.cache.blocks._loaded for number in blocks) < 100
    assert still.do(still.read, "7") == b"x"


def test_links_of_folders_are_forgotten_beyond_a_count(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vfs.doors, "MOST_LINKS", 3)
    name, doors = still.snap().name.encode(), still.drive.doors
    folders = [in_view(SNAPSHOTS_VIEW, still.do(still.mkdir, str(number)).ino) for number in range(5)]
    links = [doors.lookup(folder, name) for folder in folders]
    assert len(set(links)) == 5
    with pytest.raises(Stale):
        doors.link_target(links[0])
    assert doors.link_target(links[4]).endswith(b"/4")
    again = doors.lookup(folders[0], name)
    assert again not in links
    assert doors.link_target(again).endswith(b"/0")


def test_views_of_deleted_snapshots_are_forgotten(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vfs.doors, "SPARE_VIEWS", 2)
    for _ in range(10):
        name = still.snap().name
        view = still.drive.doors.lookup(in_view(SNAPSHOTS_VIEW, ROOT), name.encode())
        still.drive.snapshots.delete(name)
        still.reap()
        with pytest.raises(Stale):
            still.drive.doors.epoch_of(view)
    assert len(still.drive.doors._views) <= 3
