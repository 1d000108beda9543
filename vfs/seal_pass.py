"""One pass of sealing over frozen blocks: read, cut, hash, copy what cannot stay, and re-point in one turn of the loop.

The steps and what a failure in each leaves stand in `vfs.sealing`. Frozen blocks are those that the pass was given; it
names them, or leaves all of them as they are. SEALED blocks, which nobody need freeze, are cut anew in the same way
(`vfs.recut`): all cuts of them that no block has are copied, and they end when nothing leads to them any more.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import trio

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.seals import Part, can_lie
from cloud_tier.block_id import block_id
from cloud_tier.chunker import ChunkerParameters, Cutter
from cloud_tier.packer import Lane, lane_of
from vfs.contents import Contents
from vfs.repoint import Target, join, repoint
from vfs.seal_plan import Bytes, Cut, Run, cuts_of, left_over, merged

log = logging.getLogger(__name__)

HASHED_HERE_BYTES = 16 << 10  # more is hashed in a thread


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
    lane: Lane


class SealPass:
    """`find` gives a block that may be in a pass, by its number, as the object that the pass was given as long as it is
    the same; `damaged`: OPEN ones that may not be sealed.
    """

    def __init__(
        self,
        cache: Cache,
        contents: Contents,
        names: Names,
        find: Callable[[int], Block | None],
        damaged: set[int],
    ) -> None:
        self._cache = cache
        self._contents = contents
        self._names = names
        self._find = find
        self._damaged = damaged
        self._thread = trio.CapacityLimiter(1)

    async def seal(self, blocks: dict[int, Block], runs: Sequence[Run], *, is_all_known: bool = False) -> None:
        """Read and name the runs, then re-point whatever leads into `blocks`. Raises Outrun, BytesDamaged, OSError.

        `is_all_known`: copy nothing; Outrun, if no other block has the bytes of a cut.
        """
        planned: list[Planned] = []
        try:
            for run in runs:
                await self._plan(run, planned)
                if is_all_known and any(one.copy is not None for one in planned):
                    raise Outrun
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
        lane = lane_of(run.length) if run.sources[0].block.block_id is None else Lane.BULK
        done = 0
        for cut in cuts_of(run, lengths, ids):
            copy = None
            if not self._can_lie(cut) and self._known(cut) is None:
                copy = await self._copy(cut, data.views(done, done + cut.length))
            planned.append(Planned(cut, copy, lane))
            done += cut.length

    async def _read(self, run: Run) -> Bytes:
        pieces = []
        for block, offset, length in merged(run.sources):
            found = self._cache.read_nowait(block, offset, length) if length <= HASHED_HERE_BYTES else None
            pieces.append(found if found is not None else await self._cache.read(block, offset, length))
        return Bytes(pieces)

    def _name(self, run: Run, data: Bytes) -> tuple[list[int], list[bytes]]:
        """Lengths and ids of the blocks. For a thread as well."""
        if len(data) <= self._names.chunker.least_bytes:
            lengths = [len(data)] if data else []
        else:
            cutter = Cutter(self._names.chunker)
            lengths = []
            for piece in data:
                lengths += cutter.feed(piece)
            if run.is_whole:
                lengths += cutter.finish()
        ids: list[bytes] = []
        done = 0
        for length in lengths:
            ids.append(block_id(self._names.key, *data.views(done, done + length)))
            done += length
        return lengths, ids

    def _can_lie(self, cut: Cut) -> bool:
        block, offset, length = cut.sources[0]
        is_open = cut.block_id is not None and len(cut.sources) == 1 and block.block_id is None
        return is_open and can_lie(block, offset, offset + length)

    def _known(self, cut: Cut) -> int | None:
        """The SEALED block that has these bytes, if there is one that nobody suspects (T20)."""
        number = self._cache.seals.find(cut.block_id) if cut.block_id is not None else None
        return None if number in self._cache.suspects else number

    async def _copy(self, cut: Cut, views: Sequence[memoryview]) -> Block:
        data = views[0] if len(views) == 1 else memoryview(b"".join(views))
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
        alive = {number for number, block in blocks.items() if self._find(number) is block}
        for cut, copy, _ in planned:
            if copy is None and not self._can_lie(cut) and self._known(cut) is None:
                raise Outrun
        self._require_coverage(blocks, alive, planned)
        kept = [self._settle_copy(one, alive) for one in planned]
        cache.blocks.flush()  # copies have rows now
        with database.operation:
            targets, parts = self._decide([one for one in kept if one is not None], alive)
            touched = {run.content for run in runs if len(run.sources) > 1}
            for number in sorted(alive):
                if parts[number] and parts[number][0].number == number:
                    continue  # sealed as a whole
                touched |= repoint(database, number, sorted(targets[number]))
                if blocks[number].block_id is None:
                    cache.seals.divide(blocks[number], sorted(parts[number], key=lambda part: part.start))
            for run in runs:
                if len(run.sources) > 1:
                    join(database, run.content, run.start, run.start + run.length)
        self._contents.forget_windows(touched)
        # What led to a part of a frozen block may have gone meanwhile: whoever is not needed goes at the flush.
        # So do SEALED ones that were cut anew, unless a cut of them is what they were.
        self._contents.release(target.block for found in targets.values() for target in found)
        self._contents.release(number for number in alive if blocks[number].block_id is not None)
        cache.cuts.log(with_tallies=False)

    def _require_coverage(self, blocks: dict[int, Block], alive: set[int], planned: Sequence[Planned]) -> None:
        """Raise Outrun if an extent leads to bytes of these blocks that no cut has."""
        sources = [source for one in planned for source in one.cut.sources]
        for block, _, _ in left_over(self._cache.database, [blocks[number] for number in alive], sources):
            if block.block_id is None:  # nobody can have begun to need more of it: a defect of the plan
                log.error("block %d cannot be sealed: the plan for it is not complete; it stays as it is", block.number)
                self._damaged.add(block.number)
            raise Outrun

    def _settle_copy(self, one: Planned, alive: set[int]) -> Planned | None:
        """None if all blocks of the cut have died meanwhile; a copy of it is dropped then, and gets its row else."""
        is_alive = any(source.block.number in alive for source in one.cut.sources)
        if one.copy is not None and is_alive:
            # As its sources are now: a clone may have been made of them while they were read (I2).
            one.copy.shared = any(source.block.shared for source in one.cut.sources)
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
