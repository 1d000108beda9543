"""The keys of a drive on this machine: how they are opened at a start, and everything that changes them.

The state directory has what opens the drive without its store: a copy of the newest key ring (`key-ring`), of the
drive's header (`drive-header`), and, unless the owner did not want it, the key file (`key`). Nothing else here holds a
secret, and nothing is ever logged.

A change makes the next ring, in this order:

    step                                    died here → what is left, who goes on
    1 follow the store's rings              nothing
    2 put `keys/NNNNNN`, create-only        the store is ahead of this machine; the next start, or change, follows
    3 save the copy of the ring             done
    4 write the key file, if it is another  the old one opens the new ring as well

Step 4 is needed only when the wrap of this machine is revoked: then a new wrap is added first, by all four steps, and
the old one is revoked by a change of its own. So there is no moment at which the key file opens nothing.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from appliance.durable import write_durably
from appliance.errors import Damaged, Locked
from appliance.passphrases import VARIABLE
from appliance.places import StatePlaces
from cachefs.disk import Disk, RealDisk
from cloud_tier.drive_header import DriveHeader
from cloud_tier.errors import KitDamaged
from cloud_tier.key_file import key_file_text, read_key_file
from cloud_tier.keyring import KeyRing, WrapInfo
from cloud_tier.keys import DriveKeys
from cloud_tier.kit import Kit, parse_kit
from cloud_tier.object_store import ObjectStore
from cloud_tier.ring_store import follow, put_ring
from cloud_tier.store_url import StoreUrl
from cloud_tier.wraps import Argon2Cost, WrapKind
from vfs.seal_pass import Names


@dataclass(frozen=True)
class Brought:
    """What somebody brings to open a drive. `passphrase` and `kit` are taken instead of the key file."""

    passphrase: str | None = None
    kit: Path | None = None
    otherwise: Callable[[], str | None] = lambda: None
    """Asked for a passphrase when there is no key file either."""


class Keys:
    """The opened keys of one drive. The caller holds the state's lock. Only one change runs at a time."""

    def __init__(
        self, places: StatePlaces, ring: KeyRing, header: bytes, wrap_secret: bytes, disk: Disk | None = None
    ) -> None:
        """Raises WrongKit, WrapRevoked, RingDamaged, WrongDrive, HeaderDamaged, UnknownFormat."""
        self._places = places
        self._disk = disk or RealDisk()
        self._wrap_secret = wrap_secret
        self._turn = trio.Lock()
        self.ring = ring
        self.held: DriveKeys = ring.open_with_secret(wrap_secret)
        """New objects are sealed with its current generation; replaced by another when the keys are rotated."""
        self.header_bytes = header
        self.header = DriveHeader.decode(self.held, header)

    @classmethod
    def open(cls, places: StatePlaces, brought: Brought) -> "Keys":
        """By what was brought, or by the key file. Without the store; takes a tenth of a second with a passphrase.

        Raises Locked, Damaged, KeysError, SealedError.
        """
        ring = KeyRing.decode(_copy(places.key_ring, "the last of keys/"))
        header = _copy(places.drive_header, "drive")
        return cls(places, ring, header, _wrap_secret(places, ring, brought))

    @property
    def names(self) -> Names:
        """How blocks are cut and named: fixed for the drive's life."""
        return Names(self.held.block_key, self.header.chunker)

    def wraps(self) -> list[WrapInfo]:
        """All ways to open the drive."""
        return self.ring.wraps(self.held)

    async def follow(self, store: ObjectStore) -> None:
        """Take the rings that came since, or refuse what the store shows.

        Raises StoreTaken, RingRolledBack, WrapRevoked, RingDamaged, StoreError.
        """
        async with self._turn:
            await self._follow(store)

    async def add_passphrase(
        self, store: ObjectStore, passphrase: str, name: str, now_ns: int, cost: Argon2Cost | None = None
    ) -> None:
        """Let this passphrase open the drive, too. Whether it is strong enough is the caller's to say."""

        def change() -> tuple[KeyRing, DriveKeys]:
            return self.ring.add_passphrase(self.held, passphrase, name, now_ns, cost), self.held

        async with self._turn:
            await self._change(store, change)

    async def rotate(self, store: ObjectStore, now_ns: int) -> None:
        """Seal everything from now on under a new generation. All wraps stay."""
        async with self._turn:
            await self._change(store, lambda: self.ring.rotate(self.held, now_ns))

    async def revoke(self, store: ObjectStore, number: int, now_ns: int) -> None:
        """Let a wrap open nothing that is written from now on. Raises NoSuchWrap, LastWrap."""
        async with self._turn:
            self.ring.revoke(self.held, number, now_ns)  # refuses before anything is changed
            mine = next((wrap.lock for wrap in self.ring.rows.wraps if wrap.lock.is_opened_by(self._wrap_secret)), None)
            if mine is not None and mine.number == number and mine.kind is WrapKind.MACHINE:
                await self._renew_key_file(store, now_ns)
            await self._change(store, lambda: self.ring.revoke(self.held, number, now_ns))

    async def new_kit(self, store: ObjectStore, url: StoreUrl, now_ns: int, name: str = "recovery kit") -> Kit:
        """One more kit; the others stay good."""
        secret = b""

        def change() -> tuple[KeyRing, DriveKeys]:
            nonlocal secret
            ring, secret = self.ring.add_secret(self.held, WrapKind.KIT, name, now_ns)
            return ring, self.held

        async with self._turn:
            await self._change(store, change)
        return kit_of(secret, self.held, url, now_ns)

    async def _renew_key_file(self, store: ObjectStore, now_ns: int) -> None:
        secret = b""

        def change() -> tuple[KeyRing, DriveKeys]:
            nonlocal secret
            ring, secret = self.ring.add_secret(self.held, WrapKind.MACHINE, machine_name(), now_ns)
            return ring, self.held

        await self._change(store, change)
        await trio.to_thread.run_sync(write_durably, self._disk, self._places.key_file, key_file_text(secret))
        self._wrap_secret = secret

    async def _change(self, store: ObjectStore, change: Callable[[], tuple[KeyRing, DriveKeys]]) -> None:
        await self._follow(store)
        ring, held = await trio.to_thread.run_sync(change)
        await put_ring(store, ring)
        await self._save(ring)
        self.ring, self.held = ring, held

    async def _follow(self, store: ObjectStore) -> None:
        ring, held = await follow(store, self.ring, self.held, self._wrap_secret, self.header_bytes)
        if ring is not self.ring:
            await self._save(ring)
            self.ring, self.held = ring, held

    async def _save(self, ring: KeyRing) -> None:
        write = partial(write_durably, self._disk, self._places.key_ring, ring.encode())
        await trio.to_thread.run_sync(write)


def kit_of(secret: bytes, held: DriveKeys, url: StoreUrl, now_ns: int) -> Kit:
    """The kit that holds this wrap secret."""
    return Kit(secret, held.drive_id, str(url), datetime.fromtimestamp(now_ns / 1e9, UTC).strftime("%Y-%m-%d"))


def machine_name() -> str:
    """What the wrap of this machine is called in the ring."""
    return f"key file of {socket.gethostname()}"


def brought_secret(ring: KeyRing, brought: Brought) -> bytes | None:
    """The wrap secret of what was brought by name; None when nothing was. Raises KeysError."""
    if brought.kit is not None:
        try:
            return parse_kit(brought.kit.read_text(encoding="utf-8", errors="replace")).secret
        except OSError as error:
            raise KitDamaged(f"the kit cannot be read from {brought.kit} ({error.strerror})") from error
    return ring.secret_of(brought.passphrase) if brought.passphrase is not None else None


def _wrap_secret(places: StatePlaces, ring: KeyRing, brought: Brought) -> bytes:
    secret = brought_secret(ring, brought)
    if secret is not None:
        return secret
    if places.key_file.is_symlink() | places.key_file.exists():
        return read_key_file(places.key_file)
    passphrase = brought.otherwise()
    if passphrase is None:
        raise Locked(
            f"The drive in {places.state} has no key file, so it opens with a passphrase only; give one with "
            f"--passphrase-file or ${VARIABLE}. Nothing was changed."
        )
    return ring.secret_of(passphrase)


def _copy(path: Path, where: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path} cannot be read ({error.strerror}); the store has the newest as {where}") from error
