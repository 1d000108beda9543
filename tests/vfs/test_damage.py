"""Bytes that rot under a drive: what is noticed, and that a crash makes no false alarm of it."""

from pathlib import Path

import pytest
from kit.drive_builder import DriveBuilder

from cachefs.cut import CutPolicy
from vfs.errors import DataLost

NEVER = CutPolicy(period_s=1e9, max_rows=10**9, max_bytes=1 << 60)
OLD, NEW = b"old " * 4096, b"new " * 4096


async def test_bytes_changed_just_before_a_snapshot_are_believed_after_a_crash(tmp_path: Path) -> None:
    """The snapshot freezes what was written in place since the cut, whose sums are only in memory."""
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        await built.write("document", OLD)
        await built.cut()
        await built.write("document", NEW[:5000], 0)
        name = (await built.snapshot()).name
        await built.restart(crash=True)
        assert await built.read("document") == NEW[:5000] + OLD[5000:]
        assert await built.read_past(name, "document") == NEW[:5000] + OLD[5000:]


async def test_what_a_snapshot_holds_is_checked_after_a_crash(tmp_path: Path) -> None:
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        await built.write("document", OLD)
        await built.snapshot()
        await built.cut()
        await built.restart(crash=True)
        (segment,) = (tmp_path / "segments").glob("*.seg")
        segment.write_bytes(segment.read_bytes().replace(OLD, OLD[:9000] + b"?" + OLD[9001:]))
        with pytest.raises(DataLost):
            await built.read("document")
