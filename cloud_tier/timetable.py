"""How fast we may send and fetch, by weekday and hour of the office.

A timetable is a list of rules, the first that fits counts, and limits for the rest of the week. Hours are those of the
office's clock, so that "until 18" means 18 in summer and in winter; on the two days when clocks change an hour is
missing or comes twice, and the rule with it. A rule from 22 to 6 begins on its weekday and ends on the next one.

Pure: the time is a parameter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SLOWEST_BYTES_PER_S = 16 << 10  # below it a pack takes longer than a quarter of an hour, and nothing is ever safe


@dataclass(frozen=True)
class Limits:
    """Bytes per second, None for as fast as it goes. Raises ValueError for less than 16 KiB/s."""

    up: int | None = None
    down: int | None = None

    def __post_init__(self) -> None:
        for limit in (self.up, self.down):
            if limit is not None and limit < SLOWEST_BYTES_PER_S:
                raise ValueError(f"a limit of {limit} bytes/s is too slow to be of use; at least {SLOWEST_BYTES_PER_S}")


@dataclass(frozen=True)
class Rule:
    """Limits for some hours of some weekdays: `days` count from Monday = 0, `begin` to `end` are hours, 0 to 24."""

    days: frozenset[int]
    begin: int
    end: int
    limits: Limits

    def fits(self, weekday: int, hour: int) -> bool:
        if self.begin < self.end:
            return weekday in self.days and self.begin <= hour < self.end
        is_evening = weekday in self.days and hour >= self.begin
        return is_evening or ((weekday - 1) % 7 in self.days and hour < self.end)


@dataclass(frozen=True)
class Timetable:
    """A week of limits in the office's time zone."""

    zone: ZoneInfo
    rules: Sequence[Rule] = ()
    otherwise: Limits = Limits()

    def at(self, now_ns: int) -> Limits:
        """The limits at this moment (nanoseconds since 1970, UTC)."""
        now = datetime.fromtimestamp(now_ns // 10**9, self.zone)
        return next((rule.limits for rule in self.rules if rule.fits(now.weekday(), now.hour)), self.otherwise)

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing is ever slowed down."""
        return all(limits == Limits() for limits in (self.otherwise, *(rule.limits for rule in self.rules)))


def parse_rule(when: str, limits: Limits) -> Rule:
    """A rule from text as in the configuration: `mon-fri 8-18`, `sat,sun 0-24`, `fri-mon 22-6`.

    Raises ValueError with a sentence.
    """
    match = re.fullmatch(r"\s*([a-z,-]+)\s+(\d{1,2})-(\d{1,2})\s*", when.lower())
    if match is None:
        raise ValueError(f"{when!r} is not days and hours, such as 'mon-fri 8-18'")
    begin, end = int(match[2]), int(match[3])
    if begin > 23 or not 0 <= end <= 24 or begin == end:
        raise ValueError(f"{when!r}: hours go from 0 to 24, and a rule takes at least one")
    days: set[int] = set()
    for part in match[1].split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS:
            raise ValueError(f"{when!r}: days are {', '.join(DAYS)}")
        count = (DAYS.index(last or first) - DAYS.index(first)) % 7 + 1
        days.update((DAYS.index(first) + number) % 7 for number in range(count))
    return Rule(frozenset(days), begin, end, limits)
