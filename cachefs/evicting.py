"""Eviction: the cache gives bytes up that a durable pack has, so that it stays within its budget.

A block may go once its pack was stored and a cut holds the catalog's row (I14); OPEN and unsent bytes never do (I5).
Which goes first is the policy's choice (`cachefs.eviction`). Above the high mark blocks go until the low one is
reached. Their places wait for the next cut like all that is freed, so who evicts asks for that cut.

Never chosen are blocks that are *pinned* and, as long as nobody needs their room, those that are *spared*, because
somebody is bringing them together (`cachefs.warming`).
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

import apsw
import trio

from cachefs.blocks import Block, Blocks
from cachefs.catalog import Catalog
from cachefs.cut import Cuts
from cachefs.database import Database
from cachefs.errors import UnknownBlock
from cachefs.eviction import Eviction
from cachefs.recency import Recency
from cachefs.seals import Seals

HIGH, LOW = 0.92, 0.85  # of the budget
LOOK_S = 1.0
SAVE_S = 300.0
FOUND_BLOCKS = 400  # at a start, in one turn: 3 ms
STEP_BLOCKS = 200  # in one turn of the loop
MOST_CUTS = 10  # for one who waits: a lease outlives a few; a disk that refuses to take bytes back, all

_MAY_GO = (
    "SELECT residency.block, capacity FROM residency JOIN catalog USING (block) WHERE residency.block > ?"
    " ORDER BY residency.block LIMIT ?"
)


class Stored(NamedTuple):
    """A block of which a pack was recorded after this cut."""

    block: int
    cut: int


class Evicting:
    """The task that evicts. `used` asks for the bytes that lie here, `allocated` as well for those that the disk has
    not got back yet, `limit` for the budget's, all of the disk; `is_short` whether writers will soon find no room.
    """

    def __init__(
        self,
        database: Database,
        cuts: Cuts,
        blocks: Blocks,
        seals: Seals,
        catalog: Catalog,
        policy: Eviction,
        recency: Recency,
        used: Callable[[], int],
        allocated: Callable[[], int],
        limit: Callable[[], int],
        is_short: Callable[[], bool],
    ) -> None:
        self.evicted_blocks = 0
        self.touched = policy.touched
        """Somebody reads this block."""
        self.pinned: frozenset[int] = frozenset()
        self.pinned_bytes = 0
        """Of the places of pinned blocks; as of the last `pin` and of what was fetched since."""
        self.look_at_pins: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        """Awaited before anything is given up: whoever knows what is pinned calls `pin`, if that may have changed."""
        self.is_sparing = False
        self._spared: set[int] = set()
        self._database = database
        self._cuts = cuts
        self._blocks = blocks
        self._seals = seals
        self._catalog = catalog
        self._policy = policy
        self._recency = recency
        self._has_found_all = False
        self._used = used
        self._allocated = allocated
        self._limit = limit
        self._is_short = is_short
        self._fresh: deque[Stored] = deque()
        self._wanted = trio.Event()
        self._lock = trio.Lock()
        self._thread = trio.CapacityLimiter(1)

    @property
    def evictable_bytes(self) -> int:
        """Bytes of the places of all blocks that may go."""
        return max(0, self._policy.evictable_bytes - self.pinned_bytes)

    @property
    def is_giving_up(self) -> bool:
        """Whether something that the store has may go as soon as a cut is durable."""
        return bool(self._fresh)

    def keeps(self, block: int) -> bool:
        """Whether the block may not go for now."""
        return block in self.pinned or block in self._spared

    async def _find_all(self) -> None:
        """Find what may go from a life before, a few at a time: first what was in use then, in that order. One that
        dies meanwhile is looked for when chosen.
        """
        await self._recency.load()
        reader, last = self._database.reader(), 0
        try:
            while rows := await trio.to_thread.run_sync(_may_go, reader, last, limiter=self._thread):
                for block, capacity in rows:
                    self._policy.admitted(block, capacity, is_read=False)
                last = rows[-1][0]
        finally:
            reader.close()
        self._has_found_all = True

    async def save_order(self) -> None:
        """Write down for the next life what is in use, unless this one does not know it yet."""
        if self._has_found_all:
            self._policy.settle()
            await self._recency.save()

    def stored(self, blocks: Iterable[int]) -> None:
        """These blocks were recorded in the catalog, in the running transaction."""
        self._fresh.extend(Stored(block, self._cuts.number) for block in blocks)
        self._wanted.set()

    def settled(self, held: Iterable[tuple[int, int, bool]]) -> None:
        """These blocks were fetched; with the bytes of their places, and whether they were asked for or came along."""
        for block, size_bytes, is_read in held:
            self._policy.admitted(block, size_bytes, is_read=is_read)
            if block in self.pinned:
                self.pinned_bytes += size_bytes

    def gone(self, block: int) -> None:
        """The block has died, or is not held any more."""
        self._policy.gone(block)

    # --- what is not to be chosen ---

    def pin(self, blocks: frozenset[int], held_bytes: int) -> None:
        """These blocks stay from now on, wherever they are, and no others; places of so many bytes are theirs."""
        self.pinned, self.pinned_bytes = blocks, held_bytes
        self._policy.unpinned()

    def begin_sparing(self) -> None:
        """Somebody is about to bring blocks that belong together; one at a time."""
        assert not self._spared
        self.is_sparing = True

    def spare(self, blocks: Iterable[int]) -> None:
        """These are among them: they stay until `end_sparing`, or until there is no other way to make room."""
        if self.is_sparing:
            self._spared.update(blocks)

    def end_sparing(self) -> None:
        """Back to the policy's choice."""
        self.is_sparing, self._spared = False, set()
        self._policy.unpinned()

    # --- making room ---

    async def run(self) -> None:
        """Keep to the budget, for ever."""
        await self._find_all()
        save_at = trio.current_time() + SAVE_S
        while True:
            if trio.current_time() >= save_at:
                await self.save_order()
                save_at = trio.current_time() + SAVE_S
            with trio.move_on_after(LOOK_S):
                await self._wanted.wait()
            self._wanted = trio.Event()
            self._admit_durable()
            self._policy.settle()
            await self.make_room(0)
            await trio.sleep(0.05)

    def is_over(self) -> bool:
        """Whether more lies here than should."""
        return not self.fits(0)

    def fits(self, size_bytes: int) -> bool:
        """Whether so many bytes may come without anything being evicted for them."""
        return self._used() + size_bytes <= HIGH * self._limit()

    def has_room(self, size_bytes: int) -> bool:
        """Whether so many bytes may be fetched to stay; if not, room is made for those that come later.

        What was evicted and the disk has not got back is no room: a commit might find none.
        """
        if not self.fits(size_bytes):
            self._wanted.set()
        return self._is_on_disk(size_bytes)

    async def make_room(self, size_bytes: int, *, is_for_spared: bool = False) -> None:
        """Evict, if with `size_bytes` more too much would lie here. Returns once what goes is named by no row, and
        where there would be more than the limit, once the disk has got back what was freed.
        """
        if self._fresh and self._is_short():
            await self._admit_fresh()
        if self.fits(size_bytes) and self._is_on_disk(size_bytes):
            return
        async with self._lock:
            for _ in range(MOST_CUTS):
                freed = await self._evict_to(LOW, size_bytes, is_for_spared=is_for_spared)
                if not freed and (self._is_on_disk(size_bytes) or self._allocated() <= self._used()):
                    return
                await self._cuts.wait_cut()  # what was freed may have been less than its places are

    async def _evict_to(self, share: float, size_bytes: int, *, is_for_spared: bool) -> int:
        if self.fits(size_bytes):
            return 0
        excess = self._used() + size_bytes - int(share * self._limit())
        freed = await self.evict(excess)
        if freed < excess and self._spared and not is_for_spared:
            self.end_sparing()
            freed += await self.evict(excess - freed)
        return freed

    def _is_on_disk(self, size_bytes: int) -> bool:
        """Whether the disk can take so many bytes now, within the limit."""
        return self._allocated() + size_bytes <= self._limit()

    async def evict(self, size_bytes: int) -> int:
        """Give up at least so many bytes, if so many may go. Returns how many went."""
        await self._admit_fresh()
        await self.look_at_pins()
        freed = 0
        while freed < size_bytes and (victims := self._policy.victims(size_bytes - freed)):
            freed += await self._give_up(victims)
        return freed

    async def drop(self, blocks: Iterable[int]) -> int:
        """Give up these, as far as they may go. Returns how many bytes went."""
        await self._admit_fresh()
        await self.look_at_pins()
        fresh = {one.block for one in self._fresh}
        return await self._give_up([block for block in blocks if block not in fresh])

    async def _give_up(self, blocks: Sequence[int]) -> int:
        freed = 0
        for begin in range(0, len(blocks), STEP_BLOCKS):
            with self._database.operation:
                for number in blocks[begin : begin + STEP_BLOCKS]:
                    freed += self._evict_one(number)
            self._cuts.bound_pending()
            await trio.lowlevel.checkpoint()
        return freed

    async def _admit_fresh(self) -> None:
        if self._fresh:
            await self._cuts.wait_cut()
            self._admit_durable()

    def _admit_durable(self) -> None:
        """What a durable cut says is stored may go (I14)."""
        while self._fresh and self._fresh[0].cut < self._cuts.durable:
            block = self._find(self._fresh.popleft().block)
            if block is not None:
                self._policy.admitted(block.number, block.capacity, is_read=False)

    def _evict_one(self, number: int) -> int:
        block = self._find(number)
        if block is None or self._catalog.find(number) is None:
            return 0
        if self.keeps(number):  # since it was chosen
            self._policy.admitted(number, block.capacity, is_read=False)
            return 0
        self._seals.evict(block)
        self.evicted_blocks += 1
        return block.capacity

    def _find(self, number: int) -> Block | None:
        try:
            block = self._blocks.get(number)
        except UnknownBlock:
            return None
        return block if block.is_held else None


def _may_go(reader: apsw.Connection, last: int) -> list[tuple[int, int]]:
    return list(reader.execute(_MAY_GO, (last, FOUND_BLOCKS)))
