"""Drives of every past format open, and show what was saved. Each lies in `tests/golden`, left by a core that died."""

import tarfile
from pathlib import Path

import pytest
from kit.drive_builder import DriveBuilder
from trio.testing import MockClock

from cachefs.database import FORMAT_VERSION
from vfs.check import check

GOLDEN = Path(__file__).parents[1] / "golden"
PAST_FORMATS = range(1, FORMAT_VERSION)


@pytest.mark.parametrize("version", PAST_FORMATS)
async def test_a_drive_of_a_past_format_opens(version: int, tmp_path: Path, autojump_clock: MockClock) -> None:
    with tarfile.open(GOLDEN / f"drive-{version}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    for _ in range(2):  # brought up to date, and opened again
        async with DriveBuilder(tmp_path / f"drive-{version}") as built:
            assert await built.read("letters/a.txt") == b"second"
            assert await built.read("big.bin") == bytes(range(256)) * 4096
            assert await built.read("b.txt") == b"synced, and not in a cut"
            (monday,) = built.drive.snapshots.all()
            assert await built.read_past(monday.name, "letters/a.txt") == b"first draft"
            built.drive.cuts.log()
            assert check(built.drive.database, built.state / "segments")[0] == []
            assert built.drive.database.connection.pragma("user_version") == FORMAT_VERSION
