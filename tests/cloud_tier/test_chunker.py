"""Cuts: the same however the bytes came, never too long, and soon the same again behind an insertion."""

import random
from itertools import accumulate

import fastcdc
import pytest
from fastcdc.fastcdc_py import fastcdc_py
from hypothesis import given
from hypothesis import strategies as st

from cloud_tier.chunker import MOST_BLOCK_BYTES, ChunkerParameters, Cutter

SMALL = ChunkerParameters(64, 256, 1024)
DRIVE = ChunkerParameters()


def cut(data: bytes, parameters: ChunkerParameters = SMALL, pieces: list[int] | None = None) -> list[int]:
    """The cuts of `data`, fed in pieces of these lengths, the last one as often as needed."""
    cutter = Cutter(parameters)
    lengths, done = [], 0
    sizes = list(pieces or [len(data) or 1])
    while done < len(data):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        lengths += cutter.feed(data[done : done + size])
        done += size
    return lengths + cutter.finish()


@given(seed=st.integers(), size=st.integers(0, 9000), pieces=st.lists(st.integers(1, 3000), min_size=1, max_size=20))
def test_cuts_do_not_depend_on_how_the_bytes_were_fed(seed: int, size: int, pieces: list[int]) -> None:
    data = random.Random(seed).randbytes(size)
    assert cut(data, pieces=pieces) == cut(data)


@given(data=st.binary(max_size=5000) | st.integers(0, 9000).map(bytes))
def test_cuts_cover_everything_and_keep_to_their_lengths(data: bytes) -> None:
    lengths = cut(data)
    assert sum(lengths) == len(data)
    assert all(SMALL.least_bytes < length <= SMALL.most_bytes for length in lengths[:-1])
    assert all(0 < length <= SMALL.most_bytes for length in lengths[-1:])


def test_a_cutter_begins_anew_after_the_end() -> None:
    data = random.Random(1).randbytes(5000)
    cutter = Cutter(SMALL)
    assert [cutter.feed(data) + cutter.finish() for _ in range(2)] == [cut(data)] * 2


def test_the_compiled_scanner_cuts_where_the_plain_one_does() -> None:
    """What is on disk depends on it: a new version of the package must not cut elsewhere."""
    assert "cyfunction" in type(fastcdc.fastcdc).__name__ or fastcdc.fastcdc.__module__.endswith("fastcdc_cy")
    data = random.Random(2).randbytes(300_000)
    assert cut(data) == [each.length for each in fastcdc_py(data, 64, 256, 1024)]


def test_the_cuts_of_a_known_run_are_for_ever_the_same() -> None:
    data = random.Random(3).randbytes(6 << 20)
    assert cut(data, DRIVE) == [
        440106,
        874622,
        584756,
        516596,
        370163,
        620510,
        830828,
        348812,
        437598,
        377947,
        284187,
        489940,
        115391,
    ]


@pytest.mark.parametrize("seed", range(3))
def test_one_byte_in_front_changes_few_blocks(seed: int) -> None:
    data = random.Random(seed).randbytes(8 << 20)
    before = set(accumulate(cut(data, DRIVE)))
    after = {place - 1 for place in accumulate(cut(b"!" + data, DRIVE))}
    first = min(before & after)
    assert first <= 3 << 20
    assert {place for place in after if place >= first} == {place for place in before if place >= first}


def test_no_block_is_longer_than_a_record_may_be() -> None:
    assert max(cut(bytes(3 << 20), DRIVE)) == MOST_BLOCK_BYTES == DRIVE.most_bytes
