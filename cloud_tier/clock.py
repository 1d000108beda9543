"""Time as a parameter.

Every part that asks for the time is given a `Clock`; only this module reads the machine's clocks, so a test can hold
time still, jump over a night or run a year of schedules in a second.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """Where a part of the drive gets its time from."""

    def now_ns(self) -> int:
        """Wall clock: nanoseconds since 1970 (UTC). May jump when somebody sets the clock."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that only ever grow; for ages and deadlines."""
        ...


class SystemClock:
    """The machine's own clocks."""

    now_ns = staticmethod(time.time_ns)
    monotonic_s = staticmethod(time.monotonic)
