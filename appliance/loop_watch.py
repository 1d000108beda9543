"""How long the core's loop is away: every turn that keeps other tasks waiting too long is counted and logged."""

import logging
import time

import trio

log = logging.getLogger(__name__)

SLOW_TURN_S = 0.020
LOGGED_TURN_S = 0.100


class LoopWatch(trio.abc.Instrument):
    """Counts turns of the scheduler, from waking up to going back to sleep per task step, over 20 ms."""

    def __init__(self) -> None:
        self.slow_turns = 0
        self.longest_s = 0.0
        self._began = time.perf_counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        took = time.perf_counter() - self._began
        if took > SLOW_TURN_S:
            self.slow_turns += 1
            self.longest_s = max(self.longest_s, took)
            if took > LOGGED_TURN_S:
                log.info("the loop was held for %.0f ms by %s", took * 1000, task.name)

    async def run(self) -> None:
        """Watch until cancelled."""
        trio.lowlevel.add_instrument(self)
        try:
            await trio.sleep_forever()
        finally:
            trio.lowlevel.remove_instrument(self)
