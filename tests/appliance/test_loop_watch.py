"""A loop that is away too long is counted, and one that is not is not."""

import time

import trio

from appliance import loop_watch
from appliance.loop_watch import LoopWatch


async def test_long_turn_is_counted_and_short_ones_are_not() -> None:
    watch = LoopWatch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        short = watch.slow_turns
        held_until = time.perf_counter() + loop_watch.SLOW_TURN_S * 1.5
        while time.perf_counter() < held_until:
            pass
        await trio.sleep(0.001)
        assert watch.slow_turns >= short + 1
        assert watch.longest_s >= loop_watch.SLOW_TURN_S
        nursery.cancel_scope.cancel()
