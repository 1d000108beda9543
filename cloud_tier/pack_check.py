"""Reading a pack at rest from end to end: is every byte of it still what was written?

Header, index and each record are opened, and each block is compared with its id, whether somebody needs it or not:
the index counts for whoever has lost the catalog. A pack that does not look right is read once more before anything is
said: one answer may be wrong on its way.
"""

from itertools import groupby
from typing import NamedTuple

import trio

from cloud_tier.errors import ObjectMissing, RangeBeyondEnd, RecordDamaged, SealedError
from cloud_tier.keys import DriveKeys
from cloud_tier.ledger import StoredPack
from cloud_tier.object_names import PackName
from cloud_tier.object_store import ObjectStore
from cloud_tier.pack import PackReader
from cloud_tier.sealed import HEADER_BYTES, Header, Kind


class PackState(NamedTuple):
    """`size_bytes` were read; `trouble`: what is wrong, in a clause, None if nothing is."""

    size_bytes: int
    trouble: str | None


async def check_pack(store: ObjectStore, keys: DriveKeys, pack: StoredPack) -> PackState:
    """Read all of it. Raises StoreError when the store does not answer, WrongKey."""
    found = await _look(store, keys, pack)
    return found if found.trouble is None else await _look(store, keys, pack)


async def _look(store: ObjectStore, keys: DriveKeys, pack: StoredPack) -> PackState:
    name = str(PackName(pack.fence, pack.pack_id))
    try:
        body = await store.get(name)
    except (ObjectMissing, RangeBeyondEnd) as error:
        return PackState(0, str(error))
    return PackState(len(body), await trio.to_thread.run_sync(_trouble, keys, pack, body))


def _trouble(keys: DriveKeys, pack: StoredPack, body: bytes) -> str | None:
    reader, view = PackReader.of(keys, pack.pack_id, pack.generation), memoryview(body)
    try:
        if Header.decode(body) != Header(Kind.PACK, pack.generation, keys.drive_id, pack.pack_id):
            raise RecordDamaged(f"pack {pack.pack_id.hex()[:16]} has the header of another one")
        entries = sorted(reader.index(view[HEADER_BYTES:], len(body)), key=lambda entry: (entry.offset, entry.start))
        for offset, group in groupby(entries, lambda entry: entry.offset):
            record = list(group)
            reader.blocks(record, view[offset : offset + record[0].length])
    except SealedError as error:
        return str(error)
    return None
