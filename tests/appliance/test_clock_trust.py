"""A clock that leaps costs no snapshot, and one that was away for good reason is believed soon enough."""

from appliance.clock_trust import ClockTrust

NOW_S, HOUR_S, DAY_S = 1_800_000_000, 3600, 86_400
YEAR_2099_S = 4_070_908_800


def watched(trust: ClockTrust, offset_s: int, hours: int) -> tuple[ClockTrust, int]:
    """The machine runs for so long with a clock that is off by so much; how many hours of them are in doubt."""
    doubted = 0
    start = NOW_S + offset_s
    for hour in range(1, hours + 1):
        trust = trust.look(start + hour * HOUR_S, HOUR_S)
        doubted += trust.is_in_doubt
    return trust, doubted


def test_a_clock_that_ticks_is_believed() -> None:
    assert watched(ClockTrust(), 0, 1000) == (ClockTrust(NOW_S + 1000 * HOUR_S), 0)


def test_a_weekend_off_is_believed_within_three_hours() -> None:
    trust, doubted = watched(ClockTrust(NOW_S), 63 * HOUR_S, 10)
    assert doubted == 2
    assert trust.known_s == NOW_S + 73 * HOUR_S


def test_a_night_off_is_no_reason_for_doubt() -> None:
    assert watched(ClockTrust(NOW_S), 15 * HOUR_S, 1)[1] == 0


def test_an_afternoon_in_2099_is_doubted_and_forgotten() -> None:
    trust, doubted = watched(ClockTrust(NOW_S), YEAR_2099_S - NOW_S, 6)
    assert doubted == 6
    assert trust.left_s(YEAR_2099_S) > 2.9 * 365 * DAY_S
    assert trust.look(NOW_S + 6 * HOUR_S, 60) == ClockTrust(NOW_S + 6 * HOUR_S)


def test_a_year_in_2099_is_still_doubted() -> None:
    assert watched(ClockTrust(NOW_S), YEAR_2099_S - NOW_S, 365 * 24)[0].is_in_doubt


def test_a_clock_that_begins_in_1970_does_not_make_today_doubtful() -> None:
    trust, doubted = watched(ClockTrust(NOW_S), -NOW_S, 3)
    assert doubted == 3
    assert not trust.look(NOW_S + 3 * HOUR_S, 60).is_in_doubt


def test_doubt_goes_on_where_a_restart_left_it() -> None:
    trust = ClockTrust(NOW_S).look(NOW_S + 30 * DAY_S, 0)  # three weeks off and more; the first look after a start
    for day in range(30, 40):  # eight hours a day
        for hour in range(8):
            trust = trust.look(NOW_S + day * DAY_S + hour * HOUR_S, HOUR_S)
        if not trust.is_in_doubt:
            break
    assert 33 <= day <= 35
