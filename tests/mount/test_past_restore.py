"""Restore and undo: exactly what was, under everybody's open handles, and a way back."""

import os
from pathlib import Path

import pytest
from kit.mounted import CommandFailed, MountedDrive
from mount.calls import write_file
from mount.snapshots import past, snap
from mount.twin_machine import tree

from appliance.control.client import ControlClient

pytestmark = pytest.mark.needs_product

Tree = dict[str, tuple[object, ...]]
Spoiled = tuple[str, Tree, Tree]


def inside(drive: MountedDrive, path: Path) -> str:
    return os.fspath(path.relative_to(drive.mount))


def test_file_comes_back_and_undo_takes_it_back(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"good", 0o640)
    os.setxattr(file, "user.note", b"good")
    beside = write_file(folder / "beside", b"beside")
    name = snap(drive)
    file.write_bytes(b"spoiled")
    os.setxattr(file, "user.note", b"spoiled")
    beside.write_bytes(b"beside, changed")
    job = drive.cli("restore", inside(drive, file), "--at", name)
    assert job["state"] == "done"
    assert file.read_bytes() == b"good"
    assert os.getxattr(file, "user.note") == b"good"
    assert file.stat().st_mode & 0o7777 == 0o640
    assert beside.read_bytes() == b"beside, changed"
    assert drive.cli("undo-restore", str(job["id"]))["state"] == "done"
    assert file.read_bytes() == b"spoiled"
    assert os.getxattr(file, "user.note") == b"spoiled"


def test_whoever_hears_that_a_restore_is_done_opens_the_restored_file(drive: MountedDrive, folder: Path) -> None:
    """At once, by any of its paths, of which the kernel knows hundreds. The command line would be too slow to see."""
    core, file = ControlClient(drive.state / "run" / "control.sock"), write_file(folder / "file", b"good")
    names = [file, *(folder / f"link-{number}" for number in range(400))]
    for name in names[1:]:
        name.hardlink_to(file)
    snapshot = core.create_snapshot().name
    file.write_bytes(b"spoiled")
    assert {name.read_bytes() for name in names} == {b"spoiled"}
    job = core.start_restore(inside(drive, file), snapshot)
    while job.state == "building":
        job = core.job(job.id)
    assert {name.read_bytes() for name in reversed(names)} == {b"good"}


def test_deleted_file_comes_back(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"good")
    name = snap(drive)
    file.unlink()
    assert not file.exists()
    drive.cli("restore", inside(drive, file), "--at", name)
    assert file.read_bytes() == b"good"
    assert os.listdir(folder) == ["file"]


def spoil(folder: Path) -> None:
    write_file(folder / "added", b"new")
    (folder / "removed").unlink()
    (folder / "inner" / "changed").write_bytes(b"spoiled")
    os.rename(folder / "inner", folder / "renamed")


@pytest.fixture
def spoiled(drive: MountedDrive, folder: Path) -> Spoiled:
    """A folder with a good state in a snapshot and a spoiled one now: (snapshot, good tree, spoiled tree)."""
    (folder / "inner" / "deep").mkdir(parents=True)
    for place in ("removed", "inner/changed", "inner/deep/same"):
        write_file(folder / place, place.encode() * 100)
    os.link(folder / "removed", folder / "inner" / "linked")
    os.symlink("removed", folder / "link")
    good = tree(folder)
    name = snap(drive)
    spoil(folder)
    return name, good, tree(folder)


def test_folder_comes_back_whole_and_undo_gives_the_other_state(
    drive: MountedDrive, folder: Path, spoiled: Spoiled
) -> None:
    name, good, bad = spoiled
    job = drive.cli("restore", inside(drive, folder), "--at", name)
    assert tree(folder) == good
    drive.cli("undo-restore", str(job["id"]))
    assert tree(folder) == bad
    assert tree(past(drive, name, folder)) == good


def test_dry_run_tells_and_changes_nothing(drive: MountedDrive, folder: Path, spoiled: Spoiled) -> None:
    name, _, bad = spoiled
    plan = drive.cli("restore", inside(drive, folder), "--at", name, "--dry-run")
    told = {
        (each["path"].removeprefix(inside(drive, folder)).strip("/"), each["change"]) for each in plan["differences"]
    }
    assert ("added", "removed") in told
    assert ("removed", "added") in told
    assert plan["snapshot"] == name
    assert plan["added"] + plan["removed"] + plan["changed"] >= len(plan["differences"]) > 0
    assert tree(folder) == bad


def test_restore_to_another_place_leaves_the_live_one(drive: MountedDrive, folder: Path, spoiled: Spoiled) -> None:
    name, good, _ = spoiled
    before = tree(folder)
    goal = folder.with_name(folder.name + "-restored")
    drive.cli("restore", inside(drive, folder), "--at", name, "--to", inside(drive, goal))
    assert tree(goal) == good
    assert tree(folder) == before
    with pytest.raises(CommandFailed, match="ended with 4"):
        drive.cli("restore", inside(drive, folder), "--at", name, "--to", inside(drive, goal))
    (goal / "inner" / "changed").write_bytes(b"a copy of its own")
    assert tree(past(drive, name, folder)) == good


def test_undo_refuses_when_something_changed_since_and_obeys_force(
    drive: MountedDrive, folder: Path, spoiled: Spoiled
) -> None:
    name, _, bad = spoiled
    job = drive.cli("restore", inside(drive, folder), "--at", name)
    write_file(folder / "work since", b"precious")
    with pytest.raises(CommandFailed, match="ended with 4"):
        drive.cli("undo-restore", str(job["id"]))
    assert (folder / "work since").read_bytes() == b"precious"
    forced = drive.cli("undo-restore", str(job["id"]), "--force")
    assert tree(folder) == bad
    assert tree(past(drive, forced["undo_snapshot"], folder))["work since"]


def test_open_handle_of_a_restored_file_writes_to_the_orphan(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"good" * 10_000)
    name = snap(drive)
    with file.open("r+b", buffering=0) as held:
        held.write(b"dirty, never synced" * 1000)
        drive.cli("restore", inside(drive, file), "--at", name)
        assert file.read_bytes() == b"good" * 10_000
        assert os.fstat(held.fileno()).st_ino != file.stat().st_ino
        held.write(b"late" * 10_000)
        os.fsync(held.fileno())
        assert os.pread(held.fileno(), 5, 0) == b"dirty"
        assert file.read_bytes() == b"good" * 10_000
        with file.open("ab") as fresh:
            fresh.write(b" and later work")
    drive.remount()
    assert file.read_bytes() == b"good" * 10_000 + b" and later work"


def test_writer_that_never_stops_leaves_exactly_the_restored_bytes(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"g" * 200_000)
    name = snap(drive)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(writer)
            os.set_blocking(reader, False)
            handle, turn = os.open(file, os.O_RDWR), 0
            while True:
                turn += 1
                os.pwrite(handle, b"w" * 5000, turn * 4999 % 300_000)
                try:
                    if os.read(reader, 1) == b"":
                        break
                except BlockingIOError:
                    continue
            os.fsync(handle)
        finally:
            os._exit(0)
    os.close(reader)
    try:
        for _ in range(2):
            drive.cli("restore", inside(drive, file), "--at", name)
            assert file.read_bytes() == b"g" * 200_000
    finally:
        os.close(writer)
        os.waitpid(pid, 0)
    assert file.read_bytes() == b"g" * 200_000
    drive.remount()
    assert file.read_bytes() == b"g" * 200_000


def test_process_inside_a_restored_folder_keeps_its_place(drive: MountedDrive, folder: Path, spoiled: Spoiled) -> None:
    name, good, _ = spoiled
    handle = os.open(folder / "renamed", os.O_RDONLY | os.O_DIRECTORY)
    drive.cli("restore", inside(drive, folder), "--at", name)
    os.listdir(handle)
    os.close(handle)
    assert tree(folder) == good


def test_whole_drive_comes_back(own_drive: MountedDrive) -> None:
    root = own_drive.mount
    for place in ("a/b/file", "top"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        write_file(root / place, place.encode())
    good = tree(root)
    name = snap(own_drive)
    write_file(root / "added", b"x")
    (root / "top").unlink()
    os.rename(root / "a" / "b", root / "b")
    bad = tree(root)
    job = own_drive.cli("restore", ".", "--at", name)
    assert tree(root) == good
    own_drive.cli("undo-restore", str(job["id"]))
    assert tree(root) == bad
    own_drive.remount()
    assert tree(root) == bad
    assert not own_drive.complaints()


def test_unknown_snapshots_and_paths_are_told_apart_from_success(drive: MountedDrive, folder: Path) -> None:
    name = snap(drive)
    for words in (("restore", "never/there", "--at", name), ("restore", inside(drive, folder), "--at", "10000d")):
        with pytest.raises(CommandFailed, match="ended with 3"):
            drive.cli(*words)


def test_jobs_list_what_was_done(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"good")
    name = snap(drive)
    file.unlink()
    job = drive.cli("restore", inside(drive, file), "--at", name)
    listed = {each["id"]: each for each in drive.cli("jobs")}
    assert listed[job["id"]]["state"] == "done"
    assert listed[job["id"]]["path"] == inside(drive, file)
