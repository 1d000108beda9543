"""What the kernel was given and gave back is counted exactly, however often and wherever the numbers lie."""

import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from vfs.lookups import Lookups

NUMBERS = st.sampled_from([1, 2, 255, 256, 257, 5 << 40, (5 << 40) + 1])


@given(st.lists(st.tuples(NUMBERS, st.integers(1, 300), st.booleans()), max_size=60))
def test_the_counts_are_those_of_a_counter(steps: list[tuple[int, int, bool]]) -> None:
    lookups, model = Lookups(), Counter[int]()
    for ino, count, is_back in steps:
        if is_back:
            model[ino] = max(0, model[ino] - count)
            assert lookups.take(ino, count) == (not model[ino])
        else:
            for _ in range(count):
                lookups.add(ino)
            model[ino] += count
        assert all((known in lookups) == (number > 0) for known, number in model.items())
    for ino, left in model.items():
        if left > 1:
            assert not lookups.take(ino, left - 1)
        assert lookups.take(ino, 1)
    assert lookups._pages == {}
    assert lookups._more == {}


def test_a_million_numbers_take_two_megabytes() -> None:
    lookups = Lookups()
    for ino in range(1_000_000):
        lookups.add(ino)
    pages = lookups._pages
    assert sys.getsizeof(pages) + sum(map(sys.getsizeof, pages.values())) < 2_000_000
