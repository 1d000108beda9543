"""The key ring: its wraps open it, for ever, and nobody else does; nobody without the keys can make or change one."""

from dataclasses import replace

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from cloud_tier import keyring as keyring_module
from cloud_tier import ring_format, wraps
from cloud_tier.errors import (
    CloudError,
    EncodingFailed,
    KeysError,
    LastWrap,
    RingDamaged,
    RingRolledBack,
    UnknownFormat,
    WrapRevoked,
    WrongKit,
    WrongPassphrase,
)
from cloud_tier.keyring import KeyRing, RingHead, _made, _next_generation, _seal_key
from cloud_tier.keys import Generation
from cloud_tier.ring_format import encode_rows
from cloud_tier.wraps import Argon2Cost, Sealing, WrapKind

CHEAP = Argon2Cost(64, 1, 1)
NOW = 1_800_000_000_000_000_000
ANNA = "correct horse battery staple"


class Office:
    """A drive with a kit, a key file and a passphrase, made once: rings do not change."""

    def __init__(self) -> None:
        first, self.keys, self.kit = KeyRing.create(NOW)
        second, self.machine = first.add_secret(self.keys, WrapKind.MACHINE, "appliance", NOW)
        self.ring = second.add_passphrase(self.keys, ANNA, "Anna", NOW, CHEAP)
        self.before = second


OFFICE = Office()


def test_each_wrap_opens_the_same_keys() -> None:
    ring = KeyRing.decode(OFFICE.ring.encode())
    assert ring.open_with_passphrase(ANNA) == OFFICE.keys
    assert ring.open_with_secret(OFFICE.kit) == OFFICE.keys
    assert ring.open_with_secret(OFFICE.machine) == OFFICE.keys
    assert [(each.number, each.kind, each.name) for each in ring.wraps(OFFICE.keys)] == [
        (1, WrapKind.KIT, "recovery kit"),
        (2, WrapKind.MACHINE, "appliance"),
        (3, WrapKind.PASSPHRASE, "Anna"),
    ]


def test_a_passphrase_typed_on_another_keyboard_is_the_same() -> None:
    ring = OFFICE.ring.add_passphrase(OFFICE.keys, "Gru\u0308n\u00a0ist die Ta\uff4ene", "Bernd", NOW, CHEAP)
    assert ring.open_with_passphrase("Gr\u00fcn ist die Tanne") == OFFICE.keys


def test_rotation_needs_no_secret_and_every_wrap_opens_the_new_ring() -> None:
    ring, keys = OFFICE.ring.rotate(OFFICE.keys, NOW)
    again, newest = ring.rotate(keys, NOW)
    assert newest.current == Generation(3)
    assert newest.block_key == OFFICE.keys.block_key
    assert OFFICE.keys.generations.items() < keys.generations.items() < newest.generations.items()
    for opened in (
        again.open_with_passphrase(ANNA),
        again.open_with_secret(OFFICE.kit),
        again.open_with_secret(OFFICE.machine),
    ):
        assert opened == newest


def test_revoking_shuts_out_one_wrap_and_begins_a_generation_that_it_never_saw() -> None:
    ring, keys = OFFICE.ring.revoke(OFFICE.keys, 3, NOW)
    assert keys.current == Generation(2)
    with pytest.raises(WrapRevoked, match=r"this passphrase \(wrap 3\) was revoked"):
        ring.open_with_passphrase(ANNA)
    assert ring.open_with_secret(OFFICE.kit) == keys
    assert keys.generations[keys.current] not in OFFICE.keys.generations.values()
    assert [each.number for each in ring.wraps(keys)] == [1, 2]
    later, _ = ring.rotate(keys, NOW)
    with pytest.raises(WrapRevoked):
        later.open_with_passphrase(ANNA)


def test_numbers_of_wraps_are_never_used_again() -> None:
    ring, keys = OFFICE.ring.revoke(OFFICE.keys, 3, NOW)
    ring = ring.add_passphrase(keys, "another one", "Carla", NOW, CHEAP)
    assert [each.number for each in ring.wraps(keys)] == [1, 2, 4]


def test_a_revoked_kit_and_key_file_are_told_so() -> None:
    ring, keys = OFFICE.ring.revoke(OFFICE.keys, 1, NOW)
    with pytest.raises(WrapRevoked, match="this kit"):
        ring.open_with_secret(OFFICE.kit)
    ring, _ = ring.revoke(keys, 2, NOW)
    with pytest.raises(WrapRevoked, match="this key file"):
        ring.open_with_secret(OFFICE.machine)


def test_the_last_wrap_of_a_person_cannot_be_revoked() -> None:
    ring, keys = OFFICE.ring.revoke(OFFICE.keys, 3, NOW)
    with pytest.raises(LastWrap, match="add another one first"):
        ring.revoke(keys, 1, NOW)
    with pytest.raises(KeysError, match="there is no wrap 9"):
        ring.revoke(keys, 9, NOW)


def test_a_wrong_passphrase_and_a_kit_of_another_drive_are_refused() -> None:
    with pytest.raises(WrongPassphrase, match="check capitals"):
        OFFICE.ring.open_with_passphrase(ANNA.title())
    with pytest.raises(WrongKit, match=OFFICE.keys.drive_id.hex()):
        OFFICE.ring.open_with_secret(Office().kit)


# --- what the store's owner may try ---


@given(at=st.integers(0, len(OFFICE.ring.encode()) - 1), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(at: int, bit: int) -> None:
    body = bytearray(OFFICE.ring.encode())
    body[at] ^= 1 << bit
    with pytest.raises(CloudError):
        KeyRing.decode(bytes(body)).open_with_secret(OFFICE.kit)


def test_every_byte_of_a_ring_counts() -> None:
    for at in range(len(OFFICE.ring.encode())):
        body = bytearray(OFFICE.ring.encode())
        body[at] ^= 0x55
        with pytest.raises(CloudError):
            KeyRing.decode(bytes(body)).open_with_secret(OFFICE.machine)


@given(length=st.integers(0, len(OFFICE.ring.encode()) - 1))
def test_a_ring_cut_off_anywhere_is_refused(length: int) -> None:
    with pytest.raises(CloudError):
        KeyRing.decode(OFFICE.ring.encode()[:length]).open_with_secret(OFFICE.kit)


def test_a_ring_of_somebody_elses_keys_opens_nothing() -> None:
    """He seals keys of his own to our public halves: all he needs for that stands in the clear."""
    theirs = Office()
    forged_keys = replace(theirs.keys, drive_id=OFFICE.keys.drive_id)
    rows = replace(OFFICE.ring.rows, number=4)
    forged = _made(rows, forged_keys, {})
    with pytest.raises(RingDamaged):
        forged.open_with_secret(OFFICE.kit)
    with pytest.raises(RingDamaged):
        forged.open_with_passphrase(ANNA)


def test_somebody_revoked_cannot_come_back_into_a_ring_made_since() -> None:
    ring, _ = OFFICE.ring.revoke(OFFICE.keys, 3, NOW)
    rows = replace(ring.rows, wraps=(*ring.rows.wraps, OFFICE.ring.rows.wraps[2]))
    clear = encode_rows(replace(rows, wraps=ring.rows.wraps), 2)
    assert clear == ring.encode()[: ring.seal_at]
    box = ring.rows.wraps[0].generation_box  # any box of the right length
    wraps = (*ring.rows.wraps, replace(OFFICE.ring.rows.wraps[2], generation_box=box))
    body = encode_rows(replace(rows, wraps=wraps), 2) + ring.encode()[ring.seal_at :]
    with pytest.raises(RingDamaged, match="changed by somebody who does not hold the drive's keys"):
        KeyRing.decode(body).open_with_secret(OFFICE.kit)


def test_somebody_revoked_cannot_seal_a_ring_made_since() -> None:
    """He has the drive's secret; the seal wants the newest generation as well."""
    ring, _ = OFFICE.ring.revoke(OFFICE.keys, 3, NOW)
    his_keys = replace(OFFICE.keys, generations={**OFFICE.keys.generations, Generation(2): bytes(32)})
    clear = encode_rows(replace(ring.rows, revoked=()), 2)
    body = clear + AESGCM(_seal_key(his_keys, ring.rows)).encrypt(bytes(12), b'{"names": {}}', clear)
    with pytest.raises(RingDamaged, match="does not hold the drive's keys"):
        KeyRing.decode(body).open_with_secret(OFFICE.kit)


@pytest.mark.parametrize("own_key", [False, True], ids=["under his generation", "under one that he made"])
def test_a_ring_that_somebody_revoked_makes_is_not_taken_by_a_machine_that_knows_better(own_key: bool) -> None:
    """He has the drive's secret and the old generation, and can write to the store: for a stranger, his ring opens."""
    ring, keys = OFFICE.ring.revoke(OFFICE.keys, 3, NOW)
    his_keys = _next_generation(_next_generation(OFFICE.keys)) if own_key else OFFICE.keys
    rows = replace(
        ring.rows, number=ring.rows.number + 1, previous=ring.head.digest, current=his_keys.current, revoked=()
    )
    forged = _made(rows, his_keys, {})
    assert forged.open_with_secret(OFFICE.kit) == his_keys
    with pytest.raises(RingRolledBack):
        forged.open_after(ring, keys, OFFICE.machine)


def test_boxes_of_another_ring_of_the_same_drive_do_not_fit() -> None:
    ring, _ = OFFICE.ring.rotate(OFFICE.keys, NOW)
    old, new = OFFICE.ring.rows.wraps[0], ring.rows.wraps[0]
    assert len(old.generation_box) < len(new.generation_box)
    twin, _ = OFFICE.ring.rotate(OFFICE.keys, NOW)
    body = ring.encode().replace(new.generation_box, twin.rows.wraps[0].generation_box)
    body = body.replace(new.ephemeral, twin.rows.wraps[0].ephemeral)
    assert body != ring.encode()
    with pytest.raises(RingDamaged):
        KeyRing.decode(body).open_with_secret(OFFICE.kit)


def test_a_machine_that_knows_a_ring_takes_the_same_and_the_next_and_no_other() -> None:
    ring, keys = OFFICE.ring, OFFICE.keys
    assert ring.open_after(ring, keys, OFFICE.machine) == keys
    newer, newer_keys = ring.rotate(keys, NOW)
    assert newer.open_after(ring, keys, OFFICE.machine) == newer_keys
    fork, _ = ring.rotate(keys, NOW)
    beyond, _ = newer.rotate(newer_keys, NOW)
    for shown, known, held in ((ring, newer, newer_keys), (fork, newer, newer_keys), (beyond, ring, keys)):
        with pytest.raises(RingRolledBack, match="which does not continue ring"):
            shown.open_after(known, held, OFFICE.machine)
    assert ring.head == RingHead(3, blake3(ring.encode()).digest())


def test_nothing_secret_stands_in_a_ring() -> None:
    body = OFFICE.ring.encode()
    secrets = [OFFICE.kit, OFFICE.machine, OFFICE.keys.secret, OFFICE.keys.block_key, *OFFICE.keys.generations.values()]
    assert not any(secret in body for secret in (*secrets, b"Anna", b"appliance"))
    assert OFFICE.keys.secret.hex() not in repr(OFFICE.keys)


def test_a_ring_that_asks_for_all_memory_is_refused_before_it_gets_it() -> None:
    wrap = OFFICE.ring.rows.wraps[2]
    greedy = OFFICE.ring.encode().replace(CHEAP.memory_kib.to_bytes(4, "little"), b"\xff\xff\xff\x7f", 1)
    assert wrap.lock.cost == CHEAP
    with pytest.raises(RingDamaged):
        KeyRing.decode(greedy)


def test_a_newer_ring_and_something_else_are_told_apart() -> None:
    body = bytearray(OFFICE.ring.encode())
    body[8] = 9
    with pytest.raises(UnknownFormat, match="format version 9"):
        KeyRing.decode(bytes(body))
    with pytest.raises(UnknownFormat, match="not a key ring"):
        KeyRing.decode(b"something else")


# --- a machine that computes wrongly ---


def test_a_rotation_with_a_bad_box_ends_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    make = wraps.make_generation_box

    def faulty(public: bytes, generations: bytes, bound: bytes) -> Sealing:
        sealing = make(public, generations, bound)
        if public == OFFICE.ring.rows.wraps[1].lock.public:
            sealing = replace(sealing, box=bytes((sealing.box[0] ^ 1,)) + sealing.box[1:])
        return sealing

    monkeypatch.setattr(keyring_module, "make_generation_box", faulty)
    with pytest.raises(EncodingFailed, match="thrown away"):
        OFFICE.ring.rotate(OFFICE.keys, NOW)


def test_a_rotation_that_seals_to_another_key_ends_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    make = wraps.make_generation_box
    other = Office().ring.rows.wraps[0].lock.public
    monkeypatch.setattr(keyring_module, "make_generation_box", lambda _, *rest: make(other, *rest))
    with pytest.raises(EncodingFailed, match="thrown away"):
        OFFICE.ring.rotate(OFFICE.keys, NOW)


def test_a_rotation_that_loses_a_generation_ends_as_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    encode = ring_format.encode_generations
    monkeypatch.setattr(keyring_module, "encode_generations", lambda keys: encode({**keys, Generation(1): bytes(32)}))
    with pytest.raises(EncodingFailed, match="does not hold what it should"):
        OFFICE.ring.rotate(OFFICE.keys, NOW)
