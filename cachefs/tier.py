"""The cloud behind the cache, put together: what is sealed is sent, what was sent may go, what went comes back, and
what nobody needs is cleared away.

    sealed ──▶ catalog (unsent) ──▶ uploader ──▶ catalog (stored) ──▶ evicting ──▶ not held ──▶ fetching ──▶ held

No rule stands here, only who tells whom. Without a tier (a drive whose store is not opened, as for a check) sealed
blocks wait as unsent, and what is not held cannot be read.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from cachefs.cache import Cache
from cachefs.errors import BytesDamaged, CloudDamaged, CloudUnreachable, UnknownBlock
from cachefs.evicting import Evicting
from cachefs.eviction import Eviction
from cachefs.fetching import Fetching
from cachefs.packs import Packs
from cachefs.recency import Recency
from cachefs.store_scrub import StoreScrub
from cachefs.upkeep import Upkeep
from cloud_tier.fetcher import Fetcher
from cloud_tier.gc import Collector, Right
from cloud_tier.keys import DriveKeys
from cloud_tier.ledger import Unsent
from cloud_tier.margins import Margins
from cloud_tier.object_store import Buffer, ObjectStore
from cloud_tier.repack import Repacker
from cloud_tier.uploader import Uploader

T = TypeVar("T")
RECENCY = "recency"  # in the state directory: do not change
READ_HERE_BYTES = 64 << 10  # of a block that is sent; more is read and summed in a thread


@dataclass(frozen=True)
class Cloud:
    """What a drive needs of its store.

    `keys` gives the newest; `fence` is that of the lease; nothing is sent before `may_send` is set; `prompt` is the
    same store for those whom somebody waits for, if it is to be asked differently then. `right` is the right to delete
    from it, as it is now; once `is_fenced` is set, another machine has it, and nothing is sent or deleted any more.
    """

    store: ObjectStore
    keys: Callable[[], DriveKeys]
    fence: int = 1
    may_send: trio.Event | None = None
    prompt: ObjectStore | None = None
    right: Callable[[], Right] = Right
    is_fenced: trio.Event | None = None
    margins: Margins = Margins()  # noqa: RUF009  (frozen)


class Tier:
    """Upload, eviction and fetch over one cache."""

    def __init__(self, cache: Cache, cloud: Cloud) -> None:
        self._may_send = cloud.may_send
        self._is_fenced = cloud.is_fenced
        self._cache = cache
        catalog = cache.catalog
        self.uploader = Uploader(cloud.store, cloud.keys, catalog, cloud.fence)
        self.fetching = Fetching(
            cache.blocks,
            cache.segments,
            cache.seals,
            catalog,
            Fetcher(cloud.prompt or cloud.store, cloud.keys),
            cloud.keys().block_key,
            cache.put_fetched,
        )
        policy = Eviction(cache.clock, lambda block: self.evicting.keeps(block))
        self.evicting = Evicting(
            cache.database,
            cache.cuts,
            cache.blocks,
            cache.seals,
            catalog,
            policy,
            Recency(cache.state / RECENCY, cache.database, policy),
            self._used_bytes,
            cache.budget.held_bytes,
            cache.budget.most_bytes,
            cache.budget.is_short,
        )
        self.packs = Packs(cache.database, catalog, cache.local_counters, cache.cuts.bound_pending)
        self.upkeep = self._make_upkeep(cloud)
        catalog.read_block = self._read_block
        catalog.when_unsent = self.uploader.wake
        self.uploader.stored = self._stored
        self.fetching.settled = self.evicting.settled
        self.fetching.make_room = self.evicting.has_room
        cache.seals.evicted = self.evicting.gone
        cache.blocks.dropped = self._dropped
        cache.fetching = self.fetching
        cache.evicting = self.evicting
        cache.may_get_room = self._may_get_room
        cache.progress = lambda: self.uploader.pieces
        cache.budget.has_store = True
        cache.budget.evictable = lambda: self.evicting.evictable_bytes
        cache.budget.pinned = lambda: self.evicting.pinned_bytes
        cache.cuts.is_space_short = lambda: cache.budget.is_short() or self.evicting.is_over()

    async def run(self) -> None:
        """Send, evict and fetch, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self.fetching.run)
            nursery.start_soon(self.evicting.run)

    async def _write(self) -> None:
        """Change the store, for as long as this machine may."""
        if self._may_send is not None:
            await self._may_send.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.uploader.run)
            if self._is_fenced is not None:
                await self._is_fenced.wait()
                nursery.cancel_scope.cancel()

    def _make_upkeep(self, cloud: Cloud) -> Upkeep:
        cache, packs = self._cache, self.packs
        repacker = Repacker(
            cloud.store,
            Fetcher(cloud.store, cloud.keys),
            cloud.keys,
            packs,
            cloud.fence,
            self.uploader.wait_idle,
        )
        collector = Collector(cloud.store, packs, cloud.right, cache.clock, cloud.margins)
        scrub = StoreScrub(cache.database, cloud.store, cloud.keys, packs, repacker, cache.suspects)
        return Upkeep(packs, collector, repacker, scrub, cloud.margins)

    async def tidy(self, work: Callable[[], Awaitable[T]]) -> T | None:
        """Do work that changes the store, unless it is not this machine's (yet): then None. It ends, with None, when
        another machine takes the store. Raises what the work raises.
        """
        done: T | None = None
        refused: Exception | None = None
        if self._may_send is not None and not self._may_send.is_set():
            return None
        async with trio.open_nursery() as nursery:

            async def stop() -> None:
                if self._is_fenced is not None:
                    await self._is_fenced.wait()
                    nursery.cancel_scope.cancel()

            nursery.start_soon(stop)
            if self._is_fenced is None or not self._is_fenced.is_set():
                try:
                    done = await work()
                except Exception as error:  # not as one of a group
                    refused = error
            nursery.cancel_scope.cancel()
        if refused is not None:
            raise refused
        return done

    def _may_get_room(self) -> bool:
        cache = self._cache
        is_sending = self.uploader.trouble is None and bool(cache.catalog.unsent_blocks or cache.blocks.open)
        return is_sending or self.evicting.is_giving_up or cache.segments.free_queue.waiting_bytes() > 0

    def _used_bytes(self) -> int:
        return self._cache.budget.held_bytes() - self._cache.segments.free_queue.waiting_bytes()

    def _dropped(self, block: int) -> None:
        self._cache.catalog.not_unsent(block)
        self.evicting.gone(block)

    def _stored(self, blocks: Sequence[Unsent]) -> None:
        self.evicting.stored(one.block for one in blocks)

    async def _read_block(self, number: int) -> Buffer | None:
        try:
            block = self._cache.blocks.get(number)
            if not block.is_held:
                return None
            is_small = block.length <= READ_HERE_BYTES
            found = self._cache.read_nowait(block, 0, block.length) if is_small else None
            return found if found is not None else await self._cache.read(block, 0, block.length)
        except (UnknownBlock, BytesDamaged, CloudDamaged, CloudUnreachable):
            return None
