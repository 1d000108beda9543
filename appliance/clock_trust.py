"""Whether the wall clock may be believed where it costs snapshots. Pure.

A clock that says 2099 for an afternoon must not be the end of every snapshot. So a moment counts as *known* once, and
a clock that is more than a day away from it is in *doubt*: nothing is given up on its account. A box that was off over
a holiday looks the same, so doubt ends by itself, once the machine has run for a 24th part of the leap: a weekend is
believed within three hours, a year after two weeks, 2099 after three years. Time in doubt is remembered over restarts.
Until then there are more snapshots than the policy names, which is all that it costs.
"""

from dataclasses import dataclass

SLACK_S = 86_400
PATIENCE = 24


@dataclass(frozen=True)
class ClockTrust:
    """`known_s`: the last time of day that was believed, in seconds since 1970; 0: none yet. `doubted_s`: how long the
    machine has run in doubt of the clock; 0: it is believed.
    """

    known_s: int = 0
    doubted_s: float = 0.0

    def look(self, now_s: int, ran_s: float) -> "ClockTrust":
        """The clock says `now_s`, and the machine has run for `ran_s` since the last look (monotonic)."""
        away_s = abs(now_s - self.known_s)
        if not self.known_s or away_s <= SLACK_S + ran_s:
            return ClockTrust(now_s)
        doubted_s = self.doubted_s + ran_s
        return ClockTrust(now_s) if doubted_s * PATIENCE >= away_s else ClockTrust(self.known_s, max(doubted_s, 1e-9))

    @property
    def is_in_doubt(self) -> bool:
        return self.doubted_s > 0

    def left_s(self, now_s: int) -> float:
        """How long the machine must still run with this clock until it is believed."""
        return max(0.0, abs(now_s - self.known_s) / PATIENCE - self.doubted_s) if self.is_in_doubt else 0.0
