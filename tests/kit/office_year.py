"""Days of an office on a drive with a store, at a thousandth of the size: written, changed, deleted, kept, pruned.

    year = OfficeYear(built, seed)
    await year.day()

Each day ends with a flush, a snapshot and the snapshots' policy (7 days, 8 weeks, 12 months), a checkpoint, of which
two are retained, and two rounds of upkeep. After each of these steps every block that any kept state needs is read from
the store by the catalog alone. Packs, their groups and what counts as small are as much smaller as the files.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from kit.cloud_drive import CloudDrive

from cloud_tier.margins import Margins

FULL_BYTES, GROUP_BYTES = 256 << 10, 8 << 10
MARGINS = Margins(small_bytes=64 << 10)
DAY_S = 86_400.0
SETTLED_S = 5.0
DAILY, WEEKLY, MONTHLY = 7, 8 * 7, 365


@contextmanager
def small_packs() -> Iterator[None]:
    """Groups of a sixty-fourth."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("cloud_tier.pack", "cachefs.packs"):
            patch.setattr(f"{module}.GROUP_BYTES", GROUP_BYTES)
        yield


class OfficeYear:
    """`built` has these `MARGINS`. `days` counts those that have passed."""

    def __init__(self, built: CloudDrive, seed: int) -> None:
        self.days = 0
        self._built = built
        self._chance = random.Random(seed)
        self._files: dict[str, int] = {}  # name: size
        self._made = 0
        self._snapshots: dict[str, int] = {}  # name: day
        self._checkpoints = [0]
        self.tidy_up()

    def tidy_up(self) -> None:
        """Let upkeep know of the checkpoints, and make small packs; again after each start."""
        upkeep = self._built.tier.upkeep
        upkeep.collector.oldest_retained = lambda: self._checkpoints[0] or None
        upkeep._repacker._full_bytes = FULL_BYTES

    async def go_on(self, days: int) -> None:
        """So many more days."""
        for _ in range(days):
            await self.day()

    async def day(self) -> None:
        """One more day."""
        built = self._built
        if self.days % 7 < 5:
            for _ in range(3):
                await self._work()
        await built.sent()
        snapshot = await built.snapshot()
        self._snapshots[snapshot.name] = self.days
        self._prune()
        await trio.sleep(SETTLED_S)  # the reaper
        await built.cut()
        await self._look()
        self._checkpoints = [*self._checkpoints[-1:], built.drive.cuts.durable]
        for _ in range(2):
            await built.tier.upkeep.round(is_daily=True)
            await built.cut()
            await self._look()
            built.clock.advance(DAY_S / 2)  # type: ignore[attr-defined]
        self.days += 1

    async def _work(self) -> None:
        chance, built = self._chance, self._built
        for _ in range(2):
            self._made += 1
            name, size = f"{self._made}", int(chance.paretovariate(1.1) * 1500) % 40_000
            self._files[name] = size
            await built.write(name, chance.randbytes(size))
        for name in chance.sample(sorted(self._files, key=int)[-30:], min(2, len(self._files))):
            offset = chance.randrange(self._files[name] + 1)
            await built.write(name, chance.randbytes(3000), offset)
            self._files[name] = max(self._files[name], offset + 3000)
        if len(self._files) > 40:
            for name in chance.sample(sorted(self._files), 2):
                del self._files[name]
                await built.unlink(name)
        await built.sent()

    def _prune(self) -> None:
        for name, day in list(self._snapshots.items()):
            age = self.days - day
            is_kept = age < DAILY or (day % 7 == 4 and age < WEEKLY) or (day % 30 == 0 and age < MONTHLY)
            if not is_kept:
                self._built.drive.snapshots.delete(name)
                del self._snapshots[name]

    async def _look(self) -> None:
        database = self._built.drive.database
        self._built.drive.cuts.log()
        (missing,) = database.row("SELECT count(*) FROM blocks WHERE block NOT IN (SELECT block FROM catalog)")
        assert missing == 0, "everything was sent"
        await self._built.require_readable()

    async def dead_share(self) -> float:
        """Of all bytes of packs in the store, how many nobody needs."""
        names = await self._built.packs()
        stored = sum([await self._built.store.size(name) for name in names])
        (needed,) = self._built.drive.database.row("SELECT sum(length) FROM blocks")
        return 1 - needed / stored
