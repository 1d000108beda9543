"""When work that nobody asks for is due. Pure: a rule, the last run and the time in, the next moment out.

A run that was missed, because the machine was off, is due at once and once, however many were missed: the next moment
is counted from the last run and may lie in the past. A last run that lies in the future (the clock was put back) counts
as none: the work is done once too often, which no job minds, instead of not for years.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo


@dataclass(frozen=True)
class Every:
    """At every whole multiple of so many seconds since 1970: at full minutes, full hours."""

    seconds: int


@dataclass(frozen=True)
class Nightly:
    """Once a day at a time of the office's clock. In the night in which that time does not come: an hour later; in
    which it comes twice: at the first.
    """

    at: time


Rule = Every | Nightly


def next_due(rule: Rule, last_run: datetime, now: datetime, zone: tzinfo) -> datetime:
    """When the work is due; not later than `now` if it is due now. All aware, UTC; `zone` is the office's."""
    if last_run > now:
        return now
    return _boundary(rule.seconds, last_run) if isinstance(rule, Every) else _night(rule.at, last_run, zone)


def _boundary(seconds: int, after: datetime) -> datetime:
    return datetime.fromtimestamp((int(after.timestamp()) // seconds + 1) * seconds, UTC)


def _night(at: time, after: datetime, zone: tzinfo) -> datetime:
    day = after.astimezone(zone).date()
    while True:
        # fold=0: the first of two; of a time that does not come, the offset before it, so an hour later.
        due = datetime.combine(day, at, zone).replace(fold=0).astimezone(UTC)
        if due > after:
            return due
        day += timedelta(days=1)
