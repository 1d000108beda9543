"""One writer: who has the lease sends, who lost it only reads, and nothing of the two is mixed."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from kit.drive_builder import DriveBuilder
from kit.fake_clock import FakeClock
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from appliance.keys import Brought, Keys
from appliance.leasing import Leasing, claim_lease, read_lease
from appliance.making import Wishes, make_drive
from appliance.places import StatePlaces
from appliance.store_link import AGAIN_S, StoreLink
from cachefs.disk import RealDisk
from cachefs.tier import Cloud
from cloud_tier.errors import LeaseLost, StoreUnavailable
from cloud_tier.lease import Lease, current
from cloud_tier.measuring import Measuring
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_names import LEASES, LeaseName
from cloud_tier.object_store import ObjectStore
from cloud_tier.retrying import Retrying
from cloud_tier.ring_store import put_header, put_ring
from cloud_tier.store_url import DirUrl, OpenStore


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a drive, to be copied."""
    places = StatePlaces(tmp_path_factory.mktemp("made") / "state")
    trio.run(make_drive, places, Wishes(give_kit=lambda kit: None))
    return places.state


class Machine:
    """One of several that have the keys of a drive, and its store."""

    def __init__(self, made: Path, place: Path, store: ObjectStore, *, is_second: bool = False) -> None:
        shutil.copytree(made, place)
        self.places = StatePlaces(place)
        if is_second:
            self.places.lease.unlink()
        self.store = store
        self.keys = Keys.open(self.places, Brought())
        self.clock = FakeClock()
        self.reason: str | None = None
        self.start()

    def start(self) -> None:
        self.leasing = Leasing(self.places, self.keys, self.clock)
        self.leasing.tell(partial(setattr, self, "reason"))
        measured = Measuring(self.store, self.clock)
        retried = Retrying(measured)
        opened = OpenStore(measured, retried, measured, retried)
        self.link = StoreLink(DirUrl(self.places.store), opened, self.keys, self.leasing)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[DriveBuilder]:
        """Its drive, at work."""
        cloud = Cloud(
            self.store,
            lambda: self.keys.held,
            self.leasing.fence,
            self.link.followed,
            right=lambda: self.leasing.right(self.store),
            is_fenced=self.leasing.is_fenced,
        )
        builder = DriveBuilder(self.places.state, names=self.keys.names, cloud=cloud, clock=self.clock)
        async with builder as built, trio.open_nursery() as nursery:
            nursery.start_soon(self.link.run)
            yield built
            nursery.cancel_scope.cancel()

    async def take_over(self, fence: int) -> Lease:
        """As `recover --take-over` does."""
        return await claim_lease(
            self.places, self.store, self.keys.held, RealDisk(), self.clock.now_ns(), take_over=fence, settle_s=1.0
        )


@pytest.fixture
async def store(made: Path) -> MemoryStore:
    """What the drive's store holds after `init`, but for the claim."""
    keys = Keys.open(StatePlaces(made), Brought())
    store = MemoryStore()
    await put_header(store, keys.header_bytes)
    await put_ring(store, keys.ring)
    return store


def packs(store: MemoryStore, fence: int) -> set[str]:
    return {name for name in store.objects if name.startswith(f"packs/{fence:06}/")}


def test_init_claims_the_first_lease(made: Path) -> None:
    places = StatePlaces(made)
    keys = Keys.open(places, Brought())
    lease = read_lease(places, keys.held)
    assert lease is not None
    assert (lease.fence, lease.is_certain) == (1, True)
    assert (places.store / str(LeaseName(1))).read_bytes() == lease.body
    assert places.lease.stat().st_mode & 0o077 == 0


async def test_a_drive_from_before_claims_it_at_its_next_start_and_quietly(
    virtual_time: MockClock, made: Path, tmp_path: Path, store: MemoryStore
) -> None:
    machine = Machine(made, tmp_path / "old", store, is_second=True)
    await machine.link.look()
    assert LEASES not in "".join(store.objects), "a start does not wait for it"
    async with machine.running() as built:
        await built.write("a", b"bytes" * 1000)
        await built.drive.flush()
    assert packs(store, 1)
    assert machine.reason is None
    assert await current(store, machine.keys.held) == read_lease(machine.places, machine.keys.held)


@pytest.mark.expected_log("the store is not used: The drive belongs to the machine")
async def test_a_second_machine_is_refused_while_the_first_one_has_the_lease(
    virtual_time: MockClock, made: Path, tmp_path: Path, store: MemoryStore
) -> None:
    first = Machine(made, tmp_path / "first", store)
    await first.link.look()
    second = Machine(made, tmp_path / "second", store, is_second=True)
    async with second.running() as built:
        await built.write("a", b"bytes" * 1000)
        await trio.sleep(60)
        assert "(lease 1); as long as that may be running, nothing is sent from here" in (second.reason or "")
        assert second.link.status().state == "refused"
        assert built.drive.cache.catalog.unsent_blocks
        assert await built.read("a") == b"bytes" * 1000
    assert not packs(store, 1)


@pytest.mark.expected_log("the store is not used: The machine .* has taken this drive over")
async def test_who_was_taken_over_only_reads_from_then_on_and_nothing_is_mixed(
    virtual_time: MockClock, made: Path, tmp_path: Path, store: MemoryStore
) -> None:
    first = Machine(made, tmp_path / "first", store)
    second = Machine(made, tmp_path / "second", store, is_second=True)
    async with first.running() as old:
        await old.write("a", b"first" * 1000)
        await old.drive.flush()
        before = packs(store, 1)
        assert (await second.take_over(1)).fence == 2
        second.start()
        async with second.running() as new:
            await trio.sleep(AGAIN_S + 1)
            assert "has taken this drive over" in (first.reason or "")
            assert "(lease 2)" in (first.reason or "")
            await old.write("late", b"never sent" * 1000)
            await new.write("b", b"second" * 1000)
            await new.drive.flush()
            await trio.sleep(AGAIN_S)
            assert second.reason is None
            assert old.drive.cache.catalog.unsent_blocks, "what was not sent stays here"
            assert first.link.status().state == "refused"
            assert await old.read("a") == b"first" * 1000
    assert packs(store, 1) == before
    assert packs(store, 2)
    first.reason = None
    first.start()
    assert "has taken this drive over" in (first.reason or ""), "also at the next start, without a line"
    assert first.leasing.is_fenced.is_set()
    with pytest.raises(LeaseLost):
        await first.leasing.look(store)


@pytest.mark.expected_log("the store is not used")
async def test_who_has_lost_the_lease_deletes_nothing_more(
    virtual_time: MockClock, made: Path, tmp_path: Path, store: MemoryStore
) -> None:
    first = Machine(made, tmp_path / "first", store)
    second = Machine(made, tmp_path / "second", store, is_second=True)
    async with first.running() as old:
        await old.write("a", b"first" * 1000)
        await old.drive.flush()
        await old.unlink("a")
        first.clock.advance(120)  # its name is remembered for a while
        await old.cut()
        await trio.sleep(5)
        await old.drive.reaper.finish()
        await old.cut()
        assert old.drive.tier is not None
        upkeep = old.drive.tier.upkeep
        upkeep.collector.oldest_retained = lambda: old.drive.cuts.number
        await upkeep.round()
        await old.cut()
        first.clock.advance(3 * 86_400)
        await upkeep.round()
        await old.cut()
        first.clock.advance(3 * 86_400)
        await second.take_over(1)
        await upkeep.round()
        assert packs(store, 1), "the lease was looked at first"
        assert first.leasing.is_fenced.is_set()
        assert "has taken this drive over" in (upkeep.statistics().trouble or "")
        await trio.sleep(AGAIN_S + 1)


async def test_a_claim_that_was_cut_off_is_gone_on_with(
    virtual_time: MockClock, made: Path, tmp_path: Path, store: MemoryStore
) -> None:
    faulty = FaultyStore(store)
    machine = Machine(made, tmp_path / "a", faulty)
    machine.leasing._lease, begun = None, machine.leasing._lease
    faulty.plan("put", What.LOST_ACK)
    with pytest.raises(StoreUnavailable):
        await machine.leasing.look(faulty)
    machine.start()
    await machine.leasing.look(faulty)
    faulty.assert_all_hit()
    assert await current(store, machine.keys.held) == begun


async def test_being_away_is_no_loss(virtual_time: MockClock, made: Path, tmp_path: Path, store: MemoryStore) -> None:
    faulty = FaultyStore(store)
    machine = Machine(made, tmp_path / "a", faulty)
    async with machine.running() as built:
        await built.write("a", b"first" * 1000)
        await built.drive.flush()
        faulty.is_offline = True
        await trio.sleep(3 * AGAIN_S)
        assert machine.reason is None
        await built.write("b", b"second" * 1000)
        faulty.is_offline = False
        await built.drive.flush()


async def test_looking_costs_a_request_in_five_minutes(
    virtual_time: MockClock, made: Path, tmp_path: Path, store: MemoryStore
) -> None:
    faulty = FaultyStore(store)
    machine = Machine(made, tmp_path / "a", faulty)
    async with machine.running():
        await trio.sleep(120)  # the first checkpoint is made
        before = faulty.calls["any"]
        await trio.sleep(3600)
        assert faulty.calls["any"] - before <= 12 + 4  # beside an hour of upkeep


async def test_a_store_that_overwrites_is_warned_of(virtual_time: MockClock, made: Path, tmp_path: Path) -> None:
    machine = Machine(made, tmp_path / "a", MemoryStore())
    lease = Lease.make(machine.keys.held, 1, "a", machine.clock.now_ns(), is_certain=False)
    machine.places.lease.write_bytes(lease.body)
    machine.start()
    assert "Never let two use it" in (machine.link.status().reason or "")
