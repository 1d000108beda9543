"""The rows' way into the store, put together: what each cut changed, and now and then all of it.

    cut ──▶ outbox (disk) ──▶ shipping ──▶ log/…           within ten seconds
    database as of a cut ──▶ checkpointing ──▶ checkpoints/…, parts/…

No rule stands here, only who tells whom. Together with the packs this is all a new machine needs (`vfs.recovered`).
"""

from pathlib import Path

import trio

from cachefs.cache import Cache
from cachefs.checkpointing import Checkpointing
from cachefs.outbox import Outbox
from cachefs.shipping import Shipping
from cachefs.tier import Cloud


class Mirror:
    """Outbox, shipping and checkpoints over one cache."""

    def __init__(self, cache: Cache, cloud: Cloud, state: Path, local_tables: frozenset[str]) -> None:
        self._cuts = cache.cuts
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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.shipping.run)
            nursery.start_soon(self._make_checkpoints)
            if self._is_fenced is not None:
                await self._is_fenced.wait()
                nursery.cancel_scope.cancel()

    async def _make_checkpoints(self) -> None:
        await self.checkpointing.load()
        await self.checkpointing.run()

    @property
    def is_complete(self) -> bool:
        """Whether the store has all rows as they are now, and a checkpoint that leads to them."""
        is_sent = not self.outbox.waiting and self.outbox.position == self._cuts.number
        return is_sent and not self._cuts.uncommitted_rows() and self.checkpointing.is_usable

    async def flush(self) -> None:
        """Return once all rows as they are now are in the store, and a checkpoint that leads to them."""
        await self._cuts.wait_cut()
        await self.shipping.flush(self._cuts.durable)
        await self.checkpointing.wait_usable()
