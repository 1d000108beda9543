"""Sealing: bytes get names and keep their places, equal bytes are held once, and no state shows another byte."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from kit.damage import flip
from kit.still_drive import StillDrive, run

from cachefs.errors import BytesDamaged
from cachefs.scrub import Scrub
from vfs.seal_pass import SealPass
from vfs.sealing import PAGE_EXTENTS


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def block_of(still: StillDrive, path: str, offset: int = 0) -> Any:
    """The block that holds a byte of a live file."""
    content = still.inode(path).content
    assert content is not None
    return still.drive.cache.blocks.get(still.drive.contents.pieces(content, offset, offset + 1)[0].block)


def ids(still: StillDrive) -> set[bytes]:
    still.drive.cuts.log()
    return {row[0] for row in still.drive.database.rows("SELECT block_id FROM blocks WHERE block_id IS NOT NULL")}


def open_blocks(still: StillDrive) -> int:
    still.drive.cuts.log()
    return int(still.drive.database.row("SELECT count(*) FROM blocks WHERE block_id IS NULL")[0])


def test_small_file_is_sealed_where_it_lies(still: StillDrive) -> None:
    still.do(still.write, "a", b"x" * 5000)
    still.drive.cuts.log()
    places = still.rows("residency")
    still.seal()
    assert [row[:3] for row in still.rows("residency")] == [row[:3] for row in places]
    assert block_of(still, "a").block_id is not None
    assert still.rows("unsent") == [(block_of(still, "a").number, 0)]


def test_room_set_aside_for_growth_is_freed(still: StillDrive) -> None:
    still.do(still.write, "a", b"x" * 4096)
    still.do(still.write, "a", b"y" * 100, 4096)  # a file that grows gets 64 KiB
    still.seal()
    still.do(still.drive.cuts.cut)
    assert still.drive.cache.segments.statistics()["live_bytes"] == 8192
    assert still.do(still.read, "a") == b"x" * 4096 + b"y" * 100


def test_sealed_file_can_be_written(still: StillDrive) -> None:
    still.do(still.write, "a", noise(1, 20_000))
    still.seal()
    sealed = ids(still)
    still.do(still.write, "a", b"!" * 10, 5000)
    expected = bytearray(noise(1, 20_000))
    expected[5000:5010] = b"!" * 10
    assert still.do(still.read, "a") == expected
    assert ids(still) >= sealed, "a block that has a name never changes"
    still.seal()
    assert still.do(still.read, "a") == expected


def test_equal_bytes_are_held_once(still: StillDrive) -> None:
    for name in "abc":
        still.do(still.write, name, noise(1, 100_000))
    still.seal()
    still.do(still.drive.cuts.cut)
    assert still.drive.cache.segments.statistics()["live_bytes"] == 25 * 4096
    for name in "abc":
        assert still.do(still.read, name) == noise(1, 100_000)


def test_one_byte_in_front_makes_few_new_blocks(still: StillDrive) -> None:
    data = noise(1, 400_000)
    for start in range(0, len(data), 70_000):  # in several blocks
        still.do(still.write, "a", data[start : start + 70_000], start)
    still.seal()
    before = ids(still)
    still.do(still.write, "b", b"!" + data)
    still.seal()
    assert len(before) > 40
    assert len(ids(still) - before) <= 2
    assert still.do(still.read, "b") == b"!" + data


def test_cuts_do_not_depend_on_how_a_file_was_written(still: StillDrive) -> None:
    data = noise(2, 200_000)
    still.do(still.write, "a", data)
    still.seal()
    before = ids(still)
    pieces = list(range(0, len(data), 7_001))
    random.Random(1).shuffle(pieces)
    for start in pieces:
        still.do(still.write, "b", data[start : start + 7_001], start)
    still.seal()
    assert ids(still) == before
    assert still.do(still.read, "b") == data


def test_small_appends_become_one_extent(still: StillDrive) -> None:
    for number in range(30):
        still.do(still.write, "log", b"%04d\n" % number * 40, number * 200)
        still.seal()
        still.drive.cuts.log()
    rows = still.drive.database.rows
    assert len(rows("SELECT * FROM extents")) == 30, "sealed after each append, each lies for itself"
    still.do(still.write, "new", b"".join(b"%04d\n" % number * 40 for number in range(30)))
    for number in range(30):
        still.do(still.write, "whole", b"%04d\n" % number * 40, number * 200)
        if number % 7 == 0:
            still.do(still.write, "other", b"x" * 5000, number * 5000)  # takes the place behind it
    still.seal()
    content = still.inode("whole").content
    assert len(rows("SELECT * FROM extents WHERE content = ?", (content,))) == 1
    assert still.do(still.read, "whole") == still.do(still.read, "log")


def test_every_kept_state_stays_as_it_was(still: StillDrive) -> None:
    data = bytearray(noise(3, 90_000))
    still.do(still.write, "a", bytes(data))
    kept = {}
    for number in range(8):
        kept[still.snap().name] = bytes(data)
        offset = number * 9_973
        data[offset : offset + 6_000] = noise(number, 6_000)
        still.do(still.write, "a", bytes(data[offset : offset + 6_000]), offset)
        if number == 4:
            still.seal()
    still.seal()
    assert open_blocks(still) == 0
    still.do(still.drive.cuts.cut)
    for name, expected in kept.items():
        assert still.do(still.read_past, name, "a") == expected
    assert still.do(still.read, "a") == data


def test_files_that_share_blocks_are_sealed_in_one_pass(still: StillDrive) -> None:
    data = noise(18, 60_000)
    still.do(still.write, "a", data)
    still.do(still.create, "b")
    still.clone("a", "b")
    still.do(still.truncate, "b", 33_333)
    still.do(still.write, "b", noise(19, 9_000), 33_333)
    still.do(still.create, "c")
    still.clone("b", "c")
    still.do(still.write, "c", noise(20, 3_000), 10_000)
    still.seal()
    assert open_blocks(still) == 0
    assert still.do(still.read, "a") == data
    assert still.do(still.read, "b") == data[:33_333] + noise(19, 9_000)
    assert still.do(still.read, "c") == data[:10_000] + noise(20, 3_000) + data[13_000:33_333] + noise(19, 9_000)


def test_what_only_history_needs_is_sealed_too(still: StillDrive) -> None:
    still.do(still.write, "a", noise(4, 30_000))
    name = still.snap().name
    still.do(still.write, "a", noise(5, 10_000), 10_000)
    still.do(still.unlink, "a")
    still.reap()
    still.do(still.drive.cuts.cut)
    still.seal()
    assert open_blocks(still) == 0
    still.do(still.drive.cuts.cut)
    assert still.do(still.read_past, name, "a") == noise(4, 30_000)


def test_a_page_in_which_blocks_meet_is_freed_with_the_last(still: StillDrive) -> None:
    still.do(still.write, "a", noise(6, 120_000))
    still.seal()
    assert len(still.rows("shared_pages")) > 5
    size = 120_000
    for cut in (90_001, 50_000, 8_192, 1):
        still.do(still.truncate, "a", cut)
        still.assert_sound()
        assert still.do(still.read, "a") == noise(6, size)[:cut]
    still.do(still.unlink, "a")
    still.reap()
    assert still.rows("shared_pages") == still.rows("blocks") == []
    for _ in range(2):
        still.do(still.drive.cuts.cut)
    assert still.drive.cache.segments.allocated_bytes() == 0


def test_long_run_is_sealed_in_stretches_with_the_same_cuts(still: StillDrive, monkeypatch: pytest.MonkeyPatch) -> None:
    data = noise(7, 500_000)
    still.do(still.write, "a", data)
    still.seal()
    whole = ids(still)
    monkeypatch.setattr("vfs.sealing.MOST_RUN_BYTES", 60_000)
    monkeypatch.setattr("vfs.sealing.PASS_BYTES", 60_000)
    monkeypatch.setattr("vfs.files.MAX_BLOCK_BYTES", 40_000)
    still.do(still.write, "b", data)
    still.seal()
    assert ids(still) == whole
    assert open_blocks(still) == 0
    assert still.do(still.read, "b") == data


def test_damage_is_not_given_a_name_and_not_sent(still: StillDrive, caplog: pytest.LogCaptureFixture) -> None:
    still.do(still.write, "good", noise(8, 5000))
    still.do(still.write, "bad", noise(9, 5000))
    still.drive.cuts.log()
    flip(still.state, block_of(still, "bad"), 4500)
    with caplog.at_level("CRITICAL"):
        still.seal()
    assert block_of(still, "bad").block_id is None
    assert block_of(still, "good").block_id is not None


def test_bytes_saved_again_heal_a_damaged_block(still: StillDrive) -> None:
    data = noise(10, 5000)
    still.do(still.write, "a", data)
    name = still.snap().name
    still.seal()
    block = block_of(still, "a")
    flip(still.state, block, 100)
    with pytest.raises(BytesDamaged):
        run(still.drive.cache.read, block, 0, 4096)
    still.do(still.write, "b", data)
    still.seal()
    still.do(still.drive.cuts.cut)
    assert still.do(still.read, "a") == still.do(still.read, "b") == still.do(still.read_past, name, "a") == data


def test_scrub_reads_blocks_that_share_pages(still: StillDrive) -> None:
    still.do(still.write, "a", noise(17, 123_457))
    still.seal()
    still.do(still.drive.cuts.cut)
    found: list[BytesDamaged] = []
    scrub = Scrub(still.drive.cache, found.append)
    run(scrub.run)
    assert (scrub.checked_bytes, found) == (123_457, [])
    flip(still.state, block_of(still, "a", 60_000), 10)
    run(Scrub(still.drive.cache, found.append).run)
    assert found


# What happens to a file while its bytes are read and hashed.

Change = Callable[[StillDrive], Awaitable[Any]]


async def overwrite(still: StillDrive) -> None:
    await still.write("a", b"!" * 9_000, 30_000)


async def shorten(still: StillDrive) -> None:
    await still.truncate("a", 12_345)


async def remove(still: StillDrive) -> None:
    await still.unlink("a")


async def replace(still: StillDrive) -> None:
    await still.write("new", noise(11, 70_000))
    await still.rename("new", "a")


async def clone(still: StillDrive) -> None:
    await still.create("c")
    still.clone("a", "c")
    await still.write("a", b"?" * 100, 50)


async def append(still: StillDrive) -> None:
    await still.write("a", noise(12, 50_000), still.inode("a").size)


async def snapshot_and_overwrite(still: StillDrive) -> None:
    still.clock.advance(2)
    await still.drive.snapshots.create("in_between")
    await still.write("a", b"!" * 9_000, 30_000)


@pytest.mark.parametrize("change", [overwrite, shorten, remove, replace, clone, append, snapshot_and_overwrite])
@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_file_that_changes_meanwhile_shows_what_was_written(
    still: StillDrive, change: Change, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    still.do(still.write, "z", noise(13, 40_000))
    still.do(still.write, "a", noise(13, 80_000))
    still.do(still.write, "a", noise(14, 30_000), 80_000)
    still.do(still.write, "e", noise(15, 30_000))
    still.snap()
    still.do(still.write, "a", noise(16, 5_000), 40_000)
    careful, seen = SealPass._plan, []

    async def plan(self: SealPass, *arguments: Any) -> None:
        seen.append(1)
        if len(seen) == moment:
            await change(still)
        await careful(self, *arguments)

    monkeypatch.setattr(SealPass, "_plan", plan)
    twin = {name: still.do(still.read, name) for name in still.names()}
    still.seal()
    assert len(seen) >= moment
    after = {name: still.do(still.read, name) for name in still.names()}
    assert {name: data for name, data in after.items() if name in ("z", "e")} == {n: twin[n] for n in ("z", "e")}
    if "a" in after:
        expected: dict[Change, bytes] = {
            overwrite: twin["a"][:30_000] + b"!" * 9_000 + twin["a"][39_000:],
            shorten: twin["a"][:12_345],
            replace: noise(11, 70_000),
            clone: twin["a"][:50] + b"?" * 100 + twin["a"][150:],
            append: twin["a"] + noise(12, 50_000),
        }
        expected[snapshot_and_overwrite] = expected[overwrite]
        assert after["a"] == expected[change]
    still.do(still.drive.cuts.cut)
    first, *others = still.drive.snapshots.all()
    assert still.do(still.read_past, first.name, "a") == noise(13, 80_000) + noise(14, 30_000)
    for other in others:
        assert still.do(still.read_past, other.name, "a") == twin["a"]
    assert open_blocks(still) <= 3


def test_what_is_changed_in_a_file_of_very_many_extents_is_found(still: StillDrive) -> None:
    """It is looked for in pages, so that a large file holds up nobody."""
    count = PAGE_EXTENTS + 100
    for number in range(count):
        still.do(still.write, "a", b"%8d" % number, number * 8192)
    still.seal()
    assert open_blocks(still) == 0
    for number in (0, PAGE_EXTENTS, count - 1):
        still.do(still.write, "a", b"changed", number * 8192)
    assert open_blocks(still) > 0
    still.seal()
    assert open_blocks(still) == 0
    data = still.do(still.read, "a")
    assert [data[number * 8192 :][:8] for number in (0, 1, PAGE_EXTENTS, count - 1)] == [
        b"changed0",
        b"       1",
        b"changed%d" % (PAGE_EXTENTS % 10),
        b"changed%d" % ((count - 1) % 10),
    ]
