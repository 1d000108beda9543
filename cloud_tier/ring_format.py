"""The bytes of a key ring (docs/format.md). Reading them proves nothing; `cloud_tier.keyring` does."""

import struct
from dataclasses import dataclass

from cloud_tier.errors import RingDamaged, UnknownFormat
from cloud_tier.keys import DriveId, Generation
from cloud_tier.wraps import SECRET_BOX_BYTES, Argon2Cost, Lock, Wrap, WrapKind

MAGIC = b"HDkeyrng"
VERSION = 1
MOST_BYTES = 1 << 20

# magic, version, wraps, revoked, generations, number, current, time, drive, salt, digest of the ring before
_HEAD = struct.Struct("<8sHHHHIIQ16s32s32s")
_LOCK = struct.Struct("<IBQ32sIII16s")  # number, kind, time, public, memory, passes, lanes, salt
_WRAP = struct.Struct(f"<{SECRET_BOX_BYTES}s32s")  # secret box, ephemeral; the generation box follows
_GENERATION = struct.Struct("<I32s")
TAG_BYTES = 16


@dataclass(frozen=True, slots=True)
class RingRows:
    """What a ring says in clear."""

    drive_id: DriveId
    number: int
    current: Generation
    made_ns: int
    salt: bytes
    previous: bytes
    """BLAKE3 of the bytes of the ring before; 32 zeros in the first."""
    wraps: tuple[Wrap, ...]
    revoked: tuple[Lock, ...]


def encode_rows(rows: RingRows, generations: int) -> bytes:
    """Everything but the seal."""
    head = _HEAD.pack(
        MAGIC,
        VERSION,
        len(rows.wraps),
        len(rows.revoked),
        generations,
        rows.number,
        rows.current,
        rows.made_ns,
        rows.drive_id,
        rows.salt,
        rows.previous,
    )
    parts = [head]
    for wrap in rows.wraps:
        parts += [_lock_bytes(wrap.lock), _WRAP.pack(wrap.secret_box, wrap.ephemeral), wrap.generation_box]
    parts += map(_lock_bytes, rows.revoked)
    return b"".join(parts)


def decode_rows(data: bytes) -> tuple[RingRows, int]:
    """The rows, and where the seal begins. Raises UnknownFormat, RingDamaged."""
    if data[:8] != MAGIC or len(data) > MOST_BYTES:
        raise UnknownFormat("this is not a key ring")
    try:
        _, version, wraps, revoked, generations, number, current, made_ns, drive_id, salt, previous = _HEAD.unpack_from(
            data
        )
        if version != VERSION:
            raise UnknownFormat(f"the key ring has format version {version}; this program knows {VERSION}")
        at = _HEAD.size
        box_bytes = generations * _GENERATION.size + TAG_BYTES
        all_wraps = []
        for _ in range(wraps):
            lock = _lock(data, at)
            secret_box, ephemeral = _WRAP.unpack_from(data, at + _LOCK.size)
            at += _LOCK.size + _WRAP.size
            all_wraps.append(Wrap(lock, secret_box, ephemeral, data[at : at + box_bytes]))
            at += box_bytes
        all_revoked = [_lock(data, at + index * _LOCK.size) for index in range(revoked)]
        at += revoked * _LOCK.size
    except (struct.error, ValueError) as error:
        raise RingDamaged("the key ring is cut off or damaged: take another copy of it") from error
    rows = RingRows(
        DriveId(drive_id),
        number,
        Generation(current),
        made_ns,
        salt,
        previous,
        tuple(all_wraps),
        tuple(all_revoked),
    )
    return rows, at


def encode_generations(keys: dict[Generation, bytes]) -> bytes:
    """What a generation box holds."""
    return b"".join(_GENERATION.pack(number, key) for number, key in sorted(keys.items()))


def decode_generations(data: bytes) -> dict[Generation, bytes]:
    """Raises struct.error when it is not a whole number of keys."""
    return {Generation(number): key for number, key in _GENERATION.iter_unpack(data)}


def _lock_bytes(lock: Lock) -> bytes:
    cost = lock.cost
    return _LOCK.pack(
        lock.number, lock.kind, lock.since_ns, lock.public, cost.memory_kib, cost.passes, cost.lanes, lock.salt
    )


def _lock(data: bytes, at: int) -> Lock:
    number, kind, since_ns, public, memory_kib, passes, lanes, salt = _LOCK.unpack_from(data, at)
    cost = Argon2Cost(memory_kib, passes, lanes)
    if kind == WrapKind.PASSPHRASE and not cost.is_sane():
        raise ValueError("no sane cost")
    return Lock(number, WrapKind(kind), since_ns, public, cost, salt)
