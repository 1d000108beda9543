"""Which page sums a crash leaves in doubt: those of bytes that could have been written since the last cut.

Found before anything is replayed, because what counts is the state of the last cut: an OPEN block that was alone and
younger than every kept epoch may have been written in place, whatever became of it afterwards (I2); and above where a
segment ended, anything may lie. The answer is wider than the truth, by whole chunks, and costs only the check.
"""

from typing import NamedTuple

from cachefs.database import Database
from cachefs.sums import CHUNK_SHIFT, SEGMENT_CHUNKS, Chunk, Sums

_WRITABLE = (  # the rule of `Block.is_writable`
    f"SELECT DISTINCT segment * {SEGMENT_CHUNKS} + (offset >> {CHUNK_SHIFT}),"
    f" segment * {SEGMENT_CHUNKS} + (offset + capacity - 1 >> {CHUNK_SHIFT})"
    " FROM residency JOIN blocks USING (block) WHERE block_id IS NULL AND shared = 0 AND born > ?"
)


class Suspects(NamedTuple):
    """Chunks of sums not to believe, and where each segment ended."""

    chunks: set[Chunk]
    ends: dict[int, int]

    def forget(self, sums: Sums, segment: int, bump: int) -> None:
        """In the sums file of a segment that ends at `bump` by now. Raises OSError."""
        end = self.ends.get(segment, 0)
        first = segment * SEGMENT_CHUNKS
        chunks = self.chunks.intersection(range(first, first + SEGMENT_CHUNKS))
        if chunks or end < bump:
            sums.forget_chunks(segment, chunks, end)


def suspects_of(database: Database, newest_kept: int) -> Suspects:
    """As of the last cut, in which `newest_kept` was the newest epoch that is kept. Raises StorageBroken."""
    return Suspects(
        {chunk for row in database.rows(_WRITABLE, (newest_kept,)) for chunk in row},
        dict(database.rows("SELECT segment, bump FROM segments")),
    )
