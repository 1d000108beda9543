"""The keys of a drive, opened: what everything else derives its keys from.

- The *secret*, 32 random bytes, is made with the drive and fixed for its life. The key of block ids comes from it
  (other ids would end dedupe), and what proves the key ring and the drive's header.
- A *generation* is a random key that packs and log are sealed under. New objects take the current one; rotation adds
  one, and old objects keep theirs. A revoked person has the secret and the older generations, never a newer one.
- Each sealed object has a key of its own: HKDF-SHA256 (RFC 5869) of its generation's key, salted with the 32 random
  bytes that the object carries, for one kind of object. So counters may serve as nonces (`cloud_tier.sealed`).

Never printed: `repr` shows numbers only. Python cannot wipe memory; who reads the core's memory has the keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cloud_tier.errors import WrongKey

KEY_BYTES = 32
DRIVE_ID_BYTES = 16

DriveId = NewType("DriveId", bytes)
Generation = NewType("Generation", int)


def derive(secret: bytes, salt: bytes, purpose: bytes) -> bytes:
    """32 bytes by HKDF-SHA256. `purpose` reaches the disk by what it protects: do not change."""
    return HKDF(SHA256(), KEY_BYTES, salt, b"hybrid-drive 1 " + purpose).derive(secret)


@dataclass(frozen=True, slots=True, repr=False)
class DriveKeys:
    """What an opened key ring gives."""

    drive_id: DriveId
    secret: bytes
    generations: Mapping[Generation, bytes]
    current: Generation

    def object_key(self, generation: Generation, salt: bytes, kind: bytes) -> bytes:
        """The key of one sealed object. Raises WrongKey when the generation is not held."""
        try:
            key = self.generations[generation]
        except KeyError:
            raise WrongKey(
                f"this was sealed under key generation {generation}, and the keys at hand end with {self.current}; "
                f"fetch the newest key ring"
            ) from None
        return derive(key, salt, b"object " + kind)

    @property
    def block_key(self) -> bytes:
        """The key of block ids; fixed for the drive's life. Derive once and keep: this costs 10 µs."""
        return derive(self.secret, b"", b"block id")

    def __repr__(self) -> str:
        return f"DriveKeys(drive {self.drive_id.hex()}, generations {min(self.generations)} to {self.current})"
