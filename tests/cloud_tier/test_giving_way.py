"""Work that nobody waits for has an idle machine to itself, and rests while requests are answered."""

import trio
from trio.testing import MockClock

from cloud_tier.giving_way import LONGEST_REST_S, RESTS, give_way

TURN_S = 0.001


async def answer_requests(clock: MockClock) -> None:
    """Turns of the loop that take a millisecond."""
    while True:
        clock.jump(TURN_S)
        await trio.lowlevel.checkpoint()


async def rest_after(worked_s: float, clock: MockClock) -> float:
    """How long one rests after so much work while requests are answered."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_requests, clock)
        await trio.lowlevel.checkpoint()
        began = trio.current_time()
        await give_way(worked_s)
        took = trio.current_time() - began
        nursery.cancel_scope.cancel()
    return took


async def test_on_an_idle_loop_nobody_rests(mock_clock: MockClock) -> None:
    await give_way(0.01)
    assert trio.current_time() == 0


async def test_while_requests_are_answered_one_rests_longer_than_one_works(mock_clock: MockClock) -> None:
    assert RESTS * 0.01 <= await rest_after(0.01, mock_clock) <= RESTS * 0.01 + 10 * TURN_S


async def test_no_rest_is_so_long_that_sending_would_stand_still(mock_clock: MockClock) -> None:
    assert LONGEST_REST_S <= await rest_after(5.0, mock_clock) <= LONGEST_REST_S + 10 * TURN_S
