"""Passwords of people: what is kept of one, and whether one is right.

Two things are kept (`SecretKind`): an Argon2id hash with its salt and cost beside it (RFC 9106, a PHC string), by which
the portal and the core ask; and the NT hash (MD4 of UTF-16LE), because SMB's NTLMv2 proves that somebody knows *that*
and nothing else. The second is worth as much as the password to whoever has it, and cannot be made slower: that is
Windows' protocol. Both leave the machine only inside the encrypted log; neither is ever answered or logged.
"""

import os
import unicodedata

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from appliance.errors import PassphraseRefused
from appliance.md4 import md4
from cloud_tier.keys import KEY_BYTES
from cloud_tier.wraps import SALT_BYTES, Argon2Cost
from vfs.people import SecretKind

LEAST_CHARACTERS, MOST_CHARACTERS = 8, 127  # the latter is what Windows' own dialog takes


def require_fit(password: str, name: str) -> str:
    """The password, unless it is too weak or no client could send it. `name`: whose. Raises PassphraseRefused."""
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS or len(set(password)) < LEAST_CHARACTERS // 2:
        raise PassphraseRefused(
            f"This password is too weak, or too long: it needs {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters,"
            f" {LEAST_CHARACTERS // 2} of them different. Nothing was changed."
        )
    if name in password.lower():
        raise PassphraseRefused("A password must not hold the name of its user. Nothing was changed.")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in password):
        raise PassphraseRefused("A password cannot hold control characters. Nothing was changed.")
    return password


def secrets_of(password: str, cost: Argon2Cost | None = None) -> dict[SecretKind, str]:
    """What is kept of a password. Takes a tenth of a second by design: call it in a thread."""
    cost = cost or Argon2Cost()
    argon2 = Argon2id(
        salt=os.urandom(SALT_BYTES),
        length=KEY_BYTES,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    return {
        SecretKind.ARGON2ID: argon2.derive_phc_encoded(_normal(password)),
        SecretKind.NT: md4(password.encode("utf-16-le")).hex().upper(),
    }


def is_right(password: str, argon2id: str) -> bool:
    """Whether this is the password that the PHC string was made of. Takes a tenth of a second: call it in a thread."""
    try:
        Argon2id.verify_phc_encoded(_normal(password), argon2id)
    except InvalidKey:
        return False
    return True


def _normal(password: str) -> bytes:
    # Other keyboards write the same letters otherwise (NFKC); clients of SMB send what was typed, so that one is not.
    return unicodedata.normalize("NFKC", password).encode()
