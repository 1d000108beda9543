"""Reading metadata back from a store: which checkpoints there are, the database of one, and the log behind it.

Nothing is believed that does not open under the drive's keys; and of what opens, nothing that does not continue the
chain. So a store that lost, damaged, reordered or held back entries can shorten what is read, and change nothing in it.
What could not be followed is said (`Follower.left`), never passed over.
"""

from collections.abc import AsyncGenerator, Callable
from typing import BinaryIO

import trio

from cloud_tier.checkpoint import Manifest, PartPlace, open_manifest, open_part
from cloud_tier.errors import CloudError, ObjectMissing, SealedError
from cloud_tier.keys import DriveKeys
from cloud_tier.log_entry import LogEntry
from cloud_tier.log_object import open_entries
from cloud_tier.object_names import CHECKPOINTS, LOG, CheckpointName, LogName, PartName, parse_name
from cloud_tier.object_store import ObjectStore, list_objects

AT_ONCE = 6
"""Requests under way together: a recovery waits for the line, not for answers."""


async def checkpoints_in(store: ObjectStore) -> list[CheckpointName]:
    """What the store lists as checkpoints, newest first. Raises StoreError."""
    found = [parse_name(info.name) async for info in list_objects(store, CHECKPOINTS)]
    names = [name for name in found if isinstance(name, CheckpointName)]
    return sorted(names, key=lambda name: (name.fence, name.position), reverse=True)


async def manifest_of(store: ObjectStore, keys: DriveKeys, name: CheckpointName) -> Manifest:
    """What a checkpoint says. Raises SealedError, StoreError."""
    return open_manifest(keys, await store.get(str(name)))


async def fetch_database(
    store: ObjectStore, keys: DriveKeys, manifest: Manifest, file: BinaryIO, report: Callable[[int], None]
) -> None:
    """Write the database of a checkpoint to an empty file. `report` hears of bytes written.

    Raises SealedError, StoreError, OSError.
    """
    places = list(_with_offsets(manifest))
    send, receive = trio.open_memory_channel[tuple[int, PartPlace]](len(places))
    for place in places:
        send.send_nowait(place)
    send.close()

    async def work() -> None:
        async for offset, part in receive:
            body = await store.get(str(PartName(part.fence, part.salt)))
            data = await trio.to_thread.run_sync(open_part, keys, body, part.part_id)
            file.seek(offset)
            file.write(data)
            report(len(data))

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(work)
    except* (CloudError, OSError) as group:
        raise group.exceptions[0] from None


def _with_offsets(manifest: Manifest) -> "list[tuple[int, PartPlace]]":
    offset, places = 0, []
    for part in manifest.parts:
        places.append((offset, part))
        offset += part.length
    return places


class Follower:
    """The entries behind a checkpoint, in the order of their chain."""

    def __init__(self, store: ObjectStore, keys: DriveKeys, manifest: Manifest) -> None:
        self.position = manifest.position
        self.digest = manifest.digest
        self.made_ns = manifest.made_ns
        """When what was read so far was made."""
        self.left: str | None = None
        """At the end: what the store has behind it and cannot be used, and why; None when nothing."""
        self._store = store
        self._keys = keys

    async def entries(self) -> AsyncGenerator[list[LogEntry], None]:
        """The entries, some at a time. Who leaves off before the end closes it. Raises StoreError."""
        found = [parse_name(info.name) async for info in list_objects(self._store, LOG)]
        waiting = sorted(
            (name for name in found if isinstance(name, LogName) and name.last > self.position),
            key=lambda name: (name.first, -name.last),
        )
        refused: list[str] = []
        while waiting:
            batch, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
            read = await self._read(batch)
            for name in batch:
                if isinstance(entries := read[name], CloudError):
                    refused.append(f"{name} ({entries})")
                    continue
                following = [entry for entry in entries if self._continues(entry)]
                if following:
                    yield following
        self.left = self._say_left([name for name in found if isinstance(name, LogName)], refused)

    def _continues(self, entry: LogEntry) -> bool:
        if entry.position != self.position + 1 or entry.before != self.digest:
            return False
        self.position, self.digest, self.made_ns = entry.position, entry.digest, entry.made_ns
        return True

    async def _read(self, names: list[LogName]) -> dict[LogName, "list[LogEntry] | CloudError"]:
        read: dict[LogName, list[LogEntry] | CloudError] = {}

        async def one(name: LogName) -> None:
            try:
                read[name] = open_entries(self._keys, await self._store.get(str(name)))
            except (SealedError, ObjectMissing) as error:
                read[name] = error

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(one, name)
        return read

    def _say_left(self, found: list[LogName], refused: list[str]) -> str | None:
        behind = [name for name in found if name.last > self.position]
        if not behind and not refused:
            return None
        said = f"the log in the store ends at entry {self.position}"
        if behind:
            last = max(name.last for name in behind)
            said += f"; entries up to {last} are there and cannot be used, because entry {self.position + 1} is missing"
        if refused:
            said += f"; unreadable: {', '.join(refused[:3])}" + (" and others" if len(refused) > 3 else "")
        return said
