"""A drive with a store behind it: what is flushed is there, what is evicted comes back, what is offline waits."""

import random
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
import trio
from kit.damage import flip
from kit.disk_journal import synced
from kit.drive_builder import SMALL_CUTS, DriveBuilder
from kit.drive_keys import drive_keys
from kit.losing_disk import losing_drive
from trio.testing import MockClock

from cachefs.cut import Cuts
from cachefs.tier import Cloud
from cloud_tier.block_id import BlockId
from cloud_tier.errors import StoreUnavailable
from cloud_tier.ledger import Unsent
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_names import PACKS
from cloud_tier.object_store import Buffer, Pace
from cloud_tier.packer import Lane
from vfs.check import check
from vfs.errors import NoSpace, OutOfReach
from vfs.seal_pass import Names

KEYS = drive_keys()
NAMES = Names(KEYS.block_key, SMALL_CUTS.chunker)


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


class CountedStore(MemoryStore):
    """Counts what passes of packs; can be cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = self.gets = self.put_bytes = self.got_bytes = 0
        self.is_offline = False
        self.put_s = 0.0

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        self._reach()
        await trio.sleep(self.put_s)
        if name.startswith(PACKS):
            self.puts += 1
            self.put_bytes += len(body)
        await super().put(name, body, if_absent=if_absent, pace=pace)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        self._reach()
        data = await super().get(name, start, length, pace=pace)
        if name.startswith(PACKS):
            self.gets += 1
            self.got_bytes += len(data)
        return data

    def _reach(self) -> None:
        if self.is_offline:
            raise StoreUnavailable("the line is cut")


@pytest.fixture
def store() -> CountedStore:
    return CountedStore()


@pytest.fixture
async def built(tmp_path: Path, store: CountedStore, virtual_time: MockClock) -> AsyncIterator[DriveBuilder]:
    async with DriveBuilder(tmp_path / "state", names=NAMES, cloud=Cloud(store, lambda: KEYS)) as drive:
        yield drive
        drive.drive.cuts.log()
        rows = drive.drive.database.row("SELECT count(*), total(length) FROM blocks WHERE block_id IS NULL")
        assert (drive.drive.cache.blocks.open, drive.drive.cache.blocks.open_bytes) == rows
        findings, _ = check(drive.drive.database, drive.state / "segments")
        assert findings == []


async def drop(built: DriveBuilder) -> None:
    """Evict all that may go."""
    await built.drive.tier.evicting.evict(1 << 50)


async def test_what_was_flushed_and_dropped_is_read_back(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    files = {f"{number}": noise(number, size) for number, size in enumerate((1, 100, 4096, 5000, 70_000, 300_000))}
    for name, data in files.items():
        await built.write(name, data)
    snapshot = await built.snapshot()
    await built.write("3", noise(30, 5000))
    await built.drive.flush()
    assert store.puts <= 2
    await drop(built)
    await built.cut()
    await trio.sleep(1)
    assert built.drive.cache.blocks.held == 0
    assert built.drive.cache.segments.allocated_bytes() == 0
    assert await built.read("3") == noise(30, 5000)
    for name, data in files.items():
        assert await built.read_past(snapshot.name, name) == data
    assert store.gets <= 16
    before = store.gets
    for name in files:
        await built.read(name)
    assert store.gets == before, "what was fetched is here"


async def test_flushed_bytes_survive_death_of_the_core_and_eviction(
    virtual_time: MockClock, built: DriveBuilder
) -> None:
    await built.write("a", noise(1, 50_000))
    await built.drive.flush()
    await drop(built)
    await built.restart(crash=True)
    assert await built.read("a") == noise(1, 50_000)
    await built.restart(crash=True)
    assert await built.read("a") == noise(1, 50_000)


async def test_flush_ends_although_others_go_on_writing(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    await built.write("mine", noise(1, 50_000))
    store.put_s = 4.0

    async def write_on() -> None:
        for number in count(2):
            await built.write("log", noise(number, 2000), number * 2000)
            await built.write(f"{number}", noise(number, 5000))
            await trio.sleep(0.5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_on)
        with trio.fail_after(60):
            await built.drive.flush()
        assert built.drive.cache.catalog.unsent_bytes > 0
        nursery.cancel_scope.cancel()
    block = built.drive.contents.pieces(built.inode("mine").content, 0, 1)[0].block
    assert built.drive.cache.catalog.find(block) is not None


@pytest.mark.expected_log(r"cloud_tier.uploader: The cloud store cannot be reached")
async def test_everybody_who_flushes_hears_of_the_end_and_meanwhile_of_the_trouble(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    await built.write("a", noise(1, 50_000))
    store.is_offline = True
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(built.drive.flush)
        await trio.sleep(70)
        trouble = built.drive.tier.uploader.statistics()
        assert trouble.trouble is not None
        assert 60 < trouble.trouble_age_s <= 70
        assert (trouble.sending, trouble.sending_bytes > 50_000) == (1, True)
        await built.write("b", noise(2, 50_000))
        store.is_offline = False
        with trio.fail_after(100):
            await built.drive.flush()
    after = built.drive.tier.uploader.statistics()
    assert (after.trouble, after.trouble_age_s, after.sending_bytes) == (None, 0, 0)


async def test_many_small_files_are_few_requests(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    for number in range(300):
        await built.write(f"{number}", noise(number, 4096))
    await built.drive.flush()
    assert store.puts == 1
    await drop(built)
    for number in range(300):
        assert await built.read(f"{number}") == noise(number, 4096)
    assert store.gets <= 6, "three records"


async def test_second_copy_sends_nothing(virtual_time: MockClock, built: DriveBuilder, store: CountedStore) -> None:
    await built.write("a", noise(1, 200_000))
    await built.drive.flush()
    sent = store.put_bytes
    await built.write("b", noise(1, 200_000))
    await built.drive.flush()
    assert store.put_bytes == sent


async def test_temporary_file_is_never_sent(virtual_time: MockClock, built: DriveBuilder, store: CountedStore) -> None:
    await built.write("a", noise(1, 200_000))
    await trio.sleep(2.9)
    await built.unlink("a")
    await trio.sleep(60)
    assert store.puts == 0


async def test_what_rests_is_sent_without_being_asked(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    await built.write("a", noise(1, 200_000))
    await trio.sleep(10)
    assert store.puts == 1
    assert built.drive.cache.catalog.unsent_bytes == 0
    await trio.sleep(3600)
    assert store.puts == 1


async def test_overwriting_a_part_of_cold_data_fetches_nothing(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    await built.write("a", noise(1, 300_000))
    await built.drive.flush()
    await drop(built)
    sent = store.put_bytes
    await built.write("a", b"!" * 4096, 100_000)
    await built.drive.flush()
    assert store.gets == 0
    assert store.put_bytes - sent < 8_000
    assert await built.read("a") == noise(1, 300_000)[:100_000] + b"!" * 4096 + noise(1, 300_000)[104_096:]


@pytest.mark.expected_log(r"cloud_tier.uploader: The cloud store cannot be reached|cachefs.fetching: The cloud store")
async def test_offline_is_a_state(virtual_time: MockClock, built: DriveBuilder, store: CountedStore) -> None:
    await built.write("cold", noise(1, 50_000))
    await built.drive.flush()
    await drop(built)
    store.is_offline = True
    await built.write("new", noise(2, 50_000))
    await trio.sleep(60)
    assert await built.read("new") == noise(2, 50_000)
    inode = built.inode("cold")
    for _ in range(2):
        began = trio.current_time()
        with pytest.raises(OutOfReach):
            await built.drive.files.read(inode, 0, 100)
        assert trio.current_time() - began < 1
    assert built.drive.tier.uploader.statistics().trouble is not None
    store.is_offline = False
    await built.drive.flush()
    await trio.sleep(10)
    assert await built.read("cold") == noise(1, 50_000)
    assert built.drive.tier.uploader.statistics().trouble is None


async def test_the_cache_keeps_to_its_budget(virtual_time: MockClock, built: DriveBuilder, store: CountedStore) -> None:
    built.drive.cache.budget.limit_bytes = 4 << 20
    most = 0
    for number in range(40):
        await built.write(f"{number}", noise(number, 500_000))
        most = max(most, built.drive.cache.segments.allocated_bytes())
        await trio.sleep(2)
        built.clock.advance(2)
    await built.drive.flush()
    await trio.sleep(5)
    assert most <= 5 << 20
    assert built.drive.cache.segments.allocated_bytes() <= 4 << 20
    for number in range(40):
        assert await built.read(f"{number}") == noise(number, 500_000)
        await trio.sleep(1)
        assert built.drive.cache.segments.allocated_bytes() <= 5 << 20


async def test_a_burst_into_a_full_cache_keeps_to_the_budget(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    """What was freed waits for a cut and for leases, and what was admitted is not on the disk yet: both count."""
    cache, most = built.drive.cache, 0
    cache.budget.limit_bytes = 4 << 20
    built.clock.advance(2)
    for number in range(20):
        await built.write(f"{number}", noise(number, 200_000))
        await built.drive.flush()
    assert cache.segments.allocated_bytes() > 2 << 20

    async def write(name: str) -> None:
        nonlocal most
        await built.write(name, noise(1, 80_000))
        most = max(most, cache.segments.allocated_bytes())

    lease = cache.segments.free_queue.lease()
    async with trio.open_nursery() as nursery:
        for number in range(24):
            nursery.start_soon(write, f"new {number}")
        await trio.sleep(0.1)
        cache.segments.free_queue.release(lease)
    assert most <= 4.5 * (1 << 20)  # sealing may copy a little


@pytest.mark.expected_log(r"cloud_tier.uploader: The cloud store cannot be reached")
async def test_without_a_line_writers_slow_down_and_then_get_no_space(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    built.drive.cache.budget.limit_bytes = 4 << 20
    store.is_offline = True
    times: list[float] = []

    async def fill() -> None:
        while True:
            began = trio.current_time()
            await built.write(f"{len(times)}", noise(len(times), 100_000))
            times.append(trio.current_time() - began)
            await trio.sleep(2)
            built.clock.advance(2)

    with pytest.raises(NoSpace):
        await fill()
    assert 20 < len(times) < 32
    assert max(times[:10]) < 0.01
    assert times[-1] > 0.03
    for number in range(len(times)):
        assert await built.read(f"{number}") == noise(number, 100_000)
    store.is_offline = False
    await trio.sleep(120)
    built.clock.advance(2)
    await built.write("more", noise(50, 100_000))
    await built.drive.flush()


async def test_readers_of_one_block_share_one_request(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    await built.write("a", noise(1, 16_000))
    await built.drive.flush()
    await drop(built)
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(built.read, "a")
    assert store.gets <= 4


async def test_a_stream_is_fetched_ahead_in_few_requests(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore
) -> None:
    data = noise(1, 6_000_000)
    await built.write("a", data)
    await built.drive.flush()
    await drop(built)
    inode = built.inode("a")
    found = bytearray()
    while len(found) < len(data):
        found += await built.drive.files.read(inode, len(found), 131_072)
        await trio.sleep(0.01)
    assert found == data
    assert store.gets < 12


async def test_damaged_cached_page_is_fetched_again(
    virtual_time: MockClock, built: DriveBuilder, store: CountedStore, caplog: pytest.LogCaptureFixture
) -> None:
    await built.write("a", noise(1, 4096))
    await built.drive.flush()
    inode = built.inode("a")
    block = built.drive.cache.blocks.get(built.drive.contents.pieces(inode.content, 0, 1)[0].block)
    flip(built.state, block, 100)
    with caplog.at_level("CRITICAL"):
        assert await built.read("a") == noise(1, 4096)
    assert store.gets == 1
    assert await built.read("a") == noise(1, 4096)
    assert built.drive.cache.statistics()["damaged_pages"] == 0


async def test_fetched_bytes_that_a_power_loss_took_are_fetched_again(
    virtual_time: MockClock, tmp_path: Path, store: CountedStore
) -> None:
    async with losing_drive(tmp_path / "state", names=NAMES, cloud=Cloud(store, lambda: KEYS)) as (built, disk):
        await built.write("a", noise(1, 60_000))
        await built.drive.flush()
        await drop(built)
        assert await built.read("a") == noise(1, 60_000)
        await built.cut()
        gets = store.gets
        await built.restart(crash=True)
        assert await built.read("a") == noise(1, 60_000)
        assert store.gets == gets, "the core alone died: what was fetched is in the page cache"
        await built.restart(crash=True, between=lambda: disk.power_loss(synced))
        assert await built.read("a") == noise(1, 60_000)
        assert store.gets > gets
        await built.restart()
        assert await built.read("a") == noise(1, 60_000)


async def test_a_flush_seals_what_it_knows_of_while_the_disk_still_takes_it(
    virtual_time: MockClock, tmp_path: Path, store: CountedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending begins with the first pass; the sync of a large copy takes seconds."""
    async with losing_drive(tmp_path / "state", names=NAMES, cloud=Cloud(store, lambda: KEYS)) as (built, _):
        cuts, left = built.drive.cuts, list[int]()

        async def wait_cut() -> None:
            cuts.log()
            left.append(built.drive.cache.blocks.open)
            await Cuts.wait_cut(cuts)

        monkeypatch.setattr(cuts, "wait_cut", wait_cut)
        await built.write("a", noise(1, 60_000))
        cuts.log()
        assert built.drive.cache.blocks.open
        await built.drive.sealing.seal_all()
    assert left[0] == 0


async def test_a_flush_waits_for_a_block_that_somebody_writes_to_at_this_moment(
    virtual_time: MockClock, tmp_path: Path, store: CountedStore
) -> None:
    """It may hold what was there before. Only that block is passed over: the rest of the file goes."""
    async with losing_drive(tmp_path / "state", names=NAMES, cloud=Cloud(store, lambda: KEYS)) as (built, _):
        blocks = built.drive.cache.blocks
        await built.write("a", noise(1, 4096))
        await built.write("a", noise(2, 4096), 1 << 20)
        built.drive.cuts.log()
        assert blocks.open == 2
        block = blocks.get(built.drive.database.row("SELECT max(block) FROM blocks WHERE block_id IS NULL")[0])
        block.writers += 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(built.drive.sealing.seal_all)
            await trio.sleep(5)
            built.drive.cuts.log()
            assert blocks.open == 1
            assert nursery.child_tasks
            block.writers -= 1
        built.drive.cuts.log()
        assert blocks.open == 0


async def test_bytes_are_not_evicted_before_the_catalog_is_durable(
    virtual_time: MockClock, tmp_path: Path, store: CountedStore
) -> None:
    async with losing_drive(tmp_path / "state", names=NAMES, cloud=Cloud(store, lambda: KEYS)) as (built, disk):
        for number in range(10):
            await built.write(f"{number}", noise(number, 60_000))
            await built.drive.sealing.seal_all()
            await built.fsync()
            await built.drive.tier.uploader.flush()
            await drop(built)
            await built.restart(crash=True, between=lambda: disk.power_loss(synced))
            for earlier in range(number + 1):
                assert await built.read(f"{earlier}") == noise(earlier, 60_000)
        built.drive.cuts.log()
        assert check(built.drive.database, built.state / "segments")[0] == []


class DyingStore(CountedStore):
    """The core dies at a put: before the object is there, or after it."""

    def __init__(self, *, is_stored: bool) -> None:
        super().__init__()
        self.is_stored = is_stored
        self.reached = trio.Event()
        self.is_dying = True

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        if self.is_dying and name.startswith(PACKS):
            if self.is_stored:
                await super().put(name, body, if_absent=if_absent, pace=pace)
            self.reached.set()
            await trio.sleep_forever()
        await super().put(name, body, if_absent=if_absent, pace=pace)


@pytest.mark.parametrize("is_stored", [False, True])
async def test_an_upload_that_the_core_did_not_survive_is_made_anew_under_another_name(
    virtual_time: MockClock, tmp_path: Path, is_stored: bool
) -> None:
    store = DyingStore(is_stored=is_stored)
    async with DriveBuilder(tmp_path / "state", names=NAMES, cloud=Cloud(store, lambda: KEYS)) as built:
        await built.write("a", noise(1, 60_000))
        built.close_point()
        await store.reached.wait()
        await built.restart(crash=True)
        store.is_dying = False
        await built.drive.flush()
        states = built.drive.database.rows("SELECT state FROM packs ORDER BY pack")
        assert states == [(3,), (2,)]
        await drop(built)
        assert await built.read("a") == noise(1, 60_000)
        names = [info.name for info in (await store.list_page("packs/")).objects]
        assert len(names) == 1 + is_stored


@pytest.mark.expected_log("is not what its id says; it is not sent")
@pytest.mark.expected_log("what was in that pack is encoded anew")
async def test_a_block_that_is_not_what_its_id_says_holds_up_no_other(
    built: DriveBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, taken = built.drive.cache.catalog, list[int]()
    take = catalog.take

    def as_a_memory_error_would(lane: Lane, most_bytes: int) -> list[Unsent]:
        found = take(lane, most_bytes)
        taken.extend(one.block for one in found)
        return [one._replace(block_id=BlockId(bytes(32))) if one.block == taken[0] else one for one in found]

    monkeypatch.setattr(catalog, "take", as_a_memory_error_would)
    for number in range(3):
        await built.write(f"{number}", noise(number, 3000))
    await built.drive.flush()
    assert catalog.unreadable == {taken[0]}
    stored = [block for (block,) in built.drive.database.rows("SELECT block FROM catalog ORDER BY block")]
    assert stored == sorted(set(taken) - {taken[0]})
