"""Scrub of the store: every pack is read again within a cycle, and what is damaged is healed from the bytes here.

A share of all packs is read a day, by their numbers, in rounds of the upkeep (`cachefs.upkeep`); how far it is lies in
`local_counters`. Of a damaged or missing pack everything that this machine holds, or that can still be read, is packed
anew (`Repacker.rescue`). What is left is *lost* as long as the pack stays as it is: its blocks are suspect, so that the
same bytes saved again are stored and heal every version that needs them (T20), and whoever knows names them.

At the end of each cycle the retained checkpoints are read (`cachefs.checkpoint_scrub`), whose rows are here: one that
is not whole does not count any more, and another is made.

Nothing is removed for it. A pack that could not be read keeps its row, its object and the rows of what is lost: it may
be back tomorrow.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from cachefs.database import Database
from cachefs.packs import Packs
from cloud_tier.keys import DriveKeys
from cloud_tier.object_store import ObjectStore
from cloud_tier.pack_check import check_pack
from cloud_tier.repack import Repacker

log = logging.getLogger(__name__)

SCRUBBED = "scrubbed pack"  # local counter: the last one of this cycle
_SET = "INSERT INTO local_counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Scrubbed(NamedTuple):
    """What a scrub has read and found; `healed` counts blocks, `lost` are those that are. `checkpoints` that were not
    whole are made anew.
    """

    packs: int
    bytes_read: int
    damaged_packs: int
    healed: int
    lost: Sequence[int]
    checkpoints: int = 0


async def _nobody(lost: Sequence[int]) -> None:
    pass


async def _none() -> tuple[int, int]:
    return 0, 0


class StoreScrub:
    """One at a time, and not beside a repack. `suspects`: blocks that never satisfy dedupe."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        keys: Callable[[], DriveKeys],
        packs: Packs,
        repacker: Repacker,
        suspects: set[int],
    ) -> None:
        self.found_lost: Callable[[Sequence[int]], Awaitable[None]] = _nobody
        """Hears of blocks that are lost."""
        self.check_checkpoints: Callable[[], Awaitable[tuple[int, int]]] = _none
        """Reads the retained checkpoints: how many bytes, and how many are not whole. Raises StoreError."""
        self._database = database
        self._store = store
        self._keys = keys
        self._packs = packs
        self._repacker = repacker
        self._suspects = suspects

    async def run(self, most_bytes: float = float("inf"), *, is_whole: bool = False) -> Scrubbed:
        """Go on where the last one ended, for about so many bytes, or over all packs. Raises StoreError, StorageBroken:
        what was healed until then is healed.
        """
        after = 0 if is_whole else self._after()
        packs = read = damaged = healed = checkpoints = 0
        lost: list[int] = []
        while read < most_bytes:
            some = await self._packs.stored(after)
            if not some:
                size_bytes, checkpoints = await self.check_checkpoints()
                read += size_bytes
                self._database.write(_SET, (SCRUBBED, 0))  # the next cycle begins
                break
            for number in some:
                after = number
                state = await check_pack(self._store, self._keys(), self._packs.pack(number))
                packs, read = packs + 1, read + state.size_bytes
                if state.trouble is not None:
                    damaged += 1
                    saved, gone = await self._heal(number, state.trouble)
                    healed += saved
                    lost += gone
                self._database.write(_SET, (SCRUBBED, after))
                if read >= most_bytes:
                    break
        return Scrubbed(packs, read, damaged, healed, lost, checkpoints)

    def _after(self) -> int:
        row = self._database.row("SELECT value FROM local_counters WHERE name = ?", (SCRUBBED,))
        return 0 if row is None else int(row[0])

    async def _heal(self, number: int, trouble: str) -> tuple[int, list[int]]:
        before = {one.block for one in await self._packs.living(number)}
        lost = await self._repacker.rescue(number)
        self._suspects.difference_update(before)
        self._suspects.update(lost)
        if lost:
            log.error("pack %d in the store is damaged (%s): %d blocks of it are lost", number, trouble, len(lost))
            await self.found_lost(lost)
        else:
            log.warning("pack %d in the store was damaged and is healed: %s", number, trouble)
        return len(before) - len(lost), lost
