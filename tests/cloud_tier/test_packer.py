"""When packs are closed, and whose turn it is."""

from hypothesis import given
from hypothesis import strategies as st
from kit.fake_clock import FakeClock

from cloud_tier.packer import FRESH_TURNS, Lane, Packer, lane_of

MIB = 1 << 20


class StoppedClock(FakeClock):
    """Shows one moment, exactly."""

    def __init__(self, moment: float) -> None:
        super().__init__()
        self.moment = moment

    def monotonic_s(self) -> float:
        return self.moment


def taken(packer: Packer[str], count: int = 100) -> list[str]:
    return [turn.item for turn in (packer.next() for _ in range(count)) if turn]


def test_a_pack_closes_when_it_is_full() -> None:
    packer = Packer[str](FakeClock())
    packer.added(Lane.BULK, 15 * MIB)
    assert packer.due() == []
    packer.added(Lane.BULK, 16 * MIB)
    assert packer.due() == [Lane.BULK]
    packer.closed(Lane.BULK)
    assert packer.due() == []


def test_a_pack_closes_five_seconds_after_its_first_block() -> None:
    clock = FakeClock()
    packer = Packer[str](clock)
    packer.added(Lane.FRESH, 100)
    clock.advance(3)
    packer.added(Lane.FRESH, 200)
    packer.added(Lane.BULK, 100)
    assert packer.next_due_s() == clock.monotonic_s() + 2
    clock.advance(2)
    assert packer.due() == [Lane.FRESH]
    packer.closed(Lane.FRESH)
    packer.added(Lane.FRESH, 100)
    clock.advance(3)
    assert packer.due() == [Lane.BULK]
    packer.closed(Lane.BULK)
    packer.closed(Lane.FRESH)
    assert packer.next_due_s() is None


@given(st.floats(0, 1e7), st.floats(0, 10))
def test_a_pack_is_due_at_the_moment_that_was_told(begun: float, age_s: float) -> None:
    clock = StoppedClock(begun)
    packer = Packer[str](clock, age_s=age_s)
    packer.added(Lane.FRESH, 100)
    due = packer.next_due_s()
    assert due is not None
    clock.moment = due
    assert packer.due() == [Lane.FRESH], "or whoever waits for it would ask again without end"


def test_fresh_work_overtakes_bulk() -> None:
    packer = Packer[str](FakeClock())
    for name in ("film 1", "film 2"):
        packer.offer(Lane.BULK, name, MIB)
    packer.offer(Lane.FRESH, "letter", 10_000)
    assert packer.waiting_bytes == {Lane.FRESH: 10_000, Lane.BULK: 2 * MIB}
    assert taken(packer) == ["letter", "film 1", "film 2"]
    assert not any(packer.waiting_bytes.values())


def test_endless_fresh_work_does_not_starve_bulk() -> None:
    packer = Packer[str](FakeClock())
    for number in range(20):
        packer.offer(Lane.FRESH, f"fresh {number}", MIB)
    packer.offer(Lane.BULK, "film 1", MIB)
    packer.offer(Lane.BULK, "film 2", MIB)
    order = taken(packer)
    assert [order.index(film) for film in ("film 1", "film 2")] == [FRESH_TURNS, 2 * FRESH_TURNS + 1]
    assert len(order) == 22


def test_what_takes_seconds_on_an_office_line_is_bulk() -> None:
    assert lane_of(100_000) is Lane.FRESH
    assert lane_of(1 << 30) is Lane.BULK


def test_a_pack_is_due_at_the_very_moment_that_it_names() -> None:
    clock = FakeClock()
    for start in (0.1, 1 / 3, 8.2, 1e6 + 0.7):
        packer: Packer[int] = Packer(clock, age_s=4.7)
        clock.monotonic_s = lambda start=start: start  # type: ignore[misc, method-assign]
        packer.added(Lane.FRESH, 1)
        moment = packer.next_due_s()
        assert moment is not None
        clock.monotonic_s = lambda moment=moment: moment  # type: ignore[misc, method-assign]
        assert packer.due() == [Lane.FRESH]
