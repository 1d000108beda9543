"""Retention: which snapshots stay. Pure: moments and a policy in, what may go out.

A policy is a row of spans. Whatever is younger than `all_s` stays. Beyond that, of each quarter of an hour, hour, day,
week and month the *last* snapshot stays until it is older than that period's span. Age is the snapshot's own, not its
period's: then a snapshot that goes can never be missed later, since those before it in the period are older still and
went first. So it does not matter how often somebody prunes; the tests hold that against random policies.

- Periods are those of a calendar in the office's time zone. An hour that comes twice in autumn is two periods, a day
  may have 23 or 25 hours, weeks are ISO weeks. Names of folders stay UTC.
- A *held* snapshot neither goes nor counts: the one before it is its period's last then.
- A *labelled* one counts like any other and stays as long as a day's last, whatever came after it: somebody gave it a
  name, and would not look for it in vain the next morning. For longer there is `hold`.
- The newest one stays as long as it is the newest: a drive that nobody changes loses nothing.
- The order in which they were made is certain, what the clock said then is not: see `believed`.
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from vfs.errors import InvalidArgument

MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400
YEAR_S = 365 * DAY_S
MOST_S = 100 * YEAR_S
LEAST_ALL_S = 10 * MINUTE_S
_UNITS = {"m": MINUTE_S, "h": HOUR_S, "d": DAY_S, "w": 7 * DAY_S, "y": YEAR_S}
_SPAN = re.compile(r"(\d{1,9})\s*([mhdwy])|0")


class Moment(NamedTuple):
    """A snapshot as retention sees it; `at_s`: what the clock said when it was made, in seconds since 1970 (UTC)."""

    name: str
    at_s: int
    is_labelled: bool = False
    is_held: bool = False


@dataclass(frozen=True)
class Policy:
    """How long snapshots stay, in seconds: all of them, and the last of each period. 0: not for this reason.

    Raises InvalidArgument for what no policy can be.
    """

    all_s: int = 2 * HOUR_S
    quarter_s: int = 2 * DAY_S
    hour_s: int = 14 * DAY_S
    day_s: int = 90 * DAY_S
    week_s: int = YEAR_S
    month_s: int = 7 * YEAR_S

    def __post_init__(self) -> None:
        for span in fields(self):
            if not 0 <= getattr(self, span.name) <= MOST_S:
                raise InvalidArgument("a span is between 0 and 100 years")
        if self.all_s < LEAST_ALL_S:
            raise InvalidArgument("all snapshots stay for at least 10 minutes")

    @property
    def spans(self) -> dict[str, int]:
        """Span by period (`all`, `quarter`, `hour`, `day`, `week`, `month`), in seconds."""
        return {name.removesuffix("_s"): span for name, span in asdict(self).items()}

    @classmethod
    def of(cls, spans: Mapping[str, int]) -> "Policy":
        """From what `spans` gives; a period left out has its default. Raises InvalidArgument."""
        known = {span.name.removesuffix("_s") for span in fields(cls)}
        if not spans.keys() <= known:
            raise InvalidArgument(f"there is no period {', '.join(sorted(spans.keys() - known))}")
        return cls(**{f"{name}_s": span for name, span in spans.items()})

    def is_shorter_than(self, other: "Policy") -> bool:
        """Whether any span is."""
        return any(span < other.spans[name] for name, span in self.spans.items())

    def longest(self, other: "Policy") -> "Policy":
        """Of each span the longer one."""
        return Policy.of({name: max(span, other.spans[name]) for name, span in self.spans.items()})


def _hour(at: datetime) -> tuple[int, int, timedelta | None]:
    return at.toordinal(), at.hour, at.utcoffset()


PERIODS: Mapping[str, Callable[[datetime], Hashable]] = {
    "quarter": lambda at: (_hour(at), at.minute // 15),
    "hour": _hour,
    "day": datetime.toordinal,
    "week": lambda at: at.isocalendar()[:2],
    "month": lambda at: (at.year, at.month),
}
"""For each period, what two moments of the office's clock have in common when they lie in the same one."""


def believed(moments: Sequence[Moment], now_s: int) -> list[Moment]:
    """The same, in the order in which they were made, with moments that fit that order and a clock that is right now.

    One that lies in the future, or before the one before it, was made by a wrong clock, some time before the next good
    one, or before now. It counts as made right then, so rather too young than too old; the distances in a row of such,
    up to a day each, stay as they were.
    """
    is_good: list[bool] = []
    newest_s = 0
    for one in moments:
        is_good.append(newest_s <= one.at_s <= now_s)
        newest_s = one.at_s if is_good[-1] else newest_s
    found: list[Moment] = []
    following: Moment | None = None  # in the same row of wrong ones
    for one, good in zip(reversed(moments), reversed(is_good), strict=True):
        if good:
            found.append(one)
            following = None
            continue
        away_s = following.at_s - one.at_s if following is not None else 0
        at_s = (found[-1].at_s if found else now_s) - (away_s if 0 <= away_s <= DAY_S else 0)
        found.append(one._replace(at_s=at_s))
        following = one
    found.reverse()
    least_s = 0
    for index, one in enumerate(found):  # nor before the good one in front of the row
        least_s = max(least_s, one.at_s)
        found[index] = one._replace(at_s=least_s)
    return found


def needless(moments: Sequence[Moment], policy: Policy, now_s: int, zone: tzinfo) -> list[Moment]:
    """What the policy does not keep at `now_s`. Moments in the order in which they were made; so is the answer."""
    spans = policy.spans
    tiers = [(spans[period], key, set[Hashable]()) for period, key in PERIODS.items()]
    going: list[Moment] = []
    is_newest = True
    for moment in reversed([one for one in believed(moments, now_s) if not one.is_held]):
        age_s = now_s - moment.at_s
        at = datetime.fromtimestamp(moment.at_s, UTC).astimezone(zone)
        stays = is_newest or age_s <= spans["all"] or (moment.is_labelled and age_s <= spans["day"])
        for span, key, seen in tiers:
            # A period needs no look once its span is over: all that follow are older.
            if age_s <= span and (period := key(at)) not in seen:
                seen.add(period)
                stays = True
        if not stays:
            going.append(moment)
        is_newest = False
    going.reverse()
    return going


def parse_span(text: str) -> int:
    """Seconds from `90m`, `2h`, `14d`, `4w`, `7y` (years of 365 days) or `0`. Raises InvalidArgument."""
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidArgument(f"{text!r} is no span such as 90m, 2h, 14d, 4w, 7y or 0")
    return int(match[1]) * _UNITS[match[2]] if match[2] else 0


def span_text(seconds: int) -> str:
    """`2h`, `14d`, `7y`: the shortest way to write it that `parse_span` reads; whole minutes at least."""
    for unit, length in sorted(_UNITS.items(), key=lambda one: -one[1]):
        if unit != "w" and seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return "0" if not seconds else f"{seconds // MINUTE_S}m"
