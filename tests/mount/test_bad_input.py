"""Whatever a person does wrong, or a machine does not have: one sentence, the right exit code, and nothing changed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from kit.mounted import REPOSITORY, CommandFailed, MountedDrive
from mount.calls import write_file
from mount.snapshots import snap
from mount.twin_machine import tree

import cachefs.database  # noqa: F401  (pages are written with checksums)

pytestmark = pytest.mark.needs_product

USAGE, NOT_FOUND, REFUSED, NOT_RUNNING, ALREADY_RUNNING, DAMAGED, OTHER_VERSION, NO_RIGHTS, NO_FUSE = (
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    10,
    11,
)


def run(*words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """One command of the product, as a shell would run it."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "appliance", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_sentence(done: subprocess.CompletedProcess[str], code: int) -> None:
    """It ended with that code, and said why in one clear sentence, without a traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.strip().endswith(".")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("restore", "no such file", "--at", "0s"), NOT_FOUND),
        (("restore", "file", "--at", "2001-01-01"), NOT_FOUND),
        (("restore", "file", "--at", "the other day"), USAGE),
        (("restore", "../etc/passwd", "--at", "0s"), USAGE),
        (("restore", ".snapshots/x", "--at", "0s"), USAGE),
        (("restore", "file", "--at", "0s", "--to", "file"), REFUSED),
        (("restore", "file", "--at", "0s", "--to", "no such folder/file"), NOT_FOUND),
        (("restore", "file", "--at", "0s", "--to", "x" * 300), USAGE),
        (("versions", "no such file"), NOT_FOUND),
        (("snapshot", "create", "not/a label"), USAGE),
        (("snapshot", "delete", "2001-01-01T00-00-00Z"), NOT_FOUND),
        (("snapshot", "hold", "nothing"), NOT_FOUND),
        (("undo-restore", "999"), NOT_FOUND),
    ],
)
def test_wrong_words_change_nothing(drive: MountedDrive, folder: Path, words: tuple[str, ...], code: int) -> None:
    file = write_file(drive.mount / "file", b"content")
    snap(drive)
    before, names = tree(drive.mount), os.listdir(drive.mount / ".snapshots")
    jobs = drive.cli("jobs")
    assert_sentence(run(*words, "--state", str(drive.state)), code)
    assert tree(drive.mount) == before
    assert os.listdir(drive.mount / ".snapshots") == names
    assert drive.cli("jobs") == jobs
    assert file.read_bytes() == b"content"


def test_held_snapshot_is_not_deleted(drive: MountedDrive) -> None:
    name = snap(drive)
    drive.cli("snapshot", "hold", name)
    assert_sentence(run("snapshot", "delete", name, "--state", str(drive.state)), REFUSED)
    assert name in os.listdir(drive.mount / ".snapshots")


def test_second_mount_of_the_same_state_is_refused_and_the_first_goes_on(drive: MountedDrive, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert_sentence(run("mount", "--state", str(drive.state), "--mount", str(other)), ALREADY_RUNNING)
    assert not os.path.ismount(other)
    assert write_file(drive.mount / "still", b"here").read_bytes() == b"here"


@pytest.fixture
def stopped(own_drive: MountedDrive) -> MountedDrive:
    """A drive with something in it, stopped."""
    write_file(own_drive.mount / "file", b"content" * 1000)
    snap(own_drive)
    own_drive.stop()
    return own_drive


def state_of(drive: MountedDrive) -> dict[str, bytes]:
    """Every byte of the state that matters."""
    return {
        path.name: path.read_bytes()
        for path in sorted(drive.state.glob("drive.db")) + sorted(drive.state.glob("segments/*"))
    }


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize(
    ("offset", "data", "code"),
    [(None, b"", OTHER_VERSION), (0, b"not SQLite at all", DAMAGED), (68, b"what", DAMAGED), (60, b"rot!", DAMAGED)],
)
def test_other_version_and_damaged_header(stopped: MountedDrive, offset: int | None, data: bytes, code: int) -> None:
    database = stopped.state / "drive.db"
    original = database.read_bytes()
    if offset is None:
        with closing(apsw.Connection(str(database))) as connection:
            connection.pragma("user_version", 99)
    else:
        patch(database, offset, data)
    broken = state_of(stopped)
    assert_sentence(run("mount", "--state", str(stopped.state), "--mount", str(stopped.mount)), code)
    assert state_of(stopped) == broken
    assert not os.path.ismount(stopped.mount)
    database.write_bytes(original)
    stopped.start()
    assert (stopped.mount / "file").read_bytes() == b"content" * 1000


def test_damaged_page_is_found_by_fsck_and_not_repaired_into_a_loss(stopped: MountedDrive) -> None:
    database = stopped.state / "drive.db"
    for page in range(4, database.stat().st_size // 4096, 3):
        patch(database, page * 4096, b"\xff" * 64)
    done = run("fsck", "--state", str(stopped.state))
    assert done.returncode in (DAMAGED, 12), done.stderr
    assert "Traceback" not in done.stderr


def test_missing_segment_is_named_and_nothing_is_touched(stopped: MountedDrive) -> None:
    segment = next((stopped.state / "segments").glob("*.seg"))
    hidden = segment.rename(segment.with_suffix(".away"))
    done = run("mount", "--state", str(stopped.state), "--mount", str(stopped.mount))
    assert_sentence(done, DAMAGED)
    assert segment.name in done.stderr
    hidden.rename(segment)
    stopped.start()
    assert (stopped.mount / "file").read_bytes() == b"content" * 1000


def test_mount_point_with_files_in_it_is_refused(stopped: MountedDrive, tmp_path: Path) -> None:
    write_file(tmp_path / "somebody's", b"file")
    assert_sentence(run("mount", "--state", str(stopped.state), "--mount", str(tmp_path)), REFUSED)
    assert (tmp_path / "somebody's").read_bytes() == b"file"


def test_state_that_is_not_there(tmp_path: Path) -> None:
    assert_sentence(run("mount", "--state", str(tmp_path / "nowhere"), "--mount", str(tmp_path)), NOT_FOUND)
    assert_sentence(run("status", "--state", str(tmp_path / "nowhere")), NOT_RUNNING)


def test_user_without_rights(drive: MountedDrive) -> None:
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    name = snap(drive)
    assert_sentence(run("snapshot", "delete", name, "--state", str(drive.state), prefix=as_nobody), NO_RIGHTS)
    assert_sentence(run("mount", "--state", str(drive.state), "--mount", "/mnt", prefix=as_nobody), NO_RIGHTS)
    assert name in os.listdir(drive.mount / ".snapshots")


def test_machine_without_fuse(stopped: MountedDrive) -> None:
    hide = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$@"', "sh")
    done = run("mount", "--state", str(stopped.state), "--mount", str(stopped.mount), prefix=hide)
    assert_sentence(done, NO_FUSE)
    stopped.start()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 160 MiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def noise(number: int) -> bytes:
    """A MiB of which the store, on the same disk, needs another one."""
    return random.Random(number).randbytes(1 << 20)


def fill(folder: Path, size: int = 1 << 20) -> int:
    """Write files until the drive says that it is full; returns how many were acknowledged by close."""
    for number in range(10_000):
        try:
            with (folder / f"{number:04d}").open("wb") as file:
                file.write(noise(number)[:size])
        except OSError:
            return number
    raise AssertionError("the disk was never full")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_away", [True, False], ids=["without its store", "with its store on the same disk"])
def test_full_disk_refuses_loses_nothing_and_works_again(small_disk: Path, tmp_path: Path, is_away: bool) -> None:
    drive = MountedDrive(small_disk / "state", tmp_path / "drive")
    drive.run_command("init", as_json=False)
    drive.start()
    try:
        if is_away:
            (drive.state / "store").rename(drive.state / "unplugged")
        count = fill(drive.mount)
        assert count > 40
        for number in range(count):
            assert (drive.mount / f"{number:04d}").read_bytes() == noise(number)
        for number in range(0, count, 2):
            (drive.mount / f"{number:04d}").unlink()
        drive.cli("status")
        drive.remount()
        for number in range(1, count, 2):
            assert (drive.mount / f"{number:04d}").read_bytes() == noise(number)
        if is_away:  # else what was removed stays in the store for a day
            assert write_file(drive.mount / "again", b"a" * (8 << 20)).read_bytes() == b"a" * (8 << 20)
    finally:
        drive.clear_away()


@pytest.mark.timeout(180)
def test_full_budget_refuses_bytes_but_never_what_makes_room(tmp_path: Path) -> None:
    drive = MountedDrive(tmp_path / "state", tmp_path / "drive")
    drive.run_command("init", as_json=False)
    (drive.state / "config.toml").write_text('[cache]\nbudget = "64 MiB"\n')
    drive.start()
    try:
        (drive.state / "store").rename(drive.state / "unplugged")
        count = fill(drive.mount, 64 << 10)
        assert 0 <= drive.cli("status")["free_bytes"] < 8 << 20
        assert drive.cli("cache", "stats")["allocated_bytes"] < 72 << 20
        with pytest.raises(OSError, match="No space left"):
            write_file(drive.mount / "one more", b"x" * (8 << 20))
        (drive.mount / "0000").unlink()
        os.truncate(drive.mount / "0001", 0)
        os.rename(drive.mount / "0002", drive.mount / "0003")
        assert (drive.mount / "0003").read_bytes() == noise(2)[: 64 << 10]
        for number in range(4, count):
            (drive.mount / f"{number:04d}").unlink()
        drive.remount()
        assert write_file(drive.mount / "again", b"a" * (8 << 20)).read_bytes() == b"a" * (8 << 20)
    finally:
        drive.clear_away()


def test_hung_core_is_ended_and_leaves_no_mount(own_drive: MountedDrive) -> None:
    """A core that does not answer can be taken away without a reboot, and what was acknowledged is there again."""
    write_file(own_drive.mount / "file", b"acknowledged")
    os.kill(own_drive.core_pid(), signal.SIGSTOP)
    waiter = subprocess.Popen(
        ["stat", str(own_drive.mount / "unknown")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    own_drive.abort_connection()
    assert waiter.wait(10) != 0
    os.kill(own_drive.core_pid(), signal.SIGCONT)
    own_drive.kill()
    own_drive.start()
    assert (own_drive.mount / "file").read_bytes() == b"acknowledged"
    with pytest.raises(CommandFailed):
        own_drive.cli("restore", "file", "--at", "1h")
