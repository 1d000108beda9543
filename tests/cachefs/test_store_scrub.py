"""Scrub of the store: damage is found within a cycle, healed from what is here, and else heals by saving again."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kit.cloud_drive import CloudDrive
from trio.testing import MockClock

from cachefs.catalog import DOOMED, STORED
from cloud_tier.memory_store import MemoryStore
from vfs.check import check
from vfs.errors import DataLost

FILES = {f"{number}": random.Random(number).randbytes(60_000) for number in range(3)}


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    async with CloudDrive(tmp_path / "state") as drive:
        for name, data in FILES.items():
            await drive.write(name, data)
            await drive.sent()
        yield drive
        await drive.cut()
        findings, _ = check(drive.drive.database, drive.state / "segments")
        assert findings == []


async def damage(built: CloudDrive, number: int, byte: int) -> None:
    """Turn one bit over in the pack of file `number`."""
    store = built.store._inner
    assert isinstance(store, MemoryStore)
    (pack_id,) = built.drive.database.row("SELECT pack_id FROM packs WHERE pack = ?", (number + 1,))
    (name,) = [name for name in await built.packs() if name.endswith(pack_id.hex())]
    body = bytearray(store.objects[name])
    body[byte] ^= 1
    store.objects[name] = bytes(body)


def states(built: CloudDrive) -> list[int]:
    return [state for (state,) in built.drive.database.rows("SELECT state FROM packs ORDER BY pack")]


async def test_a_sound_store_is_read_once_and_left_alone(virtual_time: MockClock, built: CloudDrive) -> None:
    before = built.store.calls["put"]
    found = await built.tier.upkeep.scrub_all()
    assert (found.packs, found.damaged_packs, found.healed, found.lost) == (3, 0, 0, [])
    assert found.bytes_read > sum([await built.store.size(name) for name in await built.packs()]), "and checkpoints"
    assert built.store.calls["put"] == before


@pytest.mark.expected_log("pack 2 in the store was damaged and is healed")
@pytest.mark.parametrize("byte", [9, 40, 1000, -2, -40])
async def test_a_pack_damaged_anywhere_is_healed_from_what_is_here(
    virtual_time: MockClock, built: CloudDrive, byte: int
) -> None:
    await damage(built, 1, byte)
    found = await built.tier.upkeep.scrub_all()
    assert (found.damaged_packs, found.lost) == (1, [])
    assert found.healed > 0
    assert states(built) == [STORED, DOOMED, STORED, STORED]
    await built.drop()
    assert {name: await built.read(name) for name in FILES} == FILES
    await built.require_readable()


@pytest.mark.expected_log("pack 2 in the store is damaged .*: [0-9]+ blocks of it are lost")
@pytest.mark.expected_log("1 has bytes that neither the store nor this machine has any more")
@pytest.mark.expected_log("1 as .* shows it has bytes that neither")
@pytest.mark.expected_log("the record at byte")
async def test_the_same_content_saved_again_heals_every_version(virtual_time: MockClock, built: CloudDrive) -> None:
    snapshot = await built.snapshot()
    await built.drop()
    await damage(built, 1, 1000)
    found = await built.tier.upkeep.scrub_all()
    assert found.lost
    with pytest.raises(DataLost):
        await built.read("1")
    assert await built.read("0") == FILES["0"]
    await built.write("again", FILES["1"])
    await built.sent()
    await built.drop()
    assert await built.read("1") == FILES["1"]
    assert await built.read_past(snapshot.name, "1") == FILES["1"]
    assert (await built.tier.upkeep.scrub_all()).lost == []


@pytest.mark.expected_log("pack 2 in the store was damaged and is healed")
async def test_a_pack_that_is_missing_is_made_anew(virtual_time: MockClock, built: CloudDrive) -> None:
    (pack_id,) = built.drive.database.row("SELECT pack_id FROM packs WHERE pack = 2")
    await built.store.delete([name for name in await built.packs() if name.endswith(pack_id.hex())])
    assert (await built.tier.upkeep.scrub_all()).lost == []
    await built.drop()
    assert await built.read("1") == FILES["1"]


async def test_a_share_a_day_reads_every_pack_once_in_a_cycle(virtual_time: MockClock, built: CloudDrive) -> None:
    scrub = built.tier.upkeep.scrub
    assert [(await scrub.run(1.0)).packs for _ in range(3)] == [1, 1, 1]
    assert (await scrub.run(1.0)).packs == 0, "the cycle ends"
    await built.restart(crash=True)
    assert (await built.tier.upkeep.scrub.run()).packs == 3
