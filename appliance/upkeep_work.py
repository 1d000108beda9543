"""The work that the drive does by itself, and when: snapshots, retention, tidying, scrubs, checkpoints.

Each is a few lines over a part that knows how; here is what counts as a result, and what as a reason to wait. At night
means from `[upkeep] night` on, ten minutes apart, in the order in which one profits from the other.
"""

from collections.abc import Sequence
from datetime import time

import trio

from appliance.assemble import scrub_share
from appliance.config import Config
from appliance.figures import size_text
from appliance.known_clock import KnownClock
from appliance.scheduler import Outcome, Postponed, Work
from appliance.schedules import Every, Nightly
from appliance.upkeep_names import CHECKPOINT, COLLECT, PRUNE, REPACK, SCRUB_LOCAL, SCRUB_STORE, SNAPSHOT
from cachefs.tier import Tier
from cloud_tier.errors import CloudError
from vfs.errors import NotFound, Refused
from vfs.fuse.mount import Mount
from vfs.retention import Moment, needless
from vfs.snapshots import Snapshot

CHECKPOINT_WITHIN_S = 3600.0
NOT_OURS = "this machine may not write to the store at present"


class UpkeepWork:
    """What is done, over one mounted drive."""

    def __init__(self, mount: Mount, config: Config, known_clock: KnownClock) -> None:
        self._mount = mount
        self._drive = mount.drive
        self._config = config
        self._known_clock = known_clock
        self._zone = config.drive.zone
        self._is_changed_before: bool | None = None  # between the newest snapshot and this start; None: not looked yet

    def works(self) -> list[Work]:
        """Everything that this drive does by itself."""
        night = self._config.upkeep.night
        found = []
        if self._config.snapshots.scheduled:
            found += [Work(SNAPSHOT, Every(60), self.snapshot), Work(PRUNE, Every(900), self.prune)]
        if self._drive.tier is not None:
            found += [
                Work(COLLECT, Every(3600), self.collect),
                Work(CHECKPOINT, Nightly(time(night, 0)), self.checkpoint),
                Work(REPACK, Nightly(time(night, 10)), self.repack),
            ]
            if self._config.store.scrub_days:
                found.append(Work(SCRUB_STORE, Nightly(time(night, 20)), self.scrub_store))
        if self._config.cache.scrub_days:
            found.append(Work(SCRUB_LOCAL, Nightly(time(night, 30)), self.scrub_local))
        return found

    # --- snapshots ---

    async def snapshot(self) -> Outcome:
        """Keep the drive as it is, if it is not as the newest snapshot shows it."""
        if self._mount.operations.read_only_reason or not await self._is_changed():
            return Outcome()
        await self._mount.collect()
        made = await self._drive.snapshots.create()
        self._is_changed_before = False
        return Outcome(f"made {made.name}")

    async def _is_changed(self) -> bool:
        newest = self._drive.snapshots.newest()
        epoch = 0 if newest is None else newest.epoch
        if self._drive.inodes.is_changed_after(epoch):
            return True
        if self._is_changed_before is None:  # the only look that is not O(1): once a start, in a thread
            sql = "SELECT EXISTS (SELECT 1 FROM inodes WHERE since > ?)"
            self._is_changed_before = bool((await self._drive.past.study(lambda query: query(sql, (epoch,))))[0][0])
        return self._is_changed_before

    async def prune(self) -> Outcome:
        """Give up what the policy does not keep."""
        if self._mount.operations.read_only_reason:
            return Outcome()
        now_s = self._known_clock.look()
        if (doubt := self._known_clock.doubt()) is not None:
            raise Postponed(doubt)
        policy = self._drive.policies.at(now_s)
        moments = moments_of(self._drive.snapshots.all())
        going = await trio.to_thread.run_sync(needless, moments, policy, now_s, self._zone)
        gone = 0
        for one in going:
            await self._drive.cuts.gate.wait_open()
            try:
                self._drive.snapshots.delete(one.name)
            except (NotFound, Refused):  # somebody held or deleted it meanwhile, or restores from it
                continue
            gone += 1
            self._drive.cuts.bound_pending()
            await trio.lowlevel.checkpoint()
        return Outcome(f"{gone} of {len(moments)} snapshots went") if gone else Outcome()

    # --- the store ---

    async def collect(self) -> Outcome:
        """Doom what nobody needs, delete what has waited."""
        return await self._round(is_daily=False)

    async def repack(self) -> Outcome:
        """Pack small and sparse packs anew, and then the same."""
        return await self._round(is_daily=True)

    async def _round(self, *, is_daily: bool) -> Outcome:
        tier = self._tier()
        found = await tier.tidy(lambda: tier.upkeep.round(is_daily=is_daily))
        if found is None:
            raise Postponed(NOT_OURS)
        if found.trouble is not None:
            raise Postponed(str(found.trouble))
        if not (found.repacked or found.doomed or found.deleted):
            return Outcome()
        return Outcome(f"packed anew {found.repacked}, doomed {found.doomed}, deleted {found.deleted} packs")

    async def scrub_store(self) -> Outcome:
        """Read a day's share of the store again."""
        tier = self._tier()
        try:
            found = await tier.tidy(tier.upkeep.scrub_share)
        except CloudError as error:
            raise Postponed(str(error)) from error
        if found is None:
            raise Postponed(NOT_OURS)
        if found.damaged_packs or found.checkpoints:
            words = f"{found.damaged_packs} damaged packs, {found.checkpoints} damaged checkpoints"
            return Outcome(f"{words}: {found.healed} blocks healed, {len(found.lost)} lost", is_ok=not found.lost)
        return Outcome(f"read {size_text(found.bytes_read)}") if found.bytes_read else Outcome()

    async def checkpoint(self) -> Outcome:
        """All rows to the store in one piece, if much was changed since the last time."""
        mirror = self._drive.mirror
        if mirror is None or not mirror.checkpointing.has_grown:
            return Outcome()
        with trio.move_on_after(CHECKPOINT_WITHIN_S):
            await mirror.checkpointing.make_soon()
            return Outcome("made")
        raise Postponed(str(mirror.checkpointing.trouble or "the store is slow"))

    def _tier(self) -> Tier:
        assert self._drive.tier is not None
        return self._drive.tier

    # --- this machine ---

    async def scrub_local(self) -> Outcome:
        """Read a day's share of the bytes that lie here."""
        report = await scrub_share(self._drive, self._config.cache.scrub_days)
        read = report.checked["bytes"]
        if report.findings:
            named = [finding.path or finding.message for finding in report.findings]
            more = f" and {len(named) - 3} more" if len(named) > 3 else ""
            return Outcome(f"damaged: {', '.join(named[:3])}{more}", is_ok=False)
        return Outcome(f"read {size_text(read)}") if read else Outcome()


def moments_of(snapshots: Sequence[Snapshot]) -> list[Moment]:
    """Snapshots as retention sees them."""
    return [Moment(one.name, one.created_ns // 10**9, one.label is not None, one.is_held) for one in snapshots]
