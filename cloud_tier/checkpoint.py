"""Checkpoints: the whole database of a drive in the store, as of one log position. Pure: bytes in, bytes out.

The database file is cut into *parts* of 4 MiB, in its order. A part is named by keyed BLAKE3 of its plaintext and is an
object of its own; a checkpoint is a *manifest* that lists them. A part that has not changed since the last checkpoint
is not sent again, so a checkpoint costs what has changed.

    part      header (64 bytes, clear) | one piece: codec.encode of the bytes
    manifest  header (64 bytes, clear) | one piece: codec.encode of a msgpack map

`digest` is that of the log entry at `position`: the entries behind continue from it.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import msgpack
from blake3 import blake3

from cloud_tier.codec import Undecodable, decode, encode
from cloud_tier.errors import CheckpointDamaged, EncodingFailed, SealedError
from cloud_tier.keys import DriveKeys, derive
from cloud_tier.object_store import Buffer
from cloud_tier.sealed import BrokenSeal, Kind, SealedObject, open_one, seal_one

PART_BYTES = 4 << 20
MOST_MANIFEST_BYTES = 256 << 20


class PartPlace(NamedTuple):
    """A part in the store: the fence and salt of its object, its id, and its length in plain bytes."""

    fence: int
    salt: bytes
    part_id: bytes
    length: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a checkpoint says."""

    position: int
    digest: bytes
    made_ns: int
    schema: int
    size_bytes: int
    parts: tuple[PartPlace, ...]


def part_key(keys: DriveKeys) -> bytes:
    """The key of part ids; fixed for the drive's life."""
    return derive(keys.secret, b"", b"checkpoint part")


def part_id(key: bytes, data: Buffer) -> bytes:
    """32 bytes that stand for these. `key`: from `part_key`."""
    return blake3(data, key=key).digest()


def seal_part(keys: DriveKeys, data: Buffer) -> SealedObject:
    """Raises EncodingFailed."""
    made = seal_one(keys, Kind.PART, encode(data))
    try:
        is_same = open_part(keys, made.body, part_id(part_key(keys), data)) == data
    except SealedError as error:
        raise EncodingFailed(f"a new part of a checkpoint does not open: {error}") from error
    if not is_same:
        raise EncodingFailed("a new part of a checkpoint is not what went in")
    return made


def open_part(keys: DriveKeys, body: Buffer, wanted: bytes) -> Buffer:
    """The part with id `wanted`. Raises SealedError."""
    data = _inside(keys, Kind.PART, body, PART_BYTES)
    if part_id(part_key(keys), data) != wanted:
        raise CheckpointDamaged("a part of a checkpoint is another one than its manifest names")
    return data


def seal_manifest(keys: DriveKeys, manifest: Manifest) -> SealedObject:
    """Raises EncodingFailed."""
    made = seal_one(keys, Kind.CHECKPOINT, encode(msgpack.packb(asdict(manifest))))
    try:
        is_same = open_manifest(keys, made.body) == manifest
    except SealedError as error:
        raise EncodingFailed(f"a new manifest of a checkpoint does not open: {error}") from error
    if not is_same:
        raise EncodingFailed("a new manifest of a checkpoint does not say what went in")
    return made


def open_manifest(keys: DriveKeys, body: Buffer) -> Manifest:
    """Raises SealedError."""
    inside = _inside(keys, Kind.CHECKPOINT, body, MOST_MANIFEST_BYTES)
    try:
        found: dict[str, Any] = msgpack.unpackb(inside)
        found["parts"] = tuple(PartPlace(*part) for part in found["parts"])
        return Manifest(**found)
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointDamaged(f"a manifest of a checkpoint cannot be read: {error}") from error


def _inside(keys: DriveKeys, kind: Kind, body: Buffer, most_bytes: int) -> Buffer:
    try:
        return decode(open_one(keys, kind, body), most_bytes)
    except (BrokenSeal, Undecodable) as error:
        raise CheckpointDamaged(f"a {kind.name.lower()} in the store is not what was written") from error
