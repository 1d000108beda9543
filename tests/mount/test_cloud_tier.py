"""A mounted drive and its store: what was flushed and dropped comes back, what is pinned never goes, and a store that
is taken away is an error in time for what is not here, and nothing for all the rest.
"""

import errno
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.mounted import CommandFailed, MountedDrive, await_true
from mount.calls import write_file

pytestmark = pytest.mark.needs_product

EACH = 3 << 20
PROMPTLY_S = 15.0


def noise(seed: int, length: int = EACH) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.fixture(scope="module")
def drive() -> Iterator[MountedDrive]:
    """A drive of this module's own, because its store is taken away."""
    drive = MountedDrive.make()
    try:
        yield drive
        drive.stop()
        assert drive.complaints() == []
    finally:
        drive.clear_away()


def forget(path: Path) -> None:
    """What the kernel remembers of the file's bytes goes, so that the next read asks the drive."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


def is_whole(path: Path, content: bytes) -> bool:
    """Whether the file can be read; then it must be right."""
    try:
        found = path.read_bytes()
    except OSError:
        return False
    assert found == content
    return True


def dropped(drive: MountedDrive, *paths: Path) -> dict[str, int]:
    """Everything in the store, nothing here that may go, nothing in the kernel."""
    assert drive.cli("flush")["state"] == "done"
    done: dict[str, int] = drive.cli("cache", "drop")
    for path in paths:
        forget(path)
    return done


def test_what_was_flushed_and_dropped_is_read_back_and_what_is_pinned_stays(drive: MountedDrive) -> None:
    (drive.mount / "team").mkdir()
    plan, other = drive.mount / "team" / "plan", drive.mount / "other"
    write_file(plan, noise(1))
    write_file(other, noise(2))
    with other.open("r+b") as file:  # not closed: the flush collects it from the kernel
        file.write(b"open")
        file.flush()
        before = dropped(drive, plan, other)
        assert before["dropped_bytes"] >= 2 * EACH
        assert before["unsent_bytes"] == 0

    def is_complete() -> bool:  # asked once: the next cut may be on its way a moment later
        cloud = drive.cli("status")["cloud"]
        says_so = cloud["verdict"].startswith("everything is in the cloud as of ")
        return cloud["state"] == "complete" and says_so and cloud["unsent_bytes"] == 0

    await_true(is_complete, PROMPTLY_S, "everything in the cloud")
    assert plan.read_bytes() == noise(1)
    assert other.read_bytes() == b"open" + noise(2)[4:]
    assert drive.cli("cache", "pin", str(drive.mount / "team"))["missing_bytes"] == 0
    after = dropped(drive, plan, other)
    assert after["pinned_bytes"] >= EACH
    assert plan.read_bytes() == noise(1)
    stats = drive.cli("cache", "stats")
    assert stats["pinned_paths"] == ["team"]
    assert 2 * EACH <= stats["fetched_bytes"] < 3 * EACH, "each once"


def test_what_is_warm_needs_no_store_and_what_is_not_is_an_error_in_time(drive: MountedDrive) -> None:
    warm, cold = drive.mount / "warm", drive.mount / "cold"
    warm.mkdir()
    for number in range(5):
        write_file(warm / f"{number}", noise(10 + number, 500_000))
    write_file(cold, noise(3))
    dropped(drive, cold, *warm.iterdir())
    task = drive.cli("cache", "warm", "warm")
    assert (task["state"], task["done_bytes"], task["total_bytes"]) == ("done", 2_500_000, 2_500_000)
    store, away = drive.state / "store", drive.state / "unplugged"
    store.rename(away)
    try:
        for number in range(5):
            assert (warm / f"{number}").read_bytes() == noise(10 + number, 500_000)
        lines = len(drive.log().splitlines())
        handle = os.open(cold, os.O_RDONLY)
        for _ in range(3):
            begun = time.monotonic()
            with pytest.raises(OSError, match="Input/output error") as failed:
                os.pread(handle, 4096, 0)
            assert failed.value.errno == errno.EIO
            assert time.monotonic() - begun < PROMPTLY_S
        os.close(handle)
        said = [line for line in drive.log().splitlines()[lines:] if "The cloud store cannot be reached" in line]
        assert len(said) == 1
        new = drive.mount / "new"
        write_file(new, noise(4))
        assert new.read_bytes() == noise(4)
        with pytest.raises(CommandFailed) as waited:
            drive.run_command("flush", "--timeout", "0.1")
        assert waited.value.code == 14
        cloud = drive.cli("status")["cloud"]
        assert cloud["state"] == "stuck"
        assert cloud["verdict"].startswith("the store cannot be reached since ")
        assert cloud["open_bytes"] + cloud["unsent_bytes"] == EACH
    finally:
        away.rename(store)
    await_true(lambda: is_whole(cold, noise(3)), 30, "the store is used again")


def test_a_pack_that_was_damaged_is_found_and_sent_anew(own_drive: MountedDrive) -> None:
    write_file(own_drive.mount / "kept", noise(71))
    own_drive.cli("flush")
    assert own_drive.cli("scrub", "--store")["findings"] == []
    pack = max((own_drive.state / "store" / "packs").rglob("*"), key=lambda path: path.stat().st_size)
    body = bytearray(pack.read_bytes())
    body[5000] ^= 1
    pack.write_bytes(body)
    report = own_drive.cli("scrub", "--store")
    assert [finding["repaired"] for finding in report["findings"]] == [True]
    own_drive.cli("flush")
    own_drive.cli("cache", "drop")
    forget(own_drive.mount / "kept")
    assert is_whole(own_drive.mount / "kept", noise(71))
    assert own_drive.cli("scrub", "--store")["findings"] == []
