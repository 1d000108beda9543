"""Sealing: what has come to rest gets a name by its content, so that it can be deduplicated, packed and sent.

A file is due when nobody has written to it for `quiet_s`, or when its first unsealed write is `old_s` ago, so that a
file that is never quiet reaches the store as well. One pass takes some due files through these steps:

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
from dataclasses import dataclass
from typing import NamedTuple

import trio

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.errors import BytesDamaged, StorageFull, UnknownBlock
from cachefs.seals import BULK, FRESH, Part, can_lie
from cloud_tier.block_id import block_id
from cloud_tier.chunker import ChunkerParameters, Cutter
from cloud_tier.packer import BULK_FROM_BYTES
from vfs.contents import Contents
from vfs.epochs import Epochs
from vfs.repoint import Target, join, repoint, union, used_ranges, without
from vfs.resting import Resting
from vfs.seal_plan import Cut, Run, Source, cuts_of, runs_of

log = logging.getLogger(__name__)

PASS_CONTENTS = 16  # a millisecond or two of the loop
REST_S = 0.003  # after a pass, for whoever waits for the loop
PASS_BYTES = 8 << 20  # of small files; a long run may have more
HASHED_HERE_BYTES = 16 << 10  # more is hashed in a thread
SWEEP_S = 60.0
RETRY_S = 5.0
SWEPT_BLOCKS = 1000
FEED_BYTES = 1 << 20

_OPEN_EXTENTS = (
    "SELECT e.start, e.length, e.block, e.offset FROM extents e JOIN blocks b USING (block)"
    " WHERE e.content = ? AND b.block_id IS NULL ORDER BY e.start LIMIT ?"
)
_OPEN_BLOCKS = "SELECT block FROM blocks WHERE block_id IS NULL AND block > ? ORDER BY block LIMIT ?"
_CONTENT_OF = "SELECT content FROM extents WHERE block = ? LIMIT 1"
MOST_EXTENTS = 4000  # of one file in one pass


@dataclass(frozen=True)
class Names:
    """How blocks are cut and named: fixed for the drive's life."""

    key: bytes
    chunker: ChunkerParameters


class Outrun(Exception):
    """A block that was to take the place of a cut died while the others were read: plan again. Nothing was changed."""


class Planned(NamedTuple):
    """A cut, where its bytes were copied to if they cannot stay, and its lane."""

    cut: Cut
    copy: Block | None
    lane: int


class Sealing:
    """The task that seals."""

    def __init__(
        self,
        cache: Cache,
        contents: Contents,
        epochs: Epochs,
        names: Names,
        resting: Resting,
    ) -> None:
        self.resting = resting
        self.damaged: set[int] = set()  # OPEN blocks that cannot be sealed
        self.found_damage: Callable[[BytesDamaged], Awaitable[None]]
        """Awaited when a page is not what was written; its block stays OPEN and is not sent."""
        self._cache = cache
        self._contents = contents
        self._epochs = epochs
        self._names = names
        self._thread = trio.CapacityLimiter(1)
        self._busy = trio.Lock()

    async def run(self) -> None:
        """Seal what is due, for ever."""
        sweep_at = trio.current_time()
        while True:
            now = trio.current_time()
            if now >= sweep_at:
                await self.sweep()
                sweep_at = now + SWEEP_S
            try:
                if await self.seal_due(trio.current_time()):
                    await trio.sleep(REST_S)
                    continue
            except (OSError, StorageFull) as error:  # it is asked for again
                log.warning("files could not be made ready for the cloud, and will be later: %s", error)
                await trio.sleep(RETRY_S)
            await trio.sleep_until(min(sweep_at, self.resting.next_due(trio.current_time())))

    async def seal_all(self) -> None:
        """Seal whatever is OPEN now, but for damaged blocks. Ends although others go on writing."""
        await self._cache.cuts.wait_cut()
        await self.sweep()
        now = self.resting.due_at(trio.current_time())
        while await self.seal_due(now):  # noqa: ASYNC110  (each pass does work)
            await trio.sleep(REST_S)

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
            lease = self._cache.segments.free_queue.lease()
            try:
                await self._cache.cuts.gate.wait_open()
                self._cache.cuts.flush_rows()
                with self._frozen(due) as (blocks, runs):
                    await self._seal(blocks, runs)
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
            self.resting.found(one)

    # --- 1: freeze ---

    @contextmanager
    def _frozen(self, due: Sequence[int]) -> Iterator[tuple[dict[int, Block], list[Run]]]:
        """The blocks of this pass, and all that anything leads to in them, as runs."""
        blocks: dict[int, Block] = {}
        runs: list[Run] = []
        size = 0
        for index, one in enumerate(due):
            if size >= PASS_BYTES:
                self._again(due[index:])
                break
            for run in self._runs_of(one):
                runs.append(run)
                size += run.length
                blocks.update((source.block.number, source.block) for source in run.sources)
                if size >= PASS_BYTES:
                    self.resting.found(one)  # the rest of it another time
                    break
            if one < 0 and (block := self._open_block(-one)) is not None:
                blocks[block.number] = block
        try:
            for block in blocks.values():
                block.is_frozen = True
            yield blocks, runs + self._left_over(blocks, runs)
        finally:
            for block in blocks.values():
                block.is_frozen = False

    def _runs_of(self, content: int) -> list[Run]:
        rows = self._cache.database.rows(_OPEN_EXTENTS, (content, MOST_EXTENTS)) if content > 0 else []
        extents = [
            (start, length, block, offset)
            for start, length, number, offset in rows
            if (block := self._open_block(number)) is not None
        ]
        if any(block.writers for _, _, block, _ in extents):  # in a thread, at this moment
            self.resting.written(content, trio.current_time())
            return []
        if len(rows) == MOST_EXTENTS:
            self.resting.found(content)
        return list(runs_of(content, extents))

    def _open_block(self, number: int) -> Block | None:
        try:
            block = self._cache.blocks.get(number)
        except UnknownBlock:
            return None
        return None if block.block_id is not None or number in self.damaged else block

    def _left_over(self, blocks: dict[int, Block], runs: Iterable[Run]) -> list[Run]:
        """What leads into these blocks and is in no run: as it lies."""
        covered: dict[int, list[tuple[int, int]]] = {number: [] for number in blocks}
        for run in runs:
            for block, offset, length in run.sources:
                covered[block.number].append((offset, offset + length))
        found = []
        for number, block in blocks.items():
            done = union(sorted(covered[number]))
            if done != [(0, block.length)]:
                for low, high in without(used_ranges(self._cache.database, number), done):
                    found.append(Run(0, 0, [Source(block, low, high - low)], is_whole=True))
        return found

    # --- 2 and 3: read, cut, hash, copy ---

    async def _seal(self, blocks: dict[int, Block], runs: Sequence[Run]) -> None:
        planned: list[Planned] = []
        try:
            for run in runs:
                await self._plan(run, planned)
            await self._cache.cuts.gate.wait_open()
            self._commit(blocks, runs, planned)
        except BaseException:
            for one in planned:
                if one.copy is not None and one.copy.is_new:
                    self._cache.blocks.drop(one.copy.number)
            raise

    async def _plan(self, run: Run, planned: list[Planned]) -> None:
        data = await self._read(run)
        if len(data) <= HASHED_HERE_BYTES:
            lengths, ids = self._name(run, data)
        else:
            lengths, ids = await trio.to_thread.run_sync(self._name, run, data, limiter=self._thread)
        done = 0
        for cut in cuts_of(run, lengths, ids):
            copy = None
            if not self._can_lie(cut) and (cut.block_id is None or self._cache.seals.find(cut.block_id) is None):
                copy = await self._copy(cut, memoryview(data)[done : done + cut.length])
            planned.append(Planned(cut, copy, BULK if run.length >= BULK_FROM_BYTES else FRESH))
            done += cut.length

    async def _read(self, run: Run) -> bytes | bytearray:
        if len(run.sources) == 1 and run.length <= HASHED_HERE_BYTES:
            block, offset, length = run.sources[0]
            found = self._cache.read_nowait(block, offset, length)
            if found is not None:
                return found
        data = bytearray()
        for block, offset, length in run.sources:
            data += await self._cache.read(block, offset, length)
        return data

    def _name(self, run: Run, data: bytes | bytearray) -> tuple[list[int], list[bytes]]:
        """Lengths and ids of the blocks. For a thread as well."""
        view = memoryview(data)
        if len(data) <= self._names.chunker.least_bytes:
            lengths = [len(data)] if data else []
        else:
            cutter = Cutter(self._names.chunker)
            lengths = []
            for begin in range(0, len(data), FEED_BYTES):
                lengths += cutter.feed(view[begin : begin + FEED_BYTES])
            if run.is_whole:
                lengths += cutter.finish()
        ids: list[bytes] = []
        done = 0
        for length in lengths:
            ids.append(block_id(self._names.key, view[done : done + length]))
            done += length
        return lengths, ids

    def _can_lie(self, cut: Cut) -> bool:
        block, offset, length = cut.sources[0]
        return cut.block_id is not None and len(cut.sources) == 1 and can_lie(block, offset, offset + length)

    async def _copy(self, cut: Cut, data: memoryview) -> Block:
        sources = [source.block for source in cut.sources]
        copy = self._cache.blocks.create(len(data), min(block.born for block in sources))
        copy.shared = any(block.shared for block in sources)
        try:
            await self._cache.write(copy, 0, data)
        except BaseException:
            self._cache.blocks.drop(copy.number)
            raise
        copy.length = len(data)
        return copy

    # --- 4: in one turn ---

    def _commit(self, blocks: dict[int, Block], runs: Sequence[Run], planned: Sequence[Planned]) -> None:
        cache, database = self._cache, self._cache.database
        cache.cuts.flush_rows()
        alive = {number for number, block in blocks.items() if self._open_block(number) is block}
        for cut, copy, _ in planned:
            if copy is None and not self._can_lie(cut) and cache.seals.find(cut.block_id or b"") is None:
                raise Outrun
        kept = [self._settle_copy(one, alive) for one in planned]
        cache.blocks.flush()  # copies have rows now
        with database.operation:
            targets, parts = self._decide([one for one in kept if one is not None], alive)
            touched = {run.content for run in runs if len(run.sources) > 1}
            for number in sorted(alive):
                if parts[number] and parts[number][0].number == number:
                    continue  # sealed as a whole
                touched |= repoint(database, number, sorted(targets[number]))
                cache.seals.divide(blocks[number], sorted(parts[number], key=lambda part: part.start))
            for run in runs:
                if len(run.sources) > 1:
                    join(database, run.content, run.start, run.start + run.length, self._epochs.newest_kept)
        self._contents.forget_windows(touched)
        cache.cuts.log(with_tallies=False)

    def _settle_copy(self, one: Planned, alive: set[int]) -> Planned | None:
        """None if all blocks of the cut have died meanwhile; a copy of it is dropped then, and gets its row else."""
        is_alive = any(source.block.number in alive for source in one.cut.sources)
        if one.copy is not None and is_alive:
            self._cache.blocks.touch(one.copy)
        elif one.copy is not None:
            self._cache.blocks.drop(one.copy.number)
        return one if is_alive else None

    def _decide(
        self, planned: Sequence[Planned], alive: set[int]
    ) -> tuple[dict[int, list[Target]], dict[int, list[Part]]]:
        """Which block each cut becomes. Gives names to copies and to blocks that are sealed as a whole."""
        seals = self._cache.seals
        targets: dict[int, list[Target]] = {number: [] for number in alive}
        parts: dict[int, list[Part]] = {number: [] for number in alive}
        fresh: dict[bytes, int] = {}
        for cut, copy, lane in planned:
            block = cut.sources[0].block
            if cut.block_id is None:  # the uncertain end of a run: it stays OPEN, in its copy
                assert copy is not None
                number = copy.number
            elif (known := fresh.get(cut.block_id) or seals.find(cut.block_id)) and known not in self._cache.suspects:
                number = known
                if copy is not None:
                    self._cache.blocks.drop(copy.number)
            else:
                if copy is not None:
                    number = copy.number
                elif cut.length == block.length:
                    number = block.number
                else:
                    number = self._cache.counters.next("block")
                if known:
                    self._heal(known, number, cut.length)
                if copy is not None or cut.length == block.length:
                    seals.seal(copy or block, cut.block_id, lane)
                if copy is None:
                    parts[block.number].append(Part(number, cut.sources[0].offset, cut.length, cut.block_id, lane))
                fresh[cut.block_id] = number
            done = 0
            for source in cut.sources:
                if source.block.number in alive:
                    targets[source.block.number].append(Target(source.offset, source.length, number, done))
                done += source.length
        return targets, parts

    def _heal(self, suspect: int, number: int, length: int) -> None:
        """Damaged bytes were written anew: whatever needs them finds them there (T20)."""
        log.info("damaged bytes were written anew: every version that has block %d is whole again", suspect)
        self._contents.forget_windows(repoint(self._cache.database, suspect, [Target(0, length, number, 0)]))
        self._cache.blocks.drop(suspect)
        self._cache.blocks.flush()  # its id is free for the new one
        self._cache.suspects.discard(suspect)
