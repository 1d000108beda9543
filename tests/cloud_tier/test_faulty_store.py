"""The store that fails by plan does what was planned, and says what was not met."""

import pytest
import trio
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from cloud_tier.errors import ObjectMissing, StoreFull, StoreUnavailable
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import Page


async def test_the_nth_call_of_a_kind_fails_and_no_other(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    store.plan("put", nth=2, error=StoreFull("planned"))
    await store.put("a", b"body")
    await store.get("a")
    with pytest.raises(StoreFull):
        await store.put("b", b"body")
    await store.put("b", b"body")
    store.assert_all_hit()


async def test_a_lost_acknowledgement_has_stored(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    store.plan("put", What.LOST_ACK)
    with pytest.raises(StoreUnavailable):
        await store.put("a", b"body")
    assert await store.get("a") == b"body"


async def test_one_bit_is_turned_over_on_the_way_up_or_down(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    await store.put("a", b"body")
    store.plan("get", What.CORRUPT)
    assert await store.get("a") != b"body"
    assert await store.get("a") == b"body"
    store.plan("put", What.CORRUPT)
    await store.put("a", b"body")
    assert await store.get("a") != b"body"


async def test_a_store_may_lie_about_what_it_holds(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    await store.put("a", b"body")
    store.plan("get", What.MISSING)
    store.plan("list", What.EMPTY)
    with pytest.raises(ObjectMissing):
        await store.get("a")
    assert await store.list_page("") == Page([], True)
    assert await store.get("a") == b"body"


async def test_delays_and_hangs_take_their_time(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    store.plan("put", What.DELAYED, delay_s=5.0)
    begun_s = trio.current_time()
    await store.put("a", b"body")
    assert trio.current_time() - begun_s == pytest.approx(5.0)
    store.plan("get", What.HANGS)
    with trio.move_on_after(1000) as scope:
        await store.get("a")
    assert scope.cancelled_caught


async def test_offline_and_back(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    store.is_offline = True
    with pytest.raises(StoreUnavailable):
        await store.list_page("")
    store.heal()
    await store.list_page("")


async def test_chance_repeats_itself_by_its_seed(autojump_clock: MockClock) -> None:
    async def run(seed: int) -> list[bool]:
        store = FaultyStore(MemoryStore(), seed)
        store.scatter(0.5, What.REFUSED, What.LOST_ACK)
        outcomes = []
        for number in range(40):
            try:
                await store.put(f"a/{number}", b"body")
                outcomes.append(True)
            except StoreUnavailable:
                outcomes.append(False)
        return outcomes

    first = await run(1)
    assert 8 < sum(first) < 32
    assert await run(1) == first
    assert await run(2) != first


async def test_a_plan_that_was_never_met_fails_the_test(autojump_clock: MockClock) -> None:
    store = FaultyStore(MemoryStore())
    store.plan("put")
    with pytest.raises(AssertionError, match="never hit"):
        store.assert_all_hit()
