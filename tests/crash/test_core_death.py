"""The core dies, the machine lives on: whatever was closed is there, and can be made durable later."""

from pathlib import Path

import pytest
from kit.cloud_drive import KEYS
from kit.disk_journal import freed, synced
from kit.drive_builder import SMALL_CUTS
from kit.faulty_store import FaultyStore
from kit.losing_disk import losing_drive

from cachefs.cut import Cuts
from cachefs.errors import StorageBroken
from cachefs.tier import Cloud
from cloud_tier.memory_store import MemoryStore

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


async def test_a_start_that_is_cut_off_takes_nothing_away_that_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The core dies between a COMMIT and the sync of SQLite's log; the machine dies while the next one starts."""
    cloud = Cloud(FaultyStore(MemoryStore()), lambda: KEYS)
    async with losing_drive(tmp_path, names=SMALL_CUTS, cloud=cloud) as (built, disk):
        await built.cut()
        await built.write("document", DOCUMENT)
        await built.fsync()
        with monkeypatch.context() as patch:
            patch.setattr(Cuts, "_make_durable", _die)
            with pytest.raises(StorageBroken):
                await built.cut()
            await built.wait_broken()
            patch.setattr("vfs.drive.settle", _die)
            with pytest.raises(OSError, match="died"):
                await built.restart(crash=True)
        await built.restart(between=lambda: disk.power_loss(freed))
        assert await built.read("document") == DOCUMENT


def _die(*arguments: object) -> None:
    raise OSError("died")
