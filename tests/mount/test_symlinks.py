"""Symbolic links: targets are kept as written, followed as Linux follows, and loops end."""

import errno
import os
import stat
from pathlib import Path

import pytest
from mount.calls import refused, write_file


@pytest.mark.parametrize(
    "target", ["file", "../up", "/absolute/nowhere", "a//b/./c", "trailing/", "Größe", "x" * 255, "y/" * 2047 + "z"]
)
def test_target_is_kept_as_written(folder: Path, target: str) -> None:
    (folder / "link").symlink_to("placeholder")
    os.unlink(folder / "link")
    os.symlink(target, folder / "link")
    assert os.readlink(folder / "link") == target
    assert (folder / "link").lstat().st_size == len(os.fsencode(target))


def test_target_of_any_bytes(folder: Path) -> None:
    target = bytes(byte for byte in range(1, 256))
    os.symlink(target, os.fsencode(folder / "link"))
    assert os.readlink(os.fsencode(folder / "link")) == target


def test_target_of_4096_bytes_is_enametoolong_and_an_empty_one_enoent(folder: Path) -> None:
    with refused(errno.ENAMETOOLONG):
        os.symlink("x" * 4096, folder / "link")
    with refused(errno.ENOENT):
        os.symlink("", folder / "link")
    assert os.listdir(folder) == []


def test_links_are_followed_to_content_and_attributes(folder: Path) -> None:
    (folder / "inner").mkdir()
    file = write_file(folder / "inner" / "file", b"content")
    (folder / "directory").symlink_to("inner")
    (folder / "link").symlink_to("directory/file")
    assert (folder / "link").read_bytes() == b"content"
    assert (folder / "link").stat().st_ino == file.stat().st_ino
    assert stat.S_ISLNK((folder / "link").lstat().st_mode)
    os.chmod(folder / "link", 0o600)
    assert file.stat().st_mode & 0o777 == 0o600


def test_removing_a_link_leaves_the_target(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    (folder / "link").symlink_to("file")
    os.unlink(folder / "link")
    assert file.read_bytes() == b"content"


def test_link_follows_whatever_bears_the_name_now(folder: Path) -> None:
    (folder / "link").symlink_to("file")
    with refused(errno.ENOENT):
        os.stat(folder / "link")
    write_file(folder / "file", b"first")
    assert (folder / "link").read_bytes() == b"first"
    os.rename(write_file(folder / "new", b"second"), folder / "file")
    assert (folder / "link").read_bytes() == b"second"


def test_loops_are_eloop(folder: Path) -> None:
    (folder / "self").symlink_to("self")
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    for name in ("self", "one", "two/below"):
        with refused(errno.ELOOP):
            os.stat(folder / name)
    assert os.readlink(folder / "self") == "self"


@pytest.mark.parametrize(("length", "follows"), [(40, True), (41, False)])
def test_chain_of_40_links_is_followed_and_of_41_is_not(folder: Path, length: int, follows: bool) -> None:
    write_file(folder / "0", b"end of the chain")
    for number in range(1, length + 1):
        (folder / str(number)).symlink_to(str(number - 1))
    if follows:
        assert (folder / str(length)).read_bytes() == b"end of the chain"
        return
    with refused(errno.ELOOP):
        os.stat(folder / str(length))


def test_trailing_slash_asks_for_a_directory(folder: Path) -> None:
    write_file(folder / "file")
    (folder / "link").symlink_to("file")
    with refused(errno.ENOTDIR):
        os.lstat(f"{folder}/link/")
