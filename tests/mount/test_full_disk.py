"""A disk filled up for real, to the last byte, by the drive and then by a neighbour: who is told, and what goes on."""

import os
import random
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from kit.mounted import MountedDrive, await_true
from mount.calls import write_file

MIB = 1 << 20


@pytest.fixture
def small_ext4(tmp_path: Path) -> Iterator[Path]:
    """An ext4 of 320 MiB in an image of its own."""
    image, place = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(folder: Path) -> int:
    """Files of 1 MiB until the drive refuses; how many were acknowledged by close."""
    for number in range(1000):
        try:
            write_file(folder / f"{number:04d}", noise(number))
        except OSError:
            return number
    raise AssertionError("the disk was never full")


def noise(number: int) -> bytes:
    """A MiB that nothing makes smaller."""
    return random.Random(number).randbytes(MIB)


def take_all(path: Path) -> None:
    """One file with all that the disk has left. Raises OSError once it has."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        while os.write(handle, b"n" * (64 << 10)):
            pass
    finally:
        os.close(handle)


def write_names(folder: Path) -> None:
    """Small files until one is refused."""
    for number in range(10_000):
        write_file(folder / f"no room for {number}", b"x" * 5000)


def is_sound(folder: Path, numbers: Iterable[int]) -> bool:
    """Whether these files of `fill` hold what they were filled with."""
    return all((folder / f"{number:04d}").read_bytes() == noise(number) for number in numbers)


@pytest.mark.timeout(240)
def test_a_disk_without_a_byte_left_costs_nothing_that_was_saved(small_ext4: Path, tmp_path: Path) -> None:
    """The drive fills its share; then a neighbour takes the reserve as well, so that SQLite itself has no room."""
    drive = MountedDrive(small_ext4 / "state", tmp_path / "drive", supervised=True)
    drive.run_command("init", as_json=False)
    drive.start()
    try:
        (drive.state / "store").rename(drive.state / "unplugged")  # what is removed would stay in it for a day
        count = fill(drive.mount)
        assert count > 60
        with pytest.raises(OSError, match="No space left on device"):
            write_file(drive.mount / "more", b"x" * MIB)
        with pytest.raises(OSError, match="No space left on device"):
            take_all(small_ext4 / "neighbour")
        with pytest.raises(OSError, match=r"No space left|Input/output error|not connected|aborted"):
            write_names(drive.mount)
        (small_ext4 / "neighbour").unlink()
        drive.await_serving(60)
        assert is_sound(drive.mount, range(count))
        for number in range(0, count, 2):
            (drive.mount / f"{number:04d}").unlink()
        await_true(lambda: bool(drive.cli("status")["free_bytes"] > 20 * MIB), 60, "room again, without a restart")
        assert write_file(drive.mount / "again", b"a" * (8 * MIB)).read_bytes() == b"a" * (8 * MIB)
        drive.remount()
        assert is_sound(drive.mount, range(1, count, 2))
        assert drive.cli("fsck")["findings"] == []
        assert drive.cli("scrub")["findings"] == []
    finally:
        drive.clear_away(keep_state=True)
