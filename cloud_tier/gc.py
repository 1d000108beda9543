"""Garbage collection: packs that nobody needs are doomed, wait, and are deleted.

    doom     no block is in the pack any more     its row says since which log position; nothing can be found in it (I9)
    wait     until every state that may still be recovered is younger than the doom, and the grace has passed
    delete   the object goes, then its row

A pack is deleted only when the oldest retained checkpoint is newer than its doom: whoever recovers from that checkpoint
finds the doom in it, and needs no block of the pack (T10). The grace beside it is for mistakes, and for a put that was
given up and arrives late. Packs that were sent under an older lease wait for a week after the takeover, so that the
machine that was replaced is not surprised (T9). Before each batch the lease is read again: who has lost it deletes
nothing more.

What is dead comes from our own rows. No listing is ever asked, so one that lies cannot cost a pack, and a pack is never
deleted because it was *not found* (I13); an object that no row knows stays where it is.

    step                      died here → what is left, who goes on
    1 doom                    doomed, or not yet; the next round finds it
    2 delete the objects      some are gone, all rows are there: deleted once more, which is no error
    3 remove the rows         the same
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import trio

from cloud_tier.clock import Clock
from cloud_tier.margins import Margins
from cloud_tier.object_names import PackName
from cloud_tier.object_store import ObjectStore

BATCH_PACKS = 500  # deleted between two looks at the lease; S3 takes 1,000 names in one request


class Doomed(NamedTuple):
    """A pack that nobody needs."""

    pack: int
    name: PackName


class PackLedger(Protocol):
    """What the collector must know and remember; cachefs keeps it in SQL. Each call is a bounded step."""

    async def dead(self, after: int) -> list[int]:
        """Some packs behind number `after`, in order, that are in the store and hold no block; empty: no more."""
        ...

    def doom(self, packs: Sequence[int]) -> int:
        """Doom those of them that hold no block now, in the running transaction. Returns how many."""
        ...

    def waited(self, now_ns: int, grace_s: float) -> int:
        """The newest log position that is surely as old as the grace; 0 when there is none. Ask from time to time."""
        ...

    async def doomed(self, after: int, before: int, most: int) -> list[Doomed]:
        """At most so many packs behind number `after` that were doomed before log position `before`, in order."""
        ...

    async def deleted(self, packs: Sequence[int]) -> None:
        """The store does not have them any more: forget them."""
        ...


@dataclass(frozen=True)
class Right:
    """The right to delete: the lease that this machine holds.

    `claimed_ns`: when it was claimed. `check` returns when it is still held, and raises LeaseLost or StoreError.
    """

    fence: int = 1
    claimed_ns: int = 0
    check: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint


class Collected(NamedTuple):
    """What one round has done, in packs."""

    doomed: int
    deleted: int


def nothing_retained() -> int | None:
    """There is no checkpoint."""
    return None


class Collector:
    """Dooms and deletes. One round at a time."""

    def __init__(
        self, store: ObjectStore, ledger: PackLedger, right: Callable[[], Right], clock: Clock, margins: Margins
    ) -> None:
        self.oldest_retained: Callable[[], int | None] = nothing_retained
        """The log position of the oldest retained checkpoint. None: there is none, and nothing may be deleted."""
        self._store = store
        self._ledger = ledger
        self._right = right
        self._clock = clock
        self._margins = margins

    async def round(self) -> Collected:
        """Doom what is dead, delete what has waited. Raises StoreError, LeaseLost: the next round goes on."""
        return Collected(await self._doom(), await self._delete())

    async def _doom(self) -> int:
        after, doomed = 0, 0
        while dead := await self._ledger.dead(after):
            doomed += self._ledger.doom(dead)
            after = dead[-1]
        return doomed

    async def _delete(self) -> int:
        waited = self._ledger.waited(self._clock.now_ns(), self._margins.grace_s)
        oldest = self.oldest_retained()
        if oldest is None:
            return 0
        after, deleted = 0, 0
        while doomed := await self._ledger.doomed(after, min(oldest, waited + 1), BATCH_PACKS):
            after = doomed[-1].pack
            right = self._right()
            going = [one for one in doomed if self._may_go(one.name.fence, right)]
            if going:
                await right.check()
                await self._store.delete([str(one.name) for one in going])
                await self._ledger.deleted([one.pack for one in going])
                deleted += len(going)
        return deleted

    def _may_go(self, fence: int, right: Right) -> bool:
        waited_ns = self._clock.now_ns() - right.claimed_ns
        return fence == right.fence or waited_ns > self._margins.old_fence_grace_s * 10**9
