"""A late answer is asked for once more, and only a late one."""

import pytest
import trio
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from cloud_tier.errors import ObjectMissing, StoreUnavailable
from cloud_tier.hedging import LATE_S, SLOW_BYTES_PER_S, get_hedged
from cloud_tier.memory_store import MemoryStore

BODY = b"0123456789"


@pytest.fixture
async def store() -> FaultyStore:
    store = FaultyStore(MemoryStore())
    await store.put("packs/a", BODY)
    return store


async def test_an_answer_that_never_comes_costs_seconds(autojump_clock: MockClock, store: FaultyStore) -> None:
    store.plan("get", What.HANGS)
    began = trio.current_time()
    assert await get_hedged(store, "packs/a", 2, 3) == b"234"
    assert trio.current_time() - began < LATE_S + 1
    store.assert_all_hit()


@pytest.mark.parametrize(("takes_s", "calls"), [(LATE_S - 0.1, 1), (LATE_S + 2, 2)])
async def test_a_second_request_is_made_only_when_the_first_is_late(
    autojump_clock: MockClock, store: FaultyStore, takes_s: float, calls: int
) -> None:
    store.plan("get", What.DELAYED, times=2, delay_s=takes_s)
    began = trio.current_time()
    assert await get_hedged(store, "packs/a", 0, 10) == BODY
    assert trio.current_time() - began == pytest.approx(takes_s, abs=0.1)
    assert store.calls["get"] == calls


async def test_much_has_more_time_than_little(autojump_clock: MockClock, store: FaultyStore) -> None:
    await store.put("packs/b", bytes(4 * SLOW_BYTES_PER_S))
    store.plan("get", What.DELAYED, delay_s=LATE_S + 3)
    await get_hedged(store, "packs/b", 0, 4 * SLOW_BYTES_PER_S)
    assert store.calls["get"] == 1


async def test_a_refusal_is_told_at_once_and_one_of_two_is_no_refusal(
    autojump_clock: MockClock, store: FaultyStore
) -> None:
    began = trio.current_time()
    with pytest.raises(ObjectMissing):
        await get_hedged(store, "packs/none", 0, 1)
    assert trio.current_time() - began < 0.1
    store.plan("get", What.DELAYED, delay_s=LATE_S + 2)
    store.plan("get", What.REFUSED, nth=2)
    assert await get_hedged(store, "packs/a", 0, 10) == BODY
    store.plan("get", What.HANGS)
    store.plan("get", What.REFUSED, nth=2)
    with trio.move_on_after(60) as waiting:
        await get_hedged(store, "packs/a", 0, 10)
    assert waiting.cancelled_caught, "the first may still answer; how long to wait is not decided here"
    store.plan("get", What.REFUSED)
    with pytest.raises(StoreUnavailable):
        await get_hedged(store, "packs/a", 0, 10)
