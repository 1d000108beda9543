"""Upkeep of the store: garbage is collected every hour; once a day small and sparse packs are packed anew, and a share
of all packs is read again.

Only when nothing fresh waits to be sent: the day's work goes first, and upkeep goes on when the line is free, between
two packs. Speed limits are the store's (`cloud_tier.limiting`). A store that is away, or a lease that is lost, ends the
round; the next one goes on where it was, because all that it has to know are rows.
"""

import logging
from dataclasses import dataclass

import trio

from cachefs.database import Database
from cachefs.packs import Packs
from cachefs.store_scrub import Scrubbed, StoreScrub
from cloud_tier.clock import Clock
from cloud_tier.errors import CloudError
from cloud_tier.gc import Collector
from cloud_tier.margins import Margins
from cloud_tier.repack import Repacker, Survey

log = logging.getLogger(__name__)

ROUND_S = 3600.0
DAY_S = 86_400
REPACKED = "upkeep repacked"  # local counter: when packs were last packed anew, in seconds since 1970


@dataclass(frozen=True)
class UpkeepStatistics:
    """Since the start, but for the bytes, which are those of the last survey.

    `trouble`: why the last round ended early; None when it did not.
    """

    doomed_packs: int
    deleted_packs: int
    repacked_packs: int
    stored_bytes: int
    needed_bytes: int
    trouble: str | None


class Upkeep:
    """The task that tidies the store up. One round at a time."""

    def __init__(
        self,
        database: Database,
        packs: Packs,
        collector: Collector,
        repacker: Repacker,
        scrub: StoreScrub,
        clock: Clock,
        margins: Margins,
    ) -> None:
        self.collector = collector
        self._database = database
        self._packs = packs
        self._repacker = repacker
        self.scrub = scrub
        self._clock = clock
        self._margins = margins
        self._turn = trio.Lock()
        self._doomed = self._deleted = self._repacked = 0
        self._survey = Survey(margins)
        self._trouble: CloudError | None = None

    async def run(self) -> None:
        """Rounds for ever."""
        while True:
            await trio.sleep(ROUND_S)
            await self.round()

    async def round(self, *, is_daily: bool = False) -> None:
        """Collect garbage; once a day, or if told, pack anew before. Raises StorageBroken."""
        async with self._turn:
            try:
                if is_daily or self._is_due():
                    await self._repack()
                    await self._scrub_share()
                    self._note_day()
                doomed, deleted = await self.collector.round()
            except CloudError as error:
                if str(error) != str(self._trouble):
                    log.info("the store is tidied up later: %s", error)
                self._trouble = error
            else:
                self._trouble = None
                self._doomed += doomed
                self._deleted += deleted

    def statistics(self) -> UpkeepStatistics:
        return UpkeepStatistics(
            doomed_packs=self._doomed,
            deleted_packs=self._deleted,
            repacked_packs=self._repacked,
            stored_bytes=self._survey.size_bytes,
            needed_bytes=self._survey.live_bytes,
            trouble=None if self._trouble is None else str(self._trouble),
        )

    def _is_due(self) -> bool:
        row = self._database.row("SELECT value FROM local_counters WHERE name = ?", (REPACKED,))
        return row is None or not 0 <= self._clock.now_ns() // 10**9 - row[0] < DAY_S  # a clock may be put back

    async def _repack(self) -> None:
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

    async def _scrub_share(self) -> None:
        if self._margins.scrub_days:
            await self.scrub.run(self._survey.size_bytes / self._margins.scrub_days)

    async def scrub_all(self) -> Scrubbed:
        """Read every pack now. Raises StoreError, StorageBroken."""
        async with self._turn:
            return await self.scrub.run(is_whole=True)

    def _note_day(self) -> None:
        self._database.write(
            "INSERT INTO local_counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (REPACKED, self._clock.now_ns() // 10**9),
        )
