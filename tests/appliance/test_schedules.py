"""Work is due when its rule says, in the office's time, once after it was missed, and never stuck behind a clock."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.schedules import Every, Nightly, Rule, next_due

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Nightly(time(2, 30))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "last_run", "now", "due"),
    [
        (Every(60), "2026-03-01 12:00:59", "2026-03-01 12:00:59", "2026-03-01 12:01:00"),
        (Every(60), "2026-03-01 12:01:00", "2026-03-01 12:01:00", "2026-03-01 12:02:00"),
        (Every(3600), "2026-03-01 12:00:00", "2026-03-04 09:00:00", "2026-03-01 13:00:00"),  # missed: due now, once
        (Every(3600), "2026-03-04 09:00:00", "2026-03-04 09:00:00", "2026-03-04 10:00:00"),
        (Every(3600), "2099-01-01 00:00:00", "2026-03-01 12:20:00", "2026-03-01 12:20:00"),  # the clock was put back
        (NIGHT, "2026-03-01 12:00:00", "2026-03-01 12:00:00", "2026-03-02 01:30:00"),
        (NIGHT, "2026-03-02 01:30:00", "2026-03-02 01:30:00", "2026-03-03 01:30:00"),
        (NIGHT, "2026-03-02 01:29:59", "2026-03-05 07:00:00", "2026-03-02 01:30:00"),
        (NIGHT, "2026-03-28 12:00:00", "2026-03-28 12:00:00", "2026-03-29 01:30:00"),  # 2:30 is skipped: 3:30 in summer
        (NIGHT, "2026-10-24 12:00:00", "2026-10-24 12:00:00", "2026-10-25 00:30:00"),  # the first of two
        (NIGHT, "2026-10-25 00:30:00", "2026-10-25 01:30:00", "2026-10-26 01:30:00"),  # and not the second
    ],
)
def test_when_it_is_due(rule: Rule, last_run: str, now: str, due: str) -> None:
    assert next_due(rule, utc(last_run), utc(now), BERLIN) == utc(due)


@given(
    st.sampled_from([Every(60), Every(900), Every(3600), NIGHT, Nightly(time(0, 0)), Nightly(time(23, 59))]),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.lists(st.floats(0, 10 * 86_400), max_size=20),
)
def test_after_a_run_the_next_one_is_ahead_and_not_far(rule: Rule, start: datetime, steps: list[float]) -> None:
    now = start
    longest = timedelta(seconds=rule.seconds) if isinstance(rule, Every) else timedelta(hours=25)
    for step in steps:
        now += timedelta(seconds=step)
        assert now < next_due(rule, now, now, BERLIN) <= now + longest


def test_a_year_of_nights_has_a_run_a_day_through_both_changes_of_the_clocks() -> None:
    now, end, runs = utc("2026-01-01 12:00"), utc("2027-01-01 12:00"), 0
    while (now := next_due(NIGHT, now, now, BERLIN)) < end:
        runs += 1
        local = now.astimezone(BERLIN)
        assert (local.hour, local.minute) in ((2, 30), (3, 30))
    assert runs == 365
