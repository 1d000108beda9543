"""What has come to rest is due, what is busy is due when it is old, and who is told when to look finds something."""

from hypothesis import given
from hypothesis import strategies as st

from vfs.resting import Resting, RestPolicy

times = st.floats(0, 1e6, allow_nan=False)


def test_a_file_is_due_when_it_was_quiet_for_long_enough() -> None:
    resting = Resting(RestPolicy(quiet_s=3, old_s=20))
    resting.written(1, 0.0)
    resting.written(1, 2.0)
    assert resting.take_due(4.9, 10) == []
    assert resting.take_due(5.0, 10) == [1]
    assert resting.take_due(5.0, 10) == []


def test_a_file_that_is_never_quiet_is_due_when_it_is_old() -> None:
    resting = Resting(RestPolicy(quiet_s=3, old_s=20))
    for second in range(20):
        resting.written(1, float(second))
        assert resting.take_due(float(second), 10) == []
    assert resting.take_due(20.0, 10) == [1]


def test_what_was_found_at_rest_is_due_at_once() -> None:
    resting = Resting()
    resting.written(1, 100.0)
    resting.found(2)
    assert resting.take_due(100.0, 10) == [2]


@given(st.lists(times, min_size=1, max_size=20), times)
def test_who_looks_when_he_was_told_finds_something(moments: list[float], start: float) -> None:
    resting = Resting()
    for number, moment in enumerate(sorted(moments)):
        resting.written(number, start + moment)
    now = start + max(moments)
    while len(resting):
        now = max(now, resting.next_due(now))
        assert resting.take_due(now, 100)
