"""A checkpoint that rots in the store is noticed before somebody needs it, and another one takes its place."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import KEYS, CloudDrive
from trio.testing import MockClock

from cachefs.checkpointing import AGAIN_S, Checkpointing
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_names import PartName
from cloud_tier.stored_log import checkpoints_in, fetch_database


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    async with CloudDrive(tmp_path / "state") as drive:
        for name in ("a", "b"):
            await drive.write(name, name.encode() * 10_000)
            await drive.sent()
            await checkpointing(drive).make()
        yield drive


def checkpointing(built: CloudDrive) -> Checkpointing:
    assert built.drive.mirror is not None
    return built.drive.mirror.checkpointing


def objects(built: CloudDrive) -> dict[str, bytes]:
    store = built.store._inner
    assert isinstance(store, MemoryStore)
    return store.objects


def part_of(built: CloudDrive, number: int) -> str:
    part = checkpointing(built).retained[number].manifest.parts[0]
    return str(PartName(part.fence, part.salt))


async def test_sound_checkpoints_are_read_and_left_alone(virtual_time: MockClock, built: CloudDrive) -> None:
    before, puts = list(checkpointing(built).retained), built.store.calls["put"]
    found = await built.tier.upkeep.scrub_all()
    assert found.checkpoints == 0
    parts = {part_of(built, number) for number in (0, 1)}
    assert found.bytes_read >= sum(len(objects(built)[name]) for name in parts)
    assert (checkpointing(built).retained, built.store.calls["put"]) == (before, puts)


@pytest.mark.expected_log("cachefs.checkpoint_scrub: checkpoint .* is not whole")
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("is_missing", [True, False])
async def test_a_damaged_one_is_replaced(
    virtual_time: MockClock, built: CloudDrive, number: int, is_missing: bool
) -> None:
    damaged, sound = checkpointing(built).retained[number], checkpointing(built).retained[1 - number]
    bad = part_of(built, number)
    if is_missing:
        del objects(built)[bad]
    else:
        objects(built)[bad] = objects(built)[bad][:-1] + bytes([objects(built)[bad][-1] ^ 1])
    assert (await built.tier.upkeep.scrub_all()).checkpoints == 1
    assert checkpointing(built).oldest_position is None, "nothing may be deleted while there are not two"
    await trio.sleep(AGAIN_S)
    kept = [one.name for one in checkpointing(built).retained]
    assert len(kept) == 2
    assert sound.name in kept
    assert damaged.name not in kept
    assert (await built.tier.upkeep.scrub_all()).checkpoints == 0


@pytest.mark.expected_log("cachefs.checkpoint_scrub: checkpoint .* is not whole")
async def test_a_recovery_finds_the_one_that_was_made_for_it(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path
) -> None:
    objects(built)[part_of(built, 1)] = b"rot"
    await built.tier.upkeep.scrub_all()
    await trio.sleep(AGAIN_S)
    names = await checkpoints_in(built.store)
    newest = checkpointing(built).retained[-1]
    assert str(names[0]) == newest.name
    with (tmp_path / "copy.db").open("wb") as file:
        await fetch_database(built.store, KEYS, newest.manifest, file, lambda more: None)
