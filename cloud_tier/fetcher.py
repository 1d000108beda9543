"""Fetch: some records of one pack in one request, opened and proven in a thread.

An answer that cannot be true (no such pack, too short a one, a record that does not open) is asked for once more: a
line may have damaged it, a replica be behind. What the store says twice is taken for its state. An answer that is late
is asked for beside the first one (`hedging`).
"""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from cloud_tier.errors import ObjectMissing, RangeBeyondEnd, SealedError
from cloud_tier.hedging import get_hedged
from cloud_tier.keys import DriveKeys, Generation
from cloud_tier.object_names import PackName
from cloud_tier.object_store import ObjectStore
from cloud_tier.pack import PackId, PackReader

log = logging.getLogger(__name__)


class Span(NamedTuple):
    """Where a record lies in its pack, in bytes."""

    offset: int
    length: int


class Fetcher:
    """Reads packs of one store."""

    def __init__(self, store: ObjectStore, keys: Callable[[], DriveKeys]) -> None:
        self._store = store
        self._keys = keys
        self._threads = trio.CapacityLimiter(2)

    async def records(
        self, pack_id: PackId, generation: Generation, fence: int, spans: Sequence[Span]
    ) -> list[memoryview]:
        """The plaintexts of these records, sorted by offset; one request brings all, and what lies between them.

        The ids of the blocks in them are not checked. Raises StoreError, WrongKey, RecordDamaged.
        """
        try:
            return await self._records(pack_id, generation, fence, spans)
        except (ObjectMissing, RangeBeyondEnd, SealedError) as error:
            log.info("asking the store once more: %s", error)
            return await self._records(pack_id, generation, fence, spans)

    async def _records(
        self, pack_id: PackId, generation: Generation, fence: int, spans: Sequence[Span]
    ) -> list[memoryview]:
        first, last = spans[0], spans[-1]
        name = str(PackName(fence, pack_id))
        length = last.offset + last.length - first.offset
        sealed = await get_hedged(self._store, name, first.offset, length)
        reader = PackReader.of(self._keys(), pack_id, generation)

        def opened() -> list[memoryview]:
            view = memoryview(sealed)
            begins = [span.offset - first.offset for span in spans]
            return [
                memoryview(reader.record(span.offset, view[begin : begin + span.length]))
                for begin, span in zip(begins, spans, strict=True)
            ]

        return await trio.to_thread.run_sync(opened, limiter=self._threads)
