"""Log entries in the store: some entries, one behind the other, sealed in one object (`object_names.LogName`).

    header (64 bytes, clear) | one piece: a msgpack array of the entries' bytes

Nothing counts before it was opened again by the code that will read it one day.
"""

from collections.abc import Sequence

import msgpack

from cloud_tier.errors import EncodingFailed, LogDamaged, SealedError
from cloud_tier.keys import DriveKeys
from cloud_tier.log_entry import LogEntry
from cloud_tier.object_store import Buffer
from cloud_tier.sealed import BrokenSeal, Kind, SealedObject, open_one, seal_one


def seal_entries(keys: DriveKeys, entries: Sequence[LogEntry]) -> SealedObject:
    """Entries that follow each other, as one object. Raises EncodingFailed."""
    made = seal_one(keys, Kind.LOG_ENTRY, msgpack.packb([entry.body for entry in entries]))
    try:
        is_same = open_entries(keys, made.body) == list(entries)
    except SealedError as error:
        raise EncodingFailed(f"a new object of the log does not open: {error}") from error
    if not is_same:
        raise EncodingFailed("a new object of the log does not say what went in")
    return made


def open_entries(keys: DriveKeys, body: Buffer) -> list[LogEntry]:
    """The entries of an object; that they follow each other is for the caller to see. Raises SealedError."""
    try:
        found = msgpack.unpackb(open_one(keys, Kind.LOG_ENTRY, body))
    except (BrokenSeal, ValueError) as error:
        raise LogDamaged("an object of the log is not what was written") from error
    return [LogEntry.parse(entry) for entry in found]
