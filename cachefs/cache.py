"""The facade of local bytes: to the layer above, a block is simply there, only sometimes later.

A block that is not held here is fetched, if the drive has a store (`cachefs.tier`). A copy of what the store has and
that turns out to be damaged is given up and fetched again.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from cachefs.blocks import Block, Blocks
from cachefs.budget import Budget
from cachefs.catalog import Catalog
from cachefs.counters import Counters
from cachefs.cut import CutPolicy, Cuts
from cachefs.database import Database
from cachefs.disk import Disk
from cachefs.errors import BytesDamaged, UnknownBlock
from cachefs.places import Places
from cachefs.seals import Seals
from cachefs.segments import Segments
from cachefs.sums import PAGE_BYTES, page_sums
from cloud_tier.clock import Clock

if TYPE_CHECKING:
    from cachefs.evicting import Evicting
    from cachefs.fetching import Fetching

log = logging.getLogger(__name__)

LONGEST_WAIT_S = 30.0
"""How long a write waits for room while nothing gets on: people's programs take more for a drive that hangs."""
LOOK_S = 0.05


class Cache(Places):
    """Everything below the file system, put together over one open database."""

    def __init__(
        self,
        state: Path,
        database: Database,
        disk: Disk,
        clock: Clock,
        policy: CutPolicy = CutPolicy(),  # noqa: B008  (frozen)
        limit_bytes: int = 0,
    ) -> None:
        self.state = state
        self.clock = clock
        self.database = database
        self.counters = Counters(database, "counters")
        self.local_counters = Counters(database, "local_counters")
        super().__init__(disk, Segments(disk, state / "segments", database, self.local_counters))
        self.blocks = Blocks(database, self.segments, self.counters)
        self.seals = Seals(database, self.blocks, self.segments, self.counters)
        self.catalog = Catalog(database, self.blocks, self.counters)
        self._progress, self._since_s, self._looked_s = -1, 0.0, 0.0
        self._line = trio.Lock()  # of writers that wait for room
        self.reads = 0
        """Reads of SEALED blocks since the start, held here or not."""
        self.progress: Callable[[], int] = lambda: 0
        """What changes while uploads get on."""
        self.may_get_room: Callable[[], bool] = lambda: False
        """Whether something is on its way into a store that has not refused it, or out of this machine."""
        self.fetching: Fetching | None = None
        self.evicting: Evicting | None = None
        self.cuts = Cuts(disk, state / "intents", database, self.segments, self.local_counters, clock, policy)
        self.budget = Budget(state, clock, self.segments.allocated_bytes, limit_bytes)
        self.note_written = self.cuts.note_written
        self.cuts.unwritten.append(self.blocks.unwritten)
        self.cuts.flushers += (self.blocks.flush, self.segments.flush, self.counters.flush, self.local_counters.flush)
        self.cuts.is_space_short = self.budget.is_short
        self.catalog.wait_synced = self.cuts.wait_synced
        self.catalog.next_position = lambda: self.cuts.number + 1
        self.seals.sealed = self.catalog.sealed
        self.blocks.dropped = self.catalog.not_unsent
        self.cuts.tallies += (self.segments.flush_tallies, self.counters.flush_tallies)

    def statistics(self) -> dict[str, int]:
        """Bytes and counts of what lies here; `allocated_bytes` is what the disk says (st_blocks)."""
        segments = self.segments.statistics()
        allocated = self.segments.allocated_bytes()
        evicting = self.evicting
        evictable, pinned = (evicting.evictable_bytes, evicting.pinned_bytes) if evicting is not None else (0, 0)
        return {
            "budget_bytes": self.budget.limit_bytes or allocated + self.budget.free_bytes(),
            "held_bytes": segments["live_bytes"],
            "allocated_bytes": allocated,
            "precious_bytes": segments["live_bytes"] - evictable - pinned,
            "evictable_bytes": evictable,
            "pinned_bytes": pinned,
            "unsent_bytes": self.catalog.unsent_bytes,
            "fetched_bytes": self.fetching.fetched_bytes if self.fetching else 0,
            "reads": self.reads,
            "misses": self.fetching.misses if self.fetching else 0,
            "free_queue_bytes": segments["free_queue_bytes"],
            "segments": segments["segments"],
            "blocks_open": self.blocks.open,
            "blocks_sealed": self.blocks.sealed,
            "damaged_pages": len(self.damaged),
        }

    async def read(self, block: Block, offset: int, length: int) -> bytes | bytearray:
        """`length` bytes of a block from `offset`, fetched if they are not here. Raises BytesDamaged, NotHere."""
        if not block.is_held:
            block = self.blocks.get(block.number)  # it may have come since the caller looked
            if not block.is_held:
                return await self._fetch(block, offset, length)
        if block.doubted is not None and not await self._believe(block):
            return await self._fetch(block, offset, length)
        try:
            return await self.read_held(block, offset, length)
        except BytesDamaged as error:
            if self.fetching is None or block.block_id is None or self.catalog.find(block.number) is None:
                raise
            log.warning("%s: it is fetched again", error)
            self._give_up(block)
            return await self._fetch(block, offset, length)

    async def _believe(self, block: Block) -> bool:
        """Compare what a power loss may have spoiled with the block's id; what is wrong is given up."""
        lease = self.segments.free_queue.lease()
        home, fetching = block.home, self.fetching

        def look() -> memoryview | None:
            data = self.disk.pread(home.fd, block.length, block.offset)
            return page_sums(data) if fetching is not None and fetching.is_right(block.block_id, data) else None

        try:
            sums = await trio.to_thread.run_sync(look, limiter=self._threads)
            if sums is not None:
                await self.load_sums(home, block.offset, block.offset + block.length)
                self._sums.set(home.number, block.offset, sums)
                block.segment, block.doubted = home, None
                return True
        finally:
            self.segments.free_queue.release(lease)
        self._give_up(block)
        return False

    async def _fetch(self, block: Block, offset: int, length: int) -> bytes:
        if self.fetching is None:
            raise UnknownBlock(block.number)
        return bytes(await self.fetching.read(block, offset, length))

    def bring(self, blocks: Iterable[Block]) -> None:
        """Somebody is about to read these one after the other: those that are not held come at once."""
        missing = [block.number for block in blocks if not block.is_held]
        if missing and self.fetching is not None:
            self.fetching.bring(missing)

    def _give_up(self, block: Block) -> None:
        """The copy here is damaged, that in the store counts."""
        self.suspects.discard(block.number)
        self.damaged -= {page for page in self.damaged if page[0] == block.home.number and page[1] in
                         range(block.offset - PAGE_BYTES, block.offset + block.capacity)}  # fmt: skip
        with suppress(UnknownBlock), self.database.operation:
            if self.blocks.get(block.number) is block:
                self.seals.evict(block)

    async def before_write(self, size_bytes: int) -> None:
        """Wait while room is made, and where a store that falls behind slows writers down. While it takes what it is
        sent, a copy that is larger than the cache goes on as fast as it does.
        """
        if self.evicting is not None and self.budget.is_short():
            delay = self.budget.delay_s(size_bytes)
            if delay:
                await trio.sleep(delay)
            await self.evicting.make_room(size_bytes)  # last: there is room now, and the caller counts on it at once
            if not self._has_room(self.evicting, size_bytes):
                async with self._line:  # first come, first served: or a small write starves behind a copy
                    await self._wait_for_room(self.evicting, size_bytes)

    async def before_copies(self, size_bytes: int) -> None:
        """Make room in a full cache for what is copied inside of it, as far as that can be done at once: unlike
        writers, who makes bytes ready to be sent never waits for the store.
        """
        if self.evicting is not None and self.budget.is_short():
            await self.evicting.make_room(size_bytes)

    async def _wait_for_room(self, evicting: "Evicting", size_bytes: int) -> None:
        while not self._has_room(evicting, size_bytes) and self.may_get_room():
            if self._stands_s() > LONGEST_WAIT_S:
                return
            await trio.sleep(LOOK_S)
            await evicting.make_room(size_bytes)

    def _has_room(self, evicting: "Evicting", size_bytes: int) -> bool:
        return self.budget.has_room(size_bytes) and evicting.has_room(size_bytes)

    def _stands_s(self) -> float:
        """How long the store has taken nothing while somebody waited for it: who comes next is not to wait as long."""
        now_s, progress = trio.current_time(), self.progress()
        if progress != self._progress or now_s - self._looked_s > LONGEST_WAIT_S:
            self._progress, self._since_s = progress, now_s
        self._looked_s = now_s
        return now_s - self._since_s

    async def put_fetched(self, fetched: Sequence[tuple[Block, memoryview]]) -> None:
        """Write fetched blocks to the places that were reserved for them; never synced. Raises OSError."""
        for block, _ in fetched:
            await self.load_sums(block.segment, block.offset, block.offset + block.length)

        def write() -> list[memoryview]:
            for block, data in fetched:
                self.disk.pwrite(block.segment.fd, data, block.offset)
            return [page_sums(data) for _, data in fetched]

        for (block, _), sums in zip(fetched, await trio.to_thread.run_sync(write, limiter=self._threads), strict=True):
            block.segment.unsynced = True
            self._sums.set(block.segment.number, block.offset, sums)
