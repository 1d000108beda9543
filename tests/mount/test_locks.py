"""Locks between processes: flock, POSIX record locks, open-file-description locks."""

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from mount.calls import refused, write_file
from mount.people import in_child

F_OFD_SETLK = 37
WRITE, READ, NONE = fcntl.F_WRLCK, fcntl.F_RDLCK, fcntl.F_UNLCK


def record(handle: int, kind: int, start: int = 0, length: int = 0, command: int = fcntl.F_SETLK) -> None:
    fcntl.fcntl(handle, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0))


def tries(path: Path, act: Callable[[int], object]) -> bool:
    """Whether another process may take the lock now."""

    def attempt() -> bool:
        handle = os.open(path, os.O_RDWR)
        try:
            act(handle)
        except (BlockingIOError, PermissionError):
            return False
        return True

    return in_child(attempt)


@pytest.fixture
def file(folder: Path) -> Path:
    return write_file(folder / "file", b"x" * 100)


def test_exclusive_flock_keeps_others_out_until_it_is_released(file: Path) -> None:
    with file.open("r+b") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert not tries(file, lambda handle: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB))
        assert not tries(file, lambda handle: fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB))
        fcntl.flock(holder, fcntl.LOCK_UN)
        assert tries(file, lambda handle: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB))


def test_shared_flocks_live_side_by_side(file: Path) -> None:
    with file.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_SH)
        assert tries(file, lambda handle: fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB))
        assert not tries(file, lambda handle: fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB))


def test_flock_belongs_to_the_open_file(file: Path) -> None:
    with file.open("rb") as one, file.open("rb") as two:
        fcntl.flock(one, fcntl.LOCK_EX)
        with refused(errno.EAGAIN):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        duplicate = os.dup(one.fileno())
        one.close()
        with refused(errno.EAGAIN):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(duplicate)
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_record_locks_cover_exactly_their_range(file: Path) -> None:
    with file.open("r+b") as holder:
        record(holder.fileno(), WRITE, 10, 20)
        assert tries(file, lambda handle: record(handle, WRITE, 0, 10))
        assert not tries(file, lambda handle: record(handle, READ, 29, 1))
        assert tries(file, lambda handle: record(handle, WRITE, 30, 0))


def test_read_record_locks_are_shared(file: Path) -> None:
    with file.open("r+b") as holder:
        record(holder.fileno(), READ, 0, 50)
        assert tries(file, lambda handle: record(handle, READ, 0, 50))
        assert not tries(file, lambda handle: record(handle, WRITE, 0, 50))


def test_record_lock_names_its_holder(file: Path) -> None:
    with file.open("r+b") as holder:
        record(holder.fileno(), WRITE, 10, 20)

        def ask() -> tuple[int, int, int, int]:
            handle = os.open(file, os.O_RDWR)
            asked = struct.pack("hhqqi4x", WRITE, os.SEEK_SET, 0, 0, 0)
            kind, _, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(handle, fcntl.F_GETLK, asked))
            return kind, start, length, pid

        assert in_child(ask) == (WRITE, 10, 20, os.getpid())


def test_any_close_drops_the_process_record_locks(file: Path) -> None:
    with file.open("r+b") as holder:
        record(holder.fileno(), WRITE)
        file.open("rb").close()
        assert tries(file, lambda handle: record(handle, WRITE))


def test_open_file_locks_survive_another_close(file: Path) -> None:
    with file.open("r+b") as holder:
        record(holder.fileno(), WRITE, command=F_OFD_SETLK)
        file.open("rb").close()
        assert not tries(file, lambda handle: record(handle, WRITE, command=F_OFD_SETLK))
        assert not tries(file, lambda handle: record(handle, WRITE))
    assert tries(file, lambda handle: record(handle, WRITE))


def test_open_file_locks_of_one_process_exclude_each_other(file: Path) -> None:
    with file.open("r+b") as one, file.open("r+b") as two:
        record(one.fileno(), WRITE, 0, 10, command=F_OFD_SETLK)
        with refused(errno.EAGAIN):
            record(two.fileno(), WRITE, 5, 10, command=F_OFD_SETLK)
        record(two.fileno(), WRITE, 10, 10, command=F_OFD_SETLK)


@pytest.mark.parametrize("take", [lambda handle: record(handle, WRITE), lambda handle: fcntl.flock(handle, 2)])
def test_locks_of_a_killed_process_are_free(file: Path, take: Callable[[int], object]) -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        take(os.open(file, os.O_RDWR))
        os.write(writer, b"x")
        while True:
            os.sched_yield()
    os.read(reader, 1)
    assert not tries(file, lambda handle: (fcntl.flock(handle, 6), record(handle, WRITE)))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    assert tries(file, lambda handle: (fcntl.flock(handle, 6), record(handle, WRITE)))
    os.close(reader)
    os.close(writer)


def test_waiting_lock_is_granted_when_the_holder_lets_go(file: Path) -> None:
    reader, writer = os.pipe()
    with file.open("r+b") as holder:
        record(holder.fileno(), WRITE)
        pid = os.fork()
        if pid == 0:
            try:
                handle = os.open(file, os.O_RDWR)
                os.write(writer, b"w")
                record(handle, WRITE, command=fcntl.F_SETLKW)
                os.write(writer, b"g")
            finally:
                os._exit(0)
        assert os.read(reader, 1) == b"w"
        record(holder.fileno(), NONE)
        assert os.read(reader, 1) == b"g"
        os.waitpid(pid, 0)
    os.close(reader)
    os.close(writer)


def test_two_waiting_for_each_other_is_edeadlk(file: Path) -> None:
    ready, go = os.pipe(), os.pipe()
    with file.open("r+b") as holder:
        record(holder.fileno(), WRITE, 0, 1)
        pid = os.fork()
        if pid == 0:
            try:
                handle = os.open(file, os.O_RDWR)
                record(handle, WRITE, 1, 1)
                os.write(ready[1], b"r")
                record(handle, WRITE, 0, 1, command=fcntl.F_SETLKW)
            finally:
                os._exit(0)
        os.read(ready[0], 1)
        while Path(f"/proc/{pid}/wchan").read_text() in ("0", ""):
            os.sched_yield()
        with refused(errno.EDEADLK):
            record(holder.fileno(), WRITE, 1, 1, command=fcntl.F_SETLKW)
        record(holder.fileno(), NONE)
        os.waitpid(pid, 0)
    for end in (*ready, *go):
        os.close(end)
