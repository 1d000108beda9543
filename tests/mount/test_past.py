"""The doors into the past: where they are found and not seen, and that nobody changes anything behind them."""

import errno
import os
import re
import stat
from pathlib import Path

import pytest
from kit.mounted import CommandFailed, MountedDrive, await_true
from mount.calls import refused, write_file
from mount.snapshots import DOOR, changes, names_known, past, refusal_of, snap
from mount.twin_machine import tree

pytestmark = pytest.mark.needs_product

NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(_.+)?")
BARE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ|@GMT-[\d.-]+|\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d")


def test_door_is_found_by_name_and_never_listed(drive: MountedDrive, folder: Path) -> None:
    (folder / "inner").mkdir()
    for home in (drive.mount, folder, folder / "inner"):
        assert stat.S_ISDIR((home / DOOR).stat().st_mode)
        assert DOOR not in os.listdir(home)
    assert ".previous" not in os.listdir(drive.mount)
    assert stat.S_IMODE((drive.mount / DOOR).stat().st_mode) == 0o755


def test_folders_behind_the_door_are_the_snapshots(drive: MountedDrive) -> None:
    plain, labelled = snap(drive), snap(drive, "before-the-audit")
    assert NAME.fullmatch(plain)
    assert NAME.fullmatch(labelled)
    assert labelled.endswith("_before-the-audit")
    assert plain in names_known(drive)
    assert sorted(os.listdir(drive.mount / DOOR)) == sorted(names_known(drive))


def test_root_has_a_visible_way_to_the_door(drive: MountedDrive) -> None:
    assert "Previous Versions" in os.listdir(drive.mount)
    assert os.readlink(drive.mount / "Previous Versions") == DOOR
    name = snap(drive)
    assert name in os.listdir(drive.mount / "Previous Versions")


def test_previous_holds_bare_times_for_the_file_server(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"old")
    snap(drive, "with-words")
    file.write_bytes(b"new")
    names = os.listdir(drive.mount / ".previous")
    assert names
    assert len(names) <= 500
    assert all(BARE_TIME.fullmatch(name) for name in names)
    shown = [drive.mount / ".previous" / name / file.relative_to(drive.mount) for name in names]
    assert b"old" in [path.read_bytes() for path in shown if path.exists()]


def test_door_of_a_folder_leads_by_relative_links_to_its_own_past(drive: MountedDrive, folder: Path) -> None:
    inner = folder / "one" / "two"
    inner.mkdir(parents=True)
    write_file(inner / "file", b"old")
    name = snap(drive)
    (inner / "file").write_bytes(b"new")
    link = inner / DOOR / name
    assert stat.S_ISLNK(link.lstat().st_mode)
    assert not os.readlink(link).startswith("/")
    assert name in os.listdir(inner / DOOR)
    assert (link / "file").read_bytes() == b"old"
    assert os.path.realpath(link) == os.path.realpath(past(drive, name, inner))


def test_names_of_the_doors_are_reserved_everywhere(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    (folder / "deep").mkdir()
    (folder / "directory").mkdir()
    # The kernel itself answers EEXIST or EISDIR where it has looked the door up before.
    taken = (errno.EPERM, errno.EEXIST, errno.EISDIR, errno.ENOTDIR)
    for door in (drive.mount / DOOR, drive.mount / ".previous", folder / DOOR, folder / "deep" / DOOR):
        before = door.stat()
        for make in (
            lambda door=door: os.mkdir(door),
            lambda door=door: os.mkfifo(door),
            lambda door=door: os.symlink("x", door),
            lambda door=door: os.link(file, door),
            lambda door=door: os.rename(file, door),
            lambda door=door: os.open(door, os.O_CREAT | os.O_WRONLY, 0o600),
            lambda door=door: os.unlink(door),
        ):
            with refused(*taken):
                make()
        with refused(errno.EPERM):
            os.rename(folder / "directory", door)
        with refused(errno.EPERM):
            os.rename(door, folder / "stolen")
        with refused(errno.EPERM):
            os.rmdir(door)
        assert (door.stat().st_ino, door.stat().st_mode) == (before.st_ino, before.st_mode)
    assert file.read_bytes() == b"content"
    write_file(folder / ".previous", b"only the root's is reserved")


def test_nothing_in_the_past_can_be_changed(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"content", 0o664)
    os.setxattr(file, "user.note", b"kept")
    (folder / "empty").mkdir()
    live = write_file(folder / "live", b"live")
    name = snap(drive)
    home = past(drive, name, folder)
    before = tree(home)
    answers = {what: refusal_of(act) for what, act in changes(home / "file", home, live).items()}
    assert answers == dict.fromkeys(answers, "EROFS")
    assert tree(home) == before
    assert live.read_bytes() == b"live"
    for act in (lambda: os.mkdir(drive.mount / DOOR / "new"), lambda: os.rmdir(drive.mount / DOOR / name)):
        with refused(errno.EROFS, errno.EPERM):
            act()


def test_modes_owners_and_times_are_as_they_were(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"content", 0o666)
    os.chown(file, 1234, 5678)
    os.utime(file, ns=(111, 222))
    folder.chmod(0o2775)
    root_mode = drive.mount.stat().st_mode
    name = snap(drive)
    os.chown(file, 0, 0)
    os.chmod(file, 0o600)
    folder.chmod(0o700)
    was = past(drive, name, file).stat()
    assert (was.st_mode & 0o7777, was.st_uid, was.st_gid, was.st_mtime_ns) == (0o666, 1234, 5678, 222)
    assert past(drive, name, folder).stat().st_mode & 0o7777 == 0o2775
    assert (drive.mount / DOOR / name).stat().st_mode == root_mode
    os.chmod(folder, 0o755)


def test_attributes_and_hard_links_are_as_they_were(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    os.setxattr(file, "user.note", b"old")
    os.link(file, folder / "second")
    (folder / "link").symlink_to("file")
    name = snap(drive)
    os.setxattr(file, "user.note", b"new")
    os.setxattr(file, "user.more", b"new")
    (folder / "second").unlink()
    (folder / "link").unlink()
    home = past(drive, name, folder)
    assert os.listxattr(home / "file") == ["user.note"]
    assert os.getxattr(home / "file", "user.note") == b"old"
    assert (home / "file").stat().st_nlink == 2
    assert (home / "file").stat().st_ino == (home / "second").stat().st_ino
    assert os.readlink(home / "link") == "file"


def inodes(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_ino for path in (root, *root.rglob("*"))}


def test_inode_numbers_are_unique_over_live_and_past_and_stable(drive: MountedDrive, folder: Path) -> None:
    for name in ("a", "b/c"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_file(folder / name, name.encode())
    homes = [folder]
    for _ in range(3):
        homes.append(past(drive, snap(drive), folder))
        write_file(folder / "a", b"changed")
    before = [inodes(home) for home in homes]
    numbers = [number for seen in before for number in seen.values()]
    assert len(set(numbers)) == len(numbers)
    drive.remount()
    assert [inodes(home) for home in homes] == before


def test_walking_down_and_up_in_the_past_stays_in_the_past(drive: MountedDrive, folder: Path) -> None:
    (folder / "inner").mkdir()
    home = past(drive, snap(drive), folder)
    (folder / "inner").rmdir()
    assert os.stat(f"{home}/inner/..").st_ino == home.stat().st_ino
    assert os.stat(f"{home}/inner/../..").st_ino == home.parent.stat().st_ino
    handle = os.open(home / "inner", os.O_RDONLY | os.O_DIRECTORY)
    assert os.readlink(f"/proc/self/fd/{handle}") == os.path.realpath(home / "inner")
    os.close(handle)


def read_rest(handle: int, into: bytearray) -> None:
    """Reads from the start to the end or to the first refusal; what the kernel still had may come before one."""
    while piece := os.pread(handle, 100_000, len(into)):
        into += piece


def test_deleted_snapshot_is_gone_and_its_handles_never_lie(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"a" * 100_000)
    name = snap(drive)
    file.write_bytes(b"b" * 100_000)
    was = past(drive, name, file)
    with was.open("rb", buffering=0) as held:
        assert held.read(10) == b"a" * 10
        drive.cli("snapshot", "delete", name)
        assert name not in names_known(drive)
        later = bytearray()
        answer = refusal_of(lambda: read_rest(held.fileno(), later))
        assert later == b"a" * len(later)
        assert answer in ("ESTALE", "ENOENT") or len(later) == 100_000
    with refused(errno.ENOENT, errno.ESTALE):
        os.open(was, os.O_RDONLY)
    await_true(lambda: name not in os.listdir(drive.mount / DOOR), 5, "the folder of a deleted snapshot is gone")
    with pytest.raises(CommandFailed, match="ended with 3"):
        drive.cli("snapshot", "delete", name)


def test_held_snapshot_cannot_be_deleted(drive: MountedDrive) -> None:
    name = snap(drive)
    drive.cli("snapshot", "hold", name)
    with pytest.raises(CommandFailed, match="ended with 4"):
        drive.cli("snapshot", "delete", name)
    assert name in names_known(drive)
    drive.cli("snapshot", "release", name)
    drive.cli("snapshot", "delete", name)
    assert name not in names_known(drive)
