"""A speed limit: kept over a minute, shared fairly, changed at the hour."""

import itertools
import random
from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
import trio
from kit.fake_clock import FakeClock
from trio.testing import MockClock

from cloud_tier.limiting import Limiting
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import Buffer, Pace
from cloud_tier.timetable import Limits, Timetable, parse_rule

UTC = ZoneInfo("UTC")
MIB = 1 << 20
BODY = bytes(16 * MIB)
FIVE_TO_SIX_NS = int(datetime(2026, 11, 23, 17, 59, 30, tzinfo=UTC).timestamp()) * 10**9  # a Monday, 30 s before


class Wire(MemoryStore):
    """Writes down when how many bytes left or came."""

    def __init__(self) -> None:
        super().__init__()
        self.takes_s: Iterator[float] = itertools.repeat(0.0)
        self.moved: list[tuple[float, int]] = []

    def watched(self, pace: Pace | None) -> Pace:
        async def wait(size_bytes: int) -> None:
            if pace is not None:
                await pace(size_bytes)
            self.moved.append((trio.current_time(), size_bytes))
            await trio.sleep(next(self.takes_s))

        return wait

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await super().put(name, body, if_absent=if_absent, pace=self.watched(pace))

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        return await super().get(name, start, length, pace=self.watched(pace))

    def between(self, begin_s: float, end_s: float) -> int:
        return sum(size_bytes for at_s, size_bytes in self.moved if begin_s <= at_s < end_s)


def build(table: Timetable, start_ns: int = FIVE_TO_SIX_NS) -> tuple[Wire, Limiting]:
    wire = Wire()
    return wire, Limiting(wire, table, FakeClock(start_ns))


async def put_for_ever(store: Limiting, sizes: list[int]) -> None:
    while True:
        for number, size_bytes in enumerate(sizes):
            await store.put(f"packs/{number}", BODY[:size_bytes])


async def get_for_ever(store: Limiting) -> None:
    while True:
        await store.get("a")


@pytest.mark.parametrize("writers", [1, 16])
async def test_a_limit_is_kept_within_five_percent_over_any_minute(writers: int, autojump_clock: MockClock) -> None:
    wire, store = build(Timetable(UTC, otherwise=Limits(up=MIB)))
    sizes = [random.Random(7).randrange(1, 300_000) for _ in range(20)]
    begun_s = trio.current_time()
    with trio.move_on_after(70):
        async with trio.open_nursery() as nursery:
            for _ in range(writers):
                nursery.start_soon(put_for_ever, store, [16 * MIB, *sizes])
    for since_s in (0, 5, 10):  # whichever minute it is
        assert wire.between(begun_s + since_s, begun_s + since_s + 60) == pytest.approx(60 * MIB, rel=0.05)
    seconds = [wire.between(begun_s + second, begun_s + second + 1) for second in range(70)]
    assert max(seconds) < 1.3 * MIB, "even, not in bursts"
    assert min(seconds) > 0.7 * MIB


async def test_what_a_stumbling_line_lost_it_makes_up_for(autojump_clock: MockClock) -> None:
    wire, store = build(Timetable(UTC, otherwise=Limits(up=MIB)))
    wire.takes_s = itertools.cycle([0.02, 0.1])  # on average less than the 62.5 ms that a piece has
    begun_s = trio.current_time()
    with trio.move_on_after(60):
        await put_for_ever(store, [16 * MIB])
    assert wire.between(begun_s, begun_s + 60) == pytest.approx(60 * MIB, rel=0.05)


async def test_limits_change_at_the_hour_in_the_middle_of_a_body(autojump_clock: MockClock) -> None:
    wire, store = build(Timetable(UTC, [parse_rule("mon-fri 8-18", Limits(up=MIB))], Limits(up=8 * MIB)))
    begun_s = trio.current_time()
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(put_for_ever, store, [16 * MIB])
    assert wire.between(begun_s, begun_s + 30) == pytest.approx(30 * MIB, rel=0.05)
    assert wire.between(begun_s + 30, begun_s + 60) == pytest.approx(240 * MIB, rel=0.05)


async def test_up_and_down_have_limits_of_their_own(autojump_clock: MockClock) -> None:
    wire, store = build(Timetable(UTC, otherwise=Limits(up=MIB, down=2 * MIB)))
    await wire.put("a", BODY)
    wire.moved.clear()
    begun_s = trio.current_time()
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(put_for_ever, store, [16 * MIB])
            nursery.start_soon(get_for_ever, store)
    assert wire.between(begun_s, begun_s + 60) == pytest.approx(180 * MIB, rel=0.05)


async def test_without_a_limit_nobody_waits(autojump_clock: MockClock) -> None:
    _, store = build(Timetable(UTC, otherwise=Limits(down=MIB)))
    begun_s = trio.current_time()
    await store.put("a", BODY)
    assert trio.current_time() == begun_s
    assert await store.get("a", 0, 2 * MIB) == bytes(2 * MIB)
    assert trio.current_time() > begun_s + 1


async def test_whoever_gives_up_waiting_holds_up_nobody(autojump_clock: MockClock) -> None:
    wire, store = build(Timetable(UTC, otherwise=Limits(up=MIB)))
    with trio.move_on_after(2):
        await store.put("a", BODY)
    begun_s = trio.current_time()
    await store.put("b", BODY[:MIB])
    assert trio.current_time() - begun_s < 1.2
    assert "a" not in wire.objects
