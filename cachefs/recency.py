"""What was in use, over a restart: the order of `cachefs.eviction` in a file of the state directory.

Without it the first large read after a restart would push out what the office works with. A hint and nothing else: the
file is never synced, an older one or a damaged one means a worse order, a missing one none. So it is no table: nothing
waits for it, and no commit carries its megabytes.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import apsw
import trio

from cachefs.database import Database
from cachefs.eviction import Eviction

log = logging.getLogger(__name__)

STEP_BLOCKS = 1000

_SIZES = (
    "SELECT residency.block, capacity FROM residency JOIN catalog USING (block)"
    " WHERE residency.block IN (SELECT value FROM json_each(?))"
)


class Recency:
    """The order of `policy` in the file `path`: 8 bytes a block, as `Eviction.export` gives them."""

    def __init__(self, path: Path, database: Database, policy: Eviction) -> None:
        self._path = path
        self._database = database
        self._policy = policy
        self._thread = trio.CapacityLimiter(1)

    async def load(self) -> None:
        """Admit, in the order of the file, what may go by the last commit. A part at a time; others go on meanwhile."""
        reader = self._database.reader()
        try:
            order = await trio.to_thread.run_sync(self._read, limiter=self._thread)
            for begin in range(0, len(order), 8 * STEP_BLOCKS):
                part = order[begin : begin + 8 * STEP_BLOCKS]
                named = self._policy.blocks_of(part)
                sizes = await trio.to_thread.run_sync(_sizes, reader, named, limiter=self._thread)
                self._policy.load(part, sizes)
        finally:
            reader.close()

    async def save(self) -> None:
        """Write the order down as it is now."""
        await trio.to_thread.run_sync(self._write, self._policy.export(), limiter=self._thread)

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            log.warning("which files were in use is not known: %s", error)
            return b""

    def _write(self, order: bytes) -> None:
        new = self._path.with_name(self._path.name + ".new")
        try:
            new.write_bytes(order)
            os.replace(new, self._path)
        except OSError as error:
            log.warning("which files are in use could not be written down: %s", error)


def _sizes(reader: apsw.Connection, blocks: Sequence[int]) -> dict[int, int]:
    return dict(reader.execute(_SIZES, (f"[{','.join(map(str, blocks))}]",)))
