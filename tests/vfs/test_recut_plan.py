"""What of a ragged file is cut anew: stretches between places that content chose, where it saves more than it sends."""

from collections.abc import Callable

import pytest

from cachefs.blocks import NOWHERE, Block
from vfs.recut_plan import EXTENT_BYTES, MOST_STRETCH_BYTES, RECORD_BYTES, Change, Lying, Stretch, stretches

LEAST = 100


def block(number: int, length: int) -> Block:
    return Block(number, b"id", length, 1, False, NOWHERE, 0, 0)


A, B, C = block(1, 1000), block(2, 1000), block(3, 1000)
small = [block(number, 20) for number in range(10, 60)]


def lie(*pieces: tuple[Block, int, int]) -> list[Lying]:
    """A file of (block, offset, length), one behind the other; a block of length 0 is a hole."""
    found, start = [], 0
    for piece, offset, length in pieces:
        if piece.length:
            found.append(Lying(start, length, piece, offset))
        start += length
    return found


def found(extents: list[Lying], may_move: Callable[[Block], bool] = lambda block: True) -> list[list[tuple[int, int]]]:
    """Each stretch as (start, length) of its extents."""
    return [[(one.start, one.length) for one in stretch] for stretch in stretches(extents, LEAST, may_move)]


def whole(stretch: Stretch) -> tuple[int, int]:
    return stretch[0].start, stretch[-1].start + stretch[-1].length


def test_a_file_of_whole_blocks_has_no_stretch() -> None:
    assert found(lie((A, 0, 1000), (B, 0, 1000), (C, 0, 1000))) == []


def test_a_whole_block_in_two_extents_is_whole() -> None:
    assert found(lie((A, 0, 400), (A, 400, 600))) == []


def test_a_change_in_a_block_is_a_stretch_that_ends_where_the_next_block_begins() -> None:
    extents = lie((A, 0, 1000), (B, 0, 300), (small[0], 0, 20), (B, 320, 680), (C, 0, 1000))
    assert found(extents) == [[(1000, 300), (1300, 20), (1320, 680)]]


def test_neighbours_that_were_changed_both_are_judged_each_by_itself() -> None:
    extents = lie((A, 0, 300), (small[0], 0, 20), (A, 320, 680), (B, 0, 500), (small[1], 0, 20), (B, 520, 480))
    assert [whole(stretch) for stretch in stretches(extents, LEAST, lambda block: True)] == [(0, 1000), (1000, 2000)]


def test_a_change_across_two_blocks_is_one_stretch() -> None:
    extents = lie((A, 0, 990), (small[0], 0, 20), (B, 10, 990))
    assert [whole(stretch) for stretch in stretches(extents, LEAST, lambda block: True)] == [(0, 2000)]


def test_small_appends_are_one_stretch() -> None:
    extents = lie((A, 0, 1000), *((one, 0, 20) for one in small))
    assert [whole(stretch) for stretch in stretches(extents, LEAST, lambda block: True)] == [(1000, 2000)]


def test_a_hole_and_a_block_that_may_not_move_end_a_stretch() -> None:
    hole = block(9, 0)
    extents = lie((small[0], 0, 20), (small[1], 0, 20), (hole, 0, 5), (small[2], 0, 20), (small[3], 0, 20))
    assert found(extents) == [[(0, 20), (20, 20)], [(45, 20), (65, 20)]]
    assert found(extents, lambda block: block is not small[1]) == [[(0, 20)], [(45, 20), (65, 20)]]


def test_no_stretch_is_longer_than_a_pass_may_hold_in_memory() -> None:
    large = [block(number, MOST_STRETCH_BYTES // 3) for number in range(10)]
    extents = lie(*((one, 1, one.length - 1) for one in large))
    lengths = [sum(one.length for one in stretch) for stretch in stretches(extents, LEAST, lambda block: True)]
    assert max(lengths) <= MOST_STRETCH_BYTES
    assert sum(lengths) == sum(one.length for one in extents)


MIB = 1 << 20


@pytest.mark.parametrize(
    ("change", "is_worth_it"),
    [
        (Change(MIB + 4096, MIB, 1, 2), False),  # one page of a block was changed
        (Change(MIB + 20 * 32_768, MIB, 18, 39), True),  # twenty changes, and nobody needs what was there before
        (Change(MIB + 20 * 32_768, MIB + 20 * 32_768, 18, 39), False),  # a snapshot does
        (Change(MIB, MIB, 99, 99), True),  # a log in a hundred appends
        (Change(MIB, 100_000, 0, 0), True),  # most of a block is dead
        (Change(20_000, 20_000, 0, 0), False),  # a small file
    ],
)
def test_it_is_worth_it_if_it_saves_more_than_it_sends(change: Change, is_worth_it: bool) -> None:
    assert change.is_worth_it() == is_worth_it


def test_what_is_sent_stays_below_what_was_changed_and_the_price_of_its_records() -> None:
    # However many changes of whatever size: each is at most one record and two extents more than there were.
    for length in (4096, 16_384, 65_536):
        for count in range(1, MIB // length):
            change = Change(MIB + count * length, MIB, count, 2 * count)
            if change.is_worth_it():
                assert change.sent_bytes < count * (length + RECORD_BYTES + 2 * EXTENT_BYTES)
