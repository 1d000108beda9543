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


def test_a_large_file_is_looked_through_from_its_start_to_its_end() -> None:
    resting = Resting(RestPolicy(quiet_s=3, old_s=20))
    resting.written(1, 0.0)
    assert (resting.take_due(3.0, 10), resting.page(1)) == ([1], 0)
    resting.look_on(1, 4000)
    assert (resting.take_due(3.0, 10), resting.page(1)) == ([1], 4000)
    resting.looked_through(1)
    assert resting.take_due(1e9, 10) == []
    assert resting.page(1) == 0


def test_what_was_written_behind_the_page_that_is_looked_at_is_found_in_another_round() -> None:
    resting = Resting(RestPolicy(quiet_s=3, old_s=20))
    resting.written(1, 0.0)
    assert resting.take_due(3.0, 10) == [1]
    resting.look_on(1, 4000)
    resting.written(1, 3.0)
    assert resting.take_due(3.0, 10) == [1], "the round goes on although somebody writes"
    resting.looked_through(1)
    assert (resting.take_due(3.0, 10), resting.page(1)) == ([1], 0)


def test_after_a_failure_a_large_file_is_looked_through_anew() -> None:
    resting = Resting()
    resting.look_on(1, 4000)
    assert resting.take_due(0.0, 10) == [1]
    resting.again(1)
    assert (resting.take_due(0.0, 10), resting.page(1)) == ([1], 0)
