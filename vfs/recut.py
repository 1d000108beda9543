"""Cutting anew: what an hour of small changes left of a file is put in order once the file has cooled.

Which file, and when, is the table's in `vfs.resting`; which parts of it, and whether it is worth it, is
`vfs.recut_plan`'s.

    step                                                    died here → what is left
    1 write the bytes of some stretches into an orphan,     an orphan, which the next start removes
      with what only history needs of their blocks
    2 let it be sealed as any file is, and sent             the same
    3 one more pass of sealing over the old blocks: every   the batch of the intent log is there or not
      cut is known now, so whatever led to them, live or
      past, is re-pointed in one turn (`SealPass`)
    4 let go of the orphan                                  the same as after 1

So a file that the store has whole is never without its bytes there, not even in its past (T6). Old blocks that nobody
needs any more die. A stretch that was written meanwhile is planned anew when the file has cooled again.

Only bytes that lie here are read: nothing is ever fetched for this. New blocks travel in the lane of bulk, and the next
stretch waits while there is much to be sent, or little room.

A file that was hot in a life before is found by a survey of the rows, at the start and once a day.
"""

import logging
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.errors import BytesDamaged, NotHere, StorageFull, UnknownBlock
from vfs.contents import Contents
from vfs.errors import VfsError
from vfs.files import Files
from vfs.inodes import Inode, Inodes
from vfs.recut_plan import Change, Lying, Stretch, stretches
from vfs.resting import Resting
from vfs.seal_pass import Names, Outrun, SealPass
from vfs.seal_plan import Run, Source, left_over

log = logging.getLogger(__name__)

SURVEY_S = 86_400.0
SURVEYED = 200  # contents in one query
LEAST_EXTENTS = 8  # of a file that a survey finds
STEP_EXTENTS = 1000  # in one turn of the loop
BATCH_BYTES = 16 << 20  # sent together
MOST_UNSENT_BYTES = 64 << 20
REST_S = 0.01  # after a stretch, for whoever waits for the loop
LOOK_S = 1.0  # whether there is room by now
RETRY_S = 60.0

_SURVEY = "SELECT content FROM extents WHERE content > ? GROUP BY content HAVING count(*) >= ? ORDER BY content LIMIT ?"
_EXTENTS = "SELECT start, length, block, offset FROM extents WHERE content = ? AND start >= ? ORDER BY start LIMIT ?"
_SHARED = (
    "SELECT EXISTS (SELECT 1 FROM extents WHERE block = ?1 AND content != ?2)"
    " OR EXISTS (SELECT 1 FROM extents_history WHERE block = ?1 AND content != ?2)"
)
_UNSENT = "SELECT 1 FROM extents LEFT JOIN catalog USING (block) WHERE content = ? AND pack IS NULL LIMIT 1"
_GONE = "SELECT 1 FROM gone_contents WHERE content = ?"


class Recut:
    """The task that puts cooled files in order."""

    def __init__(
        self, cache: Cache, contents: Contents, inodes: Inodes, files: Files, names: Names, resting: Resting
    ) -> None:
        self.recut_bytes = 0
        """Of stretches that were cut anew since the start."""
        self._cache = cache
        self._contents = contents
        self._inodes = inodes
        self._files = files
        self._names = names
        self._resting = resting
        self._cooling = resting.cooling
        self._thread = trio.CapacityLimiter(1)

    async def run(self) -> None:
        """Put in order what has cooled, for ever."""
        survey_at = trio.current_time()
        while True:
            now = trio.current_time()
            if now >= survey_at:
                await self.survey()
                survey_at = now + SURVEY_S
            content = self._cooling.take_due(now)
            if content is None:
                await trio.sleep_until(min(survey_at, self._cooling.next_due(now)))
                continue
            try:
                async for batch in self.batches_of(content):
                    await self._wait_for_room()
                    if content in self._cooling:  # somebody writes to it again
                        break
                    await self.recut(content, batch)
            except (OSError, StorageFull) as error:
                log.warning("a file could not be cut anew, and will be later: %s", error)
                self._cooling.written(content, now)
                await trio.sleep(RETRY_S)

    async def _wait_for_room(self) -> None:
        await trio.sleep(REST_S)
        while self._cache.catalog.unsent_bytes > MOST_UNSENT_BYTES or self._cache.budget.is_short():  # noqa: ASYNC110
            await trio.sleep(LOOK_S)

    async def survey(self) -> None:
        """Find files of many extents that nobody announced: they were hot in a life before."""
        last = 0
        while found := await trio.to_thread.run_sync(self._surveyed, last, limiter=self._thread):
            for content in found:
                if content not in self._cooling:
                    self._cooling.written(content, trio.current_time())
            last = found[-1]

    def _surveyed(self, last: int) -> list[int]:
        reader = self._cache.database.reader()
        try:
            return [row[0] for row in reader.execute(_SURVEY, (last, LEAST_EXTENTS, SURVEYED))]
        finally:
            reader.close()

    # --- one file ---

    async def batches_of(self, content: int) -> AsyncIterator[list[Stretch]]:
        """The same, as many together as are sent at once."""
        batch: list[Stretch] = []
        size = 0
        async for stretch in self.stretches_of(content):
            batch.append(stretch)
            size += sum(extent.length for extent in stretch)
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    async def stretches_of(self, content: int) -> AsyncIterator[Stretch]:
        """What of the file is worth to be cut anew, looked for as far as one asks. Rows may have changed by then."""
        position = 0
        while True:
            extents = self._lying(content, position)
            found = list(stretches(extents, self._names.chunker.least_bytes, self._may_move(content)))
            is_all = len(extents) < STEP_EXTENTS
            position = extents[-1].start + extents[-1].length if extents else 0
            if not is_all and len(found) > 1 and found[-1][-1] is extents[-1]:
                position = found.pop()[0].start  # it may go on behind what was looked at
            for stretch in found:
                if self._change(stretch).is_worth_it():
                    yield stretch
            if is_all:
                return
            await trio.lowlevel.checkpoint()

    def _lying(self, content: int, position: int) -> list[Lying]:
        self._cache.cuts.flush_rows()
        if self._cache.database.row(_GONE, (content,)) is not None:
            return []
        rows = self._cache.database.rows(_EXTENTS, (content, position, STEP_EXTENTS))
        get = self._cache.blocks.get
        return [Lying(start, length, get(block), offset) for start, length, block, offset in rows]

    def _may_move(self, content: int) -> Callable[[Block], bool]:
        asked: dict[int, bool] = {}

        def may_move(block: Block) -> bool:
            if block.number not in asked:
                is_here = block.block_id is not None and block.is_held and block.doubted is None
                is_good = is_here and block.number not in self._cache.suspects
                asked[block.number] = is_good and not self._cache.database.row(_SHARED, (block.number, content))[0]
            return asked[block.number]

        return may_move

    def _change(self, stretch: Stretch) -> Change:
        """What it would bring to cut the stretch anew, if nothing of it is known."""
        blocks = {extent.block.number: extent.block for extent in stretch}
        left = left_over(self._cache.database, blocks.values(), sources_of(stretch))
        locations = (self._cache.catalog.find(number) for number in blocks)
        records = {number if place is None else place[:2] for number, place in zip(blocks, locations, strict=True)}
        sent = sum(extent.length for extent in stretch) + sum(source.length for source in left)
        cuts = -(-sent // self._names.chunker.average_bytes)
        held = sum(block.length for block in blocks.values())
        return Change(held, sent, len(records) - cuts, len(stretch) - cuts)

    async def recut(self, content: int, batch: Sequence[Stretch]) -> None:
        """Cut stretches of a file anew; what somebody was quicker with is left. Raises OSError, StorageFull before
        anything changed.
        """
        file = self._inodes.create(stat.S_IFREG | 0o600, 0, 0, 0)
        with self._inodes.held(file):
            try:
                for stretch in batch:
                    await self._write_ahead(file, stretch)
                await self._wait_sent(file)
                for stretch in batch:
                    await self._repoint(content, stretch)
            except (UnknownBlock, BytesDamaged, NotHere, VfsError) as error:
                log.info("a part of a file was not cut anew: %s", error)

    @asynccontextmanager
    async def _runs(self, content: int, stretch: Stretch) -> AsyncIterator[tuple[dict[int, Block], list[Run]]]:
        """Blocks and runs of a stretch as they are now, under a lease; first its own, then what history needs."""
        lease = self._cache.segments.free_queue.lease()
        try:
            stretch = [extent._replace(block=self._cache.blocks.get(extent.block.number)) for extent in stretch]
            blocks = {extent.block.number: extent.block for extent in stretch}
            if not all(block.is_held for block in blocks.values()):
                raise UnknownBlock(stretch[0].block.number)
            self._cache.cuts.flush_rows()
            runs = [Run(content, stretch[0].start, sources_of(stretch), is_whole=True)]
            left = left_over(self._cache.database, blocks.values(), runs[0].sources)
            yield blocks, runs + [Run(0, 0, [source], is_whole=True) for source in left]
        finally:
            self._cache.segments.free_queue.release(lease)

    async def _write_ahead(self, file: Inode, stretch: Stretch) -> None:
        async with self._runs(0, stretch) as (_, runs):
            for run in runs:
                for block, offset, length in run.sources:
                    data = bytes(await self._cache.read(block, offset, length))
                    await self._files.write(file, file.size, data, 0)
                await self._files.truncate(file, file.size + 1, 0)  # a hole: the next run is one of its own

    async def _wait_sent(self, file: Inode) -> None:
        if file.content is not None:
            self._resting.found(file.content)
        self._cache.cuts.flush_rows()  # or the question would be asked of a file without extents
        while self._cache.database.row(_UNSENT, (file.content,)) is not None:
            await trio.sleep(LOOK_S)
            self._cache.cuts.flush_rows()

    async def _repoint(self, content: int, stretch: Stretch) -> None:
        try:
            async with self._runs(content, stretch) as (blocks, runs):
                one_pass = SealPass(
                    self._cache, self._contents, self._names, lambda number: self._same(blocks[number]), set()
                )
                await one_pass.seal(blocks, runs, is_all_known=True)
                self.recut_bytes += runs[0].length
        except (UnknownBlock, Outrun) as error:
            log.info("a part of a file was not cut anew: %s", error)

    def _same(self, block: Block) -> Block | None:
        """The block, as long as it is there."""
        with suppress(UnknownBlock):
            found = self._cache.blocks.get(block.number)
            if found.block_id == block.block_id:
                return block
        return None


def sources_of(stretch: Stretch) -> list[Source]:
    """The same bytes, as a run has them."""
    return [Source(extent.block, extent.offset, extent.length) for extent in stretch]
