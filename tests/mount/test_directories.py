"""Listings: complete, stable while the directory changes, and true to every byte of a name."""

import os
import stat
from collections import Counter
from pathlib import Path

import pytest
from mount.calls import Stream, write_file

MANY = 100_000


@pytest.fixture(scope="module")
def crowd(drive_dir: Path) -> Path:
    """A directory of MANY plain files, made once for all tests that only read it or use names of their own."""
    place = drive_dir / "crowd"
    place.mkdir()
    home = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(MANY):
        os.mknod(f"entry-{number:06d}", stat.S_IFREG | 0o600, dir_fd=home)
    os.close(home)
    return place


def entries(names: list[bytes]) -> Counter[bytes]:
    return Counter(name for name in names if name.startswith(b"entry-"))


@pytest.mark.timeout(240)
def test_each_of_many_entries_is_listed_exactly_once(crowd: Path) -> None:
    expected = Counter(f"entry-{number:06d}".encode() for number in range(MANY))
    assert entries(os.listdir(os.fsencode(crowd))) == expected


@pytest.mark.timeout(240)
def test_untouched_names_are_listed_exactly_once_while_others_come_and_go(crowd: Path) -> None:
    expected = Counter(f"entry-{number:06d}".encode() for number in range(MANY))
    for number in range(300):
        write_file(crowd / f"goes-{number}")
    stream, seen, number = Stream(crowd), [], 0
    while (entry := stream.next()) is not None:
        seen.append(entry[0])
        if len(seen) % 300 == 0:
            write_file(crowd / f"comes-{number}")
            if number < 300:
                (crowd / f"goes-{number}").unlink()
            if number:
                os.rename(crowd / f"comes-{number - 1}", crowd / f"moved-{number - 1}")
            number += 1
    stream.close()
    assert number > 300
    assert entries(seen) == expected


@pytest.mark.timeout(240)
def test_position_in_a_crowd_can_be_taken_up_again(crowd: Path) -> None:
    stream = Stream(crowd)
    for _ in range(5000):
        stream.next()
    position = stream.tell()
    once = [stream.next() for _ in range(3000)]
    stream.seek(position)
    assert [stream.next() for _ in range(3000)] == once
    stream.close()


def test_rewind_shows_what_is_new_and_hides_what_is_gone(folder: Path) -> None:
    write_file(folder / "stays")
    write_file(folder / "goes")
    stream = Stream(folder)
    assert sorted(stream.rest()) == [b"goes", b"stays"]
    (folder / "goes").unlink()
    write_file(folder / "comes")
    stream.rewind()
    assert sorted(stream.rest()) == [b"comes", b"stays"]
    stream.close()


def test_seek_returns_to_any_told_position(folder: Path) -> None:
    for number in range(50):
        write_file(folder / f"file-{number}")
    stream = Stream(folder)
    told = []
    while True:
        position = stream.tell()
        if (entry := stream.next()) is None:
            break
        told.append((position, entry[0]))
    assert len(told) == 52
    for position, name in [*told[::7], *reversed(told)]:
        stream.seek(position)
        assert stream.next() == (name, os.lstat(os.path.join(os.fsencode(folder), name)).st_ino)
    stream.close()


def test_listing_while_deleting_empties_the_directory(folder: Path) -> None:
    for number in range(2000):
        os.mknod(folder / f"file-{number}", stat.S_IFREG | 0o600)
    with os.scandir(folder) as listing:
        for entry in listing:
            os.unlink(entry.path)
    assert os.listdir(folder) == []
    os.rmdir(folder)


def test_dot_and_dotdot_are_listed_with_their_inodes(folder: Path) -> None:
    (folder / "inner").mkdir()
    stream, seen = Stream(folder / "inner"), {}
    while (entry := stream.next()) is not None:
        seen[entry[0]] = entry[1]
    stream.close()
    assert seen == {b".": (folder / "inner").stat().st_ino, b"..": folder.stat().st_ino}


def test_listing_tells_inode_and_kind(folder: Path) -> None:
    write_file(folder / "file")
    (folder / "directory").mkdir()
    (folder / "symlink").symlink_to("file")
    os.mkfifo(folder / "fifo")
    with os.scandir(folder) as listing:
        for entry in listing:
            assert entry.inode() == entry.stat(follow_symlinks=False).st_ino
            assert entry.is_dir(follow_symlinks=False) == (entry.name == "directory")
            assert entry.is_file(follow_symlinks=False) == (entry.name == "file")
            assert entry.is_symlink() == (entry.name == "symlink")


NAMES = [
    b"plain",
    b"with space",
    b" leading",
    b"trailing ",
    b"...",
    b"-rf",
    b"new\nline",
    b"tab\tbell\a",
    b"\\back\\slash",
    b"quote\"and's",
    b"*?[x]",
    "Größe-ß-ﬀ-漢字-👍".encode(),
    "e\u0301".encode(),
    "\u00e9".encode(),
    b"invalid \xff\xfe utf-8",
    b"\x80",
    b"UPPER",
    b"upper",
    b"n" * 255,
    "漢".encode() * 85,
]


def test_names_are_any_bytes_and_stay_apart(folder: Path) -> None:
    home = os.fsencode(folder)
    for name in NAMES:
        with open(os.path.join(home, name), "xb") as file:
            file.write(b"content of " + name)
    assert sorted(os.listdir(home)) == sorted(NAMES)
    for name in NAMES:
        with open(os.path.join(home, name), "rb") as file:
            assert file.read() == b"content of " + name
        os.rename(os.path.join(home, name), os.path.join(home, b"moving"))
        os.rename(os.path.join(home, b"moving"), os.path.join(home, name))
    for name in NAMES:
        os.unlink(os.path.join(home, name))
    assert os.listdir(home) == []


def test_deep_tree_is_reached_step_by_step(folder: Path) -> None:
    depth, home = 60, os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    name = "d" * 100
    for _ in range(depth):
        os.mkdir(name, dir_fd=home)
        deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=home)
        os.close(home)
        home = deeper
    handle = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=home)
    os.write(handle, b"deep")
    os.close(handle)
    assert os.listdir(home) == ["file"]
    os.close(home)
