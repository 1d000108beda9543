"""Packs: what went in comes out, or nothing does."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.drive_keys import drive_keys

from cloud_tier.block_id import BlockId, block_id
from cloud_tier.keys import DriveKeys
from cloud_tier.pack import ALONE_BYTES, GROUP_BYTES, Pack, PackReader, PackWriter
from cloud_tier.sealed import Header, Kind

KEYS = drive_keys()
TEXT = b"The quick brown fox jumps over the lazy dog. " * 200


def named(data: bytes, keys: DriveKeys = KEYS) -> tuple[BlockId, bytes]:
    return block_id(keys.block_key, data), data


def packed(*blocks: bytes, keys: DriveKeys = KEYS) -> Pack:
    writer = PackWriter(keys)
    for data in blocks:
        writer.add(*named(data, keys))
    return writer.close()


def unpacked(body: bytes, keys: DriveKeys = KEYS) -> list[bytes]:
    """All blocks of a pack, as one finds them who has nothing but its bytes and the keys."""
    reader = PackReader(keys, Header.decode(body))
    entries = reader.index(body, len(body))
    return [bytes(reader.blocks([entry], body[entry.offset : entry.offset + entry.length])[0]) for entry in entries]


def in_order(blocks: Sequence[bytes]) -> list[bytes]:
    return sorted(blocks)


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


blocks_of_all_kinds = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=300),
        st.builds(noise, st.sampled_from([1, 4096, ALONE_BYTES - 1, ALONE_BYTES, 200_000]), st.integers(0, 9)),
        st.integers(1, 100_000).map(bytes),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(blocks=blocks_of_all_kinds)
def test_any_blocks_in_any_order_come_back(blocks: list[bytes]) -> None:
    pack = packed(*blocks)
    assert in_order(unpacked(pack.body)) == in_order(blocks)
    assert Header.decode(pack.body) == Header(Kind.PACK, pack.generation, KEYS.drive_id, pack.pack_id)


def test_small_blocks_share_records_and_large_ones_do_not() -> None:
    small = [noise(20_000, seed) for seed in range(60)]
    pack = packed(*small[:30], noise(ALONE_BYTES, 99), *small[30:])
    records = {entry.offset: entry.length for entry in pack.entries}
    assert len(records) == 4
    assert max(records.values()) <= GROUP_BYTES + ALONE_BYTES
    (alone,) = [entry for entry in pack.entries if entry.plain_length == ALONE_BYTES]
    assert [entry.offset for entry in pack.entries].count(alone.offset) == 1


def test_a_block_is_opened_by_what_the_catalog_knows_alone() -> None:
    pack = packed(TEXT, noise(100_000))
    entry = pack.entries[0]
    reader = PackReader.of(KEYS, pack.pack_id, pack.generation)
    assert reader.blocks([entry], memoryview(pack.body)[entry.offset : entry.offset + entry.length])


def test_text_shrinks_and_noise_is_left_as_it_is() -> None:
    assert len(packed(TEXT * 20).body) < 2000
    assert len(packed(noise(1 << 20)).body) < (1 << 20) + 200


def test_size_is_never_underestimated() -> None:
    writer = PackWriter(KEYS)
    for seed in range(50):
        writer.add(*named(noise(30_000, seed)))
    said = writer.size_bytes
    assert len(writer.close().body) <= said


@pytest.mark.parametrize("size", [0, (1 << 20) + 1])
def test_a_block_of_no_bytes_or_too_many_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="a block has 1 to"):
        PackWriter(KEYS).add(BlockId(bytes(32)), bytes(size))
