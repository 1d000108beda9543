"""The machine's disk, and the two that stand in for it: they must agree."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.disk_journal import everything, freed, put, some, synced
from kit.fault_plan import FaultPlan, FaultyDisk
from kit.losing_disk import LosingDisk

from cachefs.disk import Disk, RealDisk

DISKS: dict[str, Callable[[Path], Disk]] = {
    "real": lambda path: RealDisk(),
    "losing": LosingDisk,
    "faulty": lambda path: FaultyDisk(RealDisk(), FaultPlan()),
}


@pytest.fixture(params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return DISKS[request.param](tmp_path)


def test_disk_gives_back_what_was_written(disk: Disk, tmp_path: Path) -> None:
    path = tmp_path / "file"
    fd = disk.open(path, create=True)
    disk.pwrite(fd, b"bytes", 4096)
    disk.pwrite(fd, memoryview(b"view"), 0)
    disk.sync(fd)
    disk.sync_directory(tmp_path)
    assert disk.pread(fd, 100, 4096) == b"bytes"
    buffer = bytearray(4)
    assert disk.read_cached(fd, buffer, 0) in (4, -1)
    disk.close(fd)
    fd = disk.open(path, create=False)
    assert disk.pread(fd, 4, 0) == b"view"
    disk.truncate(fd, 2)
    assert disk.pread(fd, 100, 0) == b"vi"
    disk.truncate(fd, 4)
    assert disk.pread(fd, 100, 0) == b"vi\0\0"
    disk.close(fd)
    disk.unlink(path)
    assert not path.exists()


def test_disk_never_makes_a_file_twice(disk: Disk, tmp_path: Path) -> None:
    disk.close(disk.open(tmp_path / "file", create=True))
    with pytest.raises(FileExistsError):
        disk.open(tmp_path / "file", create=True)
    with pytest.raises(FileNotFoundError):
        disk.open(tmp_path / "other", create=False)


def test_punched_range_reads_as_zeros_and_gives_its_space_back(disk: Disk, tmp_path: Path) -> None:
    fd = disk.open(tmp_path / "file", create=True)
    disk.pwrite(fd, b"x" * 16384, 0)
    before = os.fstat(fd).st_blocks
    disk.punch(fd, 4096, 8192)
    assert disk.pread(fd, 16384, 0) == b"x" * 4096 + bytes(8192) + b"x" * 4096
    assert os.fstat(fd).st_blocks == before - 16
    disk.close(fd)


def test_renamed_file_takes_the_place_of_another(disk: Disk, tmp_path: Path) -> None:
    for name, data in (("old", b"old"), ("new", b"new")):
        disk.close(write(disk, tmp_path / name, data))
    disk.rename(tmp_path / "new", tmp_path / "old")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    fd = disk.open(tmp_path / "old", create=False)
    assert disk.pread(fd, 10, 0) == b"new"
    disk.close(fd)


def test_disk_never_makes_a_folder_twice(disk: Disk, tmp_path: Path) -> None:
    disk.make_folder(tmp_path / "folder")
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        disk.make_folder(tmp_path / "folder")


def write(disk: Disk, path: Path, data: bytes) -> int:
    fd = disk.open(path, create=True)
    disk.pwrite(fd, data, 0)
    return fd


def test_losing_disk_keeps_bytes_as_of_the_last_sync(tmp_path: Path) -> None:
    disk = LosingDisk(tmp_path)
    fd = write(disk, tmp_path / "file", b"synced")
    disk.sync(fd)
    disk.sync_directory(tmp_path)
    disk.pwrite(fd, b"LOST", 0)
    disk.close(fd)
    disk.power_loss(synced)
    assert (tmp_path / "file").read_bytes() == b"synced"


def test_losing_disk_keeps_names_as_of_the_last_directory_sync(tmp_path: Path) -> None:
    disk = LosingDisk(tmp_path)
    for name in ("kept", "unlinked"):
        disk.close(write(disk, tmp_path / name, b"x"))
    disk.sync_directory(tmp_path)
    disk.unlink(tmp_path / "unlinked")
    fd = write(disk, tmp_path / "new", b"x")
    disk.sync(fd)  # its bytes, not its name
    disk.close(fd)
    disk.power_loss(synced)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "unlinked"]
    assert (tmp_path / "kept").read_bytes() == b""


def test_losing_disk_does_not_cover_what_came_during_a_sync(tmp_path: Path) -> None:
    disk = LosingDisk(tmp_path)
    fd = write(disk, tmp_path / "file", b"early")
    disk.sync_directory(tmp_path)
    disk.during_sync = lambda path: disk.pwrite(fd, b"late!", 0)  # type: ignore[method-assign]
    disk.sync(fd)
    disk.close(fd)
    disk.power_loss(synced)
    assert (tmp_path / "file").read_bytes() == b"early"


def test_ways_to_lose_differ(tmp_path: Path) -> None:
    disk = LosingDisk(tmp_path)
    fd = write(disk, tmp_path / "file", b"x" * 8192)
    disk.sync(fd)
    disk.sync_directory(tmp_path)
    disk.punch(fd, 0, 4096)
    disk.pwrite(fd, b"y" * 4096, 4096)
    disk.close(fd)
    state = disk.survivors()
    for event in disk.journal:
        state.take(event)
    old, new, hole = b"x" * 4096, b"y" * 4096, bytes(4096)
    (path,) = state.found(synced)
    assert state.found(synced)[path] == old + old
    assert state.found(freed)[path] == hole + old
    assert state.found(everything)[path] == hole + new
    assert {state.found(some(seed))[path] for seed in range(50)} == {old + old, old + new, hole + old, hole + new}


def test_files_are_put_back_with_their_holes(tmp_path: Path) -> None:
    put({Path("file"): bytes(1 << 20) + b"end"}, tmp_path)
    assert (tmp_path / "file").read_bytes() == bytes(1 << 20) + b"end"
    assert (tmp_path / "file").stat().st_blocks * 512 < 1 << 16


def test_planned_fault_strikes_the_nth_call_and_must_be_met(tmp_path: Path) -> None:
    plan = FaultPlan()
    disk = FaultyDisk(RealDisk(), plan)
    plan.fail("create", nth=2, code=28)
    disk.close(disk.open(tmp_path / "one", create=True))
    with pytest.raises(AssertionError, match="never hit"):
        plan.assert_all_hit()
    with pytest.raises(OSError, match="No space"):
        disk.open(tmp_path / "two", create=True)
    disk.close(disk.open(tmp_path / "three", create=True))
    plan.assert_all_hit()


def test_losing_disk_takes_back_a_rename_that_was_not_synced(tmp_path: Path) -> None:
    disk = LosingDisk(tmp_path)
    for name in ("old", "new"):
        fd = write(disk, tmp_path / name, name.encode())
        disk.sync(fd)
        disk.close(fd)
    disk.sync_directory(tmp_path)
    disk.rename(tmp_path / "new", tmp_path / "old")
    lost, kept = disk.survivors(), disk.survivors()
    for event in disk.journal:
        lost.take(event)
    disk.sync_directory(tmp_path)
    for event in disk.journal:
        kept.take(event)
    assert lost.found(synced) == {Path("old"): b"old", Path("new"): b"new"}
    assert lost.found(everything) == kept.found(synced) == {Path("old"): b"new"}


def test_losing_disk_loses_a_folder_with_all_in_it(tmp_path: Path) -> None:
    disk = LosingDisk(tmp_path)
    disk.make_folder(tmp_path / "folder")
    fd = write(disk, tmp_path / "folder" / "file", b"synced")
    disk.sync(fd)
    disk.close(fd)
    disk.sync_directory(tmp_path / "folder")
    state = disk.survivors()
    for event in disk.journal:
        state.take(event)
    assert (state.found(synced), state.found_folders(synced)) == ({}, [])
    assert state.found(everything) == {Path("folder/file"): b"synced"}
    assert state.found_folders(everything) == [Path("folder")]
