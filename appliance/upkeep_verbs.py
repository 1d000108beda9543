"""What people ask of the drive's housekeeping: tidy up now, how long snapshots stay, what runs when.

Beside the answers, this starts what nobody asks for: `run` keeps the schedules.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import trio

from appliance.config import Config
from appliance.control.protocol import ServiceError
from appliance.control.upkeep_protocol import (
    PolicyPreview,
    PolicyRequest,
    PolicyState,
    Schedule,
    Spans,
    Tidied,
    UpkeepStatus,
)
from appliance.known_clock import KnownClock
from appliance.scheduler import Scheduler
from appliance.upkeep_work import NOT_OURS, UpkeepWork, moments_of
from vfs.fuse.mount import Mount
from vfs.retention import Policy, needless


class UpkeepVerbs:
    """An `UpkeepService`. `run` must be running. `told` turns refusals of the engine into those of the interface."""

    def __init__(self, mount: Mount, config: Config, told: Callable[[], AbstractContextManager[None]]) -> None:
        drive = mount.drive
        self._mount = mount
        self._drive = drive
        self._told = told
        self._zone = config.drive.zone
        self._clock = KnownClock(drive.database, drive.cuts, drive.clock)
        drive.undo_epochs.is_clock_believed = self._clock.is_believed
        works = UpkeepWork(mount, config, self._clock).works()
        self._scheduler = Scheduler(drive.database, drive.cuts, drive.clock, self._zone, works)

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        self._scheduler.load()
        await self._scheduler.run()

    # --- how it is ---

    def schedules(self) -> list[Schedule]:
        """Everything that is done by itself."""
        return self._scheduler.shown()

    def status(self) -> UpkeepStatus:
        """How tidy the store is, and whether the clock is believed."""
        doubt = self._clock.doubt()
        if self._drive.tier is None:
            return UpkeepStatus(doubt=doubt)
        found = self._drive.tier.upkeep.statistics()
        return UpkeepStatus(
            doomed=found.doomed_packs,
            deleted=found.deleted_packs,
            repacked=found.repacked_packs,
            waiting=found.waiting_packs,
            waiting_bytes=found.waiting_bytes,
            stored_bytes=found.stored_bytes,
            needed_bytes=found.needed_bytes,
            trouble=found.trouble,
            doubt=doubt,
        )

    # --- tidying up ---

    async def gc(self) -> Tidied:
        if self._drive.tier is None:
            raise ServiceError("refused", "This drive was started without its store: there is nothing to tidy up.")
        tier = self._drive.tier
        found = await tier.tidy(lambda: tier.upkeep.round(is_daily=True))
        if found is None:
            raise ServiceError("store_refused", f"Nothing was tidied up: {NOT_OURS}; `hybrid-drive status` says why.")
        await self._drive.cuts.wait_cut()
        waiting, waiting_bytes = await tier.packs.waiting()
        return Tidied(
            repacked=found.repacked,
            doomed=found.doomed,
            deleted=found.deleted,
            waiting=waiting,
            waiting_bytes=waiting_bytes,
            trouble=None if found.trouble is None else str(found.trouble),
        )

    # --- how long snapshots stay ---

    async def policy(self) -> PolicyState:
        policies = self._drive.policies
        takes_effect = datetime.fromtimestamp(policies.takes_effect_s, UTC)
        return PolicyState(
            current=spans_of(policies.current),
            pending=None if policies.pending is None else spans_of(policies.pending),
            takes_effect=None if policies.pending is None else takes_effect,
        )

    async def set_policy(self, request: PolicyRequest) -> PolicyState:
        await self._change(lambda now_s: self._drive.policies.set(self._wanted(request), now_s))
        return await self.policy()

    async def cancel_policy(self) -> PolicyState:
        await self._change(lambda now_s: self._drive.policies.cancel())
        return await self.policy()

    async def preview_policy(self, request: PolicyRequest) -> PolicyPreview:
        with self._told():
            policy = self._wanted(request)
        moments = moments_of(self._drive.snapshots.all())
        now_s = self._drive.clock.now_ns() // 10**9
        going = await trio.to_thread.run_sync(needless, moments, policy, now_s, self._zone)
        return PolicyPreview(policy=spans_of(policy), going=[one.name for one in going], snapshots=len(moments))

    def _wanted(self, request: PolicyRequest) -> Policy:
        """The policy that is meant: what the request leaves out is as it will be."""
        policies = self._drive.policies
        given = request.model_dump(exclude_none=True)
        return Policy.of((policies.pending or policies.current).spans | given)

    async def _change(self, change: Callable[[int], None]) -> None:
        reason = self._mount.operations.read_only_reason
        if reason:
            raise ServiceError("read_only", f"The drive can only be read at the moment: {reason}. Nothing was changed.")
        await self._drive.cuts.gate.wait_open()
        now_s = self._clock.look()
        if (doubt := self._clock.doubt()) is not None:
            raise ServiceError("refused", f"The policy was not changed: {doubt}. Set the clock, and try again.")
        with self._told():
            change(now_s)
        self._drive.cuts.log()


def spans_of(policy: Policy) -> Spans:
    """A policy as the interface shows it."""
    return Spans.model_validate(policy.spans)
