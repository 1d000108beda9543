"""Blocks: who may be written in place, and which rows stand behind them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kit.bare_cache import bare_cache, put

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.errors import BytesDamaged, UnknownBlock
from cachefs.sums import PAGE_BYTES

ID = b"i" * 32


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    async with bare_cache(tmp_path, is_running=False) as cache:
        yield cache


def rows(cache: Cache, block: Block) -> tuple[int, int]:
    """How many rows of it there are: in blocks, in residency."""
    return tuple(
        cache.database.row(f"SELECT count(*) FROM {table} WHERE block = ?", (block.number,))[0]
        for table in ("blocks", "residency")
    )


@pytest.mark.parametrize(
    ("born", "newest_kept", "block_id", "shared", "is_frozen", "is_writable"),
    [
        (3, 2, None, False, False, True),
        (3, 0, None, False, False, True),
        (3, 3, None, False, False, False),  # a kept state shows these bytes
        (2, 3, None, False, False, False),
        (3, 2, ID, False, False, False),  # sealed: named by its bytes
        (3, 2, None, True, False, False),  # another content shows these bytes
        (3, 2, None, False, True, False),  # being sealed
    ],
)
async def test_only_bytes_that_nobody_else_can_see_are_written_in_place(
    cache: Cache, born: int, newest_kept: int, block_id: bytes | None, shared: bool, is_frozen: bool, is_writable: bool
) -> None:
    block = cache.blocks.create(100, born)
    block.block_id, block.shared, block.is_frozen = block_id, shared, is_frozen
    assert block.is_writable(newest_kept) is is_writable


async def test_block_has_no_rows_before_it_is_touched(cache: Cache) -> None:
    block = cache.blocks.create(100, 1)
    cache.blocks.flush()
    assert rows(cache, block) == (0, 0)
    cache.blocks.touch(block)
    cache.blocks.flush()
    assert rows(cache, block) == (1, 1)


async def test_block_is_the_same_after_a_start(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        block = put(cache, b"bytes")
        cache.cuts.log()
    async with bare_cache(tmp_path) as cache:
        again = cache.blocks.get(block.number)
        assert (again.length, again.born, again.shared, again.block_id) == (5, 1, False, None)
        assert (again.offset, again.capacity) == (block.offset, PAGE_BYTES)
        assert await cache.read(again, 1, 3) == b"yte"


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_shared_block_stays_shared(tmp_path: Path, is_loaded: bool) -> None:
    async with bare_cache(tmp_path) as cache:
        block = put(cache, b"bytes")
        cache.cuts.log()
    async with bare_cache(tmp_path) as cache:
        if is_loaded:
            assert cache.blocks.get(block.number).is_writable(0)
        cache.blocks.share([block.number])
        assert not cache.blocks.get(block.number).is_writable(0)
        cache.cuts.log()
    async with bare_cache(tmp_path) as cache:
        assert not cache.blocks.get(block.number).is_writable(0)


async def test_block_shared_before_its_first_row_stays_shared(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        block = put(cache, b"bytes")
        cache.blocks.share([block.number])
        cache.cuts.log()
    async with bare_cache(tmp_path) as cache:
        assert cache.blocks.get(block.number).shared


async def test_dropped_block_is_unknown(cache: Cache) -> None:
    block = put(cache, b"bytes")
    cache.blocks.flush()
    cache.blocks.drop(block.number)
    with pytest.raises(UnknownBlock):
        cache.blocks.get(block.number)
    cache.blocks.flush()
    assert rows(cache, block) == (0, 0)


async def test_block_dropped_before_its_first_row_leaves_none(cache: Cache) -> None:
    block = put(cache, b"bytes")
    cache.blocks.drop(block.number)
    cache.blocks.flush()
    assert rows(cache, block) == (0, 0)
    assert cache.segments.statistics()["live_bytes"] == 0


async def test_read_beyond_the_segment_is_damage_and_never_zeros(cache: Cache) -> None:
    block = put(cache, b"bytes")
    cache.cuts.log()
    assert cache.read_nowait(block, 0, PAGE_BYTES * 3) is None
    with pytest.raises(BytesDamaged):
        await cache.read(block, 0, PAGE_BYTES * 3)


async def test_tallies_count_the_rows(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        blocks = [put(cache, b"bytes") for _ in range(5)]
        cache.blocks.flush()
        cache.blocks.drop(blocks[0].number)
        put(cache, b"without rows")
        assert (cache.blocks.held, cache.blocks.unwritten()) == (4, 2)  # one that went, one that came
        assert (cache.blocks.open, cache.blocks.open_bytes) == (4, 20)
        cache.cuts.log()
    async with bare_cache(tmp_path) as cache:
        assert (cache.blocks.held, cache.blocks.sealed, cache.blocks.unwritten()) == (5, 0, 0)
        assert cache.statistics()["blocks_open"] == 5
        assert cache.blocks.open_bytes == 4 * 5 + 12
