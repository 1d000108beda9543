"""Making a drive: its state directory, its store, its keys and its kit; and giving keys to a drive that has none.

In this order, so that wherever it dies the next `init` makes the drive, and nothing that was shown to anybody is lost:

    step                                        died here → what the next one does
    1 folders, lock                             uses them
    2 store: open or make, look, probe          the same again; a store with something in it is refused, untouched
    3 `config.toml`; new keys: `drive-header`,  the store knows nothing of them: makes others in their place
      `key-ring`, `key`
    4 `drive` into the store, create-only       finds its own header there: opens the ring of step 3 and goes on,
                                                with a new kit, because nobody has seen the first one
    5 `keys/NNNNNN` into the store              the same; its rings have higher numbers
    6 `lease`, then `lease/000001` into the     goes on with the claim that was begun
      store, create-only
    7 the engine's part                         keeps it
    8 the kit goes out                          as 4: the kit that is out is revoked, and a new one goes out
    9 `layout`                                  there is a drive

Rings are saved here first and put then, unlike in a change (`appliance.keys`): a ring that only the store had, nobody
could open. The number of the first ring in a store is that of the wraps that the drive began with.

A drive of layout 1 has no keys. It gets them by steps 2 to 9 at its next start; its files stay as they are, and begin
to be named by content.
"""

import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

from appliance.assemble import make_state
from appliance.cloud_errors import cloud_told
from appliance.config_reading import parse_config, read_config
from appliance.config_text import default_text
from appliance.durable import make_folder_durably, write_durably
from appliance.errors import ConfigInvalid, DiskFull, NoRights
from appliance.keys import kit_of, machine_name
from appliance.leasing import claim_lease
from appliance.lock import holding
from appliance.places import LAYOUT, StatePlaces
from appliance.store_link import store_url
from cachefs.disk import Disk, RealDisk
from cloud_tier.chunker import ChunkerParameters
from cloud_tier.clock import Clock, SystemClock
from cloud_tier.drive_header import DriveHeader
from cloud_tier.errors import KeyFileRefused, KeysError
from cloud_tier.key_file import key_file_text, read_key_file
from cloud_tier.keyring import KeyRing
from cloud_tier.keys import DriveKeys
from cloud_tier.kit import Kit
from cloud_tier.object_store import ObjectStore
from cloud_tier.probe import probe
from cloud_tier.retrying import RetryPolicy
from cloud_tier.ring_store import drive_of, put_header, put_ring, say_taken
from cloud_tier.store_url import StoreUrl, open_store
from cloud_tier.wraps import Argon2Cost, WrapKind

PATIENCE = RetryPolicy(deadline_s=20.0)
"""Somebody waits at the terminal."""

Opener = Callable[[StoreUrl, Clock], AbstractAsyncContextManager[ObjectStore]]


@dataclass(frozen=True)
class Wishes:
    """What the owner wants."""

    give_kit: Callable[[Kit], None]
    """Called when all but the last step is done. What it raises ends the making, and the next one goes on."""
    store_url: str = ""
    passphrase: str | None = None
    passphrase_name: str = "passphrase"
    key_file: bool = True
    cost: Argon2Cost | None = None


async def make_drive(
    places: StatePlaces,
    wishes: Wishes,
    *,
    disk: Disk | None = None,
    vfs: str | None = None,
    clock: Clock | None = None,
    opening: Opener | None = None,
) -> None:
    """Make a drive, or go on where a making that died had stopped. Raises ApplianceError.

    Files are made by `disk`, the database through SQLite's `vfs`, the store by `opening`.
    """
    disk = disk or RealDisk()
    make_folders(places, disk)
    with for_us_alone(), holding(places):
        text = _configuration(places, wishes)
        await _equip(places, text, wishes, disk, vfs, clock or SystemClock(), opening or open_for_making)


async def give_keys(places: StatePlaces, wishes: Wishes) -> None:
    """Give a drive of layout 1 a store and keys. The caller holds the lock. Raises ApplianceError."""
    with for_us_alone():
        await _equip(places, _configuration(places, wishes), wishes, RealDisk(), None, SystemClock(), open_for_making)


@asynccontextmanager
async def open_for_making(url: StoreUrl, clock: Clock) -> AsyncIterator[ObjectStore]:
    """The store at `url`; a folder becomes one if it is empty."""
    opened = await open_store(url, clock, create=True, policy=PATIENCE)
    try:
        yield opened.store
    finally:
        await opened.store.aclose()


async def _equip(
    places: StatePlaces,
    configuration: str,
    wishes: Wishes,
    disk: Disk,
    vfs: str | None,
    clock: Clock,
    opening: Opener,
) -> None:
    """Steps 2 to 9."""
    url = store_url(places, parse_config(configuration))
    with cloud_told():
        async with opening(url, clock) as store:
            found, can_create = await _look(places, store)
            if not places.config.exists() or places.config.read_text() != configuration:
                write_durably(disk, places.config, configuration)
            prepare = _new_keys if found is None else _keys_begun
            begun = prepare(places, wishes, disk, clock.now_ns())
            await put_header(store, begun.header)
            await put_ring(store, begun.ring)
            await claim_lease(places, store, begun.held, disk, clock.now_ns(), can_create=can_create)
    with suppress(FileExistsError):
        make_state(places.state, disk, vfs)
    wishes.give_kit(kit_of(begun.kit_secret, begun.held, url, clock.now_ns()))
    write_durably(disk, places.layout, f"{LAYOUT}\n")


@dataclass(frozen=True)
class _Begun:
    """What lies in the state directory after step 3, and the secret of the kit, which does not."""

    header: bytes
    ring: KeyRing
    held: DriveKeys
    kit_secret: bytes


async def _look(places: StatePlaces, store: ObjectStore) -> tuple[bytes | None, bool]:
    """The header in the store, which a making that died had put there; None when the store is free, and can do it all.
    And whether it can create-only.

    Raises StoreTaken, StoreMisconfigured.
    """
    found = await drive_of(store)
    if found is not None and (not places.drive_header.exists() or places.drive_header.read_bytes() != found):
        raise say_taken(found)
    return found, (await probe(store)).conditional_create


def _configuration(places: StatePlaces, wishes: Wishes) -> str:
    """What config.toml is to hold: what it holds, or the defaults with the wished store.

    Raises ConfigInvalid when it names another store, unless an `init` wrote that which did not end.
    """
    fresh = default_text(wishes.store_url)
    parse_config(fresh)
    if not places.config.exists():
        return fresh
    named = read_config(places.config).store.url
    text = places.config.read_text()
    if wishes.store_url in ("", named):
        return text
    if text == default_text(named):
        return fresh
    raise ConfigInvalid(
        f"{places.config} names another store ({named or 'the folder STATE/store'}); nothing was changed. "
        f"Leave --store out, or put the address into that file."
    )


def _new_keys(places: StatePlaces, wishes: Wishes, disk: Disk, now_ns: int) -> _Begun:
    ring, held, kit_secret = KeyRing.create(now_ns)
    if places.lease.exists():  # of keys that nobody has ever had
        disk.unlink(places.lease)
    header = DriveHeader(held.drive_id, ChunkerParameters(), now_ns).encode(held)
    machine = None
    if wishes.key_file:
        ring, machine = ring.add_secret(held, WrapKind.MACHINE, machine_name(), now_ns)
    if wishes.passphrase is not None:
        ring = ring.add_passphrase(held, wishes.passphrase, wishes.passphrase_name, now_ns, wishes.cost)
    write_durably(disk, places.drive_header, header)
    write_durably(disk, places.key_ring, ring.encode())
    if machine is not None:
        write_durably(disk, places.key_file, key_file_text(machine))
    elif places.key_file.exists():
        disk.unlink(places.key_file)
    return _Begun(header, ring, held, kit_secret)


def _keys_begun(places: StatePlaces, wishes: Wishes, disk: Disk, now_ns: int) -> _Begun:
    """Of a making that died after step 4: opened, with a new kit, and with whatever else is wished and not there.

    A key file that is not wished any more stays: its owner may revoke it.
    """
    ring = KeyRing.decode(places.key_ring.read_bytes())
    mine = _opening_secret(places, ring, wishes)
    held = ring.open_with_secret(mine)
    before = {wrap.lock.number for wrap in ring.rows.wraps if not wrap.lock.is_opened_by(mine)}
    if wishes.passphrase is not None:
        try:
            opened_by = ring.secret_of(wishes.passphrase)
            before -= {wrap.lock.number for wrap in ring.rows.wraps if wrap.lock.is_opened_by(opened_by)}
        except KeysError:
            ring = ring.add_passphrase(held, wishes.passphrase, wishes.passphrase_name, now_ns, wishes.cost)
    machine = None
    if wishes.key_file and not places.key_file.exists():
        ring, machine = ring.add_secret(held, WrapKind.MACHINE, machine_name(), now_ns)
    ring, kit_secret = ring.add_secret(held, WrapKind.KIT, "recovery kit", now_ns)
    for number in sorted(before):
        ring, held = ring.revoke(held, number, now_ns)
    write_durably(disk, places.key_ring, ring.encode())
    if machine is not None:
        write_durably(disk, places.key_file, key_file_text(machine))
    return _Begun(places.drive_header.read_bytes(), ring, held, kit_secret)


def _opening_secret(places: StatePlaces, ring: KeyRing, wishes: Wishes) -> bytes:
    """By the key file, else by the passphrase. Raises KeysError."""
    if places.key_file.exists():
        return read_key_file(places.key_file)
    if wishes.passphrase is None:
        raise KeyFileRefused(
            f"the drive in {places.state} was begun without a key file, by an init that did not end; give the same "
            f"passphrase again"
        )
    return ring.secret_of(wishes.passphrase)


def make_folders(places: StatePlaces, disk: Disk) -> None:
    """The state directory, and what the appliance has in it. Raises NoRights, DiskFull."""
    try:
        make_folder_durably(disk, places.state)
        for folder, mode in ((places.state, 0o711), (places.run, 0o711), (places.log, 0o700)):
            # Others pass through to the control socket, which has its own rights; they see nothing else.
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
    except PermissionError as error:
        raise NoRights(f"make a drive in {places.state}") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(places.state, 0, 2**20) from error
        raise


@contextmanager
def for_us_alone() -> Iterator[None]:
    """What is made meanwhile, only we may read."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)
