"""What mountinfo says, read from text and from a real kernel mount whose server dies or hangs."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core import uncover
from appliance.errors import MountPointUnusable
from appliance.mounts import (
    FS_TYPE,
    clean_stale,
    find_mount,
    parse_mountinfo,
    prepare_mount_point,
    probe,
    remove_mount,
    set_read_ahead,
)

EMPTY_DRIVE = """
import os, stat, sys, pyfuse3, trio
class Empty(pyfuse3.Operations):
    async def getattr(self, inode, ctx=None):
        entry = pyfuse3.EntryAttributes()
        entry.st_ino, entry.st_mode, entry.attr_timeout = pyfuse3.ROOT_INODE, stat.S_IFDIR | 0o755, 0
        return entry
    async def lookup(self, parent, name, ctx=None):
        if name == b"hang":
            print("asked", flush=True)
            await trio.sleep_forever()
        raise pyfuse3.FUSEError(2)
options = {*pyfuse3.default_options, "fsname=stand-in", "subtype=hybrid-drive"}
pyfuse3.init(Empty(), sys.argv[1], options)
print("mounted", flush=True)
trio.run(pyfuse3.main)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "a drive"
    path.mkdir()
    return path


@pytest.fixture
def server(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that serves an empty drive at `place`; looking up the name `hang` never ends."""
    process = subprocess.Popen([sys.executable, "-c", EMPTY_DRIVE, str(place)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"mounted\n"
        yield process
    finally:
        remove_mount(place)
        process.kill()
        process.wait()
        process.stdout.close()


def test_mountinfo_is_read_with_its_escapes() -> None:
    text = (
        b"22 27 0:21 / /proc rw,relatime shared:5 master:3 - proc proc rw\n"
        b"90 27 0:57 / /srv/a\\040b\\134\\011\xff rw - fuse.hybrid-drive hybrid\\040drive rw,user_id=0\n"
    )
    proc, drive = parse_mountinfo(text)
    assert (proc.mount_point, proc.is_fuse) == (Path("/proc"), False)
    assert (drive.minor, drive.source, drive.is_ours) == (57, "hybrid drive", True)
    assert os.fsencode(drive.mount_point) == b"/srv/a b\\\t\xff"


def test_a_mount_is_found_by_any_of_its_names(server: subprocess.Popen[bytes], place: Path, tmp_path: Path) -> None:
    entry = find_mount(place)
    assert entry is not None
    assert entry.fs_type == FS_TYPE
    (tmp_path / "link").symlink_to(place)
    assert find_mount(tmp_path / "link") == entry
    assert find_mount(tmp_path / "." / "link") == entry
    assert find_mount(tmp_path) is None


def test_read_ahead_is_set(server: subprocess.Popen[bytes], place: Path) -> None:
    assert probe(place) == "alive"  # the kernel sets it itself when the first exchange ends
    assert set_read_ahead(place, 1024)
    entry = find_mount(place)
    assert entry is not None
    assert Path(f"/sys/class/bdi/{entry.major}:{entry.minor}/read_ahead_kb").read_text() == "1024\n"


def test_a_mount_in_use_is_left_alone(server: subprocess.Popen[bytes], place: Path) -> None:
    assert probe(place) == "alive"
    with pytest.raises(MountPointUnusable, match="in use"):
        clean_stale(place)
    assert find_mount(place) is not None


def test_a_mount_whose_core_was_killed_stays_until_the_next_is_there(
    server: subprocess.Popen[bytes], place: Path, tmp_path: Path
) -> None:
    """An empty folder in between would look like a drive from which everything was deleted."""
    server.kill()
    server.wait()
    assert probe(place) == "dead"
    assert prepare_mount_point(place, tmp_path / "state") == place.resolve()
    with pytest.raises(OSError, match=r"not connected|aborted"):
        os.listdir(place)
    assert clean_stale(place) == 1
    assert find_mount(place) is None
    assert clean_stale(place) == 0


@pytest.mark.expected_log("appliance.core: while no drive was mounted, files were put into")
def test_what_was_put_under_a_drive_that_was_away_keeps_it_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.core.clean_stale", lambda path: 1)
    (tmp_path / "stray").touch()
    uncover(tmp_path)
    assert (tmp_path / "stray").exists()


def test_a_hung_core_frees_its_callers_when_its_mount_is_removed(server: subprocess.Popen[bytes], place: Path) -> None:
    """T14: the caller waits in the kernel for an answer that never comes; removing the mount must wake it."""
    errors: list[OSError] = []

    def call() -> None:
        try:
            os.stat(place / "hang")
        except OSError as error:
            errors.append(error)

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    assert server.stdout is not None
    assert server.stdout.readline() == b"asked\n"
    server.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    assert probe(place, deadline_s=0.3) == "hung"
    with pytest.raises(MountPointUnusable, match="does not answer"):
        clean_stale(place)
    assert remove_mount(place)
    caller.join(5)
    assert not caller.is_alive()
    assert len(errors) == 1
    assert find_mount(place) is None
    assert time.monotonic() - begun < 20


def test_a_mount_of_another_kind_is_never_removed(place: Path) -> None:
    assert not remove_mount(Path("/proc"))
    with pytest.raises(MountPointUnusable, match="proc"):
        clean_stale(Path("/proc"))
    assert find_mount(Path("/proc")) is not None


def test_a_mount_point_must_be_an_empty_directory_outside_the_state(place: Path, tmp_path: Path) -> None:
    assert prepare_mount_point(tmp_path / "new" / "drive", tmp_path / "state") == tmp_path / "new" / "drive"
    (place / "kept.txt").touch()
    with pytest.raises(MountPointUnusable, match="not empty"):
        prepare_mount_point(place, tmp_path / "state")
    with pytest.raises(MountPointUnusable, match=r"Not a directory|File exists"):
        prepare_mount_point(place / "kept.txt", tmp_path / "state")
    (tmp_path / "bare").mkdir()
    with pytest.raises(MountPointUnusable, match="state"):
        prepare_mount_point(tmp_path / "bare", tmp_path / "bare" / "state")
