"""Sealed objects: header, key, nonces and associated data, as packs, log entries and checkpoints share them.

An object is a header in clear and *pieces*, each one AES-256-GCM message. The rules by which no (key, nonce) is ever
used twice:

- Every encoding draws 32 fresh random bytes, its salt, when its `Sealer` is made. The salt is in the header, and the
  key of the object is derived from it. There is no way to seal under a salt of one's choice.
- The nonce is the byte offset of the piece in the object, and a `Sealer` only appends.
- Who has lost the bytes (a crash, a refused upload whose body is gone) encodes anew, with another `Sealer`, so under
  another salt and name. Who still has them sends the same bytes again.

The associated data repeats header and offset, so a piece opens only in its place in its object of its drive.
"""

import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloud_tier.errors import UnknownFormat, WrongDrive
from cloud_tier.keys import DriveId, DriveKeys, Generation
from cloud_tier.object_store import Buffer

MAGIC = b"HDsealed"
VERSION = 1
SALT_BYTES = 32
TAG_BYTES = 16

_HEADER = struct.Struct("<8sHHI16s32s")  # magic, version, kind, generation, drive, salt
_PLACE = struct.Struct("<QB")  # offset, part
HEADER_BYTES = _HEADER.size
_ZEROS = memoryview(bytes(1 << 20))


class Kind(IntEnum):
    """What a sealed object is. On disk: do not change."""

    PACK = 1
    LOG_ENTRY = 2
    CHECKPOINT = 3
    LEASE = 4
    PART = 5


class Part(IntEnum):
    """What a piece of an object is. On disk: do not change."""

    BODY = 0
    INDEX = 1


@dataclass(frozen=True, slots=True)
class Header:
    """The first 64 bytes of an object. With the salt as its id, it is all one must know to open any piece."""

    kind: Kind
    generation: Generation
    drive_id: DriveId
    salt: bytes

    def encode(self) -> bytes:
        return _HEADER.pack(MAGIC, VERSION, self.kind, self.generation, self.drive_id, self.salt)

    @classmethod
    def decode(cls, data: Buffer) -> "Header":
        """From an object's first bytes; nothing is proven yet. Raises UnknownFormat."""
        if len(data) < HEADER_BYTES:
            raise UnknownFormat(f"{len(data)} bytes are too few for an object of a drive")
        magic, version, kind, generation, drive_id, salt = _HEADER.unpack_from(data)
        if magic != MAGIC or kind not in list(Kind):
            raise UnknownFormat("this is not an object of a drive")
        if version != VERSION:
            raise UnknownFormat(f"this object has format version {version}; this program knows {VERSION}")
        return cls(Kind(kind), Generation(generation), DriveId(drive_id), salt)


class BrokenSeal(Exception):
    """A piece does not open here. Whoever knows what it is says so in words."""


class Opener:
    """Opens the pieces of one object. May be used by several threads at once."""

    def __init__(self, keys: DriveKeys, header: Header) -> None:
        """Raises WrongDrive, WrongKey."""
        if header.drive_id != keys.drive_id:
            raise WrongDrive(f"this belongs to drive {header.drive_id.hex()}, not to {keys.drive_id.hex()}")
        kind = header.kind.name.lower().encode()
        self._aead = AESGCM(keys.object_key(header.generation, header.salt, kind))
        self._bound = header.encode()[len(MAGIC) :]

    def open(self, offset: int, sealed: Buffer, part: Part = Part.BODY) -> bytes:
        """The plaintext of the piece at this byte of the object. Raises BrokenSeal."""
        try:
            return self._aead.decrypt(_nonce(offset), sealed, self._bound + _PLACE.pack(offset, part))
        except InvalidTag:
            raise BrokenSeal from None


class Sealer:
    """Makes one object. `body` is what there is of it: the header, and every piece in its place."""

    def __init__(self, keys: DriveKeys, kind: Kind) -> None:
        self.header = Header(kind, keys.current, keys.drive_id, os.urandom(SALT_BYTES))
        self.body = bytearray(self.header.encode())
        self._aead = AESGCM(keys.object_key(keys.current, self.header.salt, kind.name.lower().encode()))
        self._bound = self.header.encode()[len(MAGIC) :]

    def seal(self, plaintext: Buffer, part: Part = Part.BODY) -> tuple[int, int]:
        """Append the next piece, 16 bytes longer than its plaintext. Returns its offset and length."""
        offset, length = len(self.body), len(plaintext) + TAG_BYTES
        # Taken first: whatever fails from here on, this offset is not used again. In place, because pages that are new
        # to the process cost as much as the encryption.
        for done in range(0, length, len(_ZEROS)):
            self.body += _ZEROS[: length - done]
        with memoryview(self.body) as body, body[offset:] as place:
            self._aead.encrypt_into(_nonce(offset), plaintext, self._bound + _PLACE.pack(offset, part), place)
        return offset, length


class SealedObject(NamedTuple):
    """An object that is ready to be sent. `salt` is part of its name."""

    salt: bytes
    body: memoryview


def seal_one(keys: DriveKeys, kind: Kind, inside: Buffer) -> SealedObject:
    """An object of one piece."""
    sealer = Sealer(keys, kind)
    sealer.seal(inside)
    return SealedObject(sealer.header.salt, memoryview(sealer.body).toreadonly())


def open_one(keys: DriveKeys, kind: Kind, body: Buffer) -> bytes:
    """What is in an object of one piece. Raises BrokenSeal, UnknownFormat, WrongDrive, WrongKey."""
    header = Header.decode(body)
    if header.kind is not kind:
        raise BrokenSeal(f"this is no {kind.name.lower()} but a {header.kind.name.lower()}")
    return Opener(keys, header).open(HEADER_BYTES, memoryview(body)[HEADER_BYTES:])


def _nonce(offset: int) -> bytes:
    return offset.to_bytes(12, "little")
