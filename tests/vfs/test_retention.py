"""The snapshots that stay are exactly those that the policy names, whatever the clocks of the office do."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vfs.errors import InvalidArgument
from vfs.retention import DAY_S, HOUR_S, YEAR_S, Moment, Policy, believed, needless, parse_span, span_text

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    BERLIN,
    ZoneInfo("UTC"),
    ZoneInfo("Australia/Lord_Howe"),
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Kathmandu"),
]
START_S = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


def at(text: str) -> Moment:
    """A snapshot named by its UTC minute."""
    return Moment(text, int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()))


def kept(moments: list[Moment], policy: Policy, now: str | int, zone: ZoneInfo = BERLIN) -> list[str]:
    now_s = now if isinstance(now, int) else at(now).at_s
    going = {one.name for one in needless(moments, policy, now_s, zone)}
    return [one.name for one in moments if one.name not in going]


def test_the_last_of_each_period_stays_as_long_as_the_period_says() -> None:
    moments = [at(f"2026-03-02 {hour:02}:{minute:02}") for hour in (8, 9) for minute in (0, 20, 40, 59)]
    assert kept(moments, Policy(), "2026-03-02 10:00") == [one.name for one in moments]
    assert kept(moments, Policy(), "2026-03-06 10:00") == ["2026-03-02 08:59", "2026-03-02 09:59"]
    assert kept([*moments, at("2026-03-02 21:00")], Policy(), "2026-03-20 10:00") == ["2026-03-02 21:00"]


def test_what_two_hours_leave_is_thinned_to_quarters() -> None:
    moments = [at(f"2026-03-02 08:{minute:02}") for minute in range(60)]
    assert kept(moments, Policy(), "2026-03-02 10:00") == [one.name for one in moments]
    assert kept(moments, Policy(), "2026-03-02 12:00") == [f"2026-03-02 08:{minute}" for minute in (14, 29, 44, 59)]


def test_an_hour_that_comes_twice_is_two_periods() -> None:
    # On 2026-10-25 Berlin's clocks go from 3:00 back to 2:00, at 01:00 UTC.
    moments = [at("2026-10-25 00:10"), at("2026-10-25 00:50"), at("2026-10-25 01:10"), at("2026-10-25 01:50")]
    newer = at("2026-10-28 12:00")
    assert kept([*moments, newer], Policy(), "2026-10-28 13:00")[:-1] == ["2026-10-25 00:50", "2026-10-25 01:50"]


def test_a_day_is_the_offices_and_may_have_25_hours() -> None:
    policy = Policy(quarter_s=0, hour_s=0, week_s=0, month_s=0)
    moments = [at("2026-10-24 21:59"), at("2026-10-24 22:01"), at("2026-10-25 22:59"), at("2026-10-25 23:01")]
    newer = at("2026-10-28 12:00")
    assert kept([*moments, newer], policy, "2026-10-28 13:00")[:-1] == [
        "2026-10-24 21:59",
        "2026-10-25 22:59",
        "2026-10-25 23:01",
    ]


def test_a_week_is_an_iso_week() -> None:
    policy = Policy(quarter_s=0, hour_s=0, day_s=0, month_s=0)
    moments = [at("2026-12-27 12:00"), at("2026-12-30 12:00"), at("2027-01-03 12:00"), at("2027-01-04 12:00")]
    assert kept(moments, policy, "2027-02-01 00:00", ZoneInfo("UTC")) == [
        "2026-12-27 12:00",
        "2027-01-03 12:00",  # the Sunday of the week that began in December
        "2027-01-04 12:00",
    ]


def test_a_held_snapshot_neither_goes_nor_counts() -> None:
    early, late, newer = at("2026-03-02 08:00"), at("2026-03-02 08:10"), at("2026-03-09 08:00")
    held = late._replace(is_held=True)
    assert kept([early, late, newer], Policy(), "2026-03-10 08:00") == [late.name, newer.name]
    assert kept([early, held, newer], Policy(), "2026-03-10 08:00") == [early.name, late.name, newer.name]


def test_a_labelled_snapshot_stays_as_long_as_a_days_last() -> None:
    labelled = at("2026-03-02 08:00")._replace(is_labelled=True)
    others = [at("2026-03-02 08:10"), at("2026-03-31 08:10"), at("2026-06-30 08:00")]
    assert labelled.name in kept([labelled, *others], Policy(), labelled.at_s + 90 * DAY_S)
    assert labelled.name not in kept([labelled, *others], Policy(), labelled.at_s + 90 * DAY_S + 1)


def test_the_newest_stays_however_old_it_is() -> None:
    moments = [at("2000-01-01 08:00"), at("2000-01-01 08:01")]
    assert kept(moments, Policy(), "2026-01-01 00:00") == ["2000-01-01 08:01"]


def test_a_clock_that_went_back_makes_nothing_go_but_what_a_later_one_replaced() -> None:
    moments = [at("2026-03-02 08:00"), at("2026-03-02 08:10")]
    assert kept(moments, Policy(), "1970-01-01 00:00") == [one.name for one in moments]


# --- random policies ---

SPANS = st.sampled_from([0, 900, HOUR_S, 5 * HOUR_S, DAY_S, 3 * DAY_S, 9 * DAY_S, 40 * DAY_S, 100 * DAY_S, YEAR_S])
POLICIES = st.builds(
    Policy,
    all_s=st.sampled_from([600, HOUR_S, 3 * HOUR_S, 2 * DAY_S]),
    quarter_s=SPANS,
    hour_s=SPANS,
    day_s=SPANS,
    week_s=SPANS,
    month_s=SPANS,
)


@st.composite
def snapshots(draw: st.DrawFn) -> list[Moment]:
    """Some moments of 200 days, in heaps, as people work; some labelled, some held."""
    found: dict[int, Moment] = {}
    for _ in range(draw(st.integers(1, 8))):
        begin = START_S + draw(st.integers(60, 260)) * DAY_S + draw(st.integers(0, DAY_S))
        step = draw(st.sampled_from([37, 60, 333, 900, 5000, 40_000]))
        for number in range(draw(st.integers(1, 15))):
            when = begin + number * step
            found[when] = Moment(str(when), when, draw(st.integers(0, 9)) == 0, draw(st.integers(0, 9)) == 0)
    return [found[when] for when in sorted(found)]


def named_by(policy: Policy, moments: list[Moment], now_s: int, zone: ZoneInfo) -> set[str]:
    """The policy's words, one by one, for each snapshot: what stays. Shares nothing with the program."""
    counted = [one for one in moments if not one.is_held]
    stays = {one.name for one in moments if one.is_held} | {one.name for one in counted[-1:]}
    for index, one in enumerate(counted):
        age_s = now_s - one.at_s
        local = datetime.fromtimestamp(one.at_s, zone)
        following = [datetime.fromtimestamp(later.at_s, zone) for later in counted[index + 1 :]]
        monday = local.date() - timedelta(days=local.weekday())
        same_clock = [
            each for each in following if each.utcoffset() == local.utcoffset() and each.date() == local.date()
        ]
        last_of = {
            "quarter": not any(
                (each.hour, each.minute // 15) == (local.hour, local.minute // 15) for each in same_clock
            ),
            "hour": not any(each.hour == local.hour for each in same_clock),
            "day": not any(each.date() == local.date() for each in following),
            "week": not any(monday <= each.date() < monday + timedelta(days=7) for each in following),
            "month": not any(each.strftime("%Y%m") == local.strftime("%Y%m") for each in following),
        }
        if (
            age_s <= policy.all_s
            or (one.is_labelled and age_s <= policy.day_s)
            or any(last_of[period] and age_s <= policy.spans[period] for period in last_of)
        ):
            stays.add(one.name)
    return stays


@settings(max_examples=150, deadline=None)
@given(POLICIES, snapshots(), st.integers(0, 400 * DAY_S), st.sampled_from(ZONES))
def test_exactly_what_the_policy_names_stays(policy: Policy, moments: list[Moment], later: int, zone: ZoneInfo) -> None:
    now_s = START_S + 60 * DAY_S + later
    moments = [one for one in moments if one.at_s <= now_s]
    assert set(kept(moments, policy, now_s, zone)) == named_by(policy, moments, now_s, zone)


@settings(max_examples=100, deadline=None)
@given(POLICIES, snapshots(), st.lists(st.integers(0, 30 * DAY_S), min_size=2, max_size=12), st.sampled_from(ZONES))
def test_what_goes_is_never_missed_however_often_somebody_prunes(
    policy: Policy, moments: list[Moment], steps: list[int], zone: ZoneInfo
) -> None:
    now_s = moments[0].at_s
    pruned: list[Moment] = []
    made = 0
    gone: set[str] = set()
    for step in steps:
        now_s += step
        until = bisect_right([one.at_s for one in moments], now_s)
        pruned += moments[made:until]
        made = until
        going = {one.name for one in needless(pruned, policy, now_s, zone)}
        pruned = [one for one in pruned if one.name not in going]
        gone |= going
        # Who never pruned before gets the same, and what went once goes for ever.
        assert [one.name for one in pruned] == kept(moments[:until], policy, now_s, zone)
        assert gone == {one.name for one in moments[:until]} - {one.name for one in pruned}


# --- a year ---


def test_a_year_of_moments_through_both_changes_of_the_clocks_leaves_what_the_policy_names() -> None:
    """A snapshot every five minutes of office hours and some nights, pruned every six hours, counted weekly."""
    policy = Policy()
    pruned: list[Moment] = []
    oracle = Calendar()
    end = START_S + YEAR_S
    now_s = START_S
    while now_s < end:
        for _ in range(6 * 12):
            now_s += 300
            local = datetime.fromtimestamp(now_s, BERLIN)
            is_busy = (local.weekday() < 5 and 8 <= local.hour < 18) or local.day in (25, 29)  # and the nights of both
            if is_busy:
                pruned.append(Moment(str(now_s), now_s))
                oracle.add(now_s)
        going = {one.name for one in needless(pruned, policy, now_s, BERLIN)}
        pruned = [one for one in pruned if one.name not in going]
        if (now_s - START_S) % (7 * DAY_S) == 0:
            assert {one.at_s for one in pruned} == oracle.kept(now_s)
    assert len(pruned) < 700
    assert {one.at_s for one in pruned} == oracle.kept(now_s)


class Calendar:
    """A wall calendar with boxes: who comes later takes the place of who was in the box. For the default policy."""

    def __init__(self) -> None:
        self.boxes: dict[str, dict[str, int]] = {
            "%s": {},
            "quarter": {},
            "%F %H %z": {},
            "%F": {},
            "%G %V": {},
            "%Y %m": {},
        }
        self.days = {"%s": 2 / 24, "quarter": 2, "%F %H %z": 14, "%F": 90, "%G %V": 365, "%Y %m": 7 * 365}

    def add(self, at_s: int) -> None:
        local = datetime.fromtimestamp(at_s, UTC).astimezone(BERLIN)
        for box, places in self.boxes.items():
            if box == "quarter":
                text = local.strftime("%F %H %z ") + "abcd"[int(local.strftime("%M")) // 15]
            else:
                text = str(at_s) if box == "%s" else local.strftime(box)
            places[text] = at_s

    def kept(self, now_s: int) -> set[int]:
        found: set[int] = set()
        for box, places in self.boxes.items():
            for text in [text for text, at_s in places.items() if now_s - at_s > self.days[box] * DAY_S]:
                del places[text]
            found.update(places.values())
        return found


# --- what people write ---


@pytest.mark.parametrize(
    ("text", "seconds"), [("90m", 5400), ("2h", 7200), (" 14D ", 14 * DAY_S), ("1y", YEAR_S), ("0", 0)]
)
def test_spans_are_read_and_written(text: str, seconds: int) -> None:
    assert parse_span(text) == seconds
    assert parse_span(span_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "2", "2 months", "-1h", "h", "1.5h"])
def test_what_is_no_span_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidArgument, match="14d"):
        parse_span(text)


@pytest.mark.parametrize("spans", [{"all": 0}, {"all": 599}, {"day": -1}, {"month": 101 * YEAR_S}, {"fortnight": 1}])
def test_a_policy_that_cannot_be_meant_is_refused(spans: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        Policy.of(spans)


def test_a_policy_knows_what_it_takes_away_from_another() -> None:
    old, new = Policy(), Policy(hour_s=DAY_S, day_s=100 * DAY_S)
    assert new.is_shorter_than(old)
    assert new.longest(old) == Policy(day_s=100 * DAY_S)
    assert not new.longest(old).is_shorter_than(old)


# --- a wrong clock ---


def minutes(start: str, count: int) -> list[int]:
    return [at(start).at_s + 60 * number for number in range(count)]


def told_by(*said: list[int]) -> list[Moment]:
    """Snapshots in the order in which they were made, by what the clock said; named by their number."""
    return [Moment(str(number), at_s) for number, at_s in enumerate(second for row in said for second in row)]


def test_what_was_made_in_the_future_goes_like_any_other_once_the_clock_is_right() -> None:
    """The clock was ahead for an hour; an hour later, and a week later, nobody could tell from what is left."""
    ahead = told_by(minutes("2026-03-02 08:00", 60), minutes("2099-01-01 09:00", 60), minutes("2026-03-02 10:00", 60))
    right = told_by(minutes("2026-03-02 08:00", 60), minutes("2026-03-02 09:01", 60), minutes("2026-03-02 10:00", 60))
    for now in ("2026-03-02 11:00", "2026-03-03 11:00", "2026-03-09 11:00", "2028-01-01 00:00"):
        assert kept(ahead, Policy(), now) == kept(right, Policy(), now)
    assert len(kept(ahead, Policy(), "2028-01-01 00:00")) == 1


@pytest.mark.parametrize("wrong", ["1970-01-01 00:01", "2099-01-01 09:00", "2026-03-01 20:30"])
def test_a_wrong_clock_ages_nothing(wrong: str) -> None:
    """Ahead or behind: it costs neither what was made meanwhile nor what was made before."""
    made = told_by(minutes("2026-03-02 08:00", 60), minutes(wrong, 60), minutes("2026-03-02 10:00", 30))
    true = told_by(minutes("2026-03-02 08:00", 60), minutes("2026-03-02 09:01", 60), minutes("2026-03-02 10:00", 30))
    assert kept(made, Policy(), "2026-03-02 10:30") == kept(true, Policy(), "2026-03-02 10:30")


def test_while_the_newest_lie_in_the_future_they_are_as_young_as_can_be() -> None:
    made = told_by(minutes("2026-03-02 08:00", 60), minutes("2099-01-01 09:00", 60))
    assert kept(made, Policy(), "2026-03-02 09:59") == [one.name for one in made]
    assert [one.at_s for one in believed(made, at("2026-03-02 10:00").at_s)][-60:] == minutes("2026-03-02 09:01", 60)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 4_000_000_000), max_size=30), st.integers(1, 4_000_000_000))
def test_believed_moments_are_in_order_and_none_is_later_than_now(said: list[int], now_s: int) -> None:
    found = [one.at_s for one in believed(told_by(said), now_s)]
    assert found == sorted(found)
    assert all(at_s <= now_s for at_s in found)
    assert [one.at_s for one in believed(told_by(sorted(said)), 4_000_000_000)] == sorted(said)
