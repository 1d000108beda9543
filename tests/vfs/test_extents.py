"""A window of extents is a map from each byte to a byte of a block, whatever its rows look like."""

from hypothesis import given
from hypothesis import strategies as st

from vfs.extents import Window
from vfs.fuse.file_io import clip

SIZE = 40
spots = st.integers(0, SIZE)
ranges = st.tuples(spots, spots).map(sorted).filter(lambda pair: pair[0] < pair[1])
# Few blocks and offsets near each other, so that neighbours often continue one another.
changes = st.lists(st.tuples(ranges, st.integers(0, 2), st.integers(0, 4)), max_size=25)
Bytes = list[tuple[int, int] | None]


def bytes_of(window: Window) -> Bytes:
    """For each byte the (block, offset) it is, or None for a hole."""
    found: Bytes = [None] * SIZE
    for index in range(len(window.starts)):
        start, length, block, offset = window.at(index)
        for at in range(length):
            assert found[start + at] is None, "extents overlap"
            found[start + at] = (block, offset + at)
    return found


def replaced(before: Bytes, low: int, high: int, block: int, offset: int) -> Bytes:
    return [
        at_byte if not low <= at < high else (block, offset + at - low) if block else None
        for at, at_byte in enumerate(before)
    ]


@given(changes)
def test_every_byte_is_where_the_last_replacement_put_it(given_changes: list) -> None:
    window = Window()
    model: Bytes = [None] * SIZE
    for (low, high), block, shift in given_changes:
        before = model
        model = replaced(before, low, high, block, low + shift)
        gained, lost = window.replace(low, high, block, low + shift)
        assert bytes_of(window) == model
        assert gained == sum(map(bool, model)) - sum(map(bool, before))
        assert set(lost) >= {was[0] for was, now in zip(before, model, strict=True) if was and was != now}
        assert list(window.starts) == sorted(window.starts)


@given(changes)
def test_rows_that_differ_from_the_database_are_known(given_changes: list) -> None:
    window: Window = Window()
    rows: dict[int, tuple] = {}
    for (low, high), block, shift in given_changes:
        window.replace(low, high, block, low + shift)
        if shift == 0:  # a flush, now and then
            for start in window.touched:
                piece = window.row(start)
                rows.pop(start, None) if piece is None else rows.update({start: piece})
            window.touched.clear()
    for start in window.touched:
        piece = window.row(start)
        rows.pop(start, None) if piece is None else rows.update({start: piece})
    assert sorted(rows.values()) == [window.at(index) for index in range(len(window.starts))]


@given(changes, ranges)
def test_pieces_of_a_range_are_its_bytes(given_changes: list, asked: list[int]) -> None:
    window = Window()
    for (low, high), block, shift in given_changes:
        window.replace(low, high, block, low + shift)
    low, high = asked
    whole = bytes_of(window)
    found: Bytes = [None] * SIZE
    for start, length, block, offset in window.pieces(low, high):
        assert low <= start < start + length <= high
        found[start : start + length] = [(block, offset + at) for at in range(length)]
    assert found[low:high] == whole[low:high]
    assert clip(window.pieces(0, SIZE), low, high) == window.pieces(low, high)


@given(changes, spots)
def test_what_ends_at_a_byte_is_found(given_changes: list, position: int) -> None:
    window = Window()
    for (low, high), block, shift in given_changes:
        window.replace(low, high, block, low + shift)
    ends = [piece for piece in window.pieces(0, SIZE) if piece.start + piece.length == position]
    assert window.ending_at(position) == (ends[0] if ends else None)


def test_appending_to_a_block_grows_one_extent() -> None:
    window = Window()
    for start in range(0, 30, 10):
        window.replace(start, start + 10, block=7, offset=100 + start)
    assert window.pieces(0, SIZE) == [(0, 30, 7, 100)]


def test_extents_of_different_blocks_never_join() -> None:
    window = Window()
    window.replace(0, 10, block=7, offset=0)
    window.replace(10, 20, block=8, offset=10)
    assert len(window.starts) == 2
