"""The calls that make data durable: they work on everything they must, and what they promised survives kill -9."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest
from kit.mounted import MountedDrive
from mount.calls import refused, write_file


def test_fsync_and_fdatasync_of_a_file(folder: Path) -> None:
    with (folder / "file").open("wb") as file:
        file.write(b"x" * 100_000)
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
        os.fsync(file.fileno())
    assert (folder / "file").stat().st_size == 100_000


def test_fsync_of_a_directory(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    write_file(folder / "file")
    os.fsync(handle)
    os.fdatasync(handle)
    os.close(handle)


def test_fsync_through_a_handle_that_only_reads(folder: Path) -> None:
    with write_file(folder / "file", b"content").open("rb") as file:
        os.fsync(file.fileno())


def test_fsync_of_an_unlinked_file(folder: Path) -> None:
    with (folder / "file").open("wb") as file:
        file.write(b"content")
        file.flush()
        (folder / "file").unlink()
        os.fsync(file.fileno())


@pytest.mark.parametrize("flag", [os.O_SYNC, os.O_DSYNC], ids=["O_SYNC", "O_DSYNC"])
def test_synchronous_handles_write_right(folder: Path, flag: int) -> None:
    handle = os.open(folder / "file", os.O_CREAT | os.O_WRONLY | flag, 0o600)
    for number in range(20):
        assert os.pwrite(handle, bytes([number]) * 700, number * 700) == 700
    os.close(handle)
    assert (folder / "file").read_bytes() == b"".join(bytes([number]) * 700 for number in range(20))


def test_sync_of_the_whole_file_system(folder: Path) -> None:
    write_file(folder / "file", b"content")
    os.sync()
    assert (folder / "file").read_bytes() == b"content"


def test_fsync_of_a_closed_handle_is_ebadf(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.close(handle)
    with refused(errno.EBADF):
        os.fsync(handle)


@pytest.mark.needs_product
def test_what_was_acknowledged_survives_kill_9(own_drive: MountedDrive) -> None:
    root = own_drive.mount
    (root / "directory").mkdir()
    closed = write_file(root / "directory" / "closed", b"closed, never synced")
    synced = os.open(root / "synced", os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(synced, b"s" * 50_000)
    os.fsync(synced)
    direct = os.open(root / "o_sync", os.O_CREAT | os.O_WRONLY | os.O_SYNC, 0o600)
    os.write(direct, b"through O_SYNC")
    own_drive.kill()
    for handle in (synced, direct):
        with refused(errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
            os.write(handle, b"x")
            os.fsync(handle)
        with suppress(OSError):
            os.close(handle)
    own_drive.start()
    assert closed.read_bytes() == b"closed, never synced"
    assert (root / "synced").read_bytes() == b"s" * 50_000
    assert (root / "o_sync").read_bytes() == b"through O_SYNC"


@pytest.mark.needs_product
def test_everything_is_there_after_a_clean_remount(own_drive: MountedDrive) -> None:
    root = own_drive.mount
    (root / "a" / "b").mkdir(parents=True)
    file = write_file(root / "a" / "b" / "file", b"content", 0o640)
    os.link(file, root / "second")
    os.symlink("a/b/file", root / "symlink")
    os.mkfifo(root / "fifo")
    os.setxattr(file, "user.note", b"kept")
    os.utime(file, ns=(123, 456))
    before = {path: path.lstat() for path in (root, *root.rglob("*"))}
    own_drive.remount()
    after = {path: path.lstat() for path in (root, *root.rglob("*"))}
    fields = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns")
    for path, stat in before.items():
        assert {f: getattr(after[path], f) for f in fields} == {f: getattr(stat, f) for f in fields}, path
    assert set(after) == set(before)
    assert os.getxattr(file, "user.note") == b"kept"
    assert (root / "symlink").read_bytes() == b"content"
    assert not own_drive.complaints()
