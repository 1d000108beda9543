"""What a store really does, tried out when a drive is made and by `hybrid-drive doctor`.

Nothing is taken from documentation or from the name of a product: of four S3 servers that we tried, two overwrite what
they are told not to, and one breaks its listings at the end of a page. What the drive cannot do without is demanded,
and a store that fails is refused with a sentence; what it can do without is reported.

All objects of a probe lie under one random name and are removed at the end, also after a failure. Paging is tried as we
do it, by "after this name": a listing of more than 1,000 names would cost more than 1,000 requests.
"""

import contextlib
import secrets
from dataclasses import dataclass

import trio

from cloud_tier.errors import ObjectExists, ObjectMissing, RangeBeyondEnd, StoreError, StoreMisconfigured
from cloud_tier.object_store import ObjectStore, list_objects

PREFIX = "probe/"
CLEAN_UP_S = 60.0


@dataclass(frozen=True)
class Capabilities:
    """What a store can do beyond what the drive demands of all."""

    conditional_create: bool
    """Whether `put(…, if_absent=True)` leaves what is there, also when two try at once. Else a lease is claimed by
    waiting and listing, with a standing warning.
    """


async def probe(store: ObjectStore) -> Capabilities:
    """Try everything out. Raises StoreMisconfigured when something that the drive needs does not work, and whatever
    the store raises.
    """
    folder = f"{PREFIX}{secrets.token_hex(8)}/"
    names = [f"{folder}{word}" for word in ("a", "b", "c", "only", "race")]
    try:
        body = secrets.token_bytes(1000)
        await _try_contents(store, names[0], body)
        for name in names[1:3]:
            await store.put(name, body)
        await _try_listing(store, folder, names[:3])
        can_create = await _creates_only(store, names[3]) and await _settles_races(store, names[4])
        await _try_deleting(store, folder, names)
    finally:
        with trio.move_on_after(CLEAN_UP_S, shield=True), contextlib.suppress(StoreError):
            await store.delete(names)
    return Capabilities(conditional_create=can_create)


async def _try_contents(store: ObjectStore, name: str, body: bytes) -> None:
    await store.put(name, body)
    try:
        if await store.get(name) != body or await store.size(name) != len(body):
            raise StoreMisconfigured("what it gives back is not what was stored")
        if await store.get(name, 10, 20) != body[10:30]:
            raise StoreMisconfigured("asked for a part of an object, it gives another one")
    except ObjectMissing as error:
        raise StoreMisconfigured("what was just stored is not there") from error
    try:
        await store.get(name, 900, 200)
    except RangeBeyondEnd:
        return
    raise StoreMisconfigured("asked for more of an object than there is, it gives something all the same")


async def _try_listing(store: ObjectStore, folder: str, names: list[str]) -> None:
    if [info.name async for info in list_objects(store, folder)] != names:
        raise StoreMisconfigured("its listings do not show what was just stored, in order of names")
    if [info.name async for info in list_objects(store, folder, names[0])] != names[1:]:
        raise StoreMisconfigured("its listings cannot be continued behind a name")


async def _creates_only(store: ObjectStore, name: str) -> bool:
    try:
        await store.put(name, b"first", if_absent=True)
        with contextlib.suppress(ObjectExists):
            await store.put(name, b"second", if_absent=True)
            return False
    except StoreMisconfigured:  # it says itself that it cannot
        return False
    return await store.get(name) == b"first"


async def _settles_races(store: ObjectStore, name: str) -> bool:
    created: list[bytes] = []

    async def create(body: bytes) -> None:
        with contextlib.suppress(ObjectExists):
            await store.put(name, body, if_absent=True)
            created.append(body)

    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(create, b"writer %d" % number)
    return len(created) == 1 and await store.get(name) == created[0]


async def _try_deleting(store: ObjectStore, folder: str, names: list[str]) -> None:
    await store.delete([*names, f"{folder}never-there"])
    if [info.name async for info in list_objects(store, folder)]:
        raise StoreMisconfigured("what was deleted is still listed")
    with contextlib.suppress(ObjectMissing):
        await store.get(names[0])
        raise StoreMisconfigured("what was deleted can still be read")
