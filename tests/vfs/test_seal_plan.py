"""The pieces of a run are its bytes, wherever one cuts."""

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from vfs.seal_plan import Bytes


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8), st.data())
def test_views_of_a_range_are_its_bytes(pieces: list[bytes], data: st.DataObject) -> None:
    joined, found = b"".join(pieces), Bytes(pieces)
    low = data.draw(st.integers(0, len(joined)))
    high = data.draw(st.integers(low, len(joined)))
    views = found.views(low, high)
    assert b"".join(views) == joined[low:high]
    assert all(views), "no piece is empty"
    assert len(found) == len(joined)
    ends = set(accumulate(map(len, pieces)))
    assert len(views) == len([end for end in ends if low < end < high]) + (low < high)
