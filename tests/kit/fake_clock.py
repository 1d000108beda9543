"""Time that a test owns.

Inside a trio run the clock follows trio's: under pytest-trio's `autojump_clock`, or a `MockClock` of the test's own,
periods pass in no time, and the wall clock of the drive moves with them. Outside of a run it stands still.
`advance` moves it at once, in a run or out of it.
"""

import trio

START_NS = 1_800_000_000 * 10**9  # a Friday in January 2027


class FakeClock:
    """A `cloud_tier.clock.Clock`. Never goes back, also when one clock serves several trio runs."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self._start_ns = start_ns
        self._passed_s = 0.0
        self._seen_s: float | None = None

    def advance(self, seconds: float) -> None:
        """Let so much time pass now, beside what trio's clock does."""
        self._passed_s += seconds

    def now_ns(self) -> int:
        """The start, and what has passed since: nanoseconds since 1970."""
        return self._start_ns + round(self.monotonic_s() * 10**9)

    def monotonic_s(self) -> float:
        """Seconds since the clock was made."""
        try:
            now_s = trio.current_time()
        except RuntimeError:  # outside of a run, or in a thread of one
            return self._passed_s
        # Another run starts at a number of its own: what it shows first is the moment that was reached before.
        if self._seen_s is not None and now_s > self._seen_s:
            self._passed_s += now_s - self._seen_s
        self._seen_s = now_s
        return self._passed_s
