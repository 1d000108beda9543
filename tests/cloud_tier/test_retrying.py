"""Asking again: what passes is waited for, what does not is raised, and nothing takes for ever."""

import random

import pytest
import trio
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from cloud_tier.errors import (
    ConnectionStale,
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreThrottled,
    StoreUnavailable,
    UploadDamaged,
)
from cloud_tier.memory_store import MemoryStore
from cloud_tier.retrying import SEEN_S, Retrying, RetryPolicy, RetryStatistics, WatchedPace

POLICY = RetryPolicy(first_wait_s=1.0, longest_wait_s=8.0, deadline_s=100.0, patience_s=60.0)


class Highest(random.Random):
    """The longest wait that chance allows."""

    def uniform(self, a: float, b: float) -> float:
        return b


def build(seed: int = 1) -> tuple[FaultyStore, Retrying]:
    faulty = FaultyStore(MemoryStore())
    return faulty, Retrying(faulty, POLICY, random.Random(seed))


async def test_passing_trouble_is_survived_by_every_call(autojump_clock: MockClock) -> None:
    faulty, store = build()
    for kind in ("put", "get", "size", "delete", "list"):
        faulty.plan(kind, times=3)
    await store.put("a", b"body")
    assert await store.get("a") == b"body"
    assert await store.size("a") == 4
    assert len((await store.list_page("")).objects) == 1
    await store.delete(["a"])
    faulty.assert_all_hit()
    assert store.statistics() == RetryStatistics(calls=5, retries=15, stale=0, given_up=0)


async def test_damaged_upload_is_sent_again(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("put", error=UploadDamaged("planned"))
    await store.put("a", b"body")
    assert await store.get("a") == b"body"
    faulty.assert_all_hit()


async def test_waits_double_up_to_a_limit(autojump_clock: MockClock) -> None:
    faulty = FaultyStore(MemoryStore())
    store = Retrying(faulty, POLICY, Highest())
    faulty.plan("put", times=6)
    begun_s = trio.current_time()
    await store.put("a", b"body")
    assert trio.current_time() - begun_s == pytest.approx(1 + 2 + 4 + 8 + 8 + 8)


async def test_waits_are_spread_by_chance(autojump_clock: MockClock) -> None:
    waits = set()
    for seed in range(20):
        faulty, store = build(seed)
        faulty.plan("put")
        begun_s = trio.current_time()
        await store.put("a", b"body")
        waits.add(round(trio.current_time() - begun_s, 3))
    assert len(waits) > 15
    assert all(0 <= wait <= 1 for wait in waits)


async def test_what_asks_for_a_person_is_raised_at_once(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("put", error=StoreDenied("planned"))
    with pytest.raises(StoreDenied):
        await store.put("a", b"body")
    with pytest.raises(ObjectMissing):
        await store.get("a")
    assert store.statistics().retries == 0


async def test_after_the_deadline_the_last_error_is_raised(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("get", times=None)
    begun_s = trio.current_time()
    with pytest.raises(StoreUnavailable, match="planned"):
        await store.get("a")
    assert trio.current_time() - begun_s <= 100
    assert faulty.calls["get"] > 10
    assert store.statistics().given_up == 1


async def test_the_store_is_left_alone_as_long_as_it_asked(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("put", error=StoreThrottled("planned", retry_after_s=30.0))
    begun_s = trio.current_time()
    await store.put("a", b"body")
    assert 30 <= trio.current_time() - begun_s < 31


async def test_longer_than_the_deadline_is_not_waited(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("put", error=StoreThrottled("planned", retry_after_s=3600.0))
    begun_s = trio.current_time()
    with pytest.raises(StoreThrottled) as caught:
        await store.put("a", b"body")
    assert caught.value.retry_after_s == 3600.0
    assert trio.current_time() == begun_s


async def test_a_dead_connection_is_replaced_at_once_and_only_once(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("get", error=ConnectionStale("planned"), times=1)
    await store.put("a", b"body")
    begun_s = trio.current_time()
    await store.get("a")
    assert trio.current_time() == begun_s
    assert store.statistics().stale == 1
    faulty.plan("get", error=ConnectionStale("planned"), times=2)
    await store.get("a")
    assert trio.current_time() > begun_s
    assert store.statistics() == RetryStatistics(calls=3, retries=3, stale=2, given_up=0)


async def test_an_answer_that_never_comes_is_waited_for_as_long_as_the_bytes_may_need(
    autojump_clock: MockClock,
) -> None:
    faulty, store = build()
    faulty.plan("put", What.HANGS)
    begun_s = trio.current_time()
    await store.put("a", bytes(16 << 10))
    assert 61 <= trio.current_time() - begun_s <= 62
    faulty.plan("put", What.HANGS)
    with pytest.raises(StoreUnavailable, match="no answer within 124 s"):
        await store.put("b", bytes(1 << 20))


async def test_a_caller_may_hold_an_attempt_up_for_as_long_as_he_likes(autojump_clock: MockClock) -> None:
    _, store = build()

    async def slow(size_bytes: int) -> None:
        await trio.sleep(1000)

    await store.put("a", b"body", pace=slow)
    assert await store.get("a", pace=slow) == b"body"


async def test_an_attempt_that_hangs_between_the_callers_pieces_is_given_up(autojump_clock: MockClock) -> None:
    faulty, store = build()

    async def slow(size_bytes: int) -> None:
        await trio.sleep(1000)

    for kind in ("put", "get"):
        faulty.plan(kind, What.HANGS)
    begun = trio.current_time()
    await store.put("a", b"body", pace=slow)
    assert await store.get("a", 0, 4, pace=slow) == b"body"
    assert trio.current_time() - begun < 2500
    faulty.assert_all_hit()


async def test_a_thread_that_moves_bytes_at_an_easy_pace_is_seen_to_do_so(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)

    class Easy:
        async def __call__(self, size_bytes: int) -> None: ...

        def is_free(self) -> bool:
            return True

    with trio.CancelScope() as scope:
        pace = WatchedPace(Easy(), scope, 60.0)
        assert pace.is_free()
        now += SEEN_S
        assert not pace.is_free()
        await pace(1)
        assert pace.is_free()
        assert 59.0 < scope.deadline - trio.current_time() <= 60.0


async def test_create_only_whose_acknowledgement_was_lost_is_known_to_be_ours(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("put", What.LOST_ACK)
    await store.put("lease/000001", b"ours", if_absent=True)
    faulty.assert_all_hit()
    with pytest.raises(ObjectExists):
        await store.put("lease/000001", b"ours", if_absent=True)


async def test_create_only_that_failed_while_somebody_else_was_first_is_refused(autojump_clock: MockClock) -> None:
    faulty, store = build()
    await store.put("lease/000001", b"theirs")
    faulty.plan("put")
    with pytest.raises(ObjectExists):
        await store.put("lease/000001", b"ours", if_absent=True)


async def test_cancelled_while_it_waits_it_ends_at_once(autojump_clock: MockClock) -> None:
    faulty, store = build()
    faulty.plan("put", times=None)
    with trio.move_on_after(0.1) as scope:
        await store.put("a", b"body")
    assert scope.cancelled_caught
