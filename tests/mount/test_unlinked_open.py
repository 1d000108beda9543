"""Files and directories that lost their last name while somebody held them open."""

import errno
import os
from pathlib import Path

from mount.calls import link_open_file, refused, write_file


def test_content_stays_and_can_change(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    with file.open("r+b") as handle:
        file.unlink()
        assert handle.read() == b"content"
        os.pwrite(handle.fileno(), b"x" * 300_000, 100)
        os.fsync(handle.fileno())
        assert os.pread(handle.fileno(), 4, 98) == b"\0\0xx"
        os.ftruncate(handle.fileno(), 3)
        assert os.pread(handle.fileno(), 100, 0) == b"con"
        os.fchmod(handle.fileno(), 0o600)
        os.utime(handle.fileno(), ns=(1, 2))
        held = os.fstat(handle.fileno())
        assert (held.st_size, held.st_nlink, held.st_mode & 0o777, held.st_mtime_ns) == (3, 0, 0o600, 2)


def test_no_helper_name_appears(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    with file.open("rb"):
        file.unlink()
        assert os.listdir(folder) == []
    with write_file(file).open("rb"):
        os.rename(write_file(folder / "other"), file)
        assert os.listdir(folder) == ["file"]


def test_directory_can_go_while_its_unlinked_files_are_open(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    with write_file(inner / "file", b"content").open("rb") as handle:
        (inner / "file").unlink()
        inner.rmdir()
        assert handle.read() == b"content"


def test_name_is_free_at_once_for_another_inode(folder: Path) -> None:
    file = write_file(folder / "file", b"old")
    with file.open("rb") as handle:
        file.unlink()
        write_file(file, b"new")
        assert file.stat().st_ino != os.fstat(handle.fileno()).st_ino
        assert (handle.read(), file.read_bytes()) == (b"old", b"new")


def test_unlinked_file_cannot_be_linked_back(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    with file.open("rb") as handle:
        file.unlink()
        with refused(errno.ENOENT):
            link_open_file(handle.fileno(), folder / "again")
    assert os.listdir(folder) == []


def test_file_that_still_has_a_name_gets_another_by_its_handle(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    with file.open("rb") as handle:
        link_open_file(handle.fileno(), folder / "again")
    assert (folder / "again").stat().st_ino == file.stat().st_ino


def test_unlinked_file_reopens_through_its_handle(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    with file.open("rb") as handle:
        file.unlink()
        second = os.open(f"/proc/self/fd/{handle.fileno()}", os.O_RDWR)
        os.write(second, b"CON")
        os.close(second)
        assert os.pread(handle.fileno(), 10, 0) == b"CONtent"


def test_many_unlinked_files_keep_their_own_bytes(folder: Path) -> None:
    handles = []
    for number in range(200):
        file = write_file(folder / "file", f"content {number}".encode())
        handles.append(file.open("rb"))
        file.unlink()
    assert [handle.read() for handle in handles] == [f"content {number}".encode() for number in range(200)]
    for handle in handles:
        handle.close()


def test_removed_directory_is_empty_for_those_inside(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    handle = os.open(inner, os.O_RDONLY | os.O_DIRECTORY)
    inner.rmdir()
    assert os.fstat(handle).st_nlink == 0
    assert os.listdir(handle) == []
    with refused(errno.ENOENT):
        os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=handle)
    os.close(handle)
