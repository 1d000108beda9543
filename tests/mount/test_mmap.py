"""Mapped files: what is stored through a map is the file's content for everybody, and the other way round."""

import ctypes
import mmap
import os
import signal
from pathlib import Path

import pytest
from mount.calls import refused, write_file
from mount.people import in_child

PAGE = mmap.PAGESIZE


@pytest.fixture
def file(folder: Path) -> Path:
    return write_file(folder / "file", b"a" * (3 * PAGE))


def test_store_is_visible_to_read_at_once(file: Path) -> None:
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:
        window[PAGE - 2 : PAGE + 2] = b"1234"
        assert os.pread(handle.fileno(), 6, PAGE - 3) == b"a1234a"
        assert in_child(lambda: file.read_bytes()[PAGE - 2 : PAGE + 2]) == b"1234"


def test_write_is_visible_through_the_map_at_once(file: Path) -> None:
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:
        os.pwrite(handle.fileno(), b"1234", PAGE - 2)
        assert window[PAGE - 3 : PAGE + 3] == b"a1234a"


def test_store_outlives_map_handle_and_msync(file: Path) -> None:
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:
        window[0:4] = b"head"
        window.flush()
        window[2 * PAGE : 2 * PAGE + 4] = b"tail"
    content = file.read_bytes()
    assert (content[:4], content[2 * PAGE : 2 * PAGE + 4], len(content)) == (b"head", b"tail", 3 * PAGE)


def test_map_outlives_its_handle_and_its_name(file: Path) -> None:
    with file.open("r+b") as handle:
        window = mmap.mmap(handle.fileno(), 0)
    file.unlink()
    window[0:4] = b"gone"
    assert window[0:6] == b"goneaa"
    window.close()


def test_two_processes_share_one_map(file: Path) -> None:
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:

        def store_elsewhere() -> None:
            with file.open("r+b") as other, mmap.mmap(other.fileno(), 0) as theirs:
                theirs[5:10] = b"other"

        in_child(store_elsewhere)
        assert window[4:11] == b"aothera"


def test_private_map_never_reaches_the_file(file: Path) -> None:
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0, flags=mmap.MAP_PRIVATE) as window:
        window[0:4] = b"mine"
        assert os.pread(handle.fileno(), 4, 0) == b"aaaa"
        os.pwrite(handle.fileno(), b"file", 0)
        assert window[0:4] == b"mine"
    assert file.read_bytes()[:4] == b"file"


def test_store_past_the_end_within_the_last_page_is_not_content(folder: Path) -> None:
    file = write_file(folder / "short", b"b" * 100)
    with file.open("r+b") as handle:
        window = mmap.mmap(handle.fileno(), 0)
        first = ctypes.c_char.from_buffer(window)
        ctypes.memmove(ctypes.addressof(first) + 100, b"past the end", 12)
        del first
        window.flush()
        window.close()
        os.ftruncate(handle.fileno(), PAGE)
    assert file.read_bytes() == b"b" * 100 + bytes(PAGE - 100)


def test_truncate_under_a_map_gives_sigbus_past_the_end(file: Path) -> None:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        handle = os.open(file, os.O_RDWR)
        window = mmap.mmap(handle, 0)
        window[2 * PAGE]
        os.ftruncate(handle, PAGE)
        window[0]
        window[2 * PAGE]
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGBUS


def test_truncate_down_and_up_under_a_map_leaves_zeros(file: Path) -> None:
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:
        window[:] = b"c" * (3 * PAGE)
        os.ftruncate(handle.fileno(), PAGE + 10)
        os.ftruncate(handle.fileno(), 3 * PAGE)
        assert window[PAGE + 5 : PAGE + 15] == b"c" * 5 + bytes(5)
        assert window[2 * PAGE :] == bytes(PAGE)


def test_map_of_a_hole_reads_zeros_and_can_be_filled(folder: Path) -> None:
    file = write_file(folder / "sparse")
    os.truncate(file, 100 * PAGE)
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:
        assert window[50 * PAGE : 51 * PAGE] == bytes(PAGE)
        window[50 * PAGE] = 7
    content = file.read_bytes()
    assert (content[50 * PAGE], sum(content)) == (7, 7)


def test_shared_writable_map_needs_a_writable_handle(file: Path) -> None:
    with file.open("rb") as handle, pytest.raises(PermissionError):
        mmap.mmap(handle.fileno(), 0)
    with file.open("rb") as handle, refused(13):
        mmap.mmap(handle.fileno(), 0, prot=mmap.PROT_WRITE | mmap.PROT_READ)


def test_program_runs_from_the_drive(folder: Path) -> None:
    program = write_file(folder / "true", Path("/bin/true").read_bytes(), 0o755)
    assert os.spawnv(os.P_WAIT, program, ["true"]) == 0
