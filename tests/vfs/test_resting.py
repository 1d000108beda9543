"""When files are at rest, and who asks for all of them at once."""

from vfs.resting import Resting, RestPolicy


def test_a_file_is_due_when_it_is_quiet_or_when_it_was_busy_for_long() -> None:
    resting = Resting(RestPolicy(quiet_s=3, old_s=20))
    resting.written(1, 100.0)
    for moment in range(100, 121):
        resting.written(2, float(moment))
    assert resting.take_due(102.9, 10) == []
    assert resting.take_due(103.0, 10) == [1]
    assert resting.take_due(120.0, 10) == [2]


def test_all_that_is_announced_becomes_due_together_and_what_comes_much_later_does_not() -> None:
    resting = Resting(RestPolicy(quiet_s=3, old_s=20))
    resting.written(1, 50.0)
    resting.written(2, 100.0)
    resting.found(3)
    due_at = resting.due_at(100.0)
    for moment in range(101, 200):
        resting.written(2, float(moment))
    resting.written(4, 199.0)
    assert sorted(resting.take_due(due_at, 10)) == [1, 2, 3]
