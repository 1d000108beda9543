"""Merging small packs and repacking sparse ones: what is needed of them is encoded anew, into packs that are full.

Little work makes little packs, and blocks die one by one: without this a store would fill with thousands of objects,
and with bytes that nobody needs. `Survey.choose` is the pure half: small packs, once there are enough of them; sparse
ones; and more of the sparse while the store as a whole holds too much that is dead (`cloud_tier.margins`). So a pack is
merged rarely, and the dead share of all packs stays below a bound.

The other half reads, in the order in which blocks lie in the store, what this machine holds, and the rest from the
pack in few requests, and writes new packs as the uploader does: each block proven by its id, another salt and name,
announced before it is sent (T8), recorded when it is durable. With that a block moves, and a pack that no block is in
any more is doomed in the same step. Until it is deleted, much later, both copies are there.

    step                            died here → what is left
    1 read, encode                  nothing
    2 announce the new pack         a pack that may be in the store, and is doomed at the next start
    3 put it                        the same
    4 move its blocks, in turns     some blocks lie in the old pack, some in the new one; each in one of them

A pack that cannot be read is left as it is, and its blocks where they are: that is for whoever scrubs.
"""

import logging
from array import array
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from typing import NamedTuple, Protocol

import trio

from cloud_tier.block_id import BlockId, block_id
from cloud_tier.errors import EncodingFailed, ObjectMissing, RangeBeyondEnd, SealedError, StoreError
from cloud_tier.fetcher import Fetcher, Span
from cloud_tier.keys import DriveKeys, Generation
from cloud_tier.ledger import StoredPack
from cloud_tier.margins import Margins
from cloud_tier.object_names import PackName
from cloud_tier.object_store import Buffer, ObjectStore
from cloud_tier.pack import Entry, Pack, PackId, PackWriter
from cloud_tier.packer import FULL_BYTES

log = logging.getLogger(__name__)

REQUEST_BYTES = 8 << 20
ADDED_BLOCKS = 16  # in one visit to the thread
REQUEST_RECORDS = 32  # up to 1 MiB each when unpacked
GAP_BYTES = 1 << 20
"""What is not needed, between two records of one request. Bytes cost less than a request that is waited for."""
SHARES = 100


class Surveyed(NamedTuple):
    """A pack in the store, and about how many of its bytes are needed."""

    pack: int
    size_bytes: int
    live_bytes: int


class Living(NamedTuple):
    """A block that is needed, where it is in its pack, and whether this machine holds its bytes, too."""

    block: int
    entry: Entry
    is_held: bool


class Moved(NamedTuple):
    """A block that was in pack `source`, and where it is in the new one."""

    block: int
    source: int
    entry: Entry


class Survey:
    """What the packs of a store are like: a word or two for each that may have to be packed anew."""

    def __init__(self, margins: Margins) -> None:
        self.size_bytes = 0
        self.live_bytes = 0
        self._margins = margins
        self._small = array("q")
        self._sparse = array("q")
        self._shares = array("b")  # of each sparse one, in hundredths
        self._by_share = [(0, 0)] * SHARES  # bytes, and those that are needed

    def add(self, one: Surveyed) -> None:
        """One more pack."""
        self.size_bytes += one.size_bytes
        self.live_bytes += one.live_bytes
        share = min(one.live_bytes / one.size_bytes, 1.0)
        if one.size_bytes < self._margins.small_bytes:
            self._small.append(one.pack)
        elif share < self._margins.most_live:
            self._sparse.append(one.pack)
            self._shares.append(int(share * SHARES))
            size, live = self._by_share[int(share * SHARES)]
            self._by_share[int(share * SHARES)] = (size + one.size_bytes, live + one.live_bytes)

    def choose(self) -> "array[int]":
        """The packs to be packed anew, in order."""
        chosen = array("q", self._small if len(self._small) >= self._margins.least_small else ())
        limit = self._limit()
        chosen.extend(pack for pack, share in zip(self._sparse, self._shares, strict=True) if share < limit)
        return array("q", sorted(chosen))

    def _limit(self) -> int:
        """The share, in hundredths, below which a pack is packed anew."""
        size, live = self.size_bytes, self.live_bytes
        for share, (some, needed) in enumerate(self._by_share):
            is_dead_enough = size - live > self._margins.most_dead * size
            if share >= self._margins.least_live * SHARES and not is_dead_enough:
                return share
            size -= some - needed
        return SHARES


class RepackLedger(Protocol):
    """What the repacker must know and remember; cachefs keeps it in SQL."""

    async def living(self, pack: int) -> list[Living]:
        """The blocks of a pack that are needed, in the order in which they lie there."""
        ...

    def pack(self, pack: int) -> StoredPack:
        """How to open it."""
        ...

    async def read(self, block: int) -> Buffer | None:
        """The bytes of a block if this machine holds them; they may be damaged."""
        ...

    async def begin(self, pack_id: PackId, generation: Generation, fence: int, size_bytes: int) -> int:
        """Announce a pack, durably. Returns its number."""
        ...

    async def moved(self, pack: int, moves: Sequence[Moved]) -> None:
        """All of the pack is durable in the store."""
        ...

    def abandon(self, pack: int) -> None:
        """The pack could not be sent, or perhaps it was, and the answer was lost."""
        ...


class Repacker:
    """Packs anew what it is told. `may_go_on` is awaited before each piece of work."""

    def __init__(
        self,
        store: ObjectStore,
        fetcher: Fetcher,
        keys: Callable[[], DriveKeys],
        ledger: RepackLedger,
        fence: int,
        may_go_on: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
        *,
        full_bytes: int = FULL_BYTES,
    ) -> None:
        self.packs = 0
        """New packs since the start."""
        self._store = store
        self._fetcher = fetcher
        self._keys = keys
        self._ledger = ledger
        self._fence = fence
        self._may_go_on = may_go_on
        self._full_bytes = full_bytes
        self._thread = trio.CapacityLimiter(1)
        self._writer: PackWriter | None = None
        self._moves: list[tuple[int, int, BlockId]] = []  # block, source, id

    async def repack(self, sources: Sequence[int]) -> None:
        """Pack these anew. Raises StoreError when the store is away or full: what was moved until then is moved."""
        self._writer, self._moves = None, []
        try:
            for source in sources:
                await self._may_go_on()
                try:
                    await self._take(source)
                except EncodingFailed as error:
                    log.error("%s; its blocks stay where they are. Have this machine's memory checked.", error)
                    self._writer, self._moves = None, []
                except (SealedError, ObjectMissing, RangeBeyondEnd) as error:
                    log.warning("pack %d is not packed anew: %s", source, error)
            await self._send()
        finally:
            self._writer, self._moves = None, []

    async def rescue(self, source: int) -> list[int]:
        """Pack anew what of a damaged pack is here, or can be read yet. Returns the blocks of which nothing is.

        Raises StoreError.
        """
        self._writer, self._moves = None, []
        lost: list[int] = []
        try:
            living = await self._ledger.living(source)
            for _, group in groupby(living, lambda one: one.entry.offset):
                record = list(group)
                try:
                    blocks = await self._bytes_of(source, [record])
                except (SealedError, ObjectMissing, RangeBeyondEnd):
                    blocks = await self._held(record)
                await self._add(source, blocks)
                saved = {one.block for one, _ in blocks}
                lost += [one.block for one in record if one.block not in saved]
            await self._send()
        finally:
            self._writer, self._moves = None, []
        return lost

    async def _held(self, record: Sequence[Living]) -> list[tuple[Living, Buffer]]:
        found = [(one, await self._ledger.read(one.block)) for one in record if one.is_held]
        here = [(one, data) for one, data in found if data is not None]
        return [pair for pair in here if await self._are_right([pair])]

    async def _take(self, source: int) -> None:
        living = await self._ledger.living(source)
        # In a thread: of tiny files, tens of thousands lie in one pack.
        for batch in await trio.to_thread.run_sync(_planned, living, limiter=self._thread):
            blocks = await self._bytes_of(source, batch)
            for begin in range(0, len(blocks), ADDED_BLOCKS):
                await self._add(source, blocks[begin : begin + ADDED_BLOCKS])

    async def _bytes_of(self, source: int, batch: Sequence[Sequence[Living]]) -> list[tuple[Living, Buffer]]:
        if all(one.is_held for record in batch for one in record):
            found = [(one, await self._ledger.read(one.block)) for record in batch for one in record]
            here = [(one, data) for one, data in found if data is not None]
            if len(here) == len(found) and await self._are_right(here):
                return here
        pack = self._ledger.pack(source)
        spans = [Span(record[0].entry.offset, record[0].entry.length) for record in batch]
        plain = await self._fetcher.records(pack.pack_id, pack.generation, pack.fence, spans)
        return [
            (one, data[one.entry.start : one.entry.start + one.entry.plain_length])
            for record, data in zip(batch, plain, strict=True)
            for one in record
        ]

    async def _are_right(self, blocks: Sequence[tuple[Living, Buffer]]) -> bool:
        key = self._keys().block_key

        def look() -> bool:
            return all(block_id(key, data) == one.entry.block_id for one, data in blocks)

        return await trio.to_thread.run_sync(look, limiter=self._thread)

    async def _add(self, source: int, blocks: Sequence[tuple[Living, Buffer]]) -> None:
        if not blocks:
            return
        writer = self._writer = self._writer or PackWriter(self._keys())

        def add() -> None:
            for one, data in blocks:
                writer.add(one.entry.block_id, data)

        await trio.to_thread.run_sync(add, limiter=self._thread)
        self._moves += [(one.block, source, one.entry.block_id) for one, _ in blocks]
        if writer.size_bytes >= self._full_bytes:
            await self._send()

    async def _send(self) -> None:
        if self._writer is None:
            return
        await self._may_go_on()
        closed, moves = await trio.to_thread.run_sync(_closed, self._writer, self._moves, limiter=self._thread)
        self._writer, self._moves = None, []
        number = await self._ledger.begin(closed.pack_id, closed.generation, self._fence, len(closed.body))
        try:
            await self._store.put(str(PackName(self._fence, closed.pack_id)), closed.body)
        except StoreError:
            self._ledger.abandon(number)
            raise
        await self._ledger.moved(number, moves)
        self.packs += 1


def _planned(living: Sequence[Living]) -> list[list[Sequence[Living]]]:
    return batches([list(group) for _, group in groupby(living, lambda one: one.entry.offset)])


def _closed(writer: PackWriter, moves: Sequence[tuple[int, int, BlockId]]) -> tuple[Pack, list[Moved]]:
    closed = writer.close()
    entries = closed.by_id()
    return closed, [Moved(block, source, entries[id_]) for block, source, id_ in moves]


def batches(records: Sequence[Sequence[Living]]) -> list[list[Sequence[Living]]]:
    """Records of one pack, sorted: those of a batch are all held here, or can be had in one request."""
    found: list[list[Sequence[Living]]] = []
    for record in records:
        first = record[0].entry
        if found:
            begin, last = found[-1][0][0].entry, found[-1][-1][0].entry
            is_near = first.offset - last.offset - last.length <= GAP_BYTES
            size = first.offset + first.length - begin.offset
            is_same = _is_held(found[-1][-1]) == _is_held(record)
            if is_same and is_near and size <= REQUEST_BYTES and len(found[-1]) < REQUEST_RECORDS:
                found[-1].append(record)
                continue
        found.append([record])
    return found


def _is_held(record: Sequence[Living]) -> bool:
    return all(one.is_held for one in record)
