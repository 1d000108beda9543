"""Wraps: the ways to open a drive. One wrap is one passphrase, one printed kit, or one machine's key file.

Each has a *wrap secret* of 32 bytes: Argon2id of the passphrase (RFC 9106), or random bytes that only the kit or the
key file holds. From it come the private half of an X25519 key pair (RFC 7748), whose public half stands in the ring,
and a key for the *secret box*.

- The **secret box** holds the drive's secret under a key that only the wrap's owner has, made once, when the wrap is.
  It proves the drive to him: keys that merely were sealed to his public half could come from anybody.
- The **generation box** holds all generation keys, sealed to the public half: an ephemeral key pair, X25519, HKDF,
  AES-256-GCM. Sealing needs nobody's secret, so a rotation asks for no passphrase and no kit is printed anew.

Each of these keys encrypts one message in its life, so their nonces are zero.
"""

import os
import unicodedata
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from cloud_tier.errors import RingDamaged
from cloud_tier.keys import KEY_BYTES, derive

SALT_BYTES = 16
PUBLIC_BYTES = 32
SECRET_BOX_BYTES = KEY_BYTES + 16

ONCE = bytes(12)
"""The nonce of a key that encrypts one message in its life."""


class WrapKind(IntEnum):
    """What a wrap secret comes from. On disk: do not change."""

    PASSPHRASE = 1
    KIT = 2
    MACHINE = 3


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What one guess at a passphrase costs; the default is the second choice of RFC 9106, 64 MiB."""

    memory_kib: int = 64 << 10
    passes: int = 3
    lanes: int = 4

    def is_sane(self) -> bool:
        """Whether it may be computed: the ring is read before it is proven, and could ask for all memory there is."""
        return 8 * self.lanes <= self.memory_kib <= 1 << 20 and 1 <= self.passes <= 32 and 1 <= self.lanes <= 16


NO_COST = Argon2Cost(0, 0, 0)
"""Of a wrap whose secret is random."""


@dataclass(frozen=True, slots=True)
class Lock:
    """What is needed to see whether a secret is that of a wrap, also of a revoked one."""

    number: int
    kind: WrapKind
    since_ns: int
    """When the wrap was made, or revoked."""
    public: bytes
    cost: Argon2Cost
    salt: bytes

    def secret_of(self, passphrase: str) -> bytes:
        """The wrap secret, if this is the passphrase. Takes a tenth of a second by design."""
        return passphrase_secret(passphrase, self.salt, self.cost)

    def is_opened_by(self, wrap_secret: bytes) -> bool:
        return public_half(wrap_secret) == self.public


@dataclass(frozen=True, slots=True)
class Wrap:
    """One wrap as a ring holds it."""

    lock: Lock
    secret_box: bytes
    ephemeral: bytes
    generation_box: bytes


def passphrase_secret(passphrase: str, salt: bytes, cost: Argon2Cost) -> bytes:
    """The wrap secret of a passphrase. Other keyboards write the same letters otherwise, so it is normalised (NFKC)."""
    text = unicodedata.normalize("NFKC", passphrase).encode()
    argon2 = Argon2id(
        salt=salt, length=KEY_BYTES, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    return argon2.derive(text)


def _private_half(wrap_secret: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(derive(wrap_secret, b"", b"wrap private half"))


def public_half(wrap_secret: bytes) -> bytes:
    return _private_half(wrap_secret).public_key().public_bytes_raw()


def make_secret_box(wrap_secret: bytes, drive_secret: bytes, bound: bytes) -> bytes:
    """The drive's secret for the owner of this wrap. `bound`: what it belongs to."""
    return AESGCM(derive(wrap_secret, b"", b"wrap secret box")).encrypt(ONCE, drive_secret, bound)


def open_secret_box(wrap_secret: bytes, box: bytes, bound: bytes) -> bytes:
    """Raises RingDamaged."""
    return _open(derive(wrap_secret, b"", b"wrap secret box"), box, bound)


@dataclass(frozen=True, slots=True)
class Sealing:
    """A generation box just made, with the ephemeral secret that must be forgotten once the box is proven."""

    ephemeral: X25519PrivateKey
    ephemeral_public: bytes
    box: bytes


def make_generation_box(public: bytes, generations: bytes, bound: bytes) -> Sealing:
    """Seal to the owner of this public half."""
    ephemeral = X25519PrivateKey.generate()
    sent = ephemeral.public_key().public_bytes_raw()
    return Sealing(ephemeral, sent, AESGCM(_agreed(ephemeral, public, sent, public)).encrypt(ONCE, generations, bound))


def open_generation_box(wrap_secret: bytes, sent: bytes, box: bytes, bound: bytes) -> bytes:
    """As the owner of the wrap does. Raises RingDamaged."""
    return _open(_agreed(_private_half(wrap_secret), sent, sent, public_half(wrap_secret)), box, bound)


def prove_generation_box(sealing: Sealing, public: bytes, sent: bytes, box: bytes, bound: bytes) -> bytes:
    """Open a box by the other side of the agreement: what comes out is what the wrap's owner will get.

    X25519 gives both sides the same: the ephemeral secret with the wrap's public half, and the wrap's private half with
    the ephemeral public half. So if the box opens here, with the ephemeral public half that the ring shows, it opens
    there. Raises RingDamaged.
    """
    if sealing.ephemeral.public_key().public_bytes_raw() != sent:
        raise RingDamaged("a new key ring does not show the ephemeral key that its box was made with")
    return _open(_agreed(sealing.ephemeral, public, sent, public), box, bound)


def _agreed(mine: X25519PrivateKey, theirs: bytes, sent: bytes, public: bytes) -> bytes:
    try:
        shared = mine.exchange(X25519PublicKey.from_public_bytes(theirs))
    except ValueError as error:  # a point of low order: nobody made that honestly
        raise RingDamaged("the key ring holds a public key that is none") from error
    return derive(shared, sent + public, b"wrap generation box")


def _open(key: bytes, box: bytes, bound: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(ONCE, box, bound)
    except InvalidTag:
        raise RingDamaged("a box of the key ring is not what was written: take another copy of the ring") from None


def fresh_secret() -> bytes:
    """A wrap secret for a kit or a key file."""
    return os.urandom(KEY_BYTES)
