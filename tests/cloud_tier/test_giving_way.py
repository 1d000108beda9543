"""Work that nobody waits for has an idle machine to itself, and rests while requests are answered."""

import pytest
import trio
from trio.testing import MockClock

from cloud_tier.giving_way import BUSY_PER_S, LONGEST_REST_S, LOOK_S, RESTS, GivingWay, Meter, requests

WORKED_S = 0.01


async def rest_after(worked_s: float, asked_per_s: float, clock: MockClock) -> float:
    """How long one rests after so much work, during which so much was asked."""
    give_way = GivingWay()
    await give_way(0.0)
    clock.jump(worked_s)
    requests.count += round(asked_per_s * worked_s)
    began = trio.current_time()
    await give_way(worked_s)
    return trio.current_time() - began


async def test_on_an_idle_drive_nobody_rests(autojump_clock: MockClock) -> None:
    assert await rest_after(WORKED_S, 0, autojump_clock) == 0
    assert await rest_after(0.1, BUSY_PER_S / 2, autojump_clock) == 0


async def test_while_requests_are_answered_one_rests_longer_than_one_works(autojump_clock: MockClock) -> None:
    assert await rest_after(WORKED_S, 30 * BUSY_PER_S, autojump_clock) == pytest.approx(RESTS * WORKED_S)


async def test_no_rest_is_so_long_that_sending_would_stand_still(autojump_clock: MockClock) -> None:
    assert await rest_after(5.0, 30 * BUSY_PER_S, autojump_clock) == pytest.approx(LONGEST_REST_S)


def test_a_meter_counts_over_a_moment_and_says_the_same_until_then() -> None:
    meter = Meter()
    assert not meter.is_busy(0.0)
    requests.count += 10
    assert not meter.is_busy(LOOK_S / 2)
    assert meter.is_busy(LOOK_S)
    assert meter.is_busy(1.5 * LOOK_S)
    assert not meter.is_busy(2 * LOOK_S)


def test_who_comes_back_to_a_meter_after_long_counts_the_last_moment() -> None:
    meter = Meter()
    assert not meter.is_busy(0.0)
    requests.count += 30
    assert meter.is_busy(1000.0)


async def test_once_nobody_asks_any_more_one_works_on_at_once(autojump_clock: MockClock) -> None:
    give_way = GivingWay()
    await give_way(0.0)
    requests.count += 1000
    autojump_clock.jump(WORKED_S)
    await give_way(WORKED_S)
    autojump_clock.jump(WORKED_S)
    began = trio.current_time()
    await give_way(WORKED_S)
    assert trio.current_time() == began
