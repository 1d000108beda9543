"""The object `drive`: what is fixed for the life of a drive, in clear, and proven by its keys.

    magic "HDdriveh" | version u16 | drive id 16 | least, average, most u32 | made u64 ns | HMAC-SHA256 32

Whoever recovers reads it before he has keys, to be told which drive lies in the store; with the keys it is proven. The
chunker's parameters are here because other ones would end dedupe.
"""

import hmac
import struct
from dataclasses import dataclass

from cloud_tier.chunker import ChunkerParameters
from cloud_tier.errors import HeaderDamaged, UnknownFormat, WrongDrive
from cloud_tier.keys import DriveId, DriveKeys, derive

MAGIC = b"HDdriveh"
VERSION = 1

_CLEAR = struct.Struct("<8sH16sIIIQ")
_PROOF_BYTES = 32


@dataclass(frozen=True, slots=True)
class DriveHeader:
    """What the header says."""

    drive_id: DriveId
    chunker: ChunkerParameters
    made_ns: int

    def encode(self, keys: DriveKeys) -> bytes:
        cuts = self.chunker
        clear = _CLEAR.pack(
            MAGIC, VERSION, self.drive_id, cuts.least_bytes, cuts.average_bytes, cuts.most_bytes, self.made_ns
        )
        return clear + _proof(keys, clear)

    @classmethod
    def peek(cls, data: bytes) -> "DriveHeader":
        """Without keys: nothing is proven. Raises UnknownFormat, HeaderDamaged."""
        if data[:8] != MAGIC:
            raise UnknownFormat("this store holds something else than a drive")
        if len(data) >= 10 and (version := int.from_bytes(data[8:10], "little")) != VERSION:
            raise UnknownFormat(f"the drive in this store has format version {version}; this program knows {VERSION}")
        if len(data) != _CLEAR.size + _PROOF_BYTES:
            raise HeaderDamaged("the drive's header in the store is cut off or too long")
        _, _, drive_id, least, average, most, made_ns = _CLEAR.unpack_from(data)
        return cls(DriveId(drive_id), ChunkerParameters(least, average, most), made_ns)

    @classmethod
    def decode(cls, keys: DriveKeys, data: bytes) -> "DriveHeader":
        """Raises UnknownFormat, WrongDrive, HeaderDamaged."""
        header = cls.peek(data)
        if header.drive_id != keys.drive_id:
            raise WrongDrive(f"this store holds drive {header.drive_id.hex()}, the keys are of {keys.drive_id.hex()}")
        if not hmac.compare_digest(_proof(keys, data[: _CLEAR.size]), data[_CLEAR.size :]):
            raise HeaderDamaged("the drive's header in the store was damaged or changed by somebody without its keys")
        return header


def _proof(keys: DriveKeys, clear: bytes) -> bytes:
    return hmac.digest(derive(keys.secret, b"", b"drive header"), clear, "sha256")
