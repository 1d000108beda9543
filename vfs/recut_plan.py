"""What of a file that has cooled is cut anew: pure, from how it lies.

Small changes leave a file *ragged*: pieces of an old block with small new ones between them, or one small block for
each append. A *stretch* is ragged extents that follow one another in the file. It begins where a larger block begins,
which is where content once chose a cut, and ends before the next such place, or where the file lies well already: so
what is around it keeps its blocks, and each stretch is judged by itself.

A stretch is cut by content, as if somebody had just written it, if that saves more than it sends. What it saves:

    bytes     of its blocks that no state of the drive shows any more, and that lie in the store nonetheless
    records   each is a request of its own when the file is read cold
    extents   rows of the database, of the log and of every checkpoint

What snapshots still show of the old blocks moves along and is sent as well, so while the past of a file is kept, less
is worth it. Bytes that somebody else shares are left alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from cachefs.blocks import Block

MOST_STRETCH_BYTES = 8 << 20
RECORD_BYTES = 64 << 10
"""What a request is worth: a line of 10 Mbit/s carries as much in the 50 ms that one is waited for."""
EXTENT_BYTES = 256


class Lying(NamedTuple):
    """Bytes [start, start + length) of the live file are bytes from `offset` of `block`."""

    start: int
    length: int
    block: Block
    offset: int

    def continues(self, before: "Lying") -> bool:
        """Whether this follows `before` in the file and in the same block."""
        is_next = before.start + before.length == self.start and before.block is self.block
        return is_next and before.offset + before.length == self.offset


Stretch = Sequence[Lying]


class Change(NamedTuple):
    """What cutting a stretch anew would change. `sent_bytes`: if nothing of it is known already."""

    held_bytes: int
    """Of the blocks that it would do away with."""
    sent_bytes: int
    fewer_records: int
    fewer_extents: int

    def is_worth_it(self) -> bool:
        """Whether it saves more than it sends."""
        saved = self.held_bytes - self.sent_bytes
        saved += self.fewer_records * RECORD_BYTES + self.fewer_extents * EXTENT_BYTES
        return saved > self.sent_bytes


def stretches(extents: Iterable[Lying], least_bytes: int, may_move: Callable[[Block], bool]) -> Iterator[Stretch]:
    """The stretches of a file, or of a part of it. `extents`: by start; `least_bytes`: of a block cut by content.

    Blocks that may not move belong to none, nor do holes.
    """
    found: list[Lying] = []
    size = 0
    for piece in _pieces(extents):
        first = piece[0]
        length = sum(extent.length for extent in piece)
        begins_well = first.offset == 0 and first.block.length >= least_bytes
        is_ragged = not (begins_well and length == first.block.length) and may_move(first.block)
        follows = bool(found) and found[-1].start + found[-1].length == first.start
        if found and (not is_ragged or not follows or begins_well or size + length > MOST_STRETCH_BYTES):
            yield found
            found, size = [], 0
        if is_ragged:
            found += piece
            size += length
    if found:
        yield found


def _pieces(extents: Iterable[Lying]) -> Iterator[list[Lying]]:
    """Extents that continue one another, together."""
    piece: list[Lying] = []
    for extent in extents:
        if piece and not extent.continues(piece[-1]):
            yield piece
            piece = []
        piece.append(extent)
    if piece:
        yield piece
