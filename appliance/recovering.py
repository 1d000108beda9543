"""Bringing a drive back on an empty machine, from its store and something that opens it.

    step                                              died here → what the next `recover` does
    1 store: header, newest key ring; open it         the same
    2 the engine's part (`vfs.recovering`)            begins anew
    3 in the middle of it the lease, which names      takes over from this one
      the last entry that came back: from here on
      the machine that had the drive may only read
    4 a wrap for this machine, in a ring of the       the store has one more wrap than machines
      store; key file, ring, header, config
    5 `recovered.json`: what was behind               the same
    6 `layout`                                        there is a drive

Nothing else in the store is changed.
"""

import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from appliance.cloud_errors import cloud_told
from appliance.config_text import default_text
from appliance.durable import write_durably
from appliance.errors import ApplianceError, ConfigInvalid, Damaged, Locked
from appliance.figures import instant_text
from appliance.keys import Brought, brought_secret, machine_name
from appliance.leasing import claim_lease
from appliance.lock import holding
from appliance.making import PATIENCE, for_us_alone, make_folders
from appliance.places import LAYOUT, StatePlaces
from cachefs.disk import RealDisk
from cachefs.errors import CacheError
from cloud_tier.clock import Clock
from cloud_tier.drive_header import DriveHeader
from cloud_tier.errors import NothingToRecover, ObjectMissing
from cloud_tier.key_file import key_file_text
from cloud_tier.keyring import KeyRing
from cloud_tier.keys import DriveKeys
from cloud_tier.kit import parse_kit
from cloud_tier.lease import Lease, accepted_of, survey
from cloud_tier.object_names import DRIVE
from cloud_tier.object_store import ObjectStore
from cloud_tier.ring_store import newest_ring, put_ring
from cloud_tier.store_url import open_store, parse_store_url
from cloud_tier.wraps import WrapKind
from vfs.recovering import Recovered, bring_back

log = logging.getLogger(__name__)


class StillHeld(ApplianceError):
    """Somebody has the drive, and nobody said that this is over."""

    code = "refused"

    def __init__(self, lease: Lease) -> None:
        since = instant_text(datetime.fromtimestamp(lease.claimed_ns / 1e9, UTC))
        super().__init__(
            f"The drive belongs to the machine {lease.machine}, since {since}. If that machine is lost, or this one is "
            "to replace it, say so with --take-over: from then on it may only read. Nothing was made."
        )


@dataclass(frozen=True)
class Wanted:
    """What is to be recovered. `until_ns`: the newest state that is not younger; None for the newest."""

    store_url: str
    brought: Brought
    until_ns: int | None = None
    key_file: bool = True
    take_over: bool = False
    """Whether the machine that has the drive is lost for good."""
    say: Callable[[str], None] = lambda sentence: None
    """Hears, in a few words, what is being done."""


def store_of_kit(brought: Brought) -> str:
    """The address of the store, as the kit has it. Raises ApplianceError."""
    if brought.kit is not None:
        try:
            with cloud_told():
                url = parse_kit(brought.kit.read_text(encoding="utf-8", errors="replace")).store_url
        except OSError as error:
            raise Locked(f"The kit cannot be read from {brought.kit} ({error.strerror}); nothing was made.") from error
        if url:
            return url
    raise ConfigInvalid("Where is the drive's store? Give its address with --store; a kit has it in the line Store.")


async def recover(places: StatePlaces, wanted: Wanted, clock: Clock) -> Recovered:
    """Make the state directory of a drive from its store. Raises ApplianceError."""
    make_folders(places, RealDisk())
    with for_us_alone(), holding(places), cloud_told():
        opened = await open_store(parse_store_url(wanted.store_url), clock, create=False, policy=PATIENCE)
        try:
            return await _Recovery(places, wanted, clock, opened.store).run()
        except CacheError as error:
            raise Damaged(f"What came back from the store is no sound drive ({error})") from error
        finally:
            await opened.store.aclose()


class _Recovery:
    def __init__(self, places: StatePlaces, wanted: Wanted, clock: Clock, store: ObjectStore) -> None:
        self._places = places
        self._wanted = wanted
        self._clock = clock
        self._store = store
        self._disk = RealDisk()

    async def run(self) -> Recovered:
        places, wanted = self._places, self._wanted
        header, ring, keys = await self._unlock()
        leases = await survey(self._store, keys)
        if leases and not wanted.take_over:
            raise StillHeld(leases[-1])
        for stale in (places.layout, places.lease, places.lease_lost):
            stale.unlink(missing_ok=True)
        before = leases[-1].fence if leases else None

        async def claim(position: int) -> None:
            now_ns = self._clock.now_ns()
            await claim_lease(places, self._store, keys, self._disk, now_ns, take_over=before, accepted=position)

        found = await bring_back(
            places.state,
            self._store,
            keys,
            self._clock.now_ns(),
            until_ns=wanted.until_ns,
            accepted=accepted_of(leases),
            claim=claim,
            say=wanted.say,
        )
        await self._equip(header, ring, keys)
        told = [one._asdict() | {"path": os.fsdecode(one.path)} for one in found.behind]
        report = {"as_of_ns": found.as_of_ns, "left": found.left, "behind": told}
        write_durably(self._disk, places.recovered, json.dumps(report, indent=1, ensure_ascii=True) + "\n")
        write_durably(self._disk, places.layout, f"{LAYOUT}\n")
        return found

    async def _unlock(self) -> tuple[bytes, KeyRing, DriveKeys]:
        try:
            header = await self._store.get(DRIVE)
        except ObjectMissing:
            raise NothingToRecover("there is no drive in this store; look at its address") from None
        DriveHeader.peek(header)
        ring = await newest_ring(self._store)
        secret = await trio.to_thread.run_sync(self._secret, ring)
        keys = ring.open_with_secret(secret)
        DriveHeader.decode(keys, header)
        return header, ring, keys

    def _secret(self, ring: KeyRing) -> bytes:
        brought = self._wanted.brought
        secret = brought_secret(ring, brought)
        if secret is None:
            passphrase = brought.otherwise()
            if passphrase is None:
                raise Locked("Recovery needs the printed kit (--kit) or a passphrase; nothing was changed.")
            secret = ring.secret_of(passphrase)
        return secret

    async def _equip(self, header: bytes, ring: KeyRing, keys: DriveKeys) -> None:
        places, disk = self._places, self._disk
        with suppress(FileNotFoundError):
            places.key_file.unlink()
        if self._wanted.key_file:
            ring, secret = ring.add_secret(keys, WrapKind.MACHINE, machine_name(), self._clock.now_ns())
            await put_ring(self._store, ring)
            write_durably(disk, places.key_file, key_file_text(secret))
        write_durably(disk, places.key_ring, ring.encode())
        write_durably(disk, places.drive_header, header)
        if not places.config.exists():
            write_durably(disk, places.config, default_text(self._wanted.store_url))
