"""O_APPEND: every record lands whole, once, at the end, whoever else appends."""

import os
from collections import Counter
from pathlib import Path

import pytest
from mount.calls import write_file

RECORDS = 500
WRITERS = 2
RECORD_BYTES = 113


def record(writer: int, number: int) -> bytes:
    return f"{writer}:{number}:".encode().ljust(RECORD_BYTES - 1, b".") + b"\n"


def append_all(path: Path, writer: int, *, reopen: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    for number in range(RECORDS):
        assert os.write(handle, record(writer, number)) == RECORD_BYTES
        if reopen and number % 50 == 0:
            os.close(handle)
            handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.close(handle)


@pytest.mark.parametrize("reopen", [False, True], ids=["kept-open", "reopened"])
def test_two_appenders_lose_and_double_nothing(folder: Path, reopen: bool) -> None:
    log = write_file(folder / "log")
    children = []
    for writer in range(WRITERS):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                append_all(log, writer, reopen=reopen)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * WRITERS
    lines = log.read_bytes().splitlines(keepends=True)
    expected = Counter(record(writer, number) for writer in range(WRITERS) for number in range(RECORDS))
    assert Counter(lines) == expected
    for writer in range(WRITERS):
        mine = [line for line in lines if line.startswith(f"{writer}:".encode())]
        assert mine == [record(writer, number) for number in range(RECORDS)]


def test_append_ignores_the_position(folder: Path) -> None:
    file = write_file(folder / "file", b"start-")
    handle = os.open(file, os.O_RDWR | os.O_APPEND)
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, b"middle-")
    os.lseek(handle, 2, os.SEEK_SET)
    os.write(handle, b"end")
    assert os.lseek(handle, 0, os.SEEK_CUR) == len(b"start-middle-end")
    os.close(handle)
    assert file.read_bytes() == b"start-middle-end"


def test_append_follows_truncate_and_other_writers(folder: Path) -> None:
    file = write_file(folder / "file", b"0123456789")
    handle = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.truncate(file, 3)
    os.write(handle, b"a")
    with file.open("r+b") as other:
        os.pwrite(other.fileno(), b"zz", 6)
    os.write(handle, b"b")
    os.close(handle)
    assert file.read_bytes() == b"012a\0\0zzb"


def test_append_handle_that_created_the_file_writes_once(folder: Path) -> None:
    handle = os.open(folder / "file", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for number in range(100):
        os.write(handle, record(0, number))
        if number % 10 == 0:
            os.fsync(handle)
    os.close(handle)
    assert (folder / "file").read_bytes() == b"".join(record(0, number) for number in range(100))


def test_pwrite_on_an_append_handle_appends_as_linux_does(folder: Path) -> None:
    file = write_file(folder / "file", b"abc")
    handle = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.pwrite(handle, b"X", 0)
    os.close(handle)
    assert file.read_bytes() == b"abcX"
