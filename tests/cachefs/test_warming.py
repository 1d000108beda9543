"""Warming brings a list of blocks back in few requests, waits for a store that is away, and gives way to writers."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import CloudDrive
from trio.testing import MockClock

from cachefs.warming import CacheFull, Record, Warming

FILES = 12
EACH = 100_000


def noise(seed: int, length: int = EACH) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    async with CloudDrive(tmp_path / "state") as built:
        for number in range(FILES):
            await built.write(f"{number}", noise(number))
        await built.sent()
        await built.drop()
        await trio.sleep(1)
        yield built


def warming_of(built: CloudDrive, *names: str) -> Warming:
    """Everything of these files, each record once, in the order of the catalog."""
    catalog, blocks = built.drive.cache.catalog, built.drive.cache.blocks
    records: dict[tuple[int, int], list[int]] = {}
    held = []
    for name in names:
        for number in built.blocks_of(name):
            if blocks.get(number).is_held:
                held.append(number)
            else:
                place = catalog.find(number)
                assert place is not None
                records.setdefault((place.pack, place.offset), []).append(number)
    wanted = [
        Record(numbers, sum(blocks.get(number).length for number in numbers)) for _, numbers in sorted(records.items())
    ]
    return Warming(blocks, built.tier.fetching, built.tier.evicting, held, wanted)


async def test_everything_comes_in_few_requests(virtual_time: MockClock, built: CloudDrive) -> None:
    warming = warming_of(built, *map(str, range(FILES)))
    assert warming.total_bytes == FILES * EACH
    gets = built.store.calls["get"]
    await warming.run()
    assert (warming.done_bytes, warming.damaged_blocks, warming.trouble) == (FILES * EACH, 0, None)
    assert built.store.calls["get"] - gets <= 2
    built.store.is_offline = True
    for number in range(FILES):
        assert await built.read(f"{number}") == noise(number)
    assert await built.drop() > FILES * EACH, "nothing is spared any more"


@pytest.mark.expected_log("cachefs.fetching: The cloud store cannot be reached")
async def test_a_store_that_is_away_is_waited_for(virtual_time: MockClock, built: CloudDrive) -> None:
    warming = warming_of(built, "0", "1")
    built.store.is_offline = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(warming.run)
        await trio.sleep(100)
        assert "cannot be reached" in str(warming.trouble)
        built.store.is_offline = False
    assert (warming.done_bytes, warming.trouble) == (2 * EACH, None)


async def test_warming_evicts_others_and_never_what_it_has_brought(virtual_time: MockClock, built: CloudDrive) -> None:
    limit = built.drive.cache.budget.limit_bytes = 700_000
    for number in (8, 9, 10, 11):
        await built.read(f"{number}")
        await trio.sleep(2)
    warming = warming_of(built, *map(str, range(3)))
    await warming.run()
    assert warming.done_bytes == warming.total_bytes
    assert [built.held_bytes(f"{number}") for number in range(3)] == [EACH] * 3
    await trio.sleep(5)
    assert built.drive.cache.segments.allocated_bytes() <= limit


async def test_a_full_cache_ends_it_and_what_has_come_is_here(virtual_time: MockClock, built: CloudDrive) -> None:
    built.drive.cache.budget.limit_bytes = 700_000
    warming = warming_of(built, "0", "1", "2")
    await warming.run()
    warming = warming_of(built, *map(str, range(FILES)))
    with pytest.raises(CacheFull):
        await warming.run()
    assert [built.held_bytes(f"{number}") for number in range(3)] == [EACH] * 3
    assert not built.tier.evicting.is_sparing


async def test_who_writes_gets_the_room_of_what_is_being_warmed(virtual_time: MockClock, built: CloudDrive) -> None:
    built.drive.cache.budget.limit_bytes = 1_400_000
    evicting = built.tier.evicting
    first = warming_of(built, *map(str, range(8)))
    await first.run()
    evicting.begin_sparing()
    for number in range(8):
        evicting.spare(built.blocks_of(f"{number}"))
    for number in range(5):
        await built.write(f"new {number}", noise(100 + number))
        built.clock.advance(2)
        await trio.sleep(3)
    assert not evicting.is_sparing
    assert built.drive.cache.segments.allocated_bytes() <= 1_400_000
    assert evicting.evicted_blocks > 0
    for number in range(5):
        assert await built.read(f"new {number}") == noise(100 + number)


async def test_a_block_that_dies_meanwhile_is_not_waited_for(virtual_time: MockClock, built: CloudDrive) -> None:
    warming = warming_of(built, "0", "1")
    await built.unlink("0")
    await built.cut()
    await built.drive.reaper.finish()
    await built.cut()
    await warming.run()
    assert built.held_bytes("1") == EACH


@pytest.mark.expected_log("cachefs.fetching: .*hybrid-drive scrub tells which files need it")
async def test_one_damaged_record_costs_no_other_file_anything(virtual_time: MockClock, built: CloudDrive) -> None:
    catalog, objects = built.drive.cache.catalog, built.store._inner
    place = catalog.find(built.blocks_of("3")[0])
    assert place is not None
    (name,) = [
        one.name
        for one in (await objects.list_page("packs/")).objects
        if one.name.endswith(catalog.pack(place.pack).pack_id.hex())
    ]
    body = bytearray(await objects.get(name))
    body[place.offset + 100] ^= 1
    await objects.put(name, bytes(body))
    warming = warming_of(built, *map(str, range(FILES)))
    await warming.run()
    assert warming.damaged_blocks > 0
    others = {number for number in range(FILES) if not warming_of(built, f"{number}").total_bytes}
    assert 0 < len(others) < FILES
