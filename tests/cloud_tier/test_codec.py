"""What is inside a piece: packed where it pays, and unpacked never beyond its bound."""

import bz2
import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cloud_tier.codec import RAW, ZSTD, Undecodable, decode, encode

NOISE = random.Random(1).randbytes(1 << 20)


@given(data=st.binary(max_size=2000) | st.integers(0, 200_000).map(bytes))
def test_everything_comes_back(data: bytes) -> None:
    assert decode(encode(data), 200_000) == data


@pytest.mark.parametrize(
    ("data", "how"),
    [
        (NOISE, RAW),
        (NOISE[:100], RAW),
        (bz2.compress(NOISE.hex().encode()), RAW),
        (b"words and words " * 1000, ZSTD),
        (bytes(1 << 20), ZSTD),
        (NOISE[:4096] + bytes(1 << 19), ZSTD),
    ],
    ids=["noise", "few bytes", "packed already", "text", "zeros", "noise in front"],
)
def test_what_does_not_compress_is_left_alone(data: bytes, how: int) -> None:
    inside = encode(data)
    assert inside[0] == how
    assert len(inside) <= len(data) + 1
    assert decode(inside, len(data)) == data


@pytest.mark.parametrize(
    "inside",
    [
        b"",
        b"\2abc",
        b"\1abc",
        encode(bytes(1001)),
        encode(NOISE[:1001]),
        encode(bytes(1000)) + b"x",
        encode(bytes(1000))[:-1],
        bytes((ZSTD,)) + zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000)),
    ],
    ids=["nothing", "unknown", "no frame", "too long", "too long, raw", "more behind", "cut off", "no size"],
)
def test_what_encode_did_not_make_or_is_too_long_is_refused(inside: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(inside, 1000)
