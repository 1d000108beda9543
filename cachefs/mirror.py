"""The rows' way into the store, put together: what each cut changed, and now and then all of it.

    cut ──▶ outbox (disk) ──▶ shipping ──▶ log/…           within ten seconds
    database as of a cut ──▶ checkpointing ──▶ checkpoints/…, parts/…

Who tells whom stands here, and one look: is the store ahead of this machine? Then the state directory is older than
what was sent from it, put back from an image of the machine, say. Entries sent now would stand beside others of equal
positions, and a recovery would follow either: so none are sent, and it finds all that was. The log and `status` say so.

Together with the packs this is all a new machine needs (`vfs.recovered`).
"""

import logging
from pathlib import Path

import trio

from cachefs.cache import Cache
from cachefs.checkpointing import Checkpointing
from cachefs.outbox import Outbox
from cachefs.shipping import Shipping
from cachefs.tier import Cloud
from cloud_tier.errors import StoreError
from cloud_tier.object_names import LOG, LogName, parse_name
from cloud_tier.object_store import list_objects

log = logging.getLogger(__name__)

AGAIN_S = 15.0


class Mirror:
    """Outbox, shipping and checkpoints over one cache."""

    def __init__(self, cache: Cache, cloud: Cloud, state: Path, local_tables: frozenset[str]) -> None:
        self.is_set_back = False
        """Whether the store turned out to be ahead of this machine: its log is not sent."""
        self._cuts = cache.cuts
        self._store, self._fence = cloud.store, cloud.fence
        self._may_send = cloud.may_send
        self._is_fenced = cloud.is_fenced
        self.outbox = Outbox(cache.disk, state, cache.clock, local_tables)
        self.shipping = Shipping(cloud.store, cloud.keys, self.outbox, cloud.fence, cache.clock)
        self.checkpointing = Checkpointing(
            cloud.store,
            cloud.keys,
            self.outbox,
            cache.database,
            cache.disk,
            state,
            cloud.fence,
            cache.clock,
            local_tables,
        )
        self.shipping.before_delete = self.checkpointing.before_delete = lambda: cloud.right().check()
        self.checkpointing.log_bytes = lambda: self.shipping.sent_bytes
        self._cuts.outbox = self.outbox
        self._cuts.when_gathered = self._gathered

    def _gathered(self) -> None:
        self.shipping.wake()
        self.checkpointing.wake()

    async def run(self) -> None:
        """Send for as long as this machine may."""
        if self._may_send is not None:
            await self._may_send.wait()
        if await self._is_set_back():
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.shipping.run)
            nursery.start_soon(self._make_checkpoints)
            if self._is_fenced is not None:
                await self._is_fenced.wait()
                nursery.cancel_scope.cancel()

    async def _is_set_back(self) -> bool:
        sent = 0
        while True:
            try:
                async for info in list_objects(self._store, LOG):
                    if isinstance(name := parse_name(info.name), LogName) and name.fence == self._fence:
                        sent = max(sent, name.last)
                break
            except StoreError as error:
                if not error.is_retryable:
                    log.warning("whether the store is ahead of this machine could not be seen: %s", error)
                    break
                await trio.sleep(AGAIN_S)
        self.is_set_back = sent > self._cuts.number
        if self.is_set_back:
            log.error(
                "the store has changes of this machine up to %d, and its state directory ends at %d: was it put back"
                " from an older copy? Nothing is sent to the log any more, so that `hybrid-drive recover` finds those."
                " Copy elsewhere what was done here since, and recover.",
                sent,
                self._cuts.number,
            )
        return self.is_set_back

    async def _make_checkpoints(self) -> None:
        await self.checkpointing.load()
        await self.checkpointing.run()

    @property
    def is_complete(self) -> bool:
        """Whether the store has all rows as they are now, and a checkpoint that leads to them."""
        is_sent = not self.outbox.waiting and self.outbox.position == self._cuts.number
        return is_sent and not self.is_set_back and not self._cuts.uncommitted_rows() and self.checkpointing.is_usable

    async def flush(self) -> None:
        """Return once all rows as they are now are in the store, and a checkpoint that leads to them."""
        await self._cuts.wait_cut()
        await self.shipping.flush(self._cuts.durable)
        await self.checkpointing.wait_usable()
