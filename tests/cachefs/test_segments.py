"""Segments: places are given once, and freed bytes go only when nobody can miss them."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kit.bare_cache import bare_cache, put
from kit.fault_plan import FaultPlan, FaultyDisk

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.disk import RealDisk
from cachefs.errors import DatabaseDamaged, StorageBroken, StorageFull
from cachefs.free_queue import WHOLE_SEGMENT
from cachefs.segments import CACHE, PRECIOUS
from cachefs.sums import PAGE_BYTES

SMALL_SEGMENT = 4 * PAGE_BYTES


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachefs.segments.SEGMENT_BYTES", SMALL_SEGMENT)


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    async with bare_cache(tmp_path, is_running=False) as cache:
        yield cache


def files(state: Path) -> list[int]:
    return sorted(int(path.stem) for path in (state / "segments").glob("*.seg"))


def bytes_at(cache: Cache, block: Block) -> bytes:
    """The first four bytes that lie in the block's place."""
    return os.pread(block.segment.fd, 4, block.offset)


def free_queue(cache: Cache) -> list[tuple[int, int, int]]:
    cache.cuts.log()
    return cache.database.rows("SELECT segment, offset, length FROM free_queue ORDER BY entry")


# --- places ---


async def test_places_are_whole_pages_one_behind_the_other(cache: Cache) -> None:
    places = [cache.segments.allocate(size)[1] for size in (1, PAGE_BYTES, PAGE_BYTES + 1)]
    assert places == [0, PAGE_BYTES, 2 * PAGE_BYTES]


async def test_place_that_does_not_fit_starts_a_segment(cache: Cache) -> None:
    first, _ = cache.segments.allocate(3 * PAGE_BYTES)
    second, offset = cache.segments.allocate(2 * PAGE_BYTES)
    assert (second.number, offset) == (first.number + 1, 0)


async def test_families_do_not_share_a_segment(cache: Cache) -> None:
    precious, _ = cache.segments.allocate(1, PRECIOUS)
    cached, _ = cache.segments.allocate(1, CACHE)
    assert precious is not cached


async def test_only_precious_segments_are_synced(cache: Cache) -> None:
    for family in (PRECIOUS, CACHE):
        cache.segments.allocate(1, family)[0].unsynced = True
    assert [segment.family for segment in cache.segments.take_unsynced()] == [PRECIOUS]
    assert cache.segments.take_unsynced() == []


async def test_freed_place_is_not_given_again(cache: Cache) -> None:
    segment, offset = cache.segments.allocate(1)
    cache.segments.free(segment, offset, PAGE_BYTES, is_reserved=True)
    assert cache.segments.allocate(1) == (segment, PAGE_BYTES)


async def test_full_disk_refuses_a_segment_and_changes_nothing(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), is_running=False) as cache:
        plan.fail("create", code=28)
        plan.fail("create", nth=2, code=5)
        with pytest.raises(StorageFull):
            cache.segments.allocate(1)
        with pytest.raises(StorageBroken):
            cache.segments.allocate(1)
        plan.assert_all_hit()
        assert cache.segments.allocate(1)[1] == 0


# --- the three stations of a freed range ---


async def test_freed_range_is_punched_after_its_cut(cache: Cache) -> None:
    keep, gone = put(cache, b"keep"), put(cache, b"gone")
    await cache.cuts.cut()
    cache.blocks.drop(gone.number)
    assert free_queue(cache) == [(gone.segment.number, gone.offset, PAGE_BYTES)]
    assert cache.segments.free_queue.take_reclaimable() == []
    assert bytes_at(cache, gone) == b"gone"
    await cache.cuts.cut()
    assert bytes_at(cache, gone) == bytes(4)
    assert bytes_at(cache, keep) == b"keep"
    assert free_queue(cache) == []


async def test_neighbours_wait_as_one_range(cache: Cache) -> None:
    blocks = [put(cache, b"gone") for _ in range(2)]
    keep = put(cache, b"keep")
    later = put(cache, b"gone")
    await cache.cuts.cut()
    for block in (*reversed(blocks), later):
        cache.blocks.drop(block.number)
    segment = keep.segment.number
    assert free_queue(cache) == [(segment, 0, 2 * PAGE_BYTES), (segment, 3 * PAGE_BYTES, PAGE_BYTES)]
    await cache.cuts.cut()
    assert [bytes_at(cache, block) for block in (*blocks, later)] == [bytes(4)] * 3
    assert bytes_at(cache, keep) == b"keep"


async def test_freed_ranges_wait_for_their_neighbours_while_there_is_space(cache: Cache) -> None:
    cache.cuts.is_space_short = lambda: False
    first, second, keep = put(cache, b"gone"), put(cache, b"gone"), put(cache, b"keep")
    for block in (first, second):
        cache.blocks.drop(block.number)
        await cache.cuts.cut()
    assert [bytes_at(cache, block) for block in (first, second, keep)] == [b"gone", b"gone", b"keep"]
    queue = cache.segments.free_queue
    freed = queue.take_reclaimable()
    assert [(entry.offset, entry.length) for entry in freed] == [(0, PAGE_BYTES), (PAGE_BYTES, PAGE_BYTES)]
    queue.put_back(freed)
    cache.cuts.is_space_short = lambda: True
    await cache.cuts.cut()
    assert [bytes_at(cache, block) for block in (first, second, keep)] == [bytes(4), bytes(4), b"keep"]


async def test_long_queue_does_not_wait(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachefs.free_queue.LONG_BYTES", PAGE_BYTES)
    cache.cuts.is_space_short = lambda: False
    gone, also, _ = put(cache, b"gone"), put(cache, b"also"), put(cache, b"keep")
    cache.blocks.drop(gone.number)
    await cache.cuts.cut()
    assert bytes_at(cache, gone) == b"gone"
    cache.blocks.drop(also.number)
    await cache.cuts.cut()
    assert [bytes_at(cache, block) for block in (gone, also)] == [bytes(4)] * 2


async def test_lease_from_before_the_freeing_holds_the_bytes(cache: Cache) -> None:
    put(cache, b"keep")
    gone = put(cache, b"gone")
    await cache.cuts.cut()
    lease = cache.segments.free_queue.lease()
    cache.blocks.drop(gone.number)
    await cache.cuts.cut()
    await cache.cuts.cut()
    assert bytes_at(cache, gone) == b"gone"
    cache.segments.free_queue.release(lease)
    await cache.cuts.cut()
    assert bytes_at(cache, gone) == bytes(4)


async def test_lease_from_after_the_cut_holds_nothing_back(cache: Cache) -> None:
    put(cache, b"keep")
    gone = put(cache, b"gone")
    await cache.cuts.cut()
    cache.blocks.drop(gone.number)
    early = cache.segments.free_queue.lease()
    await cache.cuts.cut()
    late = cache.segments.free_queue.lease()
    cache.segments.free_queue.release(early)
    await cache.cuts.cut()
    assert bytes_at(cache, gone) == bytes(4)
    cache.segments.free_queue.release(late)


async def test_segment_without_a_living_place_is_unlinked(cache: Cache, tmp_path: Path) -> None:
    gone = put(cache, bytes(SMALL_SEGMENT))
    keep = put(cache, b"in the next one")
    await cache.cuts.cut()
    cache.blocks.drop(gone.number)
    assert free_queue(cache)[-1] == (gone.segment.number, 0, WHOLE_SEGMENT)
    await cache.cuts.cut()
    await cache.cuts.cut()
    assert files(tmp_path) == [keep.segment.number]
    assert cache.database.rows("SELECT segment FROM segments") == [(keep.segment.number,)]


async def test_segment_that_is_being_filled_stays(cache: Cache, tmp_path: Path) -> None:
    gone = put(cache, b"gone")
    await cache.cuts.cut()
    cache.blocks.drop(gone.number)
    await cache.cuts.cut()
    assert files(tmp_path) == [gone.segment.number]
    assert put(cache, b"next").segment is gone.segment


async def test_emptied_segment_goes_when_the_next_one_starts(cache: Cache, tmp_path: Path) -> None:
    gone = put(cache, b"gone")
    cache.blocks.drop(gone.number)
    keep = put(cache, bytes(SMALL_SEGMENT))
    await cache.cuts.cut()
    await cache.cuts.cut()
    assert files(tmp_path) == [keep.segment.number]


async def test_block_that_never_got_rows_costs_no_living_place(cache: Cache, tmp_path: Path) -> None:
    """A large write is still in its thread when the core dies: its place is nobody's."""
    written = put(cache, b"written")
    cache.blocks.create(100, 1)
    cache.cuts.log()
    assert cache.database.rows("SELECT bump, live FROM segments") == [(2 * PAGE_BYTES, PAGE_BYTES)]
    cache.blocks.drop(written.number)
    cache.cuts.log()
    assert cache.database.rows("SELECT bump, live FROM segments") == [(2 * PAGE_BYTES, 0)]


# --- at the start ---


async def test_numbers_go_on_after_a_start(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        first = put(cache, b"one").segment.number
        await cache.cuts.wait_cut()
    async with bare_cache(tmp_path) as cache:
        assert put(cache, b"two").segment.number == first + 1


async def test_bytes_above_the_bump_pointer_are_cut_off(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        block = put(cache, b"one")
        await cache.cuts.wait_cut()
        cache.write_nowait(block, 2 * PAGE_BYTES, b"nobody's")
    async with bare_cache(tmp_path) as cache:
        again = cache.blocks.get(block.number)
        assert cache.read_nowait(again, 0, 3) == b"one"
        assert (tmp_path / "segments").joinpath(f"{again.segment.number:010d}.seg").stat().st_size == PAGE_BYTES


async def test_file_that_no_row_can_name_is_removed(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        put(cache, b"one")
        await cache.cuts.wait_cut()
        put(cache, bytes(SMALL_SEGMENT))  # never logged
        assert files(tmp_path) == [1, 2]
    async with bare_cache(tmp_path):
        assert files(tmp_path) == [1]


async def test_missing_file_stops_the_start(tmp_path: Path) -> None:
    async with bare_cache(tmp_path) as cache:
        put(cache, b"one")
        await cache.cuts.wait_cut()
    (tmp_path / "segments" / "0000000001.seg").unlink()
    with pytest.raises(DatabaseDamaged, match="missing"):
        async with bare_cache(tmp_path):
            pass


async def test_segment_that_was_unlinked_before_the_rows_knew_is_not_missed(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        gone = put(cache, bytes(SMALL_SEGMENT))
        put(cache, b"in the next one")
        cache.blocks.drop(gone.number)
        await cache.cuts.cut()
        # Reclaimed on disk and in memory; the rows that say so were never logged.
        assert files(tmp_path) == [2]
    async with bare_cache(tmp_path, is_running=False) as cache:
        await cache.cuts.cut()
        assert cache.database.rows("SELECT segment FROM segments") == [(2,)]
        assert free_queue(cache) == []


async def test_queue_is_punched_after_a_start(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        put(cache, b"keep")
        gone = put(cache, b"gone")
        await cache.cuts.cut()
        cache.blocks.drop(gone.number)
        cache.cuts.log()
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert cache.segments.statistics()["free_queue_bytes"] == 0
        with (tmp_path / "segments" / "0000000001.seg").open("rb") as file:
            assert file.read() == b"keep".ljust(2 * PAGE_BYTES, b"\0")


async def test_statistics_count_live_and_waiting_bytes(cache: Cache) -> None:
    put(cache, b"keep")
    gone = put(cache, b"gone")
    await cache.cuts.cut()
    cache.blocks.drop(gone.number)
    assert cache.segments.statistics() == {"segments": 1, "live_bytes": PAGE_BYTES, "free_queue_bytes": PAGE_BYTES}


async def test_allocated_bytes_are_those_of_the_files(cache: Cache, tmp_path: Path) -> None:
    """Files that did not change are not asked again, and whatever changes one is noticed."""

    def on_disk() -> int:
        return sum(path.stat().st_blocks * 512 for path in (tmp_path / "segments").glob("*.seg"))

    blocks = []
    for _ in range(3):
        blocks.append(put(cache, b"x" * PAGE_BYTES))
        assert cache.segments.allocated_bytes() == on_disk()
        await cache.cuts.cut()
        assert cache.segments.allocated_bytes() == on_disk()
    before = on_disk()
    cache.blocks.drop(blocks[0].number)
    await cache.cuts.cut()
    assert cache.segments.allocated_bytes() == on_disk() < before
