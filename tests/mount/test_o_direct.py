"""O_DIRECT: right bytes beside the page cache, and on the drive at any alignment."""

import mmap
import os
from pathlib import Path

import pytest
from mount.calls import write_file

PAGE = mmap.PAGESIZE


def aligned(content: bytes) -> mmap.mmap:
    """The bytes in memory that starts on a page, as O_DIRECT asks of most file systems."""
    memory = mmap.mmap(-1, max(PAGE, len(content)))
    memory[: len(content)] = content
    return memory


def read_direct(path: Path, offset: int, size: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECT)
    memory = mmap.mmap(-1, size)
    count = os.preadv(handle, [memory], offset)
    os.close(handle)
    return memory[:count]


def test_direct_write_reads_back_by_every_way(folder: Path) -> None:
    content = os.urandom(4 * PAGE)
    handle = os.open(folder / "file", os.O_CREAT | os.O_RDWR | os.O_DIRECT, 0o600)
    assert os.pwritev(handle, [aligned(content)], PAGE) == 4 * PAGE
    os.close(handle)
    assert (folder / "file").read_bytes() == bytes(PAGE) + content
    assert read_direct(folder / "file", PAGE, 4 * PAGE) == content


def test_direct_read_sees_unsynced_cached_write(folder: Path) -> None:
    file = write_file(folder / "file", b"a" * (2 * PAGE))
    with file.open("r+b") as handle:
        os.pwrite(handle.fileno(), b"b" * PAGE, PAGE)
        assert read_direct(file, 0, 2 * PAGE) == b"a" * PAGE + b"b" * PAGE


def test_cached_read_and_map_see_direct_write(folder: Path) -> None:
    file = write_file(folder / "file", b"a" * (2 * PAGE))
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:
        assert (handle.read(2), window[PAGE]) == (b"aa", ord("a"))
        direct = os.open(file, os.O_WRONLY | os.O_DIRECT)
        os.pwritev(direct, [aligned(b"b" * PAGE)], PAGE)
        os.close(direct)
        assert os.pread(handle.fileno(), 2, PAGE - 1) == b"ab"
        assert window[PAGE - 1 : PAGE + 1] == b"ab"


def test_direct_read_at_the_end_is_short(folder: Path) -> None:
    file = write_file(folder / "file", b"a" * (PAGE + 100))
    assert read_direct(file, PAGE, PAGE) == b"a" * 100
    assert read_direct(file, 2 * PAGE, PAGE) == b""


def test_direct_append_goes_to_the_end(folder: Path) -> None:
    file = write_file(folder / "file", b"a" * PAGE)
    handle = os.open(file, os.O_WRONLY | os.O_DIRECT | os.O_APPEND)
    os.writev(handle, [aligned(b"b" * PAGE)])
    os.writev(handle, [aligned(b"c" * PAGE)])
    os.close(handle)
    assert file.read_bytes() == b"a" * PAGE + b"b" * PAGE + b"c" * PAGE


@pytest.mark.needs_product
@pytest.mark.parametrize("offset", [0, 1, 511, PAGE - 1, PAGE + 3])
@pytest.mark.parametrize("size", [1, 100, PAGE, PAGE + 1, 70_000])
def test_direct_access_takes_any_alignment(folder: Path, offset: int, size: int) -> None:
    content = os.urandom(size)
    file = write_file(folder / "file", b"a" * (2 * PAGE))
    handle = os.open(file, os.O_RDWR | os.O_DIRECT)
    assert os.pwrite(handle, content, offset) == size
    assert os.pread(handle, size, offset) == content
    os.close(handle)
    expected = bytearray(b"a" * max(2 * PAGE, offset + size))
    expected[offset : offset + size] = content
    assert file.read_bytes() == expected
