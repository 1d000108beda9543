"""What passes is counted, and how fast it goes just now."""

import pytest
import trio
from kit.fake_clock import FakeClock
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from cloud_tier.errors import ObjectMissing, StoreThrottled
from cloud_tier.measuring import Measuring
from cloud_tier.memory_store import MemoryStore


async def test_requests_bytes_and_errors_are_counted(autojump_clock: MockClock) -> None:
    faulty = FaultyStore(MemoryStore())
    store = Measuring(faulty, FakeClock())
    await store.put("a", bytes(1000))
    await store.put("b", bytes(500))
    await store.get("a")
    await store.get("a", 0, 10)
    await store.size("a")
    await store.list_page("")
    await store.delete([f"log/{number}" for number in range(2500)])
    faulty.plan("put", error=StoreThrottled("planned"))
    with pytest.raises(StoreThrottled):
        await store.put("c", bytes(9))
    with pytest.raises(ObjectMissing):
        await store.get("c")
    found = store.statistics()
    assert found.requests == {"put": 3, "get": 3, "size": 1, "list": 1, "delete": 3}
    assert found.errors == {"StoreThrottled": 1, "ObjectMissing": 1}
    assert (found.bytes_up, found.bytes_down) == (1500, 1010)


async def test_trouble_lasts_from_the_first_of_the_failures_until_an_answer(autojump_clock: MockClock) -> None:
    faulty = FaultyStore(MemoryStore())
    store = Measuring(faulty, FakeClock())
    faulty.plan("put", error=StoreThrottled("first"))
    faulty.plan("put", nth=2, error=StoreThrottled("second"))
    for _ in range(2):
        with pytest.raises(StoreThrottled):
            await store.put("a", b"")
        await trio.sleep(30)
    assert "second" in str(store.statistics().trouble)
    assert store.statistics().trouble_age_s == 60
    with pytest.raises(ObjectMissing):
        await store.get("a")
    assert (store.statistics().trouble, store.statistics().trouble_age_s) == (None, 0)


async def test_rate_is_that_of_the_last_ten_seconds(autojump_clock: MockClock) -> None:
    store = Measuring(MemoryStore(), FakeClock())
    await store.put("a", bytes(1000))
    await trio.sleep(6)
    await store.put("b", bytes(500))
    await store.get("a")
    assert (store.statistics().up_bytes_per_s, store.statistics().down_bytes_per_s) == (150.0, 100.0)
    await trio.sleep(5)
    assert store.statistics().up_bytes_per_s == 50.0
    await trio.sleep(6)
    assert (store.statistics().up_bytes_per_s, store.statistics().down_bytes_per_s) == (0.0, 0.0)


async def test_latency_is_that_of_the_last_answers(autojump_clock: MockClock) -> None:
    faulty = FaultyStore(MemoryStore())
    store = Measuring(faulty, FakeClock())
    faulty.plan("put", What.DELAYED, delay_s=3.0)
    faulty.plan("put", What.DELAYED, nth=2, delay_s=1.0, times=2)
    for number in range(3):
        await store.put(f"a/{number}", b"")
    assert store.statistics().median_s == {"put": pytest.approx(1.0)}
    assert store.statistics().slowest_s == {"put": pytest.approx(3.0)}
    for number in range(200):
        await store.put(f"a/{number}", b"")
    assert store.statistics().slowest_s == {"put": pytest.approx(0.0)}
