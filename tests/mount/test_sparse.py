"""Holes and sizes: a file costs what was written into it, and what was cut off never comes back."""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mount.calls import refused, write_file

MIB = 1 << 20
NEARLY_A_PETABYTE = 999_999_999_999_999


def test_hole_reads_as_zeros(folder: Path) -> None:
    with (folder / "file").open("w+b") as file:
        os.pwrite(file.fileno(), b"end", 5 * MIB)
        assert os.pread(file.fileno(), 10, 3 * MIB) == bytes(10)
        assert os.fstat(file.fileno()).st_size == 5 * MIB + 3
    assert (folder / "file").read_bytes() == bytes(5 * MIB) + b"end"


def test_huge_sparse_file_costs_what_was_written(folder: Path) -> None:
    file = write_file(folder / "file")
    os.truncate(file, 1 << 42)
    with file.open("r+b") as handle:
        for offset in (0, 1 << 30, (1 << 41) + 5, (1 << 42) - 4):
            os.pwrite(handle.fileno(), b"here", offset)
        os.fsync(handle.fileno())
        assert os.pread(handle.fileno(), 6, (1 << 41) + 4) == b"\0here\0"
        assert os.pread(handle.fileno(), 100, (1 << 42) - 4) == b"here"
    assert file.stat().st_size == 1 << 42
    assert file.stat().st_blocks * 512 < MIB


def test_nearly_a_petabyte_is_quick_or_efbig(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    begun = time.monotonic()
    try:
        os.truncate(file, NEARLY_A_PETABYTE)
    except OSError as problem:
        if problem.errno != errno.EFBIG:
            raise
        assert file.read_bytes() == b"content"
    else:
        with file.open("r+b") as handle:
            os.pwrite(handle.fileno(), b"x", NEARLY_A_PETABYTE - 1)
        assert file.stat().st_size == NEARLY_A_PETABYTE
    file.unlink()
    assert time.monotonic() - begun < 1.0
    write_file(file, b"the drive still works")
    assert file.read_bytes() == b"the drive still works"


def test_size_beyond_every_limit_is_efbig_and_changes_nothing(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    with refused(errno.EFBIG, errno.EINVAL):
        os.truncate(file, (1 << 63) - 1)
    assert file.read_bytes() == b"content"


def test_write_beyond_every_limit_is_told_by_fsync_at_the_latest(folder: Path) -> None:
    """A cached write is the kernel's, whose limit for FUSE is 2**63 - 1; the drive can refuse only what reaches it."""
    handle = os.open(folder / "file", os.O_CREAT | os.O_WRONLY, 0o600)
    with refused(errno.EFBIG, errno.EINVAL, errno.EIO, errno.ENOSPC):
        os.pwrite(handle, b"x", (1 << 63) - 2)
        os.fsync(handle)
    with suppress(OSError):
        os.close(handle)
    write_file(folder / "other", b"the drive still works")
    assert (folder / "other").read_bytes() == b"the drive still works"


@pytest.mark.parametrize("kept", [0, 1, 100, 4095, 4096, 4097, 65_535, 131_073])
def test_bytes_cut_off_come_back_as_zeros(folder: Path, kept: int) -> None:
    file = write_file(folder / "file", b"c" * 200_000)
    os.truncate(file, kept)
    os.truncate(file, 200_000)
    assert file.read_bytes() == b"c" * kept + bytes(200_000 - kept)


@pytest.mark.parametrize("synced", [False, True], ids=["unsynced", "synced"])
def test_cut_within_a_page_then_write_beyond_leaves_zeros_between(folder: Path, synced: bool) -> None:
    with (folder / "file").open("w+b") as file:
        os.pwrite(file.fileno(), b"d" * 8192, 0)
        if synced:
            os.fsync(file.fileno())
        os.ftruncate(file.fileno(), 1000)
        os.pwrite(file.fileno(), b"e", 3000)
        assert os.pread(file.fileno(), 8192, 0) == b"d" * 1000 + bytes(2000) + b"e"


def test_growing_by_truncate_keeps_the_content(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    os.truncate(file, 10_000)
    assert file.read_bytes() == b"content" + bytes(9_993)
    os.truncate(file, 7)
    assert file.read_bytes() == b"content"


def test_seek_hole_and_data_agree_with_the_content(folder: Path) -> None:
    with (folder / "file").open("w+b") as file:
        os.ftruncate(file.fileno(), 4 * MIB)
        os.pwrite(file.fileno(), b"x" * 4096, MIB)
        data = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        assert data <= MIB
        assert os.lseek(file.fileno(), MIB, os.SEEK_DATA) == MIB
        hole = os.lseek(file.fileno(), MIB, os.SEEK_HOLE)
        assert MIB + 4096 <= hole <= 4 * MIB
        assert not any(os.pread(file.fileno(), data, 0))
        with refused(errno.ENXIO):
            os.lseek(file.fileno(), 4 * MIB, os.SEEK_DATA)


def test_posix_fallocate_grows_and_keeps(folder: Path) -> None:
    with write_file(folder / "file", b"content").open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, 100_000)
        assert os.fstat(file.fileno()).st_size == 100_000
        assert os.pread(file.fileno(), 10, 0) == b"content\0\0\0"


def test_copy_file_range_copies_holes_and_bytes(folder: Path) -> None:
    source = write_file(folder / "source")
    with source.open("r+b") as handle:
        os.pwrite(handle.fileno(), b"x" * 5000, 70_000)
        os.ftruncate(handle.fileno(), 200_000)
        with (folder / "target").open("w+b") as target:
            left = 200_000
            while left:
                left -= os.copy_file_range(handle.fileno(), target.fileno(), left)
    assert (folder / "target").read_bytes() == source.read_bytes()
