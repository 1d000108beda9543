"""Names of objects: there and back, sorted as their numbers, and such as every store can keep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_tier.object_names import (
    CheckpointName,
    KeysName,
    LeaseBidName,
    LeaseName,
    LogName,
    ObjectName,
    PackName,
    parse_name,
)
from cloud_tier.object_store import check_name
from cloud_tier.pack import PackId

sixes = st.integers(0, 999_999)
twelves = st.integers(0, 10**12 - 1)
salts = st.binary(min_size=32, max_size=32)
names = st.one_of(
    st.builds(KeysName, sixes),
    st.builds(LeaseName, sixes),
    st.builds(LeaseBidName, sixes, st.binary(min_size=16, max_size=16)),
    st.builds(PackName, sixes, salts.map(PackId)),
    st.builds(LogName, sixes, twelves, twelves, salts),
    st.builds(CheckpointName, sixes, twelves, salts),
)


@given(name=names)
def test_every_name_comes_back_and_every_store_can_keep_it(name: ObjectName) -> None:
    assert parse_name(str(name)) == name
    check_name(str(name))


@given(fence=sixes, one=twelves, other=twelves, salt=salts)
def test_log_entries_sort_by_their_numbers(fence: int, one: int, other: int, salt: bytes) -> None:
    first, second = LogName(fence, one, one, salt), LogName(fence, other, other, salt)
    assert (str(first) < str(second)) == (one < other)


@pytest.mark.parametrize(
    "name",
    [
        "drive",
        "keys/12345",
        "keys/0000001",
        "keys/000001.tmp",
        "packs/000001/ab/" + "ac" * 32,
        "packs/000001/" + "ab" * 32,
        "packs/000001/AB/" + "AB" * 32,
        "log/000001/000000000001-" + "ab" * 32,
        "lease/٠٠٠٠٠١",
        "lease/000001\n",
        "somebody/elses.txt",
    ],
)
def test_what_is_not_ours_is_nothing(name: str) -> None:
    assert parse_name(name) is None


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_a_number_that_would_sort_wrongly_gets_no_name(number: int) -> None:
    with pytest.raises(ValueError, match="6 digits"):
        str(KeysName(number))
