"""Reading the retained checkpoints again: would a recovery from each of them find what it needs?

Manifest and parts are opened, and each part is compared with its id. What does not look right is read once more before
it counts: one answer may be wrong on its way. A checkpoint that is not whole is not retained any longer, so that no
later one takes over its parts, and another is made soon; until there are two again, nothing of the log or of old packs
is removed (`Checkpointing.oldest_position`).
"""

import logging
from collections.abc import Callable
from functools import partial

import trio

from cachefs.checkpointing import Checkpointing, Retained
from cloud_tier.checkpoint import open_manifest, open_part
from cloud_tier.errors import ObjectMissing, RangeBeyondEnd, SealedError
from cloud_tier.keys import DriveKeys
from cloud_tier.object_names import PartName
from cloud_tier.object_store import Buffer, ObjectStore

log = logging.getLogger(__name__)


class CheckpointScrub:
    """One pass over what is retained."""

    def __init__(self, store: ObjectStore, keys: Callable[[], DriveKeys], checkpointing: Checkpointing) -> None:
        self._store = store
        self._keys = keys
        self._checkpointing = checkpointing

    async def run(self) -> tuple[int, int]:
        """How many bytes were read, and how many checkpoints are not whole. Raises StoreError, WrongKey, OSError."""
        read_bytes = damaged = 0
        for one in list(self._checkpointing.retained):
            size_bytes, trouble = await self._look(one)
            if trouble is not None:
                size_bytes, trouble = await self._look(one)
            read_bytes += size_bytes
            if trouble is not None:
                damaged += 1
                log.error("checkpoint %s in the store is not whole (%s): another one is made", one.name, trouble)
                await self._checkpointing.distrust(one.name)
        return read_bytes, damaged

    async def _look(self, one: Retained) -> tuple[int, str | None]:
        read_bytes = 0
        keys = self._keys()
        wanted: dict[str, Callable[[Buffer], object]] = {one.name: lambda body: open_manifest(keys, body)}
        for part in one.manifest.parts:
            wanted[str(PartName(part.fence, part.salt))] = partial(open_part, keys, wanted=part.part_id)
        for name, prove in wanted.items():
            try:
                body = await self._store.get(name)
                read_bytes += len(body)
                await trio.to_thread.run_sync(prove, body)
            except (ObjectMissing, RangeBeyondEnd, SealedError) as error:
                return read_bytes, str(error)
        return read_bytes, None
