"""The running drive's line to its store: which store it is, whether it answers, and whether it is this drive's.

Promises that a start needs no store: it is asked for a moment, and then in the background until it answers. What it
shows must be this drive's header, the key ring that this machine knows, and rings that continue it; else the store is
*refused*: the drive goes on with what is on this machine, `status` and `doctor` say so, and the log does, and whoever
uploads waits (`followed`). It is looked at again, so that the right disk may be plugged in. So does whoever finds that
another machine has the drive (`appliance.leasing`), which is looked at for as long as the drive runs.

What is said about reachability is what became of the last request, whoever made it; saying it costs none.
"""

import logging
from typing import Literal

import trio

from appliance.cloud_errors import sentence_of
from appliance.config import Config
from appliance.control.protocol import StoreStatus
from appliance.keys import Keys
from appliance.leasing import Leasing
from appliance.places import StatePlaces
from cloud_tier.clock import Clock
from cloud_tier.errors import CloudError, LeaseDamaged, ObjectMissing, StoreError, StoreTaken, WrongKey
from cloud_tier.measuring import StoreStatistics
from cloud_tier.object_names import DRIVE
from cloud_tier.object_store import ObjectStore
from cloud_tier.retrying import RetryPolicy
from cloud_tier.ring_store import say_taken
from cloud_tier.store_url import DirUrl, OpenStore, StoreUrl, parse_store_url, store_at

log = logging.getLogger(__name__)

START_S = 2.0
"""How long a start waits for the store."""
AGAIN_S = 300.0
DAY_S = 24 * 3600.0
"""How often the header and the key ring in the store are compared with this machine's."""
SOON_S = 15.0
"""While the store was not seen to be this drive's, and so nothing is uploaded."""


def store_url(places: StatePlaces, config: Config) -> StoreUrl:
    """Where the drive's store is."""
    return parse_store_url(config.store.url) if config.store.url else DirUrl(places.store)


async def look_once(url: StoreUrl, header: bytes, clock: Clock, within_s: float = START_S) -> StoreStatus:
    """How the store of a drive that is not running is; `header` is this machine's copy."""
    opened = store_at(url, clock, policy=RetryPolicy(deadline_s=0.0))
    with trio.move_on_after(within_s):
        try:
            found = await opened.store.get(DRIVE)
        except ObjectMissing as error:
            return StoreStatus(url=str(url), state="refused", reason=str(error))
        except StoreError as error:
            return StoreStatus(url=str(url), state="unreachable", reason=str(error))
        finally:
            await opened.store.aclose()
        if found != header:
            return StoreStatus(url=str(url), state="refused", reason=str(say_taken(found)))
        return StoreStatus(url=str(url), state="reachable")
    return StoreStatus(url=str(url), state="unreachable", reason=f"It gave no answer within {within_s:g} s.")


class StoreLink:
    """Made at the start; `look` once, `run` while the drive runs, `aclose` at the end."""

    def __init__(self, url: StoreUrl, opened: OpenStore, keys: Keys, leasing: Leasing) -> None:
        self.url = url
        self.keys = keys
        self.leasing = leasing
        self.followed = trio.Event()
        """Set when the store was seen to be this drive's, with the rings that follow, and the lease to be this
        machine's. Nothing is uploaded before.
        """
        self._opened = opened
        self._refusal: CloudError | None = None

    @classmethod
    def to(cls, url: StoreUrl, config: Config, clock: Clock, keys: Keys, leasing: Leasing) -> "StoreLink":
        """The link to the store of this configuration; nothing is asked yet."""
        return cls(url, store_at(url, clock, timetable=config.store.timetable(config.drive.zone)), keys, leasing)

    @property
    def store(self) -> ObjectStore:
        return self._opened.store

    @property
    def prompt(self) -> ObjectStore:
        """The store, for whoever has somebody waiting."""
        return self._opened.prompt

    async def look(self, within_s: float = START_S) -> None:
        """See whether the store is there and this drive's; no longer than `within_s`."""
        with trio.move_on_after(within_s):
            await self._follow(may_claim=False)

    async def run(self) -> None:
        """Look until the store was seen to be this drive's, and then whether it is still this machine's."""
        compare_at = trio.current_time() + DAY_S
        while not self.leasing.is_fenced.is_set():
            if not self.followed.is_set() or trio.current_time() >= compare_at:
                await self._follow()
                compare_at = trio.current_time() + DAY_S
            await trio.sleep(AGAIN_S if self.followed.is_set() else SOON_S)
            if self.followed.is_set():
                await self._look_at_lease()

    async def aclose(self) -> None:
        """Let go of the store."""
        with trio.CancelScope(shield=True), trio.move_on_after(START_S):
            await self.store.aclose()

    @property
    def is_refused(self) -> bool:
        """Whether what answers is not this drive's store."""
        return self._refusal is not None

    def statistics(self) -> StoreStatistics:
        """What has passed the line."""
        return self._opened.measured.statistics()

    def status(self) -> StoreStatus:
        """What is known, without a request."""
        last = self.statistics()
        if self._refusal is not None:
            return StoreStatus(url=str(self.url), state="refused", reason=sentence_of(self._refusal))
        if last.trouble is not None:
            return StoreStatus(url=str(self.url), state="unreachable", reason=str(last.trouble))
        state: Literal["reachable", "unknown"] = "reachable" if last.is_asked else "unknown"
        return StoreStatus(url=str(self.url), state=state, reason=self.leasing.warning)

    async def _follow(self, *, may_claim: bool = True) -> None:
        before, self._refusal = self._refusal, None
        try:
            await self.keys.follow(self.store)
            if not (may_claim or self.leasing.is_begun):  # a first claim takes longer than a start should
                return
            await self.leasing.look(self.store)
        except StoreError as error:
            if isinstance(error, StoreTaken):
                self._refuse(error, before)
            else:
                log.info("the store cannot be looked at yet: %s", error)
        except CloudError as error:
            self._refuse(error, before)
        else:
            self.followed.set()

    async def _look_at_lease(self) -> None:
        try:
            await self.leasing.look(self.store)
        except StoreError as error:
            log.debug("the lease cannot be looked at: %s", error)
        except WrongKey:  # somebody has rotated the keys, perhaps to take over
            await self._follow()
        except LeaseDamaged as error:
            log.error("%s", sentence_of(error))
        except CloudError as error:
            self._refuse(error, self._refusal)

    def _refuse(self, error: CloudError, before: CloudError | None) -> None:
        self._refusal = error
        if str(error) != str(before):
            log.error("the store is not used: %s", sentence_of(error))
