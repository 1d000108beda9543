"""Sealing: what has come to rest gets a name by its content, so that it can be deduplicated, packed and sent.

Which file is due when stands in `vfs.resting`. One pass takes some due files through these steps:

    step                                       died here, or failed → what is left
    1 freeze their OPEN blocks: whoever        nothing: frozen is a word in memory
      writes now starts new ones (T5)
    2 read, check page sums, cut, hash         nothing; a damaged block stays OPEN and is left alone
    3 copy what no block holds in one piece    places without rows, which no start sees
    4 in one turn of the loop: dedupe, give    the batch of the intent log is there or not
      names, re-point extents (`repoint`)

Bytes of frozen blocks cannot change, so it does not matter what becomes of the file during 2 and 3: whatever extents
lead into a block at step 4 are re-pointed to equal bytes, in every epoch; if nothing leads there any more, the block
has died and takes its part of the plan along.

Most bytes stay where they lie. Copied are cuts that lie in two blocks, and the uncertain end of a long run. A block
whose bytes another SEALED one already has gives its place up.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import trio

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.errors import BytesDamaged, StorageFull, UnknownBlock
from cloud_tier.giving_way import GivingWay
from vfs.contents import Contents
from vfs.resting import Resting
from vfs.seal_pass import Names, Outrun, SealPass
from vfs.seal_plan import Run, left_over, runs_of

log = logging.getLogger(__name__)

PASS_CONTENTS = 16  # a millisecond or two of the loop
REST_S = 0.003  # after a pass, for whoever waits for the loop
PASS_BYTES = 8 << 20  # of small files; a long run may have more
MOST_RUN_BYTES = 32 << 20
LEAST_RUN_BYTES = 1 << 20
CACHE_SHARE = 24  # a run is at most this part of the cache: its copies lie there beside it until the next cut
SWEEP_S = 60.0
RETRY_S = 5.0
SWEPT_BLOCKS = 1000
PRESSED_S = 0.5  # between passes over what is still being written, while there is hardly room

PAGE_EXTENTS = 4000  # of one file, looked at in one pass: a millisecond
_PAGE = (
    "FROM (SELECT start, length, block, offset FROM extents WHERE content = ? AND start >= ?"
    f" ORDER BY start LIMIT {PAGE_EXTENTS}) e JOIN blocks b USING (block)"
)
_OPEN_EXTENTS = f"SELECT e.start, e.length, e.block, e.offset {_PAGE} WHERE b.block_id IS NULL ORDER BY e.start"
_HAS_SEALED = f"SELECT 1 {_PAGE} WHERE b.block_id IS NOT NULL LIMIT 1"
_NEXT_PAGE = f"SELECT start FROM extents WHERE content = ? AND start >= ? ORDER BY start LIMIT 1 OFFSET {PAGE_EXTENTS}"
_OPEN_BLOCKS = "SELECT block FROM blocks WHERE block_id IS NULL AND block > ? ORDER BY block LIMIT ?"
_CONTENT_OF = "SELECT content FROM extents WHERE block = ? LIMIT 1"


class Sealing:
    """The task that seals."""

    def __init__(
        self,
        cache: Cache,
        contents: Contents,
        names: Names,
        resting: Resting,
    ) -> None:
        self.resting = resting
        self.damaged: set[int] = set()  # OPEN blocks that cannot be sealed
        self.found_damage: Callable[[BytesDamaged], Awaitable[None]]
        """Awaited when a page is not what was written; its block stays OPEN and is not sent."""
        self._cache = cache
        self._pass = SealPass(cache, contents, names, self._open_block, self.damaged)
        self._thread = trio.CapacityLimiter(1)
        self._busy = trio.Lock()
        self._give_way = GivingWay()
        self._flushes = 0
        self._passed_over: set[int] = set()  # meanwhile: files of which a block was being written

    async def run(self) -> None:
        """Seal what is due, for ever."""
        sweep_at = trio.current_time()
        while True:
            now = trio.current_time()
            if now >= sweep_at:
                await self.sweep()
                sweep_at = now + SWEEP_S
            try:
                began = trio.current_time()
                is_pressed = self._cache.budget.is_pressed()
                if await self.seal_due(self.resting.due_at(began) if is_pressed else began):
                    await trio.sleep(REST_S)
                    await self._give_way(trio.current_time() - began)
                    continue
            except (OSError, StorageFull) as error:  # it is asked for again
                log.warning("files could not be made ready for the cloud, and will be later: %s", error)
                await trio.sleep(RETRY_S)
            next_s = trio.current_time() + PRESSED_S if is_pressed else self.resting.next_due(trio.current_time())
            await trio.sleep_until(min(sweep_at, next_s))

    async def seal_all(self) -> None:
        """Seal whatever is OPEN now, but for damaged blocks. Ends although others go on writing."""
        await self._seal_announced()  # first: it can be sent while the disk takes what the cut waits for
        await self._cache.cuts.wait_cut()
        await self.sweep()
        await self._seal_announced()

    async def _seal_announced(self) -> None:
        now = self.resting.due_at(trio.current_time())
        self._flushes += 1
        try:
            while await self.seal_due(now):
                await trio.sleep(REST_S)
                while self._passed_over:  # what was there before somebody began to write is asked for, too
                    self.resting.again(self._passed_over.pop())
        finally:
            self._flushes -= 1

    async def sweep(self) -> None:
        """Find OPEN blocks that nobody announced: those of a life before, and those that only history leads to."""
        last = 0
        while True:
            blocks = await trio.to_thread.run_sync(self._open_blocks, last, limiter=self._thread)
            for number in blocks:
                if number not in self.damaged:
                    row = self._cache.database.row(_CONTENT_OF, (number,))
                    self.resting.found(-number if row is None else row[0])
            if len(blocks) < SWEPT_BLOCKS:
                return
            last = blocks[-1]
            await trio.lowlevel.checkpoint()

    def _open_blocks(self, last: int) -> list[int]:
        reader = self._cache.database.reader()
        try:
            return [row[0] for row in reader.execute(_OPEN_BLOCKS, (last, SWEPT_BLOCKS))]
        finally:
            reader.close()

    async def seal_due(self, now: float) -> bool:
        """One pass over some files that are due. False when there were none."""
        async with self._busy:
            due = self.resting.take_due(now, PASS_CONTENTS)
            if not due:
                return False
            await self._cache.before_copies(self._run_bytes())
            lease = self._cache.segments.free_queue.lease()
            try:
                await self._cache.cuts.gate.wait_open()
                self._cache.cuts.flush_rows()
                with self._frozen(due) as (blocks, runs):
                    await self._pass.seal(blocks, runs)
            except Outrun:
                self._again(due)
            except BytesDamaged as error:
                await self.found_damage(error)
                self.damaged.add(error.block)
                self._again(due)
            except BaseException:
                self._again(due)
                raise
            finally:
                self._cache.segments.free_queue.release(lease)
            return True

    def _again(self, due: Iterable[int]) -> None:
        for one in due:
            self.resting.again(one)

    def _run_bytes(self) -> int:
        return min(MOST_RUN_BYTES, max(LEAST_RUN_BYTES, self._cache.budget.most_bytes() // CACHE_SHARE))

    # --- 1: freeze ---

    @contextmanager
    def _frozen(self, due: Sequence[int]) -> Iterator[tuple[dict[int, Block], list[Run]]]:
        """The blocks of this pass, and all that anything leads to in them, as runs."""
        blocks: dict[int, Block] = {}
        runs: list[Run] = []
        size, most = 0, min(PASS_BYTES, self._run_bytes())
        for index, one in enumerate(due):
            if size >= most:
                for rest in due[index:]:
                    self.resting.found(rest)
                break
            size += self._gather(one, blocks, runs, most - size)
        try:
            for block in blocks.values():
                block.is_frozen = True
            sources = [source for run in runs for source in run.sources]
            left = left_over(self._cache.database, blocks.values(), sources)
            yield blocks, runs + [Run(0, 0, [source], is_whole=True) for source in left]
        finally:
            for block in blocks.values():
                block.is_frozen = False

    def _gather(self, one: int, blocks: dict[int, Block], runs: list[Run], most_bytes: int) -> int:
        """Add what is OPEN in a file's next page, or a block that only history leads to. Returns how many bytes."""
        if one < 0:
            if (block := self._open_block(-one)) is not None:
                blocks[block.number] = block
            return 0
        page, database = (one, self.resting.page(one)), self._cache.database
        if database.row(_HAS_SEALED, page) is not None:
            self.resting.cooling.written(one, trio.current_time())
        extents = [
            (start, length, block, offset)
            for start, length, number, offset in database.rows(_OPEN_EXTENTS, page)
            if (block := self._open_block(number)) is not None
        ]
        still = [extent for extent in extents if not extent[2].writers]
        if len(still) < len(extents):  # a thread writes there at this moment
            self.resting.written(one, trio.current_time())
            if self._flushes:
                self._passed_over.add(one)
        size = 0
        for run in runs_of(one, still, set(blocks), self._run_bytes()):
            runs.append(run)
            size += run.length
            blocks.update((source.block.number, source.block) for source in run.sources)
            if size >= most_bytes:
                self.resting.look_on(one, page[1])  # the rest of it another time
                return size
        following = database.row(_NEXT_PAGE, page)
        if following is None:
            self.resting.looked_through(one)
            return size
        self.resting.look_on(one, *following)
        return most_bytes  # one such page is enough for a pass

    def _open_block(self, number: int) -> Block | None:
        try:
            block = self._cache.blocks.get(number)
        except UnknownBlock:
            return None
        return None if block.block_id is not None or number in self.damaged else block
