"""Fetching: a block that is not held here comes from its pack, once, however many wait for it.

What is fetched is a record: one large block, or the small ones that were written together, so that whoever reads a
folder of small files finds the next ones here already. Records that lie close together in a pack come in one request.
The bytes go to those who wait as soon as the seal and the block's id are checked (I1), and into the cache beside it: to
a segment of the cache family, which is never synced, in a place whose rows are written last.

A flight belongs to nobody who waits: it runs in the nursery of `run`, so a reader who goes away takes nothing along.
Each wait has a deadline, after which the reader is told that the store cannot be reached; so is everybody who asks
within `TROUBLE_S` of a failure, at once.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import trio

from cachefs.blocks import Block, Blocks
from cachefs.catalog import Catalog, Location
from cachefs.errors import CloudDamaged, CloudUnreachable, StorageFull, UnknownBlock
from cachefs.seals import Seals
from cachefs.segments import CACHE, Segments
from cachefs.sums import PAGE_BYTES
from cloud_tier.block_id import block_id
from cloud_tier.errors import ObjectMissing, RangeBeyondEnd, SealedError, StoreError
from cloud_tier.fetcher import Fetcher, Span
from cloud_tier.object_store import Buffer

log = logging.getLogger(__name__)

DEADLINE_S = 30.0
TROUBLE_S = 5.0
JOINED_GAP_BYTES = 128 << 10  # what nobody asked for, between two records of one request
JOINED_BYTES = 8 << 20
FLIGHTS = 8


class Flight:
    """One record on its way: its plaintext, or why it did not come."""

    def __init__(self) -> None:
        self.landed = trio.Event()
        self.ended = trio.Event()
        """Set when its blocks are held here, or will not be."""
        self.plain: memoryview | None = None
        self.error: Exception | None = None
        self.wanted: set[int] = set()
        """The blocks for whose sake it flies; others came along."""
        self.right: set[int] = set()
        """Blocks that were found to be what their ids say."""


class _Fetched(NamedTuple):
    block: int
    block_id: bytes
    data: memoryview


class Fetching:
    """Blocks of the store, for readers here. `put` writes blocks to their places."""

    def __init__(
        self,
        blocks: Blocks,
        segments: Segments,
        seals: Seals,
        catalog: Catalog,
        fetcher: Fetcher,
        block_key: bytes,
        put: Callable[[Sequence[tuple[Block, memoryview]]], Awaitable[None]],
    ) -> None:
        self.make_room: Callable[[int], bool] = lambda size_bytes: True
        """Whether so many bytes may be kept here; if not, they are only handed to those who wait."""
        self.settled: Callable[[Iterable[tuple[int, int, bool]]], None] = lambda blocks: None
        """Hears of the blocks that are held from now on: the bytes of their places, whether they were asked for."""
        self.fetched_bytes = 0
        self.misses = 0
        """Reads that had to wait for the store."""
        self.trouble: Exception | None = None
        self._blocks = blocks
        self._segments = segments
        self._seals = seals
        self._catalog = catalog
        self._fetcher = fetcher
        self._block_key = block_key
        self._put = put
        self._flights: dict[tuple[int, int], Flight] = {}
        self._slots = trio.CapacityLimiter(FLIGHTS)
        self._threads = trio.CapacityLimiter(4)
        self._trouble_until = float("-inf")
        self._nursery: trio.Nursery | None = None
        self._started = trio.Event()

    async def run(self) -> None:
        """Carry the flights, for ever."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._started.set()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def read(self, block: Block, offset: int, length: int) -> memoryview:
        """`length` bytes of a block that is not held. Raises CloudUnreachable, CloudDamaged, UnknownBlock."""
        self.misses += 1
        await self._started.wait()
        if self._nursery is None:
            raise CloudUnreachable("the drive is ending")
        place = self._locate(block.number)
        flight = self._flights.get((place.pack, place.offset))
        if flight is None:
            if trio.current_time() < self._trouble_until and self.trouble is not None:
                raise CloudUnreachable(str(self.trouble))
            (flight,) = self._start([place])
        flight.wanted.add(block.number)
        with trio.move_on_after(DEADLINE_S) as wait:
            await flight.landed.wait()
        if wait.cancelled_caught:
            log.warning("a reader was sent away: the cloud store gave no answer within %.0f s", DEADLINE_S)
            raise CloudUnreachable(f"no answer within {DEADLINE_S:.0f} s")
        if flight.error is not None:
            raise flight.error
        assert flight.plain is not None
        data = flight.plain[place.start : place.start + block.length]
        if block.number not in flight.right and not self.is_right(block.block_id, data):
            raise CloudDamaged(f"block {block.number} in the store is not what its id says")
        return data[offset : offset + length]

    def is_right(self, id_: bytes | None, data: Buffer) -> bool:
        """Whether these are the bytes that the id of a block names. For a thread as well."""
        return block_id(self._block_key, data) == id_

    def bring(self, numbers: Iterable[int]) -> list[Flight]:
        """Fetch these blocks ahead of their use. Returns what was begun for it, and is still on its way."""
        if self._nursery is None:
            return []
        places: dict[tuple[int, int], Location] = {}
        wanted: dict[tuple[int, int], list[int]] = {}
        for number in numbers:
            place = self._catalog.find(number)
            if place is not None and not self._blocks.get(number).is_held:
                places[place.pack, place.offset] = place
                wanted.setdefault((place.pack, place.offset), []).append(number)
        for group in joined(sorted(place for key, place in places.items() if key not in self._flights)):
            self._start(group)
        flights = [self._flights[key] for key in wanted]
        for flight, blocks in zip(flights, wanted.values(), strict=True):
            flight.wanted.update(blocks)
        return flights

    def _locate(self, number: int) -> Location:
        place = self._catalog.find(number)
        if place is None:
            raise UnknownBlock(number)
        return place

    # --- flights ---

    def _start(self, places: Sequence[Location]) -> list[Flight]:
        assert self._nursery is not None
        flights = [Flight() for _ in places]
        for place, flight in zip(places, flights, strict=True):
            self._flights[place.pack, place.offset] = flight
        self._nursery.start_soon(self._fly, places, flights)
        return flights

    async def _fly(self, places: Sequence[Location], flights: Sequence[Flight]) -> None:
        try:
            await self._carry(places, flights)
        finally:
            for place, flight in zip(places, flights, strict=True):
                flight.landed.set()
                flight.ended.set()
                del self._flights[place.pack, place.offset]

    async def _carry(self, places: Sequence[Location], flights: Sequence[Flight]) -> None:
        try:
            async with self._slots:
                plain = await self._fetch(places)
            fetched = [self._blocks_in(place, data) for place, data in zip(places, plain, strict=True)]
            right = await trio.to_thread.run_sync(self._right, fetched, limiter=self._threads)
            for flight, data, blocks in zip(flights, plain, right, strict=True):
                flight.plain, flight.right = data, {one.block for one in blocks}
                flight.landed.set()
            for flight, blocks in zip(flights, right, strict=True):
                await self._keep(flight, blocks)
        except CloudDamaged as error:
            if len(places) > 1:  # those beside the damaged one are not to suffer for it
                for place, flight in zip(places, flights, strict=True):
                    await self._carry([place], [flight])
            else:
                log.error("%s; hybrid-drive scrub tells which files need it", error)
                flights[0].error = error
        except (CloudUnreachable, UnknownBlock) as error:
            for flight in flights:
                if not flight.landed.is_set():
                    flight.error = error

    async def _fetch(self, places: Sequence[Location]) -> list[memoryview]:
        pack = self._catalog.pack(places[0].pack)
        spans = [Span(place.offset, place.length) for place in places]
        try:
            plain = await self._fetcher.records(pack.pack_id, pack.generation, pack.fence, spans)
        except SealedError as error:
            raise CloudDamaged(str(error)) from error
        except (ObjectMissing, RangeBeyondEnd) as error:  # about this pack; the store is there
            raise CloudDamaged(f"{error.happened}: {error.detail}") from error
        except StoreError as error:
            if str(error) != str(self.trouble):
                log.warning("%s", error)
            self.trouble = error
            self._trouble_until = trio.current_time() + TROUBLE_S
            raise CloudUnreachable(str(error)) from error
        self.trouble = None
        self.fetched_bytes += sum(place.length for place in places)
        return plain

    def _blocks_in(self, place: Location, plain: memoryview) -> list[_Fetched]:
        """The record's blocks that are still needed and not held."""
        return [
            _Fetched(number, id_, plain[start : start + length])
            for number, start, length, id_ in self._catalog.neighbours(place.pack, place.offset)
            if self._is_missing(number)
        ]

    def _right(self, fetched: Sequence[Sequence[_Fetched]]) -> list[list[_Fetched]]:
        """Of each record those that are what their ids say. For a thread."""
        right = [[one for one in record if self.is_right(one.block_id, one.data)] for record in fetched]
        wrong = sum(map(len, fetched)) - sum(map(len, right))
        if wrong:
            log.error("%d blocks of the store are not what their ids say: they are not kept", wrong)
        return right

    # --- keeping ---

    async def _keep(self, flight: Flight, fetched: Sequence[_Fetched]) -> None:
        """Put blocks into the cache, but for those that were held or have died meanwhile."""
        if not fetched or not self.make_room(sum(len(one.data) for one in fetched)):
            return
        placed: list[Block] = []
        try:
            for one in fetched:
                segment, offset = self._segments.allocate(len(one.data), CACHE)
                capacity = len(one.data) + -len(one.data) % PAGE_BYTES
                placed.append(Block(one.block, one.block_id, len(one.data), 0, True, segment, offset, capacity))
            pairs = [(block, one.data) for block, one in zip(placed, fetched, strict=True)]
            await self._put(pairs)
        except (OSError, StorageFull) as error:
            log.warning("fetched bytes could not be kept here: %s", error)
        else:
            kept = [self._settle(block) for block in placed]
            self.settled(
                (block.number, block.capacity, block.number in flight.wanted)
                for block, is_kept in zip(placed, kept, strict=True)
                if is_kept
            )
            return
        for block in placed:
            self._segments.free(block.segment, block.offset, block.capacity, is_reserved=True)

    def _settle(self, block: Block) -> bool:
        is_missing = self._is_missing(block.number)
        if is_missing:
            self._seals.settle(block.number, block.segment, block.offset, block.capacity)
        else:
            self._segments.free(block.segment, block.offset, block.capacity, is_reserved=True)
        return is_missing

    def _is_missing(self, number: int) -> bool:
        try:
            return not self._blocks.get(number).is_held
        except UnknownBlock:  # it has died
            return False


def joined(places: Iterable[Location]) -> list[list[Location]]:
    """Sorted places, those in one group that one request may bring."""
    groups: list[list[Location]] = []
    for place in places:
        if groups:
            first, last = groups[-1][0], groups[-1][-1]
            gap = place.offset - last.offset - last.length
            size = place.offset + place.length - first.offset
            if place.pack == first.pack and gap <= JOINED_GAP_BYTES and size <= JOINED_BYTES:
                groups[-1].append(place)
                continue
        groups.append([place])
    return groups
