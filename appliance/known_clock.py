"""The wall clock, and whether it is believed, kept over restarts (`appliance.clock_trust` has the rule).

What was known last lies in two local counters. They are written when there is a cut to come anyway, or half a day has
passed: a drive at rest is not woken for it.
"""

from math import ceil

from appliance.clock_trust import ClockTrust
from appliance.figures import duration_text
from cachefs.cut import Cuts
from cachefs.database import Database
from cloud_tier.clock import Clock

KNOWN, DOUBTED = "clock known s", "clock doubted s"  # local counters: do not change
OFTEN_S, SELDOM_S = 3600, 43_200
_SET = "INSERT INTO local_counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class KnownClock:
    """`look` from time to time; the longer ago, the more of a leap is believed."""

    def __init__(self, database: Database, cuts: Cuts, clock: Clock) -> None:
        self._database = database
        self._cuts = cuts
        self._clock = clock
        self._looked_s = clock.monotonic_s()
        rows: dict[str, int] = dict(
            database.rows("SELECT name, value FROM local_counters WHERE name IN (?, ?)", (KNOWN, DOUBTED))
        )
        # A machine that knows nothing, after a recovery, has at least seen when the newest snapshot was made.
        newest = database.row("SELECT created_ns FROM snapshots ORDER BY epoch DESC LIMIT 1")
        known_s = rows.get(KNOWN, newest[0] // 10**9 if newest is not None else 0)
        self._trust = self._written = ClockTrust(known_s, rows.get(DOUBTED, 0))

    def look(self) -> int:
        """The time in seconds since 1970, believed or not: ask `doubt`. Behind an open gate."""
        now_s, ran_s = self._clock.now_ns() // 10**9, self._clock.monotonic_s() - self._looked_s
        self._looked_s += ran_s
        self._trust = self._trust.look(now_s, ran_s)
        since_s = abs(self._trust.known_s - self._written.known_s)
        is_free = bool(self._cuts.uncommitted_rows())
        if self._trust.is_in_doubt or since_s > SELDOM_S or (is_free and since_s > OFTEN_S):
            self._write_down()
        return now_s

    def is_believed(self) -> bool:
        """Whether something may be given up on its account now. Behind an open gate."""
        self.look()
        return not self._trust.is_in_doubt

    def doubt(self) -> str | None:
        """Why the clock was not believed at the last look, a clause; None if it was."""
        if not self._trust.is_in_doubt:
            return None
        left = duration_text(self._trust.left_s(self._clock.now_ns() // 10**9))
        return f"the clock has leapt by more than a day; it is believed after {left} more of running"

    def _write_down(self) -> None:
        self._written = self._trust
        for name, value in ((KNOWN, self._trust.known_s), (DOUBTED, ceil(self._trust.doubted_s))):
            self._database.write(_SET, (name, value))
