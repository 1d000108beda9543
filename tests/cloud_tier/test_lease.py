"""Leases in a store that overwrites: bids, a pause, a listing, and what is said about it."""

import contextlib
import random

import pytest
import trio
from kit.drive_keys import drive_keys
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from cloud_tier.errors import LeaseHeld, LeaseLost, StoreUnavailable, WrongDrive, WrongKey
from cloud_tier.lease import SETTLE_S, STALE_BID_S, Lease, check, claim, current, resume
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_names import LeaseBidName, LeaseName
from cloud_tier.object_store import Buffer, Pace, Page

KEYS = drive_keys()
NOW_NS = 1_800_000_000 * 10**9


class Overwriting(MemoryStore):
    """Creates nothing only if absent, and needs up to half a second for each call."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        assert not if_absent
        await trio.sleep(self._dice.random() / 2)
        await super().put(name, body)
        await trio.sleep(self._dice.random() / 2)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        await trio.sleep(self._dice.random() / 2)
        return await super().get(name, start, length)

    async def list_page(self, prefix: str, after: str = "") -> Page:
        await trio.sleep(self._dice.random() / 2)
        return await super().list_page(prefix, after)


@pytest.mark.parametrize("seed", range(20))
async def test_of_many_that_bid_at_any_time_one_wins(autojump_clock: MockClock, seed: int) -> None:
    store, dice, won = Overwriting(seed), random.Random(seed), list[Lease]()

    async def bid(machine: str) -> None:
        await trio.sleep(dice.random() * 2 * SETTLE_S)
        with contextlib.suppress(LeaseHeld):
            won.append(await claim(store, KEYS, machine, NOW_NS, False))

    async with trio.open_nursery() as nursery:
        for number in range(6):
            nursery.start_soon(bid, f"{number}")
    assert len(won) == 1
    assert not won[0].is_certain
    assert await current(store, KEYS) == won[0]
    await check(store, KEYS, won[0])


async def test_a_bid_of_one_who_has_given_up_holds_nobody_up(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    gone = Lease.make(KEYS, 1, "gone", NOW_NS, is_certain=False)
    await store.put(str(LeaseBidName(1, bytes(16))), gone.body)
    with pytest.raises(LeaseHeld, match="gone"):
        await claim(store, KEYS, "a", NOW_NS + 60 * 10**9, False)
    lease = await claim(store, KEYS, "a", NOW_NS + int(STALE_BID_S + 1) * 10**9, False)
    assert await current(store, KEYS) == lease


async def test_a_listing_that_does_not_show_the_bid_decides_nothing(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    store.plan("list", What.EMPTY)
    with pytest.raises(StoreUnavailable):
        await claim(store, KEYS, "a", NOW_NS, False)
    store.assert_all_hit()
    assert await current(store, KEYS) is None


async def test_who_was_overwritten_finds_out(autojump_clock: MockClock) -> None:
    store = MemoryStore()
    lease = await claim(store, KEYS, "a", NOW_NS, False)
    await store.put(str(LeaseName(1)), Lease.make(KEYS, 1, "b", NOW_NS).body)
    with pytest.raises(LeaseLost, match="machine b"):
        await check(store, KEYS, lease)


async def test_an_answer_that_was_lost_is_found_to_be_ours() -> None:
    store = FaultyStore(MemoryStore())
    store.plan("put", What.LOST_ACK)
    kept: list[bytes] = []
    with pytest.raises(StoreUnavailable):
        await claim(store, KEYS, "a", NOW_NS, True, keep=kept.append)
    lease = await resume(store, KEYS, Lease.decode(KEYS, kept[0]), NOW_NS)
    assert await current(store, KEYS) == lease


@pytest.mark.parametrize("lies", [1, 2])
async def test_that_our_claim_is_not_found_gives_the_drive_to_nobody_else(autojump_clock: MockClock, lies: int) -> None:
    store = FaultyStore(MemoryStore())
    lease = await claim(store, KEYS, "a", NOW_NS, False)
    store.plan("get", What.MISSING, times=lies)
    assert await resume(store, KEYS, lease, NOW_NS + 86_400 * 10**9) == lease
    assert await current(store, KEYS) == lease
    store.assert_all_hit()


async def test_a_bit_turned_over_on_the_line_gives_the_drive_to_nobody_else() -> None:
    for seed in range(40):
        store = FaultyStore(MemoryStore(), seed)
        lease = await claim(store, KEYS, "a", NOW_NS, True)
        store.plan("get", What.CORRUPT)
        assert await resume(store, KEYS, lease, NOW_NS) == lease
        store.assert_all_hit()


async def test_looking_costs_one_request() -> None:
    store = FaultyStore(MemoryStore())
    lease = await claim(store, KEYS, "a", NOW_NS, True)
    before = store.calls["any"]
    await check(store, KEYS, lease)
    assert store.calls["any"] - before == 1


def test_a_claim_of_another_drive_or_under_newer_keys_is_said_to_be_that() -> None:
    with pytest.raises(WrongDrive):
        Lease.decode(KEYS, Lease.make(drive_keys(2), 1, "a", NOW_NS).body)
    with pytest.raises(WrongKey):
        Lease.decode(KEYS, Lease.make(drive_keys(1, generations=2), 1, "a", NOW_NS).body)


@pytest.mark.parametrize("name", ["", "a" * 1000, "ü" * 200])
def test_any_name_of_a_machine_can_be_kept(name: str) -> None:
    lease = Lease.make(KEYS, 7, name, NOW_NS, accepted=12)
    found = Lease.decode(KEYS, lease.body)
    assert name.startswith(found.machine)
    assert found.machine or not name
    assert (found.fence, found.accepted, found.is_certain) == (7, 12, True)
