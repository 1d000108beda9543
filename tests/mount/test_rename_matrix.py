"""Rename: every kind over every kind, and the flags of renameat2."""

import errno
import os
import stat
from pathlib import Path

import pytest
from mount.calls import EXCHANGE, NOREPLACE, refused, rename2, write_file

KINDS = ("file", "empty", "full", "symlink", "fifo")
DIRECTORIES = ("empty", "full")


def put(path: Path, kind: str) -> int:
    """Makes a thing of this kind at path and returns its inode number."""
    if kind == "file":
        write_file(path, b"content of " + os.fsencode(path.name))
    elif kind == "empty":
        path.mkdir()
    elif kind == "full":
        (path / "inside").mkdir(parents=True)
    elif kind == "symlink":
        path.symlink_to("nowhere")
    else:
        os.mkfifo(path)
    return path.lstat().st_ino


def expected_refusal(source: str, target: str) -> int | None:
    if source in DIRECTORIES:
        if target not in DIRECTORIES:
            return errno.ENOTDIR
        return errno.ENOTEMPTY if target == "full" else None
    return errno.EISDIR if target in DIRECTORIES else None


@pytest.mark.parametrize("across", [False, True], ids=["same-directory", "across"])
@pytest.mark.parametrize("source", KINDS)
def test_rename_to_a_free_name_moves_the_inode(folder: Path, source: str, across: bool) -> None:
    (folder / "other").mkdir()
    new = (folder / "other" if across else folder) / "new"
    inode = put(folder / "old", source)
    os.rename(folder / "old", new)
    assert new.lstat().st_ino == inode
    assert "old" not in os.listdir(folder)
    with refused(errno.ENOENT):
        os.lstat(folder / "old")


@pytest.mark.parametrize("across", [False, True], ids=["same-directory", "across"])
@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_rename_over(folder: Path, source: str, target: str, across: bool) -> None:
    (folder / "other").mkdir()
    old, new = folder / "old", (folder / "other" if across else folder) / "new"
    moved, replaced = put(old, source), put(new, target)
    refusal = expected_refusal(source, target)
    if refusal is None:
        os.rename(old, new)
        assert new.lstat().st_ino == moved
        assert "old" not in os.listdir(folder)
        return
    with refused(refusal, *([errno.EEXIST] if refusal == errno.ENOTEMPTY else [])):
        os.rename(old, new)
    assert (old.lstat().st_ino, new.lstat().st_ino) == (moved, replaced)


def test_two_names_of_one_inode_both_stay(folder: Path) -> None:
    first = write_file(folder / "first", b"content")
    os.link(first, folder / "second")
    os.rename(first, folder / "second")
    assert sorted(os.listdir(folder)) == ["first", "second"]
    assert first.stat().st_nlink == 2


def test_rename_to_itself_changes_nothing(folder: Path) -> None:
    for kind in KINDS:
        inode = put(folder / kind, kind)
        os.rename(folder / kind, folder / kind)
        assert (folder / kind).lstat().st_ino == inode


def test_directory_into_its_own_subtree_is_einval(folder: Path) -> None:
    (folder / "outer" / "inner").mkdir(parents=True)
    for target in (folder / "outer" / "new", folder / "outer" / "inner" / "new"):
        with refused(errno.EINVAL):
            os.rename(folder / "outer", target)
    with refused(errno.ENOTEMPTY, errno.EEXIST, errno.EINVAL):
        os.rename(folder / "outer" / "inner", folder / "outer")


def test_dot_and_dotdot_cannot_be_renamed(folder: Path) -> None:
    (folder / "inner").mkdir()
    for name in (".", ".."):
        with refused(errno.EBUSY, errno.EINVAL):
            os.rename(f"{folder}/inner/{name}", folder / "new")


def test_missing_parts_are_told_apart(folder: Path) -> None:
    file = write_file(folder / "file")
    with refused(errno.ENOENT):
        os.rename(folder / "missing", folder / "new")
    with refused(errno.ENOENT):
        os.rename(file, folder / "missing" / "new")
    with refused(errno.ENOTDIR):
        os.rename(folder / "file" / "below", folder / "new")
    with refused(errno.ENOTDIR):
        os.rename(f"{folder}/file/", folder / "new")


def test_moved_directory_takes_its_contents_and_knows_its_parent(folder: Path) -> None:
    (folder / "a" / "inner").mkdir(parents=True)
    (folder / "b").mkdir()
    write_file(folder / "a" / "inner" / "file", b"content")
    os.rename(folder / "a" / "inner", folder / "b" / "inner")
    assert (folder / "b" / "inner" / "file").read_bytes() == b"content"
    assert os.stat(f"{folder}/b/inner/..").st_ino == (folder / "b").stat().st_ino


def test_replaced_file_stays_readable_through_its_handle(folder: Path) -> None:
    write_file(folder / "old", b"new content")
    with write_file(folder / "name", b"old content").open("rb") as handle:
        os.rename(folder / "old", folder / "name")
        assert handle.read() == b"old content"
        assert os.fstat(handle.fileno()).st_nlink == 0
    assert (folder / "name").read_bytes() == b"new content"


@pytest.mark.parametrize("source", KINDS)
def test_noreplace_refuses_every_existing_name(folder: Path, source: str) -> None:
    inode = put(folder / "old", source)
    for target in KINDS:
        put(folder / target, target)
        with refused(errno.EEXIST):
            rename2(folder / "old", folder / target, NOREPLACE)
    rename2(folder / "old", folder / "new", NOREPLACE)
    assert (folder / "new").lstat().st_ino == inode


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_exchange_swaps_any_two_things(folder: Path, source: str, target: str) -> None:
    (folder / "other").mkdir()
    one, two = folder / "one", folder / "other" / "two"
    first, second = put(one, source), put(two, target)
    rename2(one, two, EXCHANGE)
    assert (one.lstat().st_ino, two.lstat().st_ino) == (second, first)
    for directory in (one, two):
        if stat.S_ISDIR(directory.lstat().st_mode):
            assert os.stat(f"{directory}/..").st_ino == directory.parent.stat().st_ino


def test_exchange_keeps_the_parents_link_counts_right(folder: Path) -> None:
    for name in ("left", "right", "left/directory"):
        (folder / name).mkdir()
    write_file(folder / "right" / "file")
    rename2(folder / "left" / "directory", folder / "right" / "file", EXCHANGE)
    assert ((folder / "left").stat().st_nlink, (folder / "right").stat().st_nlink) == (2, 3)


def test_exchange_with_a_missing_name_is_enoent(folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    with refused(errno.ENOENT):
        rename2(file, folder / "missing", EXCHANGE)
    assert file.read_bytes() == b"content"


def test_exchange_with_own_subtree_is_einval(folder: Path) -> None:
    (folder / "outer" / "inner").mkdir(parents=True)
    with refused(errno.EINVAL, errno.ENOTEMPTY):
        rename2(folder / "outer", folder / "outer" / "inner", EXCHANGE)


def test_unknown_flags_are_einval(folder: Path) -> None:
    file = write_file(folder / "file")
    with refused(errno.EINVAL):
        rename2(file, folder / "new", NOREPLACE | EXCHANGE)
    with refused(errno.EINVAL):
        rename2(file, folder / "new", 1 << 10)
