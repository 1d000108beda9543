"""What one pass of sealing will do: which bytes become which SEALED blocks, before a row is changed.

A *run* is a stretch of one file whose extents follow one another and lead to frozen OPEN blocks, whatever blocks those
are: cuts fall where the content wants them, so that an insertion moves no cut behind the next (`cloud_tier.chunker`). A
*cut* of the run may lie in one block, or in pieces of several.

What history alone still points to, and what lies before a run begins, is sealed as it lies: each such range of a block
is a run of its own.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from cachefs.blocks import Block
from cachefs.database import Database
from cloud_tier.object_store import Buffer
from vfs.repoint import union, used_ranges, without


class Source(NamedTuple):
    """Bytes [offset, offset + length) of a frozen OPEN block."""

    block: Block
    offset: int
    length: int


class Run(NamedTuple):
    """Sources one behind the other. `content`, `start`: the place in a file; content 0 = no file has them now.

    `is_whole`: nothing follows that belongs to it, so that its end is a cut.
    """

    content: int
    start: int
    sources: Sequence[Source]
    is_whole: bool

    @property
    def length(self) -> int:
        return sum(source.length for source in self.sources)


class Cut(NamedTuple):
    """Bytes that will be one SEALED block. `block_id` None: the rest of a run that is not whole, which stays OPEN."""

    sources: Sequence[Source]
    length: int
    block_id: bytes | None


def runs_of(
    content: int, extents: Iterable[tuple[int, int, Block, int]], taken: set[int], most_bytes: int
) -> Iterator[Run]:
    """The runs of a file. `extents`: (start, length, block, offset) of those that lead to OPEN blocks, by start.

    A block is in one run only, also where clones share it: an extent that leads to a block of an earlier run is left
    out. `taken`: the blocks of earlier runs; those of the runs given out are added.
    `most_bytes`: a run that has as many ends at the next block, and is not whole.
    """
    sources: list[Source] = []
    begun, end, size = 0, -1, 0
    mine: set[int] = set()
    for start, length, block, offset in extents:
        is_known = block.number in mine
        if sources and (start != end or (size >= most_bytes and not is_known)):
            yield Run(content, begun, sources, is_whole=start != end)
            taken |= mine
            mine, sources = set(), []
        if block.number in taken:
            end = -1
            continue
        if not sources:
            begun, size = start, 0
        sources.append(Source(block, offset, length))
        mine.add(block.number)
        size += length
        end = start + length
    if sources:
        yield Run(content, begun, sources, is_whole=True)
        taken |= mine


def cuts_of(run: Run, lengths: Sequence[int], ids: Sequence[bytes]) -> Iterator[Cut]:
    """The run, cut into blocks of these lengths and ids; what is left over is the last, and has no id."""
    sources = iter(run.sources)
    source = next(sources)
    done = 0  # of `source`
    left = run.length - sum(lengths)
    for length, block_id in [*zip(lengths, ids, strict=True), *([(left, None)] if left else [])]:
        found: list[Source] = []
        wanted = length
        while wanted:
            if done == source.length:
                source, done = next(sources), 0
            size = min(wanted, source.length - done)
            found.append(Source(source.block, source.offset + done, size))
            done += size
            wanted -= size
        yield Cut(merged(found), length, block_id)


class Bytes:
    """The bytes of a run, in the pieces in which they were read: joining all of them would cost what hashing does."""

    def __init__(self, pieces: Iterable[Buffer]) -> None:
        self._pieces = [memoryview(piece) for piece in pieces]
        self._ends = list(accumulate(map(len, self._pieces)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[memoryview]:
        return iter(self._pieces)

    def views(self, low: int, high: int) -> list[memoryview]:
        """Bytes [low, high), in as many pieces as they lie in."""
        found = []
        index = bisect_right(self._ends, low)
        while low < high:
            begin, end = self._ends[index] - len(self._pieces[index]), min(high, self._ends[index])
            found.append(self._pieces[index][low - begin : end - begin])
            low, index = end, index + 1
        return found


def merged(sources: Sequence[Source]) -> list[Source]:
    """The same bytes, with pieces of one block that follow one another made one."""
    found: list[Source] = []
    for source in sources:
        if found and found[-1].block is source.block and found[-1].offset + found[-1].length == source.offset:
            found[-1] = found[-1]._replace(length=found[-1].length + source.length)
        else:
            found.append(source)
    return found


def left_over(database: Database, blocks: Iterable[Block], sources: Iterable[Source]) -> list[Source]:
    """What any extent points to in these blocks and no source has. Rows in memory must have been written."""
    covered: dict[int, list[tuple[int, int]]] = {}
    for block, offset, length in sources:
        covered.setdefault(block.number, []).append((offset, offset + length))
    found: list[Source] = []
    for block in blocks:
        done = union(sorted(covered.get(block.number, [])))
        if done != [(0, block.length)]:
            used = used_ranges(database, block.number)
            found += [Source(block, low, high - low) for low, high in without(used, done)]
    return found
