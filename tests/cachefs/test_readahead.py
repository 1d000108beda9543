"""What is fetched ahead: all of a file that is read through, in whatever order; nothing for a reader at random."""

import random
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachefs.readahead import FIRST_BYTES, MOST_BYTES, RUNS, ReadAhead

KIB, MIB = 1 << 10, 1 << 20
FILE = 1 << 30
Range = tuple[int, int]


def pieces(start: int, end: int, length: int) -> list[Range]:
    return [(low, min(low + length, end)) for low in range(start, end, length)]


def led(requests: Iterable[Range], size: int = FILE) -> list[Range]:
    """The windows that a new reader gets for these requests."""
    ahead = ReadAhead()
    return [found for low, high in requests if (found := ahead.next("reader", low, high, size))]


def length(ranges: Iterable[Range]) -> int:
    return sum(high - low for low, high in ranges)


def test_window_doubles_from_one_mebibyte_to_its_limit_without_a_gap() -> None:
    windows = led(pieces(0, 256 * MIB, 128 * KIB))
    assert windows[0] == (256 * KIB, 256 * KIB + FIRST_BYTES)
    assert all(before[1] == after[0] for before, after in pairwise(windows))
    reach = [high - low for low, high in windows]
    assert max(reach) <= MOST_BYTES
    assert reach[:4] == sorted(reach[:4])
    assert len(windows) < 30


def test_next_window_is_asked_for_when_half_of_the_last_is_read() -> None:
    ahead = ReadAhead()
    fetched, last = 0, 0
    for low, high in pieces(0, 400 * MIB, 256 * KIB):
        found = ahead.next(1, low, high, FILE)
        if found:
            fetched, last = found[1], min(MOST_BYTES, max(FIRST_BYTES, 2 * last))
        elif fetched:
            assert fetched - high > last // 2


def test_window_ends_with_the_file() -> None:
    size = 3 * MIB + 17
    windows = led(pieces(0, size, 128 * KIB), size)
    assert windows[-1][1] == size
    assert length(windows) == size - 256 * KIB


@pytest.mark.parametrize("request_bytes", [4 * KIB, 64 * KIB, MIB])
def test_first_request_and_reader_at_random_get_nothing(request_bytes: int) -> None:
    assert led([(0, request_bytes)]) == []
    chance = random.Random(1)
    starts = [chance.randrange(FILE // request_bytes) * request_bytes for _ in range(2000)]
    windows = led((low, low + request_bytes) for low in starts)
    assert length(windows) <= 0.05 * len(starts) * request_bytes + 2 * FIRST_BYTES


def test_random_reads_of_a_hot_range_fetch_little_beside_it() -> None:
    chance = random.Random(2)
    starts = [500 * MIB + chance.randrange(1000) * 4 * KIB for _ in range(5000)]
    windows = led((low, low + 4 * KIB) for low in starts)
    assert all(low > 498 * MIB and high < 510 * MIB for low, high in windows)


@pytest.mark.parametrize("request_bytes", [128 * KIB, MIB])
@pytest.mark.parametrize("in_flight", [2, 8, 12])
def test_requests_that_overtake_each_other_are_one_reader(request_bytes: int, in_flight: int) -> None:
    chance = random.Random(in_flight)
    waiting, requests = pieces(0, 200 * MIB, request_bytes), []
    while waiting:
        requests.append(waiting.pop(chance.randrange(min(in_flight, len(waiting)))))
    windows = led(requests)
    fetched = {mib for low, high in windows for mib in range(low // MIB, high // MIB)}
    assert len(fetched) >= 180
    assert length(windows) <= 250 * MIB


@pytest.mark.parametrize("request_bytes", [64 * KIB, 256 * KIB])
def test_backwards_reader_is_led_backwards(request_bytes: int) -> None:
    windows = led(reversed(pieces(0, 64 * MIB, request_bytes)))
    assert windows[0] == (64 * MIB - 2 * request_bytes - FIRST_BYTES, 64 * MIB - 2 * request_bytes)
    assert all(before[0] == after[1] for before, after in pairwise(windows))
    assert windows[-1][0] == 0


def test_who_reads_every_second_piece_is_led_who_reads_every_tenth_is_not() -> None:
    every = pieces(0, 100 * MIB, 128 * KIB)
    assert length(led(every[::2])) >= 90 * MIB
    assert led(every[::10]) == []


def test_a_look_elsewhere_costs_no_window() -> None:
    requests = pieces(0, 40 * MIB, MIB)
    for at in range(5, 40, 5):
        requests.insert(at, (900 * MIB, 900 * MIB + 4 * KIB))  # an index at the end
    assert led(requests) == led(pieces(0, 40 * MIB, MIB))


def test_two_readers_of_one_file_have_a_window_each() -> None:
    one, other = pieces(0, 40 * MIB, MIB), pieces(500 * MIB, 540 * MIB, MIB)
    windows = led(request for both in zip(one, other, strict=True) for request in both)
    assert length(window for window in windows if window[0] < 400 * MIB) >= 40 * MIB
    assert length(window for window in windows if window[0] > 400 * MIB) >= 40 * MIB


def test_second_pass_over_a_long_file_is_led_again() -> None:
    requests = pieces(0, 100 * MIB, MIB)
    windows = led([*requests, *requests])
    assert sum(low <= 50 * MIB < high for low, high in windows) == 2


def test_what_is_remembered_is_bounded() -> None:
    ahead, chance = ReadAhead(readers=10), random.Random(4)
    for key in range(1000):
        for _ in range(20):
            low = chance.randrange(FILE)
            ahead.next(key % 50, low, low + 4 * KIB, 2 * FILE)
    assert len(ahead._runs) <= 10
    assert max(map(len, ahead._runs.values())) <= RUNS
    for key in range(50):
        ahead.closed(key)
    assert not ahead._runs


def test_many_files_at_once_are_told_apart() -> None:
    ahead = ReadAhead()
    fetched = 0
    for low, high in pieces(0, 8 * MIB, 128 * KIB):
        for key in range(100):
            found = ahead.next(key, low, high, 8 * MIB)
            fetched += found[1] - found[0] if found else 0
    assert fetched == 100 * (8 * MIB - 256 * KIB)


requests = st.tuples(st.integers(0, 64), st.integers(1, 16)).map(lambda pair: (pair[0] * 65_536, sum(pair) * 65_536))


@given(st.lists(requests, max_size=40), st.integers(0, 5 * MIB))
def test_a_window_is_within_the_file_and_beside_what_is_read(story: list[Range], size: int) -> None:
    ahead = ReadAhead()
    for low, high in story:
        if low >= size:
            continue
        end = min(high, size)
        found = ahead.next("reader", low, end, size)
        if found:
            assert 0 <= found[0] < found[1] <= size
            assert found[1] <= low or found[0] >= end
            assert found[1] - found[0] <= MOST_BYTES


@given(st.lists(requests, max_size=20), st.randoms(use_true_random=False))
def test_a_file_is_read_ahead_whatever_was_read_before(story: list[Range], chance: random.Random) -> None:
    ahead = ReadAhead()
    for low, high in story:
        ahead.next("reader", low, high, FILE)
    start = chance.randrange(100, 500) * MIB
    windows = [
        found for low, high in pieces(start, start + 32 * MIB, MIB) if (found := ahead.next("reader", low, high, FILE))
    ]
    assert length(windows) >= 30 * MIB
