"""Extended attributes: values as they were set, flags and sizes as xattr(7) says."""

import ctypes
import errno
import os
from pathlib import Path

import pytest
from mount.calls import refused, write_file
from mount.people import ALICE, BOB, as_user


@pytest.fixture
def file(folder: Path) -> Path:
    return write_file(folder / "file", b"content")


@pytest.mark.parametrize("name", ["user.note", "trusted.note", "security.note"])
def test_value_reads_back_byte_for_byte(file: Path, name: str) -> None:
    for value in (b"plain", b"", bytes(range(256)), b"x" * 2000):
        os.setxattr(file, name, value)
        assert os.getxattr(file, name) == value
    os.removexattr(file, name)
    with refused(errno.ENODATA):
        os.getxattr(file, name)


def test_every_kind_that_may_carry_attributes_does(folder: Path) -> None:
    (folder / "directory").mkdir()
    os.setxattr(folder / "directory", "user.note", b"on a directory")
    assert os.getxattr(folder / "directory", "user.note") == b"on a directory"
    (folder / "link").symlink_to("nowhere")
    os.setxattr(folder / "link", "trusted.note", b"on a symlink", follow_symlinks=False)
    assert os.getxattr(folder / "link", "trusted.note", follow_symlinks=False) == b"on a symlink"


def test_user_attributes_of_symlinks_and_fifos_are_refused(folder: Path) -> None:
    (folder / "link").symlink_to("nowhere")
    os.mkfifo(folder / "fifo")
    for name in ("link", "fifo"):
        with refused(errno.EPERM):
            os.setxattr(folder / name, "user.note", b"x", follow_symlinks=False)


def test_create_and_replace_flags(file: Path) -> None:
    with refused(errno.ENODATA):
        os.setxattr(file, "user.note", b"x", os.XATTR_REPLACE)
    os.setxattr(file, "user.note", b"first", os.XATTR_CREATE)
    with refused(errno.EEXIST):
        os.setxattr(file, "user.note", b"second", os.XATTR_CREATE)
    os.setxattr(file, "user.note", b"third", os.XATTR_REPLACE)
    assert os.getxattr(file, "user.note") == b"third"


def test_missing_attribute_is_enodata(file: Path) -> None:
    for act in (os.getxattr, os.removexattr):
        with refused(errno.ENODATA):
            act(file, "user.missing")


def test_names_without_a_known_namespace_are_refused(file: Path) -> None:
    for name in ("note", "other.note"):
        with refused(errno.EOPNOTSUPP):
            os.setxattr(file, name, b"x")


def test_list_names_every_attribute_once(file: Path) -> None:
    assert os.listxattr(file) == []
    names = [f"user.note-{number}" for number in range(40)]
    for name in names:
        os.setxattr(file, name, b"x")
    os.setxattr(file, names[0], b"again")
    assert sorted(os.listxattr(file)) == sorted(names)
    for name in names[:-1]:
        os.removexattr(file, name)
    assert os.listxattr(file) == names[-1:]


def test_names_are_bytes_and_tell_upper_from_lower_case(file: Path) -> None:
    for name in ("user.Größe", "user.note", "user.NOTE", "user.with space"):
        os.setxattr(file, name, name.encode())
    assert os.getxattr(file, "user.NOTE") == b"user.NOTE"
    assert sorted(os.listxattr(file)) == sorted(["user.Größe", "user.note", "user.NOTE", "user.with space"])


def test_name_of_255_bytes_fits_and_256_is_erange(file: Path) -> None:
    name = "user." + "n" * 250
    os.setxattr(file, name, b"x")
    assert os.listxattr(file) == [name]
    with refused(errno.ERANGE):
        os.setxattr(file, name + "n", b"x")


def test_value_above_64_kib_is_e2big(file: Path) -> None:
    with refused(errno.E2BIG):
        os.setxattr(file, "user.note", b"x" * 65537)


@pytest.mark.needs_product
def test_value_of_64_kib_is_kept(file: Path) -> None:
    value = os.urandom(65536)
    os.setxattr(file, "user.note", value)
    assert os.getxattr(file, "user.note") == value
    os.setxattr(file, "user.second", value[::-1])
    assert os.getxattr(file, "user.note") == value


def test_too_small_a_buffer_is_erange(file: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    os.setxattr(file, "user.note", b"longer than four bytes")
    buffer = ctypes.create_string_buffer(4)
    assert libc.getxattr(os.fsencode(file), b"user.note", buffer, 4) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert libc.listxattr(os.fsencode(file), buffer, 4) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert libc.getxattr(os.fsencode(file), b"user.note", None, 0) == 22
    assert libc.listxattr(os.fsencode(file), None, 0) == len(b"user.note\0")


def test_attributes_belong_to_the_inode(folder: Path, file: Path) -> None:
    os.setxattr(file, "user.note", b"kept")
    os.link(file, folder / "second")
    os.rename(file, folder / "renamed")
    assert os.getxattr(folder / "second", "user.note") == b"kept"
    with (folder / "second").open("rb") as handle:
        (folder / "second").unlink()
        (folder / "renamed").unlink()
        assert os.getxattr(handle.fileno(), "user.note") == b"kept"
    assert os.listxattr(write_file(folder / "renamed")) == []


def test_others_need_the_files_rights(file: Path) -> None:
    os.setxattr(file, "user.note", b"secret")
    os.chown(file, ALICE, ALICE)
    os.chmod(file, 0o600)
    with refused(errno.EACCES):
        as_user(BOB, lambda: os.getxattr(file, "user.note"))
    with refused(errno.EACCES):
        as_user(BOB, lambda: os.setxattr(file, "user.note", b"x"))
    assert as_user(ALICE, lambda: os.getxattr(file, "user.note")) == b"secret"


def test_trusted_attributes_are_roots_alone(file: Path) -> None:
    os.setxattr(file, "trusted.note", b"secret")
    os.chown(file, ALICE, ALICE)
    with refused(errno.ENODATA):
        as_user(ALICE, lambda: os.getxattr(file, "trusted.note"))
    with refused(errno.EPERM):
        as_user(ALICE, lambda: os.setxattr(file, "trusted.note", b"x"))
    assert "trusted.note" in os.listxattr(file)
    assert as_user(ALICE, lambda: os.listxattr(file)) == []


def test_attributes_of_a_missing_file_are_enoent(folder: Path) -> None:
    for act in (os.listxattr, lambda path: os.getxattr(path, "user.note")):
        with refused(errno.ENOENT):
            act(folder / "missing")
