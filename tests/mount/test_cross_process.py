"""Coherence: what one process did and finished, every other process sees at once."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from mount.calls import refused, write_file
from mount.people import in_child


def elsewhere(act: Callable[[], object]) -> None:
    """Lets another process do it, to its end."""
    in_child(lambda: act() and None)


def test_write_is_seen_by_an_older_handle(folder: Path) -> None:
    file = write_file(folder / "file", b"before")
    with file.open("rb", buffering=0) as handle:
        assert handle.read() == b"before"
        elsewhere(lambda: file.open("r+b").write(b"after!"))
        assert os.pread(handle.fileno(), 10, 0) == b"after!"


def test_size_and_times_are_fresh_after_an_append(folder: Path) -> None:
    file = write_file(folder / "file", b"12345")
    assert file.stat().st_size == 5

    def append() -> None:
        handle = os.open(file, os.O_WRONLY | os.O_APPEND)
        os.write(handle, b"67890")

    elsewhere(append)
    assert file.stat().st_size == 10
    assert file.read_bytes() == b"1234567890"


def test_name_known_to_be_missing_appears(folder: Path) -> None:
    for _ in range(3):
        with refused(errno.ENOENT):
            os.stat(folder / "file")
    elsewhere(lambda: write_file(folder / "file", b"here now"))
    assert (folder / "file").read_bytes() == b"here now"
    assert os.listdir(folder) == ["file"]


def test_removed_name_is_gone(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    assert os.listdir(folder) == ["file"]
    elsewhere(lambda: os.unlink(file))
    with refused(errno.ENOENT):
        os.stat(file)
    assert os.listdir(folder) == []


def test_replaced_name_leads_to_the_new_file(folder: Path) -> None:
    file = write_file(folder / "file", b"old")
    inode = file.stat().st_ino
    elsewhere(lambda: os.rename(write_file(folder / "new", b"new content"), file))
    assert file.read_bytes() == b"new content"
    assert file.stat().st_ino != inode


def test_mode_and_owner_are_fresh(folder: Path) -> None:
    file = write_file(folder / "file")
    elsewhere(lambda: (os.chmod(file, 0o604), os.chown(file, 7, 8)))
    seen = file.stat()
    assert (seen.st_mode & 0o777, seen.st_uid, seen.st_gid) == (0o604, 7, 8)


def test_moved_subtree_is_found_at_its_new_place_only(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    write_file(folder / "a" / "b" / "file", b"content")
    assert (folder / "a" / "b" / "file").exists()
    elsewhere(lambda: os.rename(folder / "a", folder / "z"))
    assert (folder / "z" / "b" / "file").read_bytes() == b"content"
    with refused(errno.ENOENT):
        os.stat(folder / "a" / "b" / "file")


def test_truncate_is_seen_by_a_reader(folder: Path) -> None:
    file = write_file(folder / "file", b"x" * 10_000)
    with file.open("rb", buffering=0) as handle:
        assert len(os.pread(handle.fileno(), 20_000, 0)) == 10_000
        elsewhere(lambda: os.truncate(file, 10))
        assert os.pread(handle.fileno(), 20_000, 0) == b"x" * 10


def test_reader_beside_a_writer_sees_full_lengths_and_the_end(folder: Path) -> None:
    file = write_file(folder / "file", b"0" * 512)
    pid = os.fork()
    if pid == 0:
        try:
            handle = os.open(file, os.O_WRONLY)
            for turn in range(3000):
                os.pwrite(handle, str(turn % 10).encode() * 512, 0)
        finally:
            os._exit(0)
    with file.open("rb", buffering=0) as handle:
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            assert len(os.pread(handle.fileno(), 512, 0)) == 512
    assert file.read_bytes() == b"9" * 512
