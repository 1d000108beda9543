"""How long the core's loop is away: every turn that keeps others waiting too long is counted and logged.

A turn is what happens between two looks at the kernel: all tasks that were ready run one after another, and nobody else
is heard meanwhile. Watching turns and not task steps costs two calls a turn, and two more ask how much of it the loop
was at work: what is missing went to other processes on a busy machine, or to the disk.
"""

import logging
import time

import trio

log = logging.getLogger(__name__)

SLOW_TURN_S = 0.020


class LoopWatch(trio.abc.Instrument):
    """Counts turns over 20 ms."""

    def __init__(self) -> None:
        self.slow_turns = 0
        self.longest_s = 0.0
        self._began = time.perf_counter()
        self._worked = time.thread_time()

    def after_io_wait(self, timeout: float) -> None:
        self._began = time.perf_counter()
        self._worked = time.thread_time()

    def before_io_wait(self, timeout: float) -> None:
        took = time.perf_counter() - self._began
        if took > SLOW_TURN_S:
            worked = time.thread_time() - self._worked
            self.slow_turns += 1
            self.longest_s = max(self.longest_s, took)
            log.info("the loop was away for %.0f ms, %.0f ms of it at work", took * 1000, worked * 1000)

    async def run(self) -> None:
        """Watch until cancelled."""
        self.after_io_wait(0)
        trio.lowlevel.add_instrument(self)
        try:
            await trio.sleep_forever()
        finally:
            trio.lowlevel.remove_instrument(self)
