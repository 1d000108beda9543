"""Cutting anew: a cooled file lies in fewer blocks, no state shows another byte, and nothing is fetched for it."""

import random
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import CloudDrive
from kit.still_drive import UnsyncedDisk
from trio.testing import MockClock

from vfs.check import check
from vfs.seal_pass import SealPass

SIZE = 200_000


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.fixture
def built(tmp_path: Path) -> CloudDrive:
    return CloudDrive(tmp_path / "state", disk=UnsyncedDisk())


def sound(built: CloudDrive) -> bool:
    built.drive.cuts.log()
    return check(built.drive.database, built.state / "segments")[0] == []


async def change_often(built: CloudDrive, path: str, data: bytearray, *, seed: int = 5, count: int = 60) -> None:
    """Small changes all over the file, each sealed for itself."""
    dice = random.Random(seed)
    for _ in range(count):
        offset = dice.randrange(len(data) - 300)
        data[offset : offset + 300] = dice.randbytes(300)
        await built.write(path, bytes(data[offset : offset + 300]), offset)
        await built.seal()


async def hot(built: CloudDrive, path: str = "a") -> bytearray:
    """A file that lies in the store, and many changes of it that do as well."""
    data = bytearray(noise(1, SIZE))
    await built.write(path, bytes(data))
    await built.sent()
    await change_often(built, path, data)
    await built.sent()
    return data


def pieces(built: CloudDrive, path: str = "a") -> int:
    return len(built.blocks_of(path))


async def test_a_file_that_cooled_lies_in_fewer_blocks_and_is_the_same(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    async with built:
        data = await hot(built)
        before = pieces(built)
        await trio.sleep(3500)
        assert pieces(built) == before, "it has not cooled yet"
        await trio.sleep(200)
        assert pieces(built) < before * 0.7
        assert await built.read("a") == data
        assert sound(built)
        await built.sent()
        await built.drop()
        assert await built.read("a") == data, "and so it lies in the store"


async def test_a_file_that_is_written_again_and_again_is_left_alone(virtual_time: MockClock, built: CloudDrive) -> None:
    async with built:
        data = await hot(built)
        before = pieces(built)
        for minute in range(0, 180, 50):
            await trio.sleep(50 * 60)
            await built.write("a", noise(minute, 10), 1000)
            data[1000:1010] = noise(minute, 10)
        assert pieces(built) >= before
        assert await built.read("a") == data


@pytest.mark.expected_log("The cloud store cannot be reached|StoreUnavailable|planned|offline")
async def test_the_store_has_all_of_the_file_at_every_moment(virtual_time: MockClock, built: CloudDrive) -> None:
    async with built:
        await hot(built)
        before, content = pieces(built), built.inode("a").content
        built.store.is_offline = True
        await trio.sleep(4000)
        assert pieces(built) == before, "nothing is put in order that could not be sent"
        built.store.is_offline = False
        unsent = "SELECT 1 FROM extents LEFT JOIN catalog USING (block) WHERE content = ? AND pack IS NULL"
        for _ in range(300):
            await trio.sleep(1)
            assert built.drive.database.rows(unsent, (content,)) == []
        assert pieces(built) < before * 0.7
        assert built.drive.database.row("SELECT count(*) FROM inodes WHERE nlink = 0")[0] == 0


async def test_a_single_stretch_is_waited_for_as_well(virtual_time: MockClock, built: CloudDrive) -> None:
    async with built:
        data = bytearray(noise(1, 3000))
        await built.write("a", bytes(data))
        await built.sent()
        await change_often(built, "a", data, count=4)
        await built.sent()
        await built.recut()
        assert built.drive.recut is not None
        assert built.drive.recut.recut_bytes == 3000
        assert pieces(built) == 1
        assert await built.read("a") == data


async def test_nothing_is_fetched_for_it(virtual_time: MockClock, built: CloudDrive) -> None:
    async with built:
        data = await hot(built)
        await built.drop()
        fetching, before = built.tier.fetching, pieces(built)
        await trio.sleep(4000)
        assert (fetching.fetched_bytes, fetching.misses, pieces(built)) == (0, 0, before)
        assert await built.read("a") == data


async def test_snapshots_show_what_they_showed(virtual_time: MockClock, built: CloudDrive) -> None:
    async with built:
        data = bytearray(noise(1, SIZE))
        await built.write("a", bytes(data))
        await built.sent()
        kept = {}
        for number in range(6):
            await change_often(built, "a", data, seed=number, count=40)
            built.clock.advance(2)  # type: ignore[attr-defined]
            kept[(await built.snapshot()).name] = bytes(data)
        await built.sent()
        before = built.drive.recut.recut_bytes
        await trio.sleep(4000)
        assert built.drive.recut.recut_bytes > before
        assert await built.read("a") == data
        await built.cut()
        for name, expected in kept.items():
            assert await built.read_past(name, "a") == expected
        assert sound(built)
        rows = built.drive.database.rows
        assert len(rows("SELECT 1 FROM extents_history")) < 2000
        for snapshot in built.drive.snapshots.all():
            built.drive.snapshots.delete(snapshot.name)
        await built.drive.reaper.finish()
        assert rows("SELECT 1 FROM extents_history") == []
        assert sound(built)
        assert await built.read("a") == data


async def test_bytes_that_another_file_shares_stay_where_they_are(virtual_time: MockClock, built: CloudDrive) -> None:
    async with built:
        data = await hot(built)
        await built.create("b")
        built.clone("a", "b")
        before = built.blocks_of("a")
        await trio.sleep(4000)
        assert built.blocks_of("a") == built.blocks_of("b") == before
        assert await built.read("b") == data


async def test_a_file_that_was_hot_in_a_life_before_is_found(virtual_time: MockClock, built: CloudDrive) -> None:
    async with built:
        data = await hot(built)
        before = pieces(built)
        await built.restart(crash=True)
        await trio.sleep(3700)
        assert pieces(built) < before * 0.7
        assert await built.read("a") == data


async def test_what_is_written_meanwhile_counts(
    virtual_time: MockClock, built: CloudDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with built:
        data = await hot(built)
        careful, done = SealPass._plan, list[None]()

        async def plan(self: SealPass, *arguments: object) -> None:
            if not done:
                done.append(await built.write("a", b"!" * 9000, 500))
                await built.snapshot()
                await built.write("a", b"?" * 500, 1500)
                await built.truncate("a", SIZE - 7)
            await careful(self, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(SealPass, "_plan", plan)
        await trio.sleep(4000)
        assert done
        data[500:9500] = b"!" * 9000
        kept = bytes(data)
        data[1500:2000] = b"?" * 500
        await built.cut()
        assert await built.read("a") == data[: SIZE - 7]
        assert await built.read_past(built.drive.snapshots.all()[0].name, "a") == kept
        assert sound(built)


async def test_it_waits_while_there_is_little_room(
    virtual_time: MockClock, built: CloudDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with built:
        await hot(built)
        before = pieces(built)
        monkeypatch.setattr(built.drive.cache.budget, "is_short", lambda: True)
        await trio.sleep(8000)
        assert pieces(built) == before
        monkeypatch.setattr(built.drive.cache.budget, "is_short", lambda: False)
        await trio.sleep(100)
        assert pieces(built) < before * 0.7


async def test_it_goes_on_stretch_by_stretch_through_a_long_file(
    virtual_time: MockClock, built: CloudDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with built:
        data = await hot(built)
        recut = built.drive.recut
        assert recut is not None
        content = built.inode("a").content
        assert content is not None
        at_once = [stretch[0].start async for stretch in recut.stretches_of(content)]
        monkeypatch.setattr("vfs.recut.STEP_EXTENTS", 40)
        assert [stretch[0].start async for stretch in recut.stretches_of(content)] == at_once
        assert await built.read("a") == data
