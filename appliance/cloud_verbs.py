"""What people ask of the cloud and of the local copies: flush, warm, drop, pin, over a mounted drive.

What takes long is a task (`appliance.tasks`); a store that is away is waited for, and the task says so meanwhile.
"""

import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from itertools import groupby

import trio

from appliance.cloud_errors import sentence_of
from appliance.cloud_status import cloud_status
from appliance.control.protocol import Dropped, Pinned, Pins, ServiceError, Task
from appliance.figures import size_text
from appliance.store_link import StoreLink
from appliance.tasks import Figures, Tasks, Work
from cachefs.tier import Tier
from cachefs.warming import CacheFull, Record, Warming
from vfs.errors import InvalidArgument
from vfs.fuse.mount import Mount
from vfs.ids import ROOT
from vfs.restore import split
from vfs.subtree import Below, blocks_below

EVERYTHING = 1 << 62  # bytes

LATE = (
    "The kernel did not hand over in time what programs that are still writing wrote last; that part may not be in the"
    " cloud yet. Flush again when the drive is less busy."
)


class CloudVerbs:
    """A `CloudService`. `run` must be running."""

    def __init__(self, mount: Mount, link: StoreLink, now: Callable[[], datetime]) -> None:
        self._mount = mount
        self._drive = mount.drive
        self._link = link
        self._now = now
        self._tasks = Tasks(now)
        self._warming = trio.Lock()
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do the tasks, until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            await trio.sleep_forever()

    async def task(self, task_id: int) -> Task:
        return self._tasks.get(task_id).shown()

    # --- flush ---

    async def flush(self) -> Task:
        tier = self._tier()
        if self._link.leasing.lost is not None:
            raise ServiceError("store_refused", sentence_of(self._link.leasing.lost))
        work = self._tasks.begin("flush")
        before = tier.uploader.statistics().plain_bytes

        def look() -> Figures:
            sent = tier.uploader.statistics().plain_bytes - before
            status, store = cloud_status(self._drive, self._link, self._now()), self._link.status()
            assert status is not None
            waiting = 0 if work.finished is not None else status.open_bytes + status.unsent_bytes
            return Figures(sent, sent + waiting, status.trouble or store.reason)

        async def do() -> None:
            if not await self._mount.collect():
                work.warning = LATE
            await self._drive.flush()
            status = cloud_status(self._drive, self._link, self._now())
            if status is not None and status.damaged_blocks:
                work.warning = unsendable(status.damaged_blocks)

        work.look = look
        return self._start(work, do)

    # --- warm ---

    async def warm(self, path: str) -> Task:
        tier, ino = self._tier(), self._resolve(path)
        work = self._tasks.begin("warm", path)

        async def do() -> None:
            async with self._warming:
                warming = self._warming_of(tier, await self._below(ino))
                work.look = lambda: Figures(
                    warming.done_bytes, warming.total_bytes, None if warming.trouble is None else str(warming.trouble)
                )
                try:
                    await warming.run()
                except CacheFull as error:
                    raise ServiceError("cache_full", full(warming)) from error
                if warming.damaged_blocks:
                    work.warning = damaged(warming.damaged_blocks)

        return self._start(work, do)

    def _warming_of(self, tier: Tier, below: list[Below]) -> Warming:
        held = [one.block for one in below if one.held_bytes]
        cold = [one for one in below if not one.held_bytes and one.pack is not None]
        records = [list(group) for _, group in groupby(cold, lambda one: (one.pack, one.offset))]
        return Warming(
            self._drive.cache.blocks,
            tier.fetching,
            tier.evicting,
            held,
            [Record([one.block for one in group], sum(one.size_bytes for one in group)) for group in records],
        )

    # --- drop ---

    async def drop(self, path: str | None) -> Dropped:
        tier, drive = self._tier(), self._drive
        if path is None:
            dropped = await tier.evicting.evict(EVERYTHING)
            await drive.cuts.wait_cut()
            left = drive.cache.statistics()
            return Dropped(
                dropped_bytes=dropped, unsent_bytes=left["precious_bytes"], pinned_bytes=left["pinned_bytes"]
            )
        ino = self._resolve(path)
        dropped = await tier.evicting.drop([one.block for one in await self._below(ino) if one.held_bytes])
        kept = [one for one in await self._below(ino) if one.held_bytes]
        return Dropped(
            path=path,
            dropped_bytes=dropped,
            unsent_bytes=sum(one.held_bytes for one in kept if one.pack is None),
            pinned_bytes=sum(one.held_bytes for one in kept if one.block in tier.evicting.pinned),
        )

    # --- pin ---

    async def pin(self, path: str) -> Pinned:
        self._tier()
        ino = self._resolve(path)
        await self._change_pins(lambda: self._drive.pins.pin(ino))
        below = await self._below(ino)
        return Pinned(
            path=path,
            size_bytes=sum(one.size_bytes for one in below),
            missing_bytes=sum(one.size_bytes for one in below if not one.held_bytes),
            beyond_bytes=self._drive.pins.beyond_bytes,
        )

    async def unpin(self, path: str) -> Pins:
        ino = self._resolve(path)
        if not self._drive.pins.is_pinned(ino):
            known = ", ".join(os.fsdecode(one) or "." for _, one in self._drive.pins.all()) or "nothing"
            raise ServiceError("not_found", f"{path or 'The drive'} was not pinned by itself; pinned is: {known}.")
        await self._change_pins(lambda: self._drive.pins.unpin(ino))
        return await self.pins()

    async def pins(self) -> Pins:
        pins, stats = self._drive.pins, self._drive.cache.statistics()
        return Pins(
            paths=[os.fsdecode(path) for _, path in pins.all()],
            held_bytes=stats["pinned_bytes"],
            beyond_bytes=pins.beyond_bytes,
        )

    async def _change_pins(self, change: Callable[[], None]) -> None:
        reason = self._mount.operations.read_only_reason
        if reason:
            raise ServiceError("read_only", f"The drive can only be read at the moment: {reason}. Nothing was changed.")
        await self._drive.cuts.gate.wait_open()
        change()
        self._drive.cuts.log()
        await self._drive.cuts.wait_cut()
        await self._drive.pins.look()

    # --- what they share ---

    def _tier(self) -> Tier:
        if self._drive.tier is None:
            raise ServiceError("refused", "This drive was started without its store: everything is on this machine.")
        return self._drive.tier

    def _resolve(self, path: str) -> int:
        try:
            names = split(os.fsencode(path))
        except InvalidArgument as error:
            raise ServiceError("usage", f"{path} is no path of the live drive: {error}.") from error
        ino = self._drive.namespace.resolve(names) if names else ROOT
        if ino is None:
            raise ServiceError("not_found", f"The drive has no {path}; nothing was done.")
        return ino

    async def _below(self, ino: int) -> list[Below]:
        await self._drive.cuts.wait_cut()
        return await self._drive.past.study(lambda query: blocks_below(query, [ino]))

    def _start(self, work: Work, do: Callable[[], Awaitable[None]]) -> Task:
        assert self._nursery is not None
        self._nursery.start_soon(self._tasks.carry, work, do)
        return work.shown()


def full(warming: Warming) -> str:
    """Why warming stopped."""
    return (
        f"The cache is full: {size_text(warming.done_bytes)} of {size_text(warming.total_bytes)} came, and the rest"
        " finds no room beside what waits to be sent, what is pinned and what has just come. Warm less, or give the"
        " cache a larger budget."
    )


def unsendable(blocks: int) -> str:
    """What a flush could not send."""
    return f"{blocks} blocks are damaged here and could not be sent; `hybrid-drive scrub` names their files."


def damaged(blocks: int) -> str:
    """What of it cannot come."""
    return f"{blocks} blocks in the store are not what they should be and did not come; the core's log has the details."
