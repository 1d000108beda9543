"""Limits by weekday and hour, on the office's clock."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from cloud_tier.timetable import Limits, Rule, Timetable, parse_rule

BERLIN = ZoneInfo("Europe/Berlin")
SLOW = Limits(up=1 << 20, down=2 << 20)
CLOSED = Limits(up=1 << 16)
OFFICE = Timetable(BERLIN, [parse_rule("mon-fri 8-18", SLOW), parse_rule("fri-sun 22-6", CLOSED)])


def at(text: str, zone: ZoneInfo = BERLIN) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 10**9


@pytest.mark.parametrize(
    ("when", "limits"),
    [
        ("2026-11-23 07:59:59", Limits()),  # a Monday
        ("2026-11-23 08:00:00", SLOW),
        ("2026-11-23 17:59:59", SLOW),
        ("2026-11-23 18:00:00", Limits()),
        ("2026-11-28 12:00:00", Limits()),  # Saturday
        ("2026-11-27 22:00:00", CLOSED),  # Friday night
        ("2026-11-28 05:59:59", CLOSED),
        ("2026-11-28 06:00:00", Limits()),
        ("2026-11-30 03:00:00", CLOSED),  # Sunday's night ends on Monday
        ("2026-11-27 03:00:00", Limits()),  # Thursday's night has no rule
    ],
)
def test_rule_holds_within_its_hours(when: str, limits: Limits) -> None:
    assert OFFICE.at(at(when)) == limits


def test_hours_are_the_offices_in_summer_and_in_winter() -> None:
    utc = ZoneInfo("UTC")
    assert OFFICE.at(at("2026-07-01 06:00:00", utc)) == SLOW
    assert OFFICE.at(at("2026-01-07 06:59:59", utc)) == Limits()
    assert OFFICE.at(at("2026-01-07 07:00:00", utc)) == SLOW


def test_first_rule_that_fits_counts() -> None:
    table = Timetable(BERLIN, [parse_rule("mon 9-10", CLOSED), parse_rule("mon-sun 0-24", SLOW)], Limits(up=1 << 30))
    assert table.at(at("2026-11-23 09:30:00")) == CLOSED
    assert table.at(at("2026-11-23 10:30:00")) == SLOW


@pytest.mark.parametrize(
    ("text", "days", "begin", "end"),
    [
        ("mon-fri 8-18", {0, 1, 2, 3, 4}, 8, 18),
        ("Sat,Sun 0-24", {5, 6}, 0, 24),
        (" fri-mon 22-06 ", {4, 5, 6, 0}, 22, 6),
        ("mon,wed-thu 1-2", {0, 2, 3}, 1, 2),
    ],
)
def test_rules_are_read_as_they_are_written(text: str, days: set[int], begin: int, end: int) -> None:
    assert parse_rule(text, SLOW) == Rule(frozenset(days), begin, end, SLOW)


@pytest.mark.parametrize("text", ["", "mon", "8-18", "mon 8-25", "mon 24-8", "mon 8-8", "mo-fr 8-18", "mon 8:30-18"])
def test_what_is_no_rule_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"day|hours"):
        parse_rule(text, SLOW)


def test_limit_too_slow_to_be_of_use_is_refused() -> None:
    with pytest.raises(ValueError, match="too slow"):
        Limits(up=1000)


def test_table_without_limits_says_so() -> None:
    assert Timetable(BERLIN).is_unlimited
    assert Timetable(BERLIN, [parse_rule("mon 1-2", Limits())]).is_unlimited
    assert not OFFICE.is_unlimited
    assert not Timetable(BERLIN, otherwise=SLOW).is_unlimited
