"""Packs that are in the store and that the log of a recovered drive does not know to be there.

The log is some seconds behind the packs: the last of them may be in the store whole while the rows that say so were
not sent any more. Each pack lists its blocks; those that the drive still looks for are entered into the catalog. The
listing decides nothing but where to look: what it hides is missed, what it invents does not open.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import trio

from cachefs.catalog import SENDING, STORED
from cachefs.database import Database
from cloud_tier.errors import ObjectMissing, RangeBeyondEnd, SealedError
from cloud_tier.keys import DriveKeys, Generation
from cloud_tier.object_names import PACKS, PackName, parse_name
from cloud_tier.object_store import ObjectStore, list_objects
from cloud_tier.pack import Entry, PackReader, index_bytes
from cloud_tier.sealed import HEADER_BYTES, Header

log = logging.getLogger(__name__)

TAIL_BYTES = 64 << 10  # the index of most packs


class _Read(NamedTuple):
    generation: Generation
    entries: Sequence[Entry]


async def adopt_packs(database: Database, store: ObjectStore, keys: DriveKeys) -> int:
    """Enter packs into the catalog that it does not have. Returns how many blocks were found. Raises StoreError."""
    known = {bytes(pack_id): state for pack_id, state in database.rows("SELECT pack_id, state FROM packs")}
    found = 0
    async for info in list_objects(store, PACKS):
        name = parse_name(info.name)
        if not isinstance(name, PackName) or known.get(name.pack_id, SENDING) != SENDING:
            continue
        try:
            read = await _read_index(store, keys, info.name, info.size_bytes)
        except (SealedError, ObjectMissing, RangeBeyondEnd) as error:
            log.warning("%s is in the store and cannot be used: %s", info.name, error)
            continue
        found += _enter(database, name, info.size_bytes, read, is_known=name.pack_id in known)
    return found


async def _read_index(store: ObjectStore, keys: DriveKeys, name: str, size_bytes: int) -> _Read:
    header = Header.decode(await store.get(name, 0, HEADER_BYTES))
    reader = PackReader(keys, header)
    tail = await store.get(name, max(0, size_bytes - TAIL_BYTES))
    if (needed := index_bytes(tail)) > len(tail):
        tail = await store.get(name, max(0, size_bytes - needed))
    return _Read(header.generation, await trio.to_thread.run_sync(reader.index, tail, size_bytes))


def _enter(database: Database, name: PackName, size_bytes: int, read: _Read, *, is_known: bool) -> int:
    with database.operation:
        if is_known:
            database.write("UPDATE packs SET state = ? WHERE pack_id = ?", (STORED, name.pack_id))
        else:
            database.write("INSERT INTO counters VALUES ('pack', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")
            number = database.row("SELECT value FROM counters WHERE name = 'pack'")[0]
            row = (number, name.pack_id, read.generation, name.fence, size_bytes, STORED)
            database.write("INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, NULL)", row)
        (pack,) = database.row("SELECT pack FROM packs WHERE pack_id = ?", (name.pack_id,))
        found = 0
        for entry in read.entries:
            row = database.row(
                "SELECT block FROM blocks WHERE block_id = ? AND block NOT IN (SELECT block FROM catalog)",
                (entry.block_id,),
            )
            if row is not None:
                place = (row[0], pack, entry.offset, entry.length, entry.start)
                database.write("INSERT INTO catalog VALUES (?, ?, ?, ?, ?)", place)
                found += 1
    return found
