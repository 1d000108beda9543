"""The facade of local bytes: to the layer above, a block is simply there.

Reads are served from the page cache on the loop where they can be (a hit costs a system call), from a thread where the
disk must be asked. Writes up to `INLINE_BYTES` go straight to the page cache; larger ones go to a thread, because the
kernel may make a writer wait for the disk (T16). Whoever crosses an `await` here holds a lease on the place (T4).
"""

from pathlib import Path

import trio

from cachefs.blocks import Block, Blocks
from cachefs.budget import Budget
from cachefs.counters import Counters
from cachefs.cut import CutPolicy, Cuts
from cachefs.database import Database
from cachefs.disk import Disk
from cachefs.errors import BytesDamaged
from cachefs.segments import Segments
from cloud_tier.clock import Clock

INLINE_BYTES = 64 << 10


class Cache:
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
        self.database = database
        self.counters = Counters(database, "counters")
        self.local_counters = Counters(database, "local_counters")
        self.segments = Segments(disk, state / "segments", database, self.local_counters)
        self.blocks = Blocks(database, self.segments, self.counters)
        self.cuts = Cuts(disk, state / "intents", database, self.segments, self.local_counters, clock, policy)
        self.budget = Budget(state, clock, self.segments.allocated_bytes, limit_bytes)
        self._disk = disk
        self._threads = trio.CapacityLimiter(8)
        self.cuts.flushers += (self.blocks.flush, self.segments.flush, self.counters.flush, self.local_counters.flush)

    def statistics(self) -> dict[str, int]:
        """Bytes and counts of what lies here; `allocated_bytes` is what the disk says (st_blocks)."""
        segments = self.segments.statistics()
        sealed, total = self.database.row("SELECT count(block_id), count(*) FROM blocks")
        allocated = self.segments.allocated_bytes()
        return {
            "budget_bytes": self.budget.limit_bytes or allocated + self.budget.free_bytes(),
            "held_bytes": segments["live_bytes"],
            "allocated_bytes": allocated,
            "precious_bytes": segments["live_bytes"],
            "free_queue_bytes": segments["free_queue_bytes"],
            "segments": segments["segments"],
            "blocks_open": total - sealed,
            "blocks_sealed": sealed,
        }

    def read_nowait(self, block: Block, offset: int, length: int) -> bytearray | None:
        """`length` bytes of a block from `offset`, or None when the disk would have to be asked."""
        buffer = bytearray(length)
        try:
            count = self._disk.read_cached(block.segment.fd, buffer, block.offset + offset)
        except OSError:  # `read` will say so
            return None
        return buffer if count == length else None

    async def read(self, block: Block, offset: int, length: int) -> bytes:
        """`length` bytes of a block from `offset`. Raises BytesDamaged when the segment does not have them."""
        lease = self.segments.lease()
        try:
            data = await trio.to_thread.run_sync(
                self._disk.pread, block.segment.fd, length, block.offset + offset, limiter=self._threads
            )
        except OSError as error:
            raise BytesDamaged(f"segment {block.segment.number} could not be read: {error.strerror}") from error
        finally:
            self.segments.release(lease)
        if len(data) < length:
            raise BytesDamaged(f"segment {block.segment.number} ends inside block {block.number}")
        return data

    def write_nowait(self, block: Block, offset: int, data: bytes | memoryview) -> None:
        """Put bytes into a block's place, at `offset`. The caller decides that it is writable (I2)."""
        self._disk.pwrite(block.segment.fd, data, block.offset + offset)
        block.segment.unsynced = True
        self.cuts.note_written(len(data))

    async def write(self, block: Block, offset: int, data: bytes | memoryview) -> None:
        """`write_nowait` in a thread. The caller stands inside the gate."""
        lease = self.segments.lease()
        try:
            await trio.to_thread.run_sync(
                self._disk.pwrite, block.segment.fd, data, block.offset + offset, limiter=self._threads
            )
        finally:
            self.segments.release(lease)
            block.segment.unsynced = True
        self.cuts.note_written(len(data))
