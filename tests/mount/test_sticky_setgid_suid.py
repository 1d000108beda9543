"""The three special mode bits: sticky directories, inherited groups, and set-id bits that vanish when they must."""

import errno
import os
import struct
from pathlib import Path

import pytest
from mount.calls import refused, write_file
from mount.people import ALICE, BOB, STAFF, as_user, member


def bits(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture
def shared(folder: Path) -> Path:
    """A sticky directory anybody may write to, holding a file and a directory of ALICE's."""
    place = folder / "shared"
    place.mkdir()
    os.chmod(place, 0o1777)
    write_file(place / "file")
    (place / "directory").mkdir()
    for name in ("file", "directory"):
        os.chown(place / name, ALICE, ALICE)
        os.chmod(place / name, 0o777)
    return place


def test_sticky_directory_protects_names_from_others(shared: Path) -> None:
    with refused(errno.EPERM, errno.EACCES):
        as_user(BOB, lambda: os.unlink(shared / "file"))
    with refused(errno.EPERM, errno.EACCES):
        as_user(BOB, lambda: os.rmdir(shared / "directory"))
    with refused(errno.EPERM, errno.EACCES):
        as_user(BOB, lambda: os.rename(shared / "file", shared / "stolen"))


def test_sticky_directory_protects_from_being_renamed_over(shared: Path) -> None:
    as_user(BOB, lambda: write_file(shared / "mine").name)
    with refused(errno.EPERM, errno.EACCES):
        as_user(BOB, lambda: os.rename(shared / "mine", shared / "file"))


def test_sticky_directory_lets_owners_remove(shared: Path) -> None:
    as_user(ALICE, lambda: os.rename(shared / "file", shared / "renamed"))
    as_user(ALICE, lambda: os.unlink(shared / "renamed"))
    os.chown(shared, BOB, BOB)
    as_user(BOB, lambda: os.rmdir(shared / "directory"))


def test_new_things_in_a_setgid_directory_inherit_its_group(folder: Path) -> None:
    os.chown(folder, ALICE, STAFF)
    os.chmod(folder, 0o2777)

    def make() -> None:
        os.close(os.open(folder / "file", os.O_CREAT | os.O_WRONLY, 0o644))
        os.mkdir(folder / "directory", 0o755)
        os.mkfifo(folder / "fifo", 0o644)
        os.symlink("x", folder / "link")

    as_user(BOB, make)
    assert {(folder / name).lstat().st_gid for name in ("file", "directory", "fifo", "link")} == {STAFF}
    assert bits(folder / "directory") == 0o2755
    assert bits(folder / "file") == 0o644


def test_setgid_bit_of_a_new_file_needs_membership(folder: Path) -> None:
    os.chown(folder, ALICE, STAFF)
    os.chmod(folder, 0o2777)
    as_user(BOB, lambda: os.close(os.open(folder / "file", os.O_CREAT | os.O_WRONLY, 0o2755)))
    assert bits(folder / "file") == 0o755


def test_all_twelve_bits_are_kept(folder: Path) -> None:
    file = write_file(folder / "file")
    for mode in (0o7777, 0o4755, 0o2755, 0o1644, 0o0000):
        os.chmod(file, mode)
        assert bits(file) == mode
    (folder / "directory").mkdir()
    os.chmod(folder / "directory", 0o7777)
    assert bits(folder / "directory") == 0o7777


def test_chmod_outside_the_own_group_drops_setgid(folder: Path) -> None:
    file = write_file(folder / "file")
    os.chown(file, ALICE, BOB)
    as_user(ALICE, lambda: os.chmod(file, 0o2755))
    assert bits(file) == 0o755
    os.chown(file, ALICE, STAFF)
    member(lambda: os.chmod(file, 0o2755))
    assert bits(file) == 0o2755


@pytest.mark.parametrize("how", ["write", "truncate", "o_trunc"])
def test_write_by_another_drops_set_id_bits(folder: Path, how: str) -> None:
    file = write_file(folder / "program", b"content")
    os.chmod(file, 0o6777)

    def change() -> None:
        handle = os.open(file, os.O_RDWR | (os.O_TRUNC if how == "o_trunc" else 0))
        if how == "truncate":
            os.ftruncate(handle, 2)
        elif how == "write":
            os.write(handle, b"x")
        os.close(handle)

    as_user(BOB, change)
    assert bits(file) == 0o777


def test_write_by_root_keeps_set_id_bits(folder: Path) -> None:
    file = write_file(folder / "program", b"content")
    os.chmod(file, 0o6777)
    with file.open("r+b") as handle:
        handle.write(b"x")
    assert bits(file) == 0o6777


def test_chown_drops_set_id_bits_of_an_executable(folder: Path) -> None:
    file = write_file(folder / "program")
    os.chown(file, ALICE, ALICE)
    os.chmod(file, 0o6755)
    member(lambda: os.chown(file, -1, STAFF))
    assert bits(file) == 0o755


def test_chown_keeps_the_bits_of_a_directory(folder: Path) -> None:
    (folder / "directory").mkdir()
    os.chmod(folder / "directory", 0o2775)
    os.chown(folder / "directory", ALICE, STAFF)
    assert bits(folder / "directory") == 0o2775


def test_bits_set_before_the_bytes_reached_the_drive_stay(folder: Path) -> None:
    """As cp, tar and install do: write, chmod, close. The kernel sends the bytes after the mode."""
    with (folder / "program").open("wb", buffering=0) as handle:
        handle.write(bytes(100_000))
        os.fchmod(handle.fileno(), 0o6755)
        handle.write(b"more")
        os.fsync(handle.fileno())
    assert bits(folder / "program") == 0o6755


@pytest.mark.parametrize("how", ["write", "truncate", "chown"])
def test_change_takes_capabilities_away(folder: Path, how: str) -> None:
    file = write_file(folder / "program", b"content")
    os.setxattr(file, "security.capability", struct.pack("<IIIII", 0x0200_0000, 1 << 10, 0, 0, 0))
    with file.open("r+b", buffering=0) as handle:
        if how == "write":
            handle.write(b"x")
        elif how == "truncate":
            handle.truncate(2)
        else:
            os.fchown(handle.fileno(), ALICE, ALICE)
    assert "security.capability" not in os.listxattr(file)
