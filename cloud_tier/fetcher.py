"""Fetch: some records of one pack in one request, opened and proven in a thread."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import trio

from cloud_tier.keys import DriveKeys, Generation
from cloud_tier.object_names import PackName
from cloud_tier.object_store import ObjectStore
from cloud_tier.pack import PackId, PackReader


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
        first, last = spans[0], spans[-1]
        name = str(PackName(fence, pack_id))
        sealed = await self._store.get(name, first.offset, last.offset + last.length - first.offset)
        reader = PackReader.of(self._keys(), pack_id, generation)

        def opened() -> list[memoryview]:
            view = memoryview(sealed)
            begins = [span.offset - first.offset for span in spans]
            return [
                memoryview(reader.record(span.offset, view[begin : begin + span.length]))
                for begin, span in zip(begins, spans, strict=True)
            ]

        return await trio.to_thread.run_sync(opened, limiter=self._threads)
