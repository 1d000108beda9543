"""This machine's lease of the store: its file, its claim, and what follows when another machine has taken over.

The file `lease` of the state directory holds the claim as it lies in the store. It is durable before the claim is put,
so whatever dies in between, the next start goes on with the same claim. `init` claims the first lease; a drive from
before there were leases does so at its next start, quietly.

Looked at are the start, every five minutes while the store answers, and each batch of deletions. Once somebody else
turns out to have the drive, it is only for reading, at once and for good, also after a start without a line (file
`lease.lost`): nothing is sent or deleted any more, what was not sent stays on this machine, and the reason names the
new holder. Being unable to look is no reason: a drive works on without its store.
"""

import json
import logging
import socket
from collections.abc import Callable

import trio

from appliance.durable import write_durably
from appliance.keys import Keys
from appliance.places import StatePlaces
from cachefs.disk import Disk, RealDisk
from cloud_tier.clock import Clock
from cloud_tier.errors import CloudError, LeaseHeld, LeaseLost
from cloud_tier.gc import Right
from cloud_tier.keys import DriveKeys
from cloud_tier.lease import SETTLE_S, Lease, check, claim, resume
from cloud_tier.object_store import ObjectStore
from cloud_tier.probe import probe

log = logging.getLogger(__name__)

FIRST_FENCE = 1
UNCERTAIN = (
    "This store cannot settle for certain which of two machines was first to claim the drive. Never let two use it at"
    " the same time."
)


async def claim_lease(
    places: StatePlaces,
    store: ObjectStore,
    held: DriveKeys,
    disk: Disk,
    now_ns: int,
    *,
    can_create: bool | None = None,
    take_over: int | None = None,
    accepted: int = 0,
    settle_s: float = SETTLE_S,
) -> Lease:
    """Claim the store for this machine, or go on with a claim that was begun here.

    `can_create`: what the probe said, which is asked if it is not known. `take_over`: the number of the lease to be
    superseded; what was begun here before then counts no more. Raises LeaseHeld, LeaseDamaged, StoreError.
    """

    def keep(body: bytes) -> None:
        write_durably(disk, places.lease, body)

    begun = None if take_over is not None else read_lease(places, held)
    if begun is not None:
        return await resume(store, held, begun, now_ns, keep=keep, settle_s=settle_s)
    if can_create is None:
        can_create = (await probe(store)).conditional_create
    return await claim(
        store,
        held,
        socket.gethostname(),
        now_ns,
        can_create,
        take_over,
        accepted=accepted,
        keep=keep,
        settle_s=settle_s,
    )


def read_lease(places: StatePlaces, held: DriveKeys) -> Lease | None:
    """The claim that this machine has made or begun; None when there is none that these keys open."""
    try:
        return Lease.decode(held, places.lease.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, CloudError) as error:
        log.error("%s cannot be used: %s", places.lease, error)
        return None


def _read_lost(places: StatePlaces, own: Lease | None) -> LeaseLost | None:
    """Who has the drive, as a life before this one has seen; not if this machine has taken it over since."""
    try:
        machine, claimed_ns, fence = json.loads(places.lease_lost.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.error("%s cannot be used: %s", places.lease_lost, error)
        return None
    return None if own is not None and own.fence > fence else LeaseLost(machine, claimed_ns, fence)


class Leasing:
    """The lease of a running drive."""

    def __init__(self, places: StatePlaces, keys: Keys, clock: Clock, disk: Disk | None = None) -> None:
        self._lease = read_lease(places, keys.held)
        self.lost: LeaseHeld | LeaseLost | None = _read_lost(places, self._lease)
        """Who has the drive, if it is not this machine."""
        self.is_fenced = trio.Event()
        """Set with `lost`."""
        if self.lost is not None:
            self.is_fenced.set()
        self._places = places
        self._keys = keys
        self._clock = clock
        self._disk = disk or RealDisk()
        self._is_made = False
        self._told: Callable[[str], None] = lambda reason: None

    @property
    def is_begun(self) -> bool:
        """Whether this machine has a claim, seen in the store or not."""
        return self._lease is not None

    @property
    def fence(self) -> int:
        """What is sent from here carries this number."""
        return FIRST_FENCE if self._lease is None else self._lease.fence

    @property
    def warning(self) -> str | None:
        """What the owner should know of this lease as long as the drive has it."""
        return UNCERTAIN if self._lease is not None and not self._lease.is_certain else None

    def right(self, store: ObjectStore) -> Right:
        """The right to delete, as it is now."""

        async def look() -> None:
            await self.look(store)

        return Right(self.fence, 0 if self._lease is None else self._lease.claimed_ns, look)

    def tell(self, told: Callable[[str], None]) -> None:
        """Call `told` with the reason once the drive is another machine's; now, if it is."""
        self._told = told
        if self.lost is not None:
            told(str(self.lost))

    async def look(self, store: ObjectStore) -> None:
        """Make the claim if it is not made, then see whether it is the newest.

        Raises LeaseHeld or LeaseLost, from then on always; LeaseDamaged, WrongKey, StoreError.
        """
        if self.lost is not None:
            raise self.lost
        held, now_ns = self._keys.held, self._clock.now_ns()
        try:
            if not self._is_made or self._lease is None:
                self._lease = await claim_lease(self._places, store, held, self._disk, now_ns)
                self._is_made = True
            await check(store, held, self._lease)
        except (LeaseHeld, LeaseLost) as error:
            write_durably(
                self._disk, self._places.lease_lost, json.dumps([error.machine, error.claimed_ns, error.fence])
            )
            self.lost = error
            self.is_fenced.set()
            self._told(str(error))
            raise
