"""Work is done when it is due, once when it was missed, and its last run is known after a restart."""

from collections.abc import AsyncIterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import trio
from kit.drive_builder import DriveBuilder
from kit.fake_clock import FakeClock
from trio.testing import MockClock

from appliance.scheduler import AGAIN_S, Outcome, Postponed, Scheduler, Work
from appliance.schedules import Every

HOUR_S, DAY_S = 3600.0, 86_400.0


class Jobs:
    """Two kinds of work that count."""

    def __init__(self) -> None:
        self.minutes = self.hours = 0
        self.trouble: Exception | None = None
        self.result = "did something"
        self.takes_s = 0.0

    async def minute(self) -> Outcome:
        self.minutes += 1
        return Outcome()

    async def hour(self) -> Outcome:
        if self.trouble is not None:
            raise self.trouble
        await trio.sleep(self.takes_s)
        self.hours += 1
        return Outcome(self.result)

    def over(self, built: DriveBuilder) -> Scheduler:
        drive = built.drive
        works = [Work("minute", Every(60), self.minute), Work("hour", Every(3600), self.hour)]
        scheduler = Scheduler(drive.database, drive.cuts, drive.clock, ZoneInfo("UTC"), works)
        scheduler.load()
        return scheduler


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock, clock: FakeClock) -> AsyncIterator[DriveBuilder]:
    async with DriveBuilder(tmp_path / "state", clock=clock) as built:
        yield built


async def run_for(scheduler: Scheduler, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await scheduler.run()


async def test_work_is_done_each_time_it_is_due(virtual_time: MockClock, built: DriveBuilder) -> None:
    jobs = Jobs()
    await run_for(jobs.over(built), 2 * HOUR_S + 1)
    assert (jobs.minutes, jobs.hours) == (120, 2)


async def test_long_work_does_not_hold_up_other_work(virtual_time: MockClock, built: DriveBuilder) -> None:
    jobs = Jobs()
    jobs.takes_s = 10 * HOUR_S
    await run_for(jobs.over(built), 2 * HOUR_S + 1)
    assert (jobs.minutes, jobs.hours) == (120, 0)


async def test_what_was_missed_is_done_once(virtual_time: MockClock, built: DriveBuilder, clock: FakeClock) -> None:
    jobs = Jobs()
    await run_for(jobs.over(built), HOUR_S + 1)
    assert jobs.hours == 1
    await built.restart(between=lambda: clock.advance(10 * DAY_S))
    scheduler = jobs.over(built)
    await run_for(scheduler, 1)
    assert jobs.hours == 2
    await run_for(scheduler, HOUR_S / 2)
    assert jobs.hours == 2


async def test_the_last_run_is_known_after_the_core_has_died(virtual_time: MockClock, built: DriveBuilder) -> None:
    jobs = Jobs()
    jobs.result = "found 3 of them"
    await run_for(jobs.over(built), HOUR_S + 1)
    built.close_point()
    await built.restart(crash=True)
    (minute, hour) = jobs.over(built).shown()
    assert (hour.name, hour.result, hour.ok) == ("hour", "found 3 of them", True)
    assert hour.last_run is not None
    assert (hour.next_due - hour.last_run).total_seconds() == pytest.approx(HOUR_S, abs=2)
    assert minute.last_run is not None, "once a day, a run that did nothing is written down, too"


async def test_work_that_cannot_be_done_says_why_and_is_tried_again_soon(
    virtual_time: MockClock, built: DriveBuilder
) -> None:
    jobs = Jobs()
    jobs.trouble = Postponed("the store is away")
    scheduler = jobs.over(built)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(HOUR_S + 1)
        assert scheduler.shown()[1].trouble == "the store is away"
        assert scheduler.shown()[1].last_run is None
        jobs.trouble = None
        await trio.sleep(AGAIN_S + 1)
        assert jobs.hours == 1
        assert scheduler.shown()[1].trouble is None
        nursery.cancel_scope.cancel()


@pytest.mark.expected_log("appliance.scheduler: hour was not done")
async def test_a_defect_of_one_ends_neither_the_drive_nor_the_others(
    virtual_time: MockClock, built: DriveBuilder
) -> None:
    jobs = Jobs()
    jobs.trouble = ZeroDivisionError()
    scheduler = jobs.over(built)
    await run_for(scheduler, HOUR_S + 62)
    assert jobs.minutes == 61
    assert "ZeroDivisionError" in (scheduler.shown()[1].trouble or "")


@pytest.mark.parametrize("leap_s", [-400 * DAY_S, -HOUR_S, 400 * DAY_S])
async def test_a_clock_that_is_set_makes_it_due_once_and_not_never(
    virtual_time: MockClock, built: DriveBuilder, clock: FakeClock, leap_s: float
) -> None:
    jobs = Jobs()
    scheduler = jobs.over(built)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scheduler.run)
        await trio.sleep(HOUR_S + 1)
        clock._start_ns += int(leap_s) * 10**9
        before = jobs.hours
        await trio.sleep(120)
        assert jobs.hours == before + 1
        await trio.sleep(HOUR_S)
        assert jobs.hours == before + 2
        nursery.cancel_scope.cancel()


async def test_work_that_had_nothing_to_do_leaves_the_drive_at_rest(
    virtual_time: MockClock, built: DriveBuilder
) -> None:
    jobs = Jobs()
    jobs.result = ""
    scheduler = jobs.over(built)
    await run_for(scheduler, HOUR_S + 61)  # the first runs are written down
    await trio.sleep(30)
    cuts = built.drive.cuts.number
    await run_for(scheduler, 2 * HOUR_S)
    assert jobs.hours == 3
    assert built.drive.cuts.number == cuts
