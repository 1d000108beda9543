"""Hard links: one inode, several names, and attributes that are fresh through every one of them."""

import errno
import os
from pathlib import Path

from mount.calls import refused, write_file


def test_both_names_are_the_same_file(folder: Path) -> None:
    first = write_file(folder / "first", b"content")
    second = folder / "second"
    os.link(first, second)
    assert first.stat().st_ino == second.stat().st_ino
    second.write_bytes(b"changed through the second")
    assert first.read_bytes() == b"changed through the second"
    second.chmod(0o600)
    assert first.stat().st_mode & 0o777 == 0o600


def test_link_count_is_fresh_through_every_name_at_once(folder: Path) -> None:
    names = [write_file(folder / "0")]
    for number in range(1, 6):
        names.append(folder / str(number))
        os.link(names[0], names[-1])
        assert {name.stat().st_nlink for name in names} == {number + 1}
    while len(names) > 1:
        names.pop().unlink()
        assert {name.stat().st_nlink for name in names} == {len(names)}


def test_link_count_is_fresh_after_rename_over(folder: Path) -> None:
    first = write_file(folder / "first")
    os.link(first, folder / "second")
    os.rename(write_file(folder / "other"), folder / "second")
    assert first.stat().st_nlink == 1


def test_link_count_seen_by_an_open_handle(folder: Path) -> None:
    first = write_file(folder / "first")
    with first.open("rb") as file:
        os.link(first, folder / "second")
        assert os.fstat(file.fileno()).st_nlink == 2
        first.unlink()
        assert os.fstat(file.fileno()).st_nlink == 1
        (folder / "second").unlink()
        assert os.fstat(file.fileno()).st_nlink == 0


def test_directory_counts_its_subdirectories(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    assert inner.stat().st_nlink == 2
    (inner / "a").mkdir()
    (inner / "b").mkdir()
    write_file(inner / "file")
    assert inner.stat().st_nlink == 4
    (inner / "a").rmdir()
    (inner / "b").rename(folder / "b")
    assert inner.stat().st_nlink == 2
    (folder / "b").rename(inner / "b")
    assert inner.stat().st_nlink == 3


def test_subdirectory_replaced_by_rename_is_counted_once(folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).mkdir()
    before = folder.stat().st_nlink
    (folder / "a").rename(folder / "b")
    assert folder.stat().st_nlink == before - 1


def test_link_refuses_existing_and_missing_names(folder: Path) -> None:
    first = write_file(folder / "first")
    write_file(folder / "second")
    with refused(errno.EEXIST):
        os.link(first, folder / "second")
    with refused(errno.ENOENT):
        os.link(folder / "missing", folder / "third")
    with refused(errno.ENOENT):
        os.link(first, folder / "missing" / "third")
    with refused(errno.ENOTDIR):
        os.link(first, first / "third")


def test_symlink_itself_can_have_two_names(folder: Path) -> None:
    (folder / "link").symlink_to("target")
    os.link(folder / "link", folder / "second", follow_symlinks=False)
    assert os.readlink(folder / "second") == "target"
    assert (folder / "link").lstat().st_nlink == 2


def test_fifo_can_have_two_names(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    os.link(folder / "fifo", folder / "second")
    assert (folder / "fifo").stat().st_ino == (folder / "second").stat().st_ino


def test_links_across_directories_survive_the_loss_of_the_first_name(folder: Path) -> None:
    first = write_file(folder / "first", b"content")
    (folder / "inner").mkdir()
    second = folder / "inner" / "second"
    os.link(first, second)
    first.unlink()
    write_file(folder / "first", b"another file")
    assert second.read_bytes() == b"content"
    assert second.stat().st_ino != (folder / "first").stat().st_ino
