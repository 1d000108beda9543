"""Packs: what went in comes out, or nothing does."""

import os
import random
from collections.abc import Iterator
from itertools import groupby

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.drive_keys import drive_keys

from cloud_tier import codec, sealed
from cloud_tier import pack as pack_module
from cloud_tier.block_id import BlockId, block_id
from cloud_tier.errors import (
    EncodingFailed,
    PackDamaged,
    RecordDamaged,
    SealedError,
    UnknownFormat,
    WrongDrive,
    WrongKey,
)
from cloud_tier.keys import DriveKeys, Generation
from cloud_tier.pack import ALONE_BYTES, GROUP_BYTES, Entry, Pack, PackReader, PackWriter, index_bytes
from cloud_tier.sealed import HEADER_BYTES, Header, Kind, Opener, Part, Sealer

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
    assert sorted(unpacked(bytes(pack.body))) == sorted(blocks)
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


# --- damage, and what the store's owner may try ---

SMALL_PACK = packed(TEXT, noise(5000), noise(70_000), noise(9, 1), noise(66_000, 2))
BODY = bytes(SMALL_PACK.body)


def test_any_flipped_byte_of_a_pack_is_refused() -> None:
    """Wherever it is: whoever reads the whole pack, or any block by its reference, gets the right bytes or none."""
    body = bytearray(BODY)
    dice = random.Random(5)
    edges = {entry.offset + at for entry in SMALL_PACK.entries for at in (0, 1, entry.length - 1)}
    index_at = len(body) - index_bytes(body)
    places = {*range(HEADER_BYTES), *edges, *range(index_at, len(body)), *dice.choices(range(len(body)), k=200)}
    for place in places:
        body[place] ^= 1 << dice.randrange(8)
        with pytest.raises(SealedError):
            unpacked(bytes(body))
        body[place] = BODY[place]
    assert len(unpacked(bytes(body))) == 5


@settings(max_examples=60)
@given(length=st.integers(0, len(BODY) - 1))
def test_a_pack_cut_off_anywhere_is_refused(length: int) -> None:
    with pytest.raises(SealedError):
        unpacked(BODY[:length])


def test_bytes_put_behind_a_pack_or_into_it_are_refused() -> None:
    index_at = len(BODY) - index_bytes(BODY)
    for place in (HEADER_BYTES, index_at, len(BODY)):
        with pytest.raises(SealedError):
            unpacked(BODY[:place] + bytes(16) + BODY[place:])


def test_a_record_of_another_place_or_another_pack_is_refused() -> None:
    """Four records of one length, in two packs with equal blocks: none opens where another one should be."""
    blocks = [noise(70_000, seed) for seed in range(2)]
    packs = [packed(*blocks), packed(*blocks)]
    records = [
        (pack, entry, pack.body[entry.offset : entry.offset + entry.length]) for pack in packs for entry in pack.entries
    ]
    for pack, entry, own in records:
        reader = PackReader.of(KEYS, pack.pack_id, pack.generation)
        for _, _, record in records:
            if record is own:
                assert reader.blocks([entry], record)
            else:
                with pytest.raises(RecordDamaged, match=f"byte {entry.offset} of pack {pack.pack_id.hex()[:16]}"):
                    reader.blocks([entry], record)


def test_an_index_does_not_open_as_a_record_nor_as_that_of_another_pack() -> None:
    one, other = packed(TEXT), packed(TEXT)
    at = len(one.body) - index_bytes(one.body)
    with pytest.raises(RecordDamaged):
        PackReader.of(KEYS, one.pack_id, one.generation).record(at, one.body[at:-12])
    with pytest.raises(PackDamaged, match="is not what was written"):
        PackReader.of(KEYS, other.pack_id, other.generation).index(one.body, len(one.body))


def test_another_block_of_the_same_record_is_not_taken_for_the_one_asked_for() -> None:
    pack = packed(noise(100, 1), noise(100, 2))
    first, second = pack.entries
    reader = PackReader.of(KEYS, pack.pack_id, pack.generation)
    record = pack.body[first.offset : first.offset + first.length]
    with pytest.raises(RecordDamaged, match=f"are not block {first.block_id.hex()[:16]}"):
        reader.blocks([first._replace(start=second.start)], record)
    with pytest.raises(RecordDamaged, match="are not block"):
        reader.blocks([second._replace(plain_length=200)], record)


def test_a_pack_of_another_drive_or_of_keys_not_at_hand_says_so() -> None:
    with pytest.raises(WrongDrive, match="belongs to drive"):
        unpacked(BODY, drive_keys(2))
    newer = packed(TEXT, keys=drive_keys(generations=3))
    assert newer.generation == 3
    with pytest.raises(WrongKey, match="key generation 3, and the keys at hand end with 1"):
        unpacked(bytes(newer.body))
    assert unpacked(BODY, drive_keys(generations=3))


def test_something_else_and_a_newer_version_are_told_apart() -> None:
    with pytest.raises(UnknownFormat, match="not an object of a drive"):
        Header.decode(b"PK" + bytes(100))
    with pytest.raises(UnknownFormat, match="format version 2; this program knows 1"):
        Header.decode(BODY[:8] + b"\2" + BODY[9:])
    with pytest.raises(PackDamaged, match="no pack but a log_entry"):
        PackReader(KEYS, Sealer(KEYS, Kind.LOG_ENTRY).header)
    with pytest.raises(PackDamaged, match="does not end as a pack"):
        index_bytes(b"short")


def test_a_frame_that_would_fill_the_memory_is_refused_unopened() -> None:
    bomb = codec.encode(bytes(100 << 20))
    assert len(bomb) < 20_000
    sealer = Sealer(KEYS, Kind.PACK)
    offset, _ = sealer.seal(bomb)
    with pytest.raises(RecordDamaged):
        PackReader(KEYS, sealer.header).record(offset, sealer.body[offset:])


# --- a machine that makes mistakes ---


def test_a_block_that_is_not_what_its_id_says_is_not_encoded() -> None:
    id_, _ = named(TEXT)
    with pytest.raises(EncodingFailed):
        PackWriter(KEYS).add(id_, noise(ALONE_BYTES))
    writer = PackWriter(KEYS)
    writer.add(id_, TEXT[:-1])
    with pytest.raises(EncodingFailed):
        writer.close()


@pytest.mark.parametrize("nth", [1, 2], ids=["record", "index"])
def test_a_bit_that_flips_while_it_is_encoded_ends_as_a_failure(monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    calls = iter(range(1, 9))
    encode = codec.encode

    def faulty(data: bytes) -> bytes:
        inside = bytearray(encode(data))
        inside[len(inside) // 2] ^= next(calls) == nth
        return bytes(inside)

    monkeypatch.setattr(pack_module, "encode", faulty)
    with pytest.raises(EncodingFailed):
        packed(noise(ALONE_BYTES))


# --- no key and nonce twice (I9) ---


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[bytes, bytes]]]:
    """Every (key, nonce) that something was encrypted under, in order."""
    used: list[tuple[bytes, bytes]] = []

    class Noting:
        def __init__(self, key: bytes) -> None:
            self._key = key
            self._aead = AESGCM(key)
            self.decrypt = self._aead.decrypt

        def encrypt_into(self, nonce: bytes, data: bytes, bound: bytes, place: memoryview) -> int:
            used.append((self._key, nonce))
            return self._aead.encrypt_into(nonce, data, bound, place)

    monkeypatch.setattr(sealed, "AESGCM", Noting)
    yield used
    assert used


def test_no_key_and_nonce_is_used_twice_also_after_crashes_and_retries(seen: list[tuple[bytes, bytes]]) -> None:
    """The same blocks again and again: in whole packs, in packs that a crash or a failure left half made."""
    blocks = [named(data) for data in (TEXT, noise(70_000), noise(300), noise(ALONE_BYTES, 3))]
    for lived in range(6):  # each time the core dies after so many blocks and begins anew
        writer = PackWriter(KEYS)
        for id_, data in blocks[:lived]:
            writer.add(id_, data)
        if lived > len(blocks) // 2:
            writer.close()
    failed = PackWriter(KEYS)
    for _ in range(3):  # a record that is refused, and whoever goes on all the same
        with pytest.raises(EncodingFailed):
            failed.add(BlockId(bytes(32)), noise(ALONE_BYTES))
    assert len(seen) >= 15
    assert len(set(seen)) == len(seen)


def test_a_writer_that_could_choose_its_salt_would_be_found_out(
    seen: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: with salts that repeat, as numbers counted anew after a crash would, the test above fails."""
    monkeypatch.setattr(os, "urandom", bytes)
    packed(TEXT)
    packed(noise(500))
    assert len(set(seen)) < len(seen)


def test_a_piece_that_could_not_be_sealed_does_not_give_its_nonce_back(
    seen: list[tuple[bytes, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    sealer = Sealer(KEYS, Kind.PACK)
    assert sealer.seal(b"one") == (HEADER_BYTES, 3 + 16)
    with pytest.raises(TypeError):
        sealer.seal("no bytes")  # type: ignore[arg-type]
    offset, _ = sealer.seal(b"two", Part.INDEX)
    assert len(seen) == 3
    assert len(set(seen)) == 3
    assert Opener(KEYS, sealer.header).open(offset, sealer.body[offset:], Part.INDEX) == b"two"


def test_whoever_goes_on_after_a_refused_block_is_told_so_at_the_end() -> None:
    writer = PackWriter(KEYS)
    with pytest.raises(EncodingFailed):
        writer.add(BlockId(bytes(32)), noise(ALONE_BYTES))
    writer.add(*named(TEXT))
    with pytest.raises(EncodingFailed, match="does not name every byte"):
        writer.close()


def test_references_of_a_pack_lie_one_behind_the_other() -> None:
    entries = SMALL_PACK.entries
    offsets = [(offset, next(iter(group)).length) for offset, group in groupby(entries, key=lambda entry: entry.offset)]
    ends = [HEADER_BYTES, *(offset + length for offset, length in offsets)]
    assert [offset for offset, _ in offsets] == ends[:-1]
    assert ends[-1] == len(BODY) - index_bytes(BODY)
    assert all(isinstance(entry, Entry) for entry in entries)
    assert SMALL_PACK.generation == Generation(1)
