"""Upkeep of the store: garbage is collected, small and sparse packs are packed anew, packs are read again.

Somebody else knows when (the appliance's schedules); here is one round of each, one at a time. Packing goes on only
when nothing fresh waits to be sent: the day's work goes first, and upkeep when the line is free, between two packs.
Speed limits are the store's (`cloud_tier.limiting`). A store that is away, or a lease that is lost, ends the round; the
next one goes on where it was, because all that it has to know are rows.
"""

import logging
from dataclasses import dataclass
from typing import NamedTuple

import trio

from cachefs.packs import Packs
from cachefs.store_scrub import Scrubbed, StoreScrub
from cloud_tier.errors import CloudError
from cloud_tier.gc import Collector
from cloud_tier.margins import Margins
from cloud_tier.repack import Repacker, Survey

log = logging.getLogger(__name__)


class Tidied(NamedTuple):
    """What one round has done, in packs. `trouble`: why it ended early, None if it did not."""

    repacked: int
    doomed: int
    deleted: int
    trouble: CloudError | None


@dataclass(frozen=True)
class UpkeepStatistics:
    """Since the start, but for the bytes, which are those of the last survey, and what waits after the last round.

    `trouble`: why the last round ended early; None when it did not. `scrubbed`: what was read again last.
    """

    doomed_packs: int
    deleted_packs: int
    waiting_packs: int
    waiting_bytes: int
    repacked_packs: int
    stored_bytes: int
    needed_bytes: int
    trouble: str | None
    scrubbed: Scrubbed | None


class Upkeep:
    """Tidies the store up. One round at a time."""

    def __init__(
        self, packs: Packs, collector: Collector, repacker: Repacker, scrub: StoreScrub, margins: Margins
    ) -> None:
        self.collector = collector
        self._packs = packs
        self._repacker = repacker
        self.scrub = scrub
        self._margins = margins
        self._turn = trio.Lock()
        self._doomed = self._deleted = self._repacked = self._waiting = self._waiting_bytes = 0
        self._survey = Survey(margins)
        self._scrubbed: Scrubbed | None = None
        self._trouble: CloudError | None = None

    async def round(self, *, is_daily: bool = False) -> Tidied:
        """Collect garbage; if told, pack anew before. Raises StorageBroken."""
        async with self._turn:
            repacked = doomed = deleted = 0
            trouble: CloudError | None = None
            try:
                if is_daily:
                    repacked = await self._repack()
                doomed, deleted = await self.collector.round()
            except CloudError as error:
                if str(error) != str(self._trouble):
                    log.info("the store is tidied up later: %s", error)
                trouble = error
            self._trouble = trouble
            self._doomed += doomed
            self._deleted += deleted
            self._waiting, self._waiting_bytes = await self._packs.waiting()
            return Tidied(repacked, doomed, deleted, trouble)

    def statistics(self) -> UpkeepStatistics:
        return UpkeepStatistics(
            doomed_packs=self._doomed,
            deleted_packs=self._deleted,
            waiting_packs=self._waiting,
            waiting_bytes=self._waiting_bytes,
            repacked_packs=self._repacked,
            stored_bytes=self._survey.size_bytes,
            needed_bytes=self._survey.live_bytes,
            trouble=None if self._trouble is None else str(self._trouble),
            scrubbed=self._scrubbed,
        )

    async def _repack(self) -> int:
        survey, after = Survey(self._margins), 0
        while some := await self._packs.survey(after):
            for one in some:
                survey.add(one)
            after = some[-1].pack
        self._survey = survey
        sources = survey.choose()
        if sources:
            await self._repacker.repack(sources)
            self._repacked += len(sources)
        return len(sources)

    async def scrub_share(self) -> Scrubbed:
        """Read on, as much as a day takes of the cycle. Raises StoreError, StorageBroken."""
        async with self._turn:
            share = await self._packs.stored_bytes() / max(1.0, self._margins.scrub_days)
            self._scrubbed = await self.scrub.run(share)
            return self._scrubbed

    async def scrub_all(self) -> Scrubbed:
        """Read every pack now, and every retained checkpoint. Raises StoreError, StorageBroken."""
        async with self._turn:
            self._scrubbed = await self.scrub.run(is_whole=True)
            return self._scrubbed
