"""The key ring: one small object from which whoever owns a wrap gets the drive's keys, and nobody else does.

Rings are numbered, and each holds the digest of the one before; a change of any kind makes the next ring. The bytes in
clear and the names of the wraps are sealed by a key from the drive's secret *and* the newest generation. So the store's
owner, who has neither, can add no wrap, move none from another ring or drive, and make no ring of his own that a wrap
would open; and who was revoked cannot touch a ring made since. What is left is an older ring, whole, and for somebody
revoked who can write to the store, a ring of his own that grows from one he knew. A machine that has seen the true one
takes neither (`open_after`): a ring must continue the one before, and hold every key that was there, of which he lacks
the newest. Who sees the drive for the first time cannot tell (docs/threat-model.md).

**A rotation ends by proving that every wrap opens the new ring**, without anybody's secret. The new ring is encoded and
decoded; then each generation box is opened by the ephemeral secret that made it (`prove_generation_box` says why this
is what the owner will see), and everything that binds a wrap to its owner (public half, salt, cost, secret box) must be
equal, byte for byte, to the ring before. That those fit the owner's secret was proven when the wrap was made, with the
secret at hand (`_new_wrap`), and again each time that he opened a ring. So by induction no rotation locks anybody out.

Pure: the caller keeps `encode()` in the store and on this machine, and opens what the store shows by `open_after`.
"""

import json
import os
import struct
from dataclasses import dataclass, replace
from typing import NamedTuple, NoReturn

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cloud_tier.errors import (
    EncodingFailed,
    LastWrap,
    NoSuchWrap,
    RingDamaged,
    RingRolledBack,
    WrapRevoked,
    WrongKit,
    WrongPassphrase,
)
from cloud_tier.keys import DRIVE_ID_BYTES, KEY_BYTES, DriveId, DriveKeys, Generation, derive
from cloud_tier.ring_format import RingRows, decode_generations, decode_rows, encode_generations, encode_rows
from cloud_tier.wraps import (
    NO_COST,
    ONCE,
    SALT_BYTES,
    Argon2Cost,
    Lock,
    Sealing,
    Wrap,
    WrapKind,
    fresh_secret,
    make_generation_box,
    make_secret_box,
    open_generation_box,
    open_secret_box,
    passphrase_secret,
    prove_generation_box,
    public_half,
)

RING_SALT_BYTES = 32
FIRST = Generation(1)


class RingHead(NamedTuple):
    """Which ring was seen last: its number and the BLAKE3 of its bytes."""

    number: int
    digest: bytes


class WrapInfo(NamedTuple):
    """One line of `keys list`."""

    number: int
    kind: WrapKind
    name: str
    made_ns: int


@dataclass(frozen=True, slots=True)
class KeyRing:
    """One ring. Never changed: whatever changes makes the next one."""

    rows: RingRows
    body: bytes
    """The whole ring as it lies in the store."""
    seal_at: int

    # --- bytes ---

    def encode(self) -> bytes:
        return self.body

    @classmethod
    def decode(cls, data: bytes) -> "KeyRing":
        """What it says is proven only when it is opened. Raises UnknownFormat, RingDamaged."""
        rows, seal_at = decode_rows(data)
        return cls(rows, data, seal_at)

    @property
    def head(self) -> RingHead:
        return RingHead(self.rows.number, blake3(self.body).digest())

    # --- opening ---

    def open_with_passphrase(self, passphrase: str) -> DriveKeys:
        """Raises what `secret_of` and `open_with_secret` raise, and takes as long."""
        return self.open_with_secret(self.secret_of(passphrase))

    def secret_of(self, passphrase: str) -> bytes:
        """The wrap secret that this passphrase gives.

        Takes a tenth of a second and 64 MiB for each passphrase of the ring: for a thread. Raises WrongPassphrase,
        WrapRevoked.
        """
        for wrap in self.rows.wraps:
            if wrap.lock.kind is WrapKind.PASSPHRASE:
                secret = wrap.lock.secret_of(passphrase)
                if wrap.lock.is_opened_by(secret):
                    return secret
        for lock in self.rows.revoked:
            if lock.kind is WrapKind.PASSPHRASE and lock.is_opened_by(lock.secret_of(passphrase)):
                _say_revoked(lock)
        raise WrongPassphrase("this passphrase does not open the drive; check capitals and the keyboard's language")

    def open_with_secret(self, wrap_secret: bytes) -> DriveKeys:
        """With the secret of a kit or of a key file. Raises WrongKit, WrapRevoked, RingDamaged."""
        for wrap in self.rows.wraps:
            if wrap.lock.is_opened_by(wrap_secret):
                return self._open(wrap, wrap_secret)
        for lock in self.rows.revoked:
            if lock.is_opened_by(wrap_secret):
                _say_revoked(lock)
        raise WrongKit(
            f"this key is sound but opens nothing in drive {self.rows.drive_id.hex()}: it belongs to another drive, "
            f"or was made after the state that this store shows"
        )

    def open_after(self, known: "KeyRing", held: DriveKeys, wrap_secret: bytes) -> DriveKeys:
        """As `open_with_secret`, on a machine that knows a ring and holds its keys: this one, or the next, or none.

        Where several rings came since, they are shown one after the other. Raises RingRolledBack, too.
        """
        seen = known.head
        follows = (self.rows.number, self.rows.previous) == (seen.number + 1, seen.digest)
        keys = self.open_with_secret(wrap_secret) if follows or self.head == seen else None
        if not keys or not held.generations.items() <= keys.generations.items():
            raise RingRolledBack(
                f"the store shows key ring {self.rows.number}, which does not continue ring {seen.number} that this "
                f"machine knows: somebody put an older state, or another one, into the store; nothing of it is used"
            )
        return keys

    def _open(self, wrap: Wrap, wrap_secret: bytes) -> DriveKeys:
        secret = open_secret_box(wrap_secret, wrap.secret_box, _bound_to_wrap(self.rows.drive_id, wrap.lock))
        boxed = open_generation_box(
            wrap_secret, wrap.ephemeral, wrap.generation_box, _bound_to_ring(self.rows, wrap.lock)
        )
        try:
            generations = decode_generations(boxed)
        except struct.error as error:
            raise RingDamaged("the key ring holds keys of another shape") from error
        keys = DriveKeys(self.rows.drive_id, secret, generations, self.rows.current)
        self._names(keys)  # the seal
        return keys

    def wraps(self, keys: DriveKeys) -> list[WrapInfo]:
        """All wraps, with the names that the store does not see. Raises RingDamaged."""
        names = self._names(keys)
        locks = [wrap.lock for wrap in self.rows.wraps]
        return [WrapInfo(lock.number, lock.kind, names.get(lock.number, ""), lock.since_ns) for lock in locks]

    def _names(self, keys: DriveKeys) -> dict[int, str]:
        key = _seal_key(keys, self.rows)
        try:
            notes = AESGCM(key).decrypt(ONCE, self.body[self.seal_at :], self.body[: self.seal_at])
        except InvalidTag:
            raise RingDamaged(
                f"key ring {self.rows.number} was damaged, or changed by somebody who does not hold the drive's keys; "
                f"nothing of it is used: take another copy of it"
            ) from None
        return {int(number): name for number, name in json.loads(notes)["names"].items()}

    # --- changing ---

    @classmethod
    def create(cls, now_ns: int, *, name: str = "recovery kit") -> tuple["KeyRing", DriveKeys, bytes]:
        """A new drive: its first ring, its keys, and the secret of its first kit."""
        drive_id = DriveId(os.urandom(DRIVE_ID_BYTES))
        keys = DriveKeys(drive_id, os.urandom(KEY_BYTES), {FIRST: os.urandom(KEY_BYTES)}, FIRST)
        secret = fresh_secret()
        lock = Lock(1, WrapKind.KIT, now_ns, public_half(secret), NO_COST, bytes(SALT_BYTES))
        rows = RingRows(drive_id, 1, FIRST, now_ns, b"", bytes(32), (_new_wrap(keys, lock, secret),), ())
        made = _made(rows, keys, {1: name})
        made.open_with_secret(secret)
        return made, keys, secret

    def add_passphrase(
        self, keys: DriveKeys, passphrase: str, name: str, now_ns: int, cost: Argon2Cost | None = None
    ) -> "KeyRing":
        """The next ring, which opens with this passphrase too. Raises RingDamaged, EncodingFailed."""
        salt, cost = os.urandom(SALT_BYTES), cost or Argon2Cost()
        secret = passphrase_secret(passphrase, salt, cost)
        lock = Lock(self._next_number(), WrapKind.PASSPHRASE, now_ns, public_half(secret), cost, salt)
        made = self._with(keys, lock, secret, name, now_ns)
        if made.rows.wraps[-1].lock.secret_of(passphrase) != secret:
            raise EncodingFailed("the same passphrase gave two different keys: this machine computes wrongly")
        return made

    def add_secret(self, keys: DriveKeys, kind: WrapKind, name: str, now_ns: int) -> tuple["KeyRing", bytes]:
        """The next ring, and the secret of a new kit or key file that opens it too."""
        secret = fresh_secret()
        lock = Lock(self._next_number(), kind, now_ns, public_half(secret), NO_COST, bytes(SALT_BYTES))
        return self._with(keys, lock, secret, name, now_ns), secret

    def rotate(self, keys: DriveKeys, now_ns: int) -> tuple["KeyRing", DriveKeys]:
        """The next ring, with a new generation for everything that is written from now on."""
        newer = _next_generation(keys)
        return self._next(newer, self.rows.wraps, self.rows.revoked, self._names(keys), now_ns), newer

    def revoke(self, keys: DriveKeys, number: int, now_ns: int) -> tuple["KeyRing", DriveKeys]:
        """The next ring, which this wrap does not open, and a new generation, which it never saw.

        Raises NoSuchWrap, LastWrap when no person could open the drive any more.
        """
        gone = [wrap.lock for wrap in self.rows.wraps if wrap.lock.number == number]
        if not gone:
            raise NoSuchWrap(f"there is no wrap {number}; `hybrid-drive keys list` shows them")
        left = tuple(wrap for wrap in self.rows.wraps if wrap.lock.number != number)
        if not any(wrap.lock.kind is not WrapKind.MACHINE for wrap in left):
            raise LastWrap("that is the last passphrase or kit; add another one first, or nobody could open the drive")
        names = {known: name for known, name in self._names(keys).items() if known != number}
        revoked = (*self.rows.revoked, replace(gone[0], since_ns=now_ns))
        newer = _next_generation(keys)
        return self._next(newer, left, revoked, names, now_ns), newer

    def _next_number(self) -> int:
        return 1 + max(lock.number for lock in (*(wrap.lock for wrap in self.rows.wraps), *self.rows.revoked))

    def _with(self, keys: DriveKeys, lock: Lock, secret: bytes, name: str, now_ns: int) -> "KeyRing":
        wraps = (*self.rows.wraps, _new_wrap(keys, lock, secret))
        made = self._next(keys, wraps, self.rows.revoked, {**self._names(keys), lock.number: name}, now_ns)
        made.open_with_secret(secret)
        return made

    def _next(
        self, keys: DriveKeys, wraps: tuple[Wrap, ...], revoked: tuple[Lock, ...], names: dict[int, str], now_ns: int
    ) -> "KeyRing":
        rows = RingRows(
            self.rows.drive_id, self.rows.number + 1, keys.current, now_ns, b"", self.head.digest, wraps, revoked
        )
        return _made(rows, keys, names)


def _made(rows: RingRows, keys: DriveKeys, names: dict[int, str]) -> KeyRing:
    """Seal the generations to every wrap, seal the ring, and prove it."""
    generations = encode_generations(dict(keys.generations))
    rows = replace(rows, salt=os.urandom(RING_SALT_BYTES))
    sealings = [
        make_generation_box(wrap.lock.public, generations, _bound_to_ring(rows, wrap.lock)) for wrap in rows.wraps
    ]
    boxed = (
        replace(wrap, ephemeral=sealing.ephemeral_public, generation_box=sealing.box)
        for wrap, sealing in zip(rows.wraps, sealings, strict=True)
    )
    before, rows = rows, replace(rows, wraps=tuple(boxed))
    clear = encode_rows(rows, len(keys.generations))
    notes = json.dumps({"names": names}).encode()
    made = KeyRing.decode(clear + AESGCM(_seal_key(keys, rows)).encrypt(ONCE, notes, clear))
    _prove(made, before, sealings, keys, names)
    return made


def _prove(made: KeyRing, before: RingRows, sealings: list[Sealing], keys: DriveKeys, names: dict[int, str]) -> None:
    try:
        is_whole = made._names(keys) == names and made.rows.revoked == before.revoked
        for wrap, old, sealing in zip(made.rows.wraps, before.wraps, sealings, strict=True):
            boxed = prove_generation_box(
                sealing, wrap.lock.public, wrap.ephemeral, wrap.generation_box, _bound_to_ring(made.rows, wrap.lock)
            )
            is_whole &= decode_generations(boxed) == keys.generations
            is_whole &= (wrap.lock, wrap.secret_box) == (old.lock, old.secret_box)
    except RingDamaged as error:
        raise EncodingFailed(f"the new key ring does not open, and is thrown away: {error}") from error
    if not is_whole:
        raise EncodingFailed("the new key ring does not hold what it should, and is thrown away")


def _new_wrap(keys: DriveKeys, lock: Lock, wrap_secret: bytes) -> Wrap:
    bound = _bound_to_wrap(keys.drive_id, lock)
    return Wrap(lock, make_secret_box(wrap_secret, keys.secret, bound), bytes(32), b"")


def _next_generation(keys: DriveKeys) -> DriveKeys:
    number = Generation(max(keys.generations) + 1)
    return replace(keys, generations={**keys.generations, number: os.urandom(KEY_BYTES)}, current=number)


def _seal_key(keys: DriveKeys, rows: RingRows) -> bytes:
    try:
        newest = keys.generations[rows.current]
    except KeyError:
        raise RingDamaged("the key ring names a generation that it does not hold") from None
    return derive(keys.secret + newest, rows.salt, b"key ring")


def _bound_to_wrap(drive_id: DriveId, lock: Lock) -> bytes:
    return b"".join((drive_id, struct.pack("<IB", lock.number, lock.kind), lock.public))


def _bound_to_ring(rows: RingRows, lock: Lock) -> bytes:
    return b"".join((rows.drive_id, struct.pack("<II", rows.number, lock.number), rows.salt))


def _say_revoked(lock: Lock) -> NoReturn:
    what = {WrapKind.PASSPHRASE: "passphrase", WrapKind.KIT: "kit", WrapKind.MACHINE: "key file"}[lock.kind]
    raise WrapRevoked(f"this {what} (wrap {lock.number}) was revoked and opens the drive no more; use another one")
