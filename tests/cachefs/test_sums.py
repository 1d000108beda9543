"""Page sums: whatever changes behind the drive's back is noticed, and nothing that the drive wrote ever is."""

import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from kit.bare_cache import EPOCH, bare_cache, put
from kit.damage import flip, flip_bit, segment_of

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.disk import RealDisk
from cachefs.errors import BytesDamaged
from cachefs.free_queue import WHOLE_SEGMENT
from cachefs.recovery import close
from cachefs.sums import CHUNK_BYTES, PAGE_BYTES, page_sum, page_sums

OLD, NEW = bytes(range(256)) * 64, b"new!" * 4096  # four pages each


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    async with bare_cache(tmp_path, is_running=False) as cache:
        yield cache


async def read(cache: Cache, block: Block, offset: int = 0, length: int | None = None) -> bytes:
    """As the layer above reads."""
    wanted = block.length - offset if length is None else length
    data = cache.read_nowait(block, offset, wanted)
    return bytes(data if data is not None else await cache.read(block, offset, wanted))


def known(cache: Cache, block: Block) -> list[bool]:
    """Of which pages of a block the sum is known."""
    low = block.offset
    return [bool(one) for one in cache.segments.sums.known(block.segment.number, low, low + block.length)]


async def write_on(cache: Cache, block: Block, offset: int, data: bytes) -> None:
    """As the layer above writes: small on the loop, large in a thread."""
    if len(data) > 64 << 10:
        await cache.write(block, offset, data)
    else:
        cache.write_nowait(block, offset, data)
    block.length = max(block.length, offset + len(data))
    cache.blocks.touch(block)


# --- damage ---


@pytest.mark.parametrize("size", [1, 100, PAGE_BYTES, PAGE_BYTES + 1, 3 * PAGE_BYTES - 7])
async def test_a_flipped_bit_is_noticed_wherever_it_is(cache: Cache, tmp_path: Path, size: int) -> None:
    block = put(cache, OLD[:size])
    for byte in {0, size // 2, size - 1}:
        for bit in (0, 7):
            flip(tmp_path, block, byte, bit)
            assert cache.read_nowait(block, 0, size) is None
            with pytest.raises(BytesDamaged, match=rf"page {byte // PAGE_BYTES} of block {block.number} in segment 1"):
                await cache.read(block, 0, size)
            flip(tmp_path, block, byte, bit)
    assert await read(cache, block) == OLD[:size]


async def test_only_the_page_that_is_damaged_is_refused(cache: Cache, tmp_path: Path) -> None:
    block = put(cache, OLD)
    flip(tmp_path, block, 2 * PAGE_BYTES + 17)
    assert await read(cache, block, 0, 2 * PAGE_BYTES) == OLD[: 2 * PAGE_BYTES]
    assert await read(cache, block, 3 * PAGE_BYTES) == OLD[3 * PAGE_BYTES :]
    for offset, length in ((2 * PAGE_BYTES, PAGE_BYTES), (2 * PAGE_BYTES + 100, 1), (0, len(OLD))):
        with pytest.raises(BytesDamaged) as raised:
            await read(cache, block, offset, length)
        assert raised.value.offset == 2 * PAGE_BYTES
    assert cache.statistics()["damaged_pages"] == 1


async def test_a_write_of_a_part_does_not_make_a_damaged_page_good(cache: Cache, tmp_path: Path) -> None:
    block = put(cache, OLD)
    flip(tmp_path, block, 100)
    cache.write_nowait(block, 200, b"a part")
    with pytest.raises(BytesDamaged):
        await read(cache, block, 0, 1)
    cache.write_nowait(block, 0, NEW[:PAGE_BYTES])
    assert await read(cache, block, 0, PAGE_BYTES) == NEW[:PAGE_BYTES]


async def test_a_sum_that_is_known_after_a_clean_end_is_checked(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = put(cache, OLD)
        await close(cache)
    flip(tmp_path, block, PAGE_BYTES)
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = cache.blocks.get(block.number)
        assert known(cache, block) == [True] * 4
        assert await read(cache, block, 0, PAGE_BYTES) == OLD[:PAGE_BYTES]
        with pytest.raises(BytesDamaged):
            await read(cache, block)


async def test_flips_in_the_sums_are_noticed_or_harmless(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = put(cache, OLD)
        await close(cache)
    sums = segment_of(tmp_path, block).with_suffix(".sum")
    for byte in range(16):
        flip_bit(sums, byte, byte % 8)
        async with bare_cache(tmp_path, is_running=False) as cache:
            block = cache.blocks.get(block.number)
            for page in range(4):
                try:
                    assert await read(cache, block, page * PAGE_BYTES, PAGE_BYTES) == OLD[:PAGE_BYTES]
                except BytesDamaged:
                    assert page == byte // 4
            await close(cache)
        flip_bit(sums, byte, byte % 8)


async def test_a_lost_sums_file_costs_the_check_and_not_the_bytes(
    tmp_path: Path, expected_log: Callable[[str], None]
) -> None:
    expected_log("0000000001.sum was missing: those bytes are not checked")
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = put(cache, OLD)
        await close(cache)
    segment_of(tmp_path, block).with_suffix(".sum").unlink()
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert await read(cache, cache.blocks.get(block.number)) == OLD


async def test_a_segment_goes_with_its_sums(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachefs.segments.SEGMENT_BYTES", len(OLD))
    gone, _ = put(cache, OLD), put(cache, NEW)
    await cache.cuts.cut()
    cache.blocks.drop(gone.number)
    cache.cuts.log()
    assert (0, WHOLE_SEGMENT) in cache.database.rows("SELECT offset, length FROM free_queue")
    await cache.cuts.cut()
    assert {path.name for path in (tmp_path / "segments").iterdir()} == {"0000000002.seg", "0000000002.sum"}


# --- no false alarm ---


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chunks", [1, 4096])
async def test_whatever_is_written_is_read(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, seed: int, chunks: int
) -> None:
    """Writes of every shape, on the loop and in threads, with few sums in memory and cuts in between."""
    monkeypatch.setattr("cachefs.sums.MOST_CHUNKS", chunks)
    dice = random.Random(seed)
    held = {cache.blocks.create(3 << 20, EPOCH): bytearray() for _ in range(4)}
    for _ in range(120):
        block, content = dice.choice(list(held.items()))
        offset = dice.randrange(len(content) + 1)
        if dice.random() < 0.3:
            offset -= offset % PAGE_BYTES
        size = min(dice.choice((1, 300, PAGE_BYTES, 3 * PAGE_BYTES, 50_000, 70_000, 400_000)), (3 << 20) - offset)
        data = dice.randbytes(max(1, size - dice.choice((0, 0, 1, 99))))
        await write_on(cache, block, offset, data)
        content[offset : offset + len(data)] = data
        block, content = dice.choice(list(held.items()))
        if content:
            low = dice.randrange(len(content))
            length = dice.randrange(1, min(200_000, len(content) - low) + 1)
            assert await read(cache, block, low, length) == content[low : low + length]
        if dice.random() < 0.05:
            await cache.cuts.cut()
    for block, content in held.items():
        assert all(known(cache, block))
        assert [*cache.segments.sums.known(block.segment.number, block.offset, block.offset + block.length)] == [
            page_sum(content[low : low + PAGE_BYTES]) for low in range(0, len(content), PAGE_BYTES)
        ]
        assert await read(cache, block) == content


async def test_sums_of_many_pages_are_those_of_each(cache: Cache) -> None:
    data = random.Random(1).randbytes((1 << 20) + 77)
    assert page_sums(data).tolist() == [page_sum(data[low : low + 4096]) for low in range(0, len(data), 4096)]


async def test_a_read_that_a_writer_overtakes_looks_again(tmp_path: Path) -> None:
    class Slow(RealDisk):
        """Between a thread's read and its answer, the page is written anew, as often as the test wants."""

        overtaken = 0

        def read_cached(self, fd: int, buffer: bytearray, offset: int) -> int:
            return -1

        def pread(self, fd: int, length: int, offset: int) -> bytes:
            data = super().pread(fd, length, offset)
            if self.overtaken and length == len(OLD):
                self.overtaken -= 1
                trio.from_thread.run_sync(cache.write_nowait, block, 0, bytes((self.overtaken,)) * PAGE_BYTES)
            return data

    disk = Slow()
    async with bare_cache(tmp_path, disk=disk, is_running=False) as cache:
        block = put(cache, OLD)
        disk.overtaken = 3
        assert await cache.read(block, 0, len(OLD)) == bytes(PAGE_BYTES) + OLD[PAGE_BYTES:]


async def test_a_thread_that_is_writing_leaves_its_pages_unchecked(tmp_path: Path) -> None:
    class Watched(RealDisk):
        """Reads the page while a thread writes it."""

        is_writing = False

        def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
            if self.is_writing:
                super().pwrite(fd, data[: len(data) // 2], offset)
                self.is_writing = False
                seen.append(trio.from_thread.run_sync(cache.read_nowait, block, 0, PAGE_BYTES))
            super().pwrite(fd, data, offset)

    disk, seen = Watched(), list[bytes | bytearray | None]()
    async with bare_cache(tmp_path, disk=disk, is_running=False) as cache:
        block = put(cache, OLD)
        disk.is_writing = True
        await cache.write(block, 0, NEW)
        assert seen == [NEW[:PAGE_BYTES]]
        assert known(cache, block) == [True] * 4


async def test_a_write_that_the_disk_refuses_leaves_no_false_sum(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(fd: int, data: bytes | memoryview, offset: int) -> None:
        os.pwrite(fd, data[: len(data) // 2], offset)
        raise OSError(28, "full")

    block = put(cache, OLD)
    monkeypatch.setattr(cache.disk, "pwrite", half)
    for size in (PAGE_BYTES, 100, len(NEW)):
        with pytest.raises(OSError, match="full"):
            cache.write_nowait(block, 0, NEW[:size])
        with pytest.raises(OSError, match="full"):
            await cache.write(block, 0, NEW[:size])
    assert await read(cache, block) == NEW[: len(NEW) // 2] + OLD[len(NEW) // 2 :]


# --- unclean ends ---


async def test_bytes_changed_in_place_after_the_cut_are_believed_after_a_crash(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = put(cache, OLD)
        await cache.cuts.cut()
        cache.write_nowait(block, PAGE_BYTES, NEW[:PAGE_BYTES])
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert await read(cache, cache.blocks.get(block.number)) == OLD[:4096] + NEW[:4096] + OLD[8192:]


async def test_bytes_added_after_the_cut_are_believed_after_a_crash(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = cache.blocks.create(len(OLD), EPOCH)
        await write_on(cache, block, 0, OLD[:5000])
        await cache.cuts.cut()
        await write_on(cache, block, 5000, OLD[5000:9000])
        cache.cuts.log()
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert await read(cache, cache.blocks.get(block.number)) == OLD[:9000]


async def test_sums_that_came_to_the_disk_before_a_cut_that_did_not_are_forgotten(tmp_path: Path) -> None:
    """The cut wrote its sums, then died: a place above where the segment ended may be given to other bytes."""
    async with bare_cache(tmp_path, is_running=False) as cache:
        block, other = put(cache, OLD), put(cache, OLD)
        await cache.cuts.cut()
        cache.write_nowait(block, 0, NEW)
        new = put(cache, NEW)
        cache.segments.sums.write(cache.segments.sums.take())
        cache.write_nowait(block, 0, OLD)
        cache.write_nowait(new, 0, OLD)
        cache.cuts.log()
    async with bare_cache(tmp_path, is_running=False) as cache:
        for number in (block.number, other.number, new.number):
            assert await read(cache, cache.blocks.get(number)) == OLD


async def test_what_a_kept_state_holds_is_checked_after_a_crash(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = put(cache, OLD)
        cache.segments.allocate(4 << 20)  # what comes now lies under another chunk
        young = cache.blocks.create(len(OLD), EPOCH + 1)
        await write_on(cache, young, 0, OLD)
        await cache.cuts.cut()
        cache.write_nowait(young, 0, NEW)
    async with bare_cache(tmp_path, is_running=False, newest_kept=EPOCH) as cache:
        block, young = cache.blocks.get(block.number), cache.blocks.get(young.number)
        assert known(cache, block) == [True] * 4
        assert known(cache, young) == [False] * 4
        assert await read(cache, young) == NEW
        flip(tmp_path, block, 0)
        with pytest.raises(BytesDamaged):
            await read(cache, block)


@pytest.mark.parametrize("seed", range(6))
async def test_a_torn_sums_file_says_nothing_false(tmp_path: Path, seed: int) -> None:
    """Power is lost while sums are written: of each 512 bytes, the disk has the old or the new ones."""
    dice = random.Random(seed)
    async with bare_cache(tmp_path, is_running=False) as cache:
        blocks = {put(cache, OLD): OLD for _ in range(400)}
        await cache.cuts.cut()
        sums = segment_of(tmp_path, next(iter(blocks))).with_suffix(".sum")
        before = sums.read_bytes()
        for block in dice.sample(list(blocks), 200):
            cache.write_nowait(block, 0, NEW)
            blocks[block] = NEW
        cache.segments.sums.write(cache.segments.sums.take())
        after = sums.read_bytes()
    torn = b"".join(dice.choice((before, after))[low : low + 512] for low in range(0, len(after), 512))
    sums.write_bytes(torn)
    assert len(torn) == 2 * CHUNK_BYTES
    async with bare_cache(tmp_path, is_running=False) as cache:
        for block, content in blocks.items():
            assert await read(cache, cache.blocks.get(block.number)) == content


async def test_a_start_that_dies_before_its_cut_forgets_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        block = put(cache, OLD)
        await close(cache)
    async with bare_cache(tmp_path, is_running=False) as cache:
        cache.write_nowait(cache.blocks.get(block.number), 0, NEW)
    with monkeypatch.context() as patch:
        patch.setattr("kit.bare_cache.settle", _die)
        with pytest.raises(RuntimeError, match="died"):
            await bare_cache(tmp_path, is_running=False).__aenter__()
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert await read(cache, cache.blocks.get(block.number)) == NEW


async def _die(*_: object) -> None:
    raise RuntimeError("died")
