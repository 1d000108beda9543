"""How many files the core may have open."""

import resource
import stat
from pathlib import Path

import pytest
import trio
from kit.fake_clock import FakeClock

from appliance.assemble import open_drive
from appliance.config import Config
from vfs.drive import Drive
from vfs.state import make_state


def test_a_drive_of_many_segments_opens_whatever_the_shell_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each segment is an open file. A shell allows 1,024 by default, which would be a drive of 256 GiB."""
    make_state(tmp_path / "state", FakeClock(), 1000, 1000)
    monkeypatch.setattr("cachefs.segments.SEGMENT_BYTES", 8192)
    few, most = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def filled() -> int:
        drive: Drive = await open_drive(tmp_path / "state", Config())
        for _ in range(200):
            file = drive.inodes.create(stat.S_IFREG | 0o644, 0, 0, 0)
            drive.inodes.opened(file)
            await drive.files.write(file, 0, b"x" * 8192, 0)
        count = drive.cache.segments.statistics()["segments"]
        await drive.close()
        return count

    resource.setrlimit(resource.RLIMIT_NOFILE, (150, most))
    try:
        assert trio.run(filled) >= 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
