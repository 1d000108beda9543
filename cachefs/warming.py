"""Warming: a long list of blocks comes from the store before anybody asks, and nothing of it goes again meanwhile.

Records are fetched in the order in which they lie in their packs, a few requests at a time, so that readers keep most
of the line. Room is made by evicting other blocks. When there is none left, warming stops and says so: it never pushes
out what it has just brought, and gives way as soon as writers need the room.
"""

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import trio

from cachefs.blocks import Blocks
from cachefs.errors import CloudUnreachable, UnknownBlock
from cachefs.evicting import Evicting
from cachefs.fetching import Fetching

ROUND_BYTES = 24 << 20  # asked for at once: three requests
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 60.0  # before the store is asked again
STEP_BLOCKS = 500  # in one turn of the loop


class CacheFull(Exception):
    """There is no room for more."""


class Record(NamedTuple):
    """Blocks that come together, and their bytes."""

    blocks: Sequence[int]
    size_bytes: int


class Warming:
    """One list, being fetched. `held` are blocks of it that are here already."""

    def __init__(
        self, blocks: Blocks, fetching: Fetching, evicting: Evicting, held: Iterable[int], records: Sequence[Record]
    ) -> None:
        self.total_bytes = sum(record.size_bytes for record in records)
        self.done_bytes = 0
        self.damaged_blocks = 0
        """What the store has of them is not what it should be."""
        self.trouble: Exception | None = None
        """Why nothing comes at present."""
        self._blocks = blocks
        self._fetching = fetching
        self._evicting = evicting
        self._held = held
        self._records = records

    async def run(self) -> None:
        """Return once everything is here. Raises CacheFull; a store that is away is waited for."""
        self._evicting.begin_sparing()
        try:
            numbers = iter(self._held)
            while step := list(islice(numbers, STEP_BLOCKS)):
                self._evicting.spare(step)
                await trio.lowlevel.checkpoint()
            left = list(reversed(self._records))
            while left:
                now = [left.pop()]
                size = now[0].size_bytes
                while left and size + left[-1].size_bytes <= ROUND_BYTES:
                    now.append(left.pop())
                    size += now[-1].size_bytes
                await self._bring(now)
        finally:
            self._evicting.end_sparing()

    async def _bring(self, records: Sequence[Record]) -> None:
        for record in records:
            self._evicting.spare(record.blocks)
        done = self.done_bytes + sum(record.size_bytes for record in records)
        wait = FIRST_WAIT_S
        while missing := self._missing_of(records):
            size = sum(record.size_bytes for record in missing.values())
            await self._evicting.make_room(size, is_for_spared=True)
            if not self._evicting.is_sparing or not self._evicting.fits(size):
                raise CacheFull
            flights = self._fetching.bring(missing)
            for flight in flights:
                await flight.ended.wait()
            errors = [flight.error for flight in flights if flight.error is not None]
            away = [error for error in errors if isinstance(error, CloudUnreachable)]
            self.trouble = away[0] if away else None
            left = self._missing_of(records)
            left_bytes = sum(record.size_bytes for record in left.values())
            self.done_bytes = done - left_bytes
            if away:
                await trio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
            elif len(left) == len(missing):  # records bring others along, for which there may have been no room
                if not errors and not self._evicting.fits(left_bytes):
                    raise CacheFull
                self.damaged_blocks += sum(len(record.blocks) for record in left.values())
                return
        self.done_bytes = done

    def _missing_of(self, records: Sequence[Record]) -> dict[int, Record]:
        """Those that are not all here, by a block that is not."""
        return {block: record for record in records if (block := self._missing(record)) is not None}

    def _missing(self, record: Record) -> int | None:
        return next((block for block in record.blocks if not self._is_here(block)), None)

    def _is_here(self, block: int) -> bool:
        try:
            return self._blocks.get(block).is_held
        except UnknownBlock:
            return True  # it has died: nobody needs it
