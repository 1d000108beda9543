"""What is pinned stays here, whatever else goes; and it does not starve those who write."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import CloudDrive
from trio.testing import MockClock

from vfs.ids import ROOT
from vfs.pins import OLD_S, PINNED_SHARE
from vfs.restore import Restores
from vfs.subtree import blocks_below


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    async with CloudDrive(tmp_path / "state") as built:
        await built.mkdir("team")
        await built.write("team/plan", noise(1, 30_000))
        await built.write("else", noise(2, 30_000))
        await built.sent()
        yield built
        await built.cut()
        await built.drive.pins.look()
        evicting = built.tier.evicting
        sizes = built.drive.database.rows("SELECT block, capacity FROM residency JOIN catalog USING (block)")
        assert evicting.pinned_bytes == sum(size for block, size in sizes if block in evicting.pinned)
        assert evicting.evictable_bytes == sum(size for block, size in sizes if block not in evicting.pinned)


async def pin(built: CloudDrive, path: str) -> None:
    built.drive.pins.pin(built.inode(path).ino)
    await built.cut()
    await built.drive.pins.look()


async def test_what_is_pinned_stays_and_all_else_goes(virtual_time: MockClock, built: CloudDrive) -> None:
    await pin(built, "team")
    await built.drop()
    assert (built.held_bytes("team/plan"), built.held_bytes("else")) == (30_000, 0)
    assert built.drive.cache.statistics()["precious_bytes"] == 0
    built.drive.pins.unpin(built.inode("team").ino)
    await built.cut()
    await built.drive.pins.look()
    await built.drop()
    assert built.held_bytes("team/plan") == 0
    assert await built.read("team/plan") == noise(1, 30_000)


async def test_a_pin_outlives_a_restart(virtual_time: MockClock, built: CloudDrive) -> None:
    await pin(built, "team/plan")
    await built.restart(crash=True)
    assert [path for _, path in built.drive.pins.all()] == [b"team/plan"]
    await trio.sleep(1)
    assert built.drive.cache.statistics()["pinned_bytes"] >= 30_000
    await built.drop()
    assert built.held_bytes("team/plan") == 30_000


async def test_a_file_that_comes_into_a_pinned_folder_is_pinned_within_a_minute(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    await pin(built, "team")
    await built.write("team/new", noise(3, 30_000))
    await built.rename("else", "team/moved")
    await built.sent()
    await trio.sleep(OLD_S)
    await built.drop()
    assert (built.held_bytes("team/new"), built.held_bytes("team/moved")) == (30_000, 30_000)
    await built.rename("team/moved", "else")
    await built.cut()
    await trio.sleep(OLD_S)
    await built.drop()
    assert (built.held_bytes("team/new"), built.held_bytes("else")) == (30_000, 0)


async def test_what_is_fetched_of_a_pinned_file_stays(virtual_time: MockClock, built: CloudDrive) -> None:
    await built.drop()
    await pin(built, "team/plan")
    assert built.tier.evicting.pinned_bytes == 0
    assert await built.read("team/plan") == noise(1, 30_000)
    await trio.sleep(1)
    await built.drop()
    assert built.held_bytes("team/plan") == 30_000


async def test_a_file_saved_by_rename_stays_pinned_and_a_removed_one_leaves_no_row(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    await pin(built, "team/plan")
    await built.write("team/plan.tmp", noise(4, 20_000))
    await built.rename("team/plan.tmp", "team/plan")
    await built.sent()
    await built.drive.pins.look()
    await built.drop()
    assert built.held_bytes("team/plan") == 20_000
    assert [path for _, path in built.drive.pins.all()] == [b"team/plan"]
    await built.unlink("team/plan")
    await built.cut()
    await built.drive.pins.look()
    assert built.drive.database.rows("SELECT * FROM pins") == []


@pytest.mark.parametrize("restored", [b"", b"team", b"team/plan"])
async def test_a_pin_outlives_a_restore(virtual_time: MockClock, built: CloudDrive, restored: bytes) -> None:
    await pin(built, "team/plan")
    before = built.inode("team/plan").ino
    snapshot = await built.snapshot()
    await built.write("team/plan", noise(5, 10_000))
    await built.sent()

    async def collect() -> bool:
        return True

    restores = Restores(built.drive, collect, lambda parent, name: None)
    job = await restores.begin(restored, snapshot, None, built.caller)
    await restores.run(job, built.caller)
    assert built.inode("team/plan").ino != before
    await built.cut()
    await built.drive.pins.look()
    await built.drop()
    assert built.held_bytes("team/plan") == 30_000
    await built.drive.reaper.finish()


async def test_pins_take_at_most_their_share_and_leave_room_for_writers(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    budget = built.drive.cache.budget
    budget.limit_bytes = 1_400_000
    for number in range(12):
        await built.write(f"team/{number}", noise(number, 100_000))
        await built.sent()
        built.clock.advance(2)
    await pin(built, "")
    assert built.drive.pins.beyond_bytes > 350_000
    assert built.tier.evicting.pinned_bytes <= PINNED_SHARE * budget.limit_bytes + 130_000  # pages
    before = budget.free_bytes()
    assert before > 350_000
    await built.drop()
    await trio.sleep(1)
    built.clock.advance(2)
    assert budget.free_bytes() >= before - 4096
    for number in range(4):
        await built.write(f"more {number}", noise(100 + number, 100_000))
        built.clock.advance(2)
    assert budget.delay_s(1 << 18) < 0.1


async def test_the_subtree_is_what_its_files_lead_to_and_nothing_of_the_past(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    await built.snapshot()
    await built.write("team/plan", noise(6, 20_000))
    await built.link("team/plan", "team/again")
    await built.sent()
    await built.drop()
    await built.write("team/open", b"open")
    await built.cut()
    team = built.inode("team").ino
    below = await built.drive.past.study(lambda query: blocks_below(query, [team]))
    assert {one.block for one in below} == {*built.blocks_of("team/plan"), *built.blocks_of("team/open")}
    assert [(one.size_bytes, one.pack) for one in below if one.held_bytes] == [(4, None)]
    assert sum(one.size_bytes for one in below) == 20_004
    places = [(one.pack, one.offset) for one in below if one.pack is not None]
    assert places == sorted(places)
    everything = await built.drive.past.study(lambda query: blocks_below(query, [ROOT]))
    assert {one.block for one in everything} > {one.block for one in below}
