"""The core dies, the machine lives on: whatever was closed is there, and can be made durable later."""

from pathlib import Path

from kit.disk_journal import synced
from kit.losing_disk import losing_drive

DOCUMENT = bytes(range(256)) * 40


async def test_closed_file_survives_the_core_and_then_a_power_loss(tmp_path: Path) -> None:
    """The rows come back from the intent log at the restart; their bytes and the segment's name were never synced."""
    async with losing_drive(tmp_path) as (built, disk):
        await built.write("document", DOCUMENT)
        built.close_point()
        await built.restart(crash=True)
        assert await built.read("document") == DOCUMENT
        await built.restart(crash=True, between=lambda: disk.power_loss(synced))
        assert await built.read("document") == DOCUMENT


async def test_fsync_after_a_restart_covers_bytes_written_before_it(tmp_path: Path) -> None:
    async with losing_drive(tmp_path) as (built, disk):
        await built.write("document", DOCUMENT)
        await built.cut()
        await built.write("document", b"overwritten in place", 100)
        built.close_point()
        await built.restart(crash=True)
        await built.fsync()
        await built.restart(crash=True, between=lambda: disk.power_loss(synced))
        assert (await built.read("document"))[100:120] == b"overwritten in place"
