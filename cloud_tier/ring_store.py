"""The drive's header and its key rings in a store: claiming a store for a drive, adding a ring, following them.

Promises that nothing which is there is ever replaced, but what was damaged by what it was; and that the rings of a
store are followed one after the other, each opened by what the one before has proven (`KeyRing.open_after`). No listing
decides anything: the next ring is asked for by its number.

There is one writer of rings, the machine that holds the drive. So where a store cannot create-only, looking first is
enough to notice a mistake.
"""

import contextlib
import logging
from functools import partial

from cloud_tier.drive_header import DriveHeader
from cloud_tier.errors import (
    KeysError,
    ObjectExists,
    ObjectMissing,
    RingDamaged,
    RingRolledBack,
    SealedError,
    StoreError,
    StoreMisconfigured,
    StoreTaken,
    UnknownFormat,
    UploadDamaged,
    WrapRevoked,
)
from cloud_tier.keyring import KeyRing
from cloud_tier.keys import DriveKeys
from cloud_tier.object_names import DRIVE, KEYS, KeysName, parse_name
from cloud_tier.object_store import ObjectStore, list_objects
from cloud_tier.probe import PREFIX as PROBES
from cloud_tier.proven import get_proven

log = logging.getLogger(__name__)

ASKED = 3  # so often, before what is shown is taken for what the store holds


async def drive_of(store: ObjectStore) -> bytes | None:
    """The header in the store, unproven; None when the store is free for a drive. Raises StoreTaken."""
    try:
        return await store.get(DRIVE)
    except ObjectMissing:
        pass
    async for info in list_objects(store, ""):
        if not info.name.startswith(PROBES):  # what a probe that was cut off has left
            raise StoreTaken(f"it holds {info.name} and no drive")
    return None


def say_taken(header: bytes) -> StoreTaken:
    """The refusal to make a drive in a store that holds the drive of this header."""
    try:
        drive = f"drive {DriveHeader.peek(header).drive_id.hex()}"
    except UnknownFormat as error:
        drive = f"something ({error})"
    return StoreTaken(f"it holds {drive} already")


async def put_header(store: ObjectStore, header: bytes) -> None:
    """Claim the store for the drive of this header, or find that it is claimed. Raises StoreTaken."""
    try:
        await create(store, DRIVE, header)
    except ObjectExists:
        found = await store.get(DRIVE)
        if found != header:
            raise say_taken(found) from None


async def put_ring(store: ObjectStore, ring: KeyRing) -> None:
    """Raises ObjectExists when there is another ring of this number."""
    name = str(KeysName(ring.head.number))
    try:
        await create(store, name, ring.encode())
    except ObjectExists:
        if await store.get(name) != ring.encode():
            raise


async def newest_ring(store: ObjectStore) -> KeyRing:
    """The newest ring that can be read, on a machine that knows none; it is proven when it is opened.

    One that is damaged is passed over: then what was sealed under its generation cannot be opened, and says so. Raises
    RingDamaged, StoreError.
    """
    names = [parse_name(info.name) async for info in list_objects(store, KEYS)]
    refused = "there is none"
    for name in sorted((name for name in names if isinstance(name, KeysName)), key=lambda name: -name.number):
        try:
            return KeyRing.decode(await store.get(str(name)))
        except (RingDamaged, UnknownFormat, ObjectMissing) as error:
            refused = str(error)
    raise RingDamaged(f"no key ring in the store can be read ({refused}), so that nothing in it can be opened")


async def create(store: ObjectStore, name: str, body: bytes) -> None:
    """Make an object that is not there yet. Raises ObjectExists."""
    try:
        await store.size(name)
    except ObjectMissing:
        pass
    else:
        raise ObjectExists(name)
    try:
        await store.put(name, body, if_absent=True)
    except StoreMisconfigured:  # so says one that cannot create-only; and one that can nothing says it again
        await store.put(name, body)


async def follow(
    store: ObjectStore, known: KeyRing, held: DriveKeys, wrap_secret: bytes, header: bytes
) -> tuple[KeyRing, DriveKeys]:
    """The newest ring that the store shows, and its keys, on a machine that knows a ring and the drive's header.

    What of these two is damaged in the store is put there anew. Raises StoreTaken when the store is another drive's,
    RingRolledBack when it shows another past, WrapRevoked when this machine may not open the drive any more, and
    StoreError.
    """
    name = str(KeysName(known.head.number))
    found = header
    try:
        found = await _known(store, DRIVE, header)
        shown = await _known(store, name, known.encode())
    except ObjectMissing as error:
        if found != header:
            raise say_taken(found) from error
        raise RingRolledBack(
            f"the store has no object {error.name}, which this machine knows to be there: somebody put an older "
            f"state, or another one, into the store, or emptied it; nothing of it is used"
        ) from error
    if found != header and shown != known.encode():  # one of them proves whose store it is
        raise say_taken(found)
    if shown != known.encode():
        if _opens(shown, wrap_secret):
            KeyRing.decode(shown).open_after(known, held, wrap_secret)  # refuses
        await _mend(store, name, known.encode(), "key ring")
    if found != header:
        await _mend(store, DRIVE, header, "header")
    while True:
        try:
            prove = partial(_next_ring, known=known, held=held, wrap_secret=wrap_secret)
            known, held = await get_proven(store, str(KeysName(known.head.number + 1)), prove)
        except ObjectMissing:
            return known, held


def _next_ring(body: bytes, known: KeyRing, held: DriveKeys, wrap_secret: bytes) -> tuple[KeyRing, DriveKeys]:
    ring = KeyRing.decode(body)
    return ring, ring.open_after(known, held, wrap_secret)


def _opens(shown: bytes, wrap_secret: bytes) -> bool:
    """Whether it is a ring that somebody with the drive's keys made. What was damaged opens to nobody."""
    try:
        KeyRing.decode(shown).open_with_secret(wrap_secret)
    except WrapRevoked:
        return True
    except (KeysError, SealedError):
        return False
    return True


async def _mend(store: ObjectStore, name: str, body: bytes, what: str) -> None:
    """Put what this machine knows in the place of damaged bytes: without them nobody could recover the drive."""
    try:
        await store.put(name, body)
        if await _known(store, name, body) != body:
            raise UploadDamaged(f"{name} is damaged still")
    except StoreError as error:
        log.error(
            "the drive's %s in the store (%s) is damaged and could not be put there anew (%s): this machine works on,"
            " but no other one could recover the drive. Have the store looked at; then run `hybrid-drive keys rotate`.",
            what,
            name,
            error,
        )
    else:
        log.error(
            "the drive's %s in the store (%s) was damaged, and was put there anew: look after the store", what, name
        )


async def _known(store: ObjectStore, name: str, body: bytes) -> bytes:
    """An object that this machine knows; asked for again if it is missing or another one: a line may have damaged it, a
    replica be behind.
    """
    for _ in range(ASKED - 1):
        with contextlib.suppress(ObjectMissing):
            if await store.get(name) == body:
                return body
    return await store.get(name)
