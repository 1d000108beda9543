"""Time as a parameter.

Every part that asks for the time is given a `Clock`; only this module reads the machine's clocks, so a test can hold
time still, jump over a night or run a year of schedules in a second.
"""

import time
from typing import Protocol

import trio

CLOCK_REALTIME_COARSE = 5  # <linux/time.h>; Python has no name for it


class Clock(Protocol):
    """Where a part of the drive gets its time from."""

    def now_ns(self) -> int:
        """Wall clock: nanoseconds since 1970 (UTC). May jump when somebody sets the clock."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only ever grow; for ages and deadlines."""
        ...


class SystemClock:
    """The machine's own clocks.

    The wall clock is the coarse one, by which the kernel stamps files: a file stamped by the kernel and a folder
    stamped by us must not seem to be made in the wrong order.
    """

    def now_ns(self) -> int:
        return time.clock_gettime_ns(CLOCK_REALTIME_COARSE)

    monotonic_s = staticmethod(time.monotonic)


class LoopClock(SystemClock):
    """For parts that sleep in trio: what they compare times with must be the clock that wakes them."""

    monotonic_s = staticmethod(trio.current_time)
