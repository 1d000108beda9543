"""Many numbers in little memory behave like a dict and a list."""

from hypothesis import given
from hypothesis import strategies as st

from cachefs.packed import CHUNK, SHARDS, Fifo, Words

numbers = st.integers(0, 40).map(lambda number: number * SHARDS // 4)  # several in one array


@given(st.lists(st.tuples(st.sampled_from(["put", "pop"]), numbers, st.integers(1, 2**64 - 1)), max_size=60))
def test_words_are_those_of_a_dict(steps: list[tuple[str, int, int]]) -> None:
    words, plain = Words(), dict[int, int]()
    for what, number, word in steps:
        if what == "put":
            words.put(number, word)
            plain[number] = word
        else:
            assert words.pop(number) == plain.pop(number, 0)
        assert words.count == len(plain)
    assert [words.get(number * SHARDS // 4) for number in range(41)] == [
        plain.get(number * SHARDS // 4, 0) for number in range(41)
    ]


def test_entries_come_out_in_order_without_those_that_mean_nothing() -> None:
    dead = set(range(0, 10_000, 3))
    queue = Fifo(lambda entry: entry not in dead)
    for entry in range(10_000):
        queue.append(entry)
    assert [queue.pop() for _ in range(6_666)] == [entry for entry in range(10_000) if entry not in dead]
    assert queue.pop() is None
    queue.append(1)
    assert queue.pop() == 1


def test_a_queue_that_nothing_is_taken_from_does_not_grow_by_its_weeds() -> None:
    alive = {5, 70_000}
    queue = Fifo(lambda entry: entry in alive)
    for entry in range(200_000):
        queue.append(entry)
        queue.weeds += entry not in alive
    assert len(queue.entries()) // 8 < 4 * CHUNK
    assert [queue.pop(), queue.pop(), queue.pop()] == [5, 70_000, None]


def test_weeding_half_way_through_a_queue_loses_and_repeats_nothing() -> None:
    alive = set(range(0, 60_000, 5))
    queue = Fifo(lambda entry: entry in alive)
    out = []
    for entry in range(60_000):
        queue.append(entry)
        queue.weeds += entry not in alive
        if entry % 1000 == 999:
            out += [queue.pop() for _ in range(50)]
    while (entry_or_none := queue.pop()) is not None:
        out.append(entry_or_none)
    assert out == sorted(alive)


def test_one_queue_takes_over_what_is_left_of_another() -> None:
    first, second = Fifo(lambda entry: True), Fifo(lambda entry: True)
    for entry in range(5):
        first.append(entry)
        second.append(entry + 5)
    second.pop()
    first.take_over(second)
    assert second.pop() is None
    assert [first.pop() for _ in range(10)] == [0, 1, 2, 3, 4, 6, 7, 8, 9, None]
