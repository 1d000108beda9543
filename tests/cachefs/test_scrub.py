"""The scrub reads everything, names what is damaged, and makes no false alarm while others write."""

import random
from pathlib import Path

import pytest
import trio
from kit.bare_cache import EPOCH, bare_cache, put
from kit.damage import flip

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.errors import BytesDamaged
from cachefs.recovery import close
from cachefs.scrub import Scrub

SIZES = (1, 100, 4096, 5000, 70_000, 3 << 20)


async def scrubbed(cache: Cache) -> tuple[Scrub, list[tuple[int, int]]]:
    """One pass: what it found, as block and offset."""
    found: list[BytesDamaged] = []
    scrub = Scrub(cache, found.append)
    await scrub.run()
    return scrub, [(error.block, error.offset) for error in found]


async def test_scrub_finds_each_damaged_page_and_no_other(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        blocks = [put(cache, random.Random(size).randbytes(size)) for size in SIZES]
        await cache.cuts.cut()
        scrub, found = await scrubbed(cache)
        assert (scrub.checked_bytes, scrub.checked_blocks, found) == (sum(SIZES), len(SIZES), [])
        for block, byte in ((blocks[1], 99), (blocks[4], 0), (blocks[4], 69_999), (blocks[5], 1 << 20)):
            flip(tmp_path, block, byte)
        _, found = await scrubbed(cache)
        four, five = blocks[4].number, blocks[5].number
        assert found == [(blocks[1].number, 0), (four, 0), (four, 69_632), (five, 1 << 20)]
        assert cache.statistics()["damaged_pages"] == 4


async def test_scrub_makes_sums_that_a_crash_left_unknown(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(9000)
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = put(cache, data)
        await cache.cuts.cut()
    async with bare_cache(tmp_path, is_running=False) as cache:
        scrub, found = await scrubbed(cache)
        assert (scrub.learned_pages, found) == (3, [])
        assert (await scrubbed(cache))[0].learned_pages == 0
        await close(cache)
    flip(tmp_path, block, 8999)
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert (await scrubbed(cache))[1] == [(block.number, 8192)]


@pytest.mark.parametrize("seed", range(3))
async def test_scrub_beside_writers_finds_nothing_and_learns_nothing_false(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)

    async def write(cache: Cache, block: Block, content: bytearray) -> None:
        for _ in range(30):
            offset = dice.randrange(len(content) + 1)
            data = dice.randbytes(dice.choice((10, 4096, 150_000)))[: (1 << 20) - offset]
            if len(data) > 64 << 10:
                await cache.write(block, offset, data)
            else:
                cache.write_nowait(block, offset, data)
                await trio.lowlevel.checkpoint()
            content[offset : offset + len(data)] = data
            block.length = len(content)
            cache.blocks.touch(block)

    async with bare_cache(tmp_path) as cache:
        numbers = [cache.blocks.create(1 << 20, EPOCH) for _ in range(6)]
        for block in numbers:
            cache.write_nowait(block, 0, bytes(5000))
            block.length = 5000
            cache.blocks.touch(block)
        await cache.cuts.wait_cut()
    async with bare_cache(tmp_path) as cache:  # the core had died: no sum is known
        held = [(cache.blocks.get(block.number), bytearray(5000)) for block in numbers]
        async with trio.open_nursery() as nursery:
            for block, content in held:
                nursery.start_soon(write, cache, block, content)
            for _ in range(5):
                assert (await scrubbed(cache))[1] == []
        assert (await scrubbed(cache))[1] == []
        for block, content in held:
            assert await cache.read(block, 0, len(content)) == content
