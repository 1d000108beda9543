"""Log entries and checkpoints: what goes in comes out, a chain shows what is missing, damage is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.drive_keys import drive_keys

from cloud_tier.checkpoint import (
    PART_BYTES,
    Manifest,
    PartPlace,
    open_manifest,
    open_part,
    part_id,
    part_key,
    seal_manifest,
    seal_part,
)
from cloud_tier.errors import CheckpointDamaged, LogDamaged, SealedError
from cloud_tier.log_entry import LogEntry
from cloud_tier.log_object import open_entries, seal_entries

KEYS = drive_keys()
VALUES = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.binary(max_size=40), st.text(max_size=20))
STATEMENTS = st.lists(
    st.tuples(st.sampled_from(["INSERT INTO a VALUES (?)", "DELETE FROM b", "UPDATE c"]), st.lists(VALUES, max_size=4))
)


def chain(count: int) -> list[LogEntry]:
    entries, before = [], bytes(32)
    for position in range(7, 7 + count):
        entries.append(LogEntry.make(position, position * 10**9, 2, before, [("INSERT INTO a VALUES (?)", [position])]))
        before = entries[-1].digest
    return entries


@settings(max_examples=50, deadline=None)
@given(STATEMENTS)
def test_an_entry_runs_the_same_statements_in_the_same_order(statements: list[tuple[str, list[object]]]) -> None:
    entry = LogEntry.parse(LogEntry.make(3, 4, 2, b"b" * 32, statements).body)
    assert [(sql, list(values)) for sql, values in entry.statements()] == statements
    assert (entry.position, entry.made_ns, entry.schema, entry.before) == (3, 4, 2, b"b" * 32)


def test_an_entry_names_the_one_before_it() -> None:
    first, second, third = chain(3)
    assert second.before == first.digest
    assert third.before == second.digest
    other = LogEntry.make(8, 0, 2, first.digest, [])
    assert other.digest != second.digest


@pytest.mark.parametrize("at", [0, 9, 12, 30, 60, -40, -1])
def test_an_entry_with_a_flipped_bit_is_refused(at: int) -> None:
    body = bytearray(chain(1)[0].body)
    body[at] ^= 4
    with pytest.raises(LogDamaged):
        LogEntry.parse(body)
    with pytest.raises(LogDamaged):
        LogEntry.parse(bytes(body[:20]))


def test_an_object_gives_its_entries_back_and_refuses_any_change() -> None:
    entries = chain(5)
    sealed = seal_entries(KEYS, entries)
    assert open_entries(KEYS, sealed.body) == entries
    for at in (0, 20, 70, len(sealed.body) - 1):
        body = bytearray(sealed.body)
        body[at] ^= 1
        with pytest.raises(SealedError):
            open_entries(KEYS, body)
    assert seal_entries(KEYS, entries).salt != sealed.salt  # no name stands for two encodings


def test_a_part_of_one_kind_is_not_taken_for_another() -> None:
    part, entries = seal_part(KEYS, b"x" * 100), seal_entries(KEYS, chain(1))
    with pytest.raises(LogDamaged):
        open_entries(KEYS, part.body)
    with pytest.raises(CheckpointDamaged):
        open_manifest(KEYS, part.body)
    with pytest.raises(CheckpointDamaged):
        open_part(KEYS, entries.body, bytes(32))


def test_a_checkpoint_comes_back_part_by_part() -> None:
    key, pieces = part_key(KEYS), [bytes(PART_BYTES), b"page" * 5000]
    sealed = [seal_part(KEYS, piece) for piece in pieces]
    places = tuple(
        PartPlace(1, one.salt, part_id(key, piece), len(piece)) for one, piece in zip(sealed, pieces, strict=True)
    )
    manifest = Manifest(9, b"d" * 32, 5, 2, sum(map(len, pieces)), places)
    assert open_manifest(KEYS, seal_manifest(KEYS, manifest).body) == manifest
    assert [open_part(KEYS, one.body, place.part_id) for one, place in zip(sealed, places, strict=True)] == pieces
    with pytest.raises(CheckpointDamaged):  # another part of the same drive in its place
        open_part(KEYS, sealed[0].body, places[1].part_id)
