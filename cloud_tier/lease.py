"""The lease: which machine may write to a store, as a chain of create-only objects `lease/000001`, `lease/000002`, …

The newest claim of the chain counts. Its number, the *fence*, is part of the name of whatever is sent under it, so what
an older holder still sends can be told apart and is ignored (I10). A lease has no end in time: clocks differ, and a
machine that lay asleep must not find out later than the others. It passes on only when somebody says that it shall,
naming the lease that he supersedes.

A claim says who, when, up to which log position the claimant has accepted his predecessor's log, and a random id: who
finds his own id made the claim himself, whatever became of the answer. It is sealed like all objects, so that the
store's owner learns no machine's name and cannot make one. The claimant keeps the sealed bytes durably before they are
put, and puts the same ones after a crash (T8).

A store that honours "only if absent" settles who was first. One that does not is asked with a *bid*: an object with the
id in its name, a pause in which those of others arrive, a listing; the lowest id wins, looks once more, and puts the
claim, and looks again. Two claimants who are slower than the pause may both believe they have won, until the next
look; so such a lease is not `is_certain`, and the drive says so for as long as it has it (T9).

No listing decides but among bids. The next claim is asked for by its number, and that it is not found proves nothing:
it is asked for again and again, and the store's grace for old packs covers the time between (`cloud_tier.gc`).

A claim that the store has damaged takes nothing over, and keeps nobody out for ever: whoever made it puts it again, and
whoever takes over with a person's word counts its number as one that somebody had.
"""

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import trio

from cloud_tier.codec import Undecodable, decode, encode
from cloud_tier.errors import (
    LeaseDamaged,
    LeaseHeld,
    LeaseLost,
    ObjectExists,
    ObjectMissing,
    StoreUnavailable,
    UnknownFormat,
)
from cloud_tier.keys import DriveKeys
from cloud_tier.object_names import LEASES, LeaseBidName, LeaseName, parse_name
from cloud_tier.object_store import ObjectStore, list_objects
from cloud_tier.proven import get_proven
from cloud_tier.sealed import HEADER_BYTES, BrokenSeal, Header, Kind, Opener, seal_one

SETTLE_S = 5.0
"""In which bids of others arrive."""
STALE_BID_S = 3600.0
"""A bid that is older does not count: its claimant has given up."""
CLAIM_ID_BYTES = 16
MOST_NAME_BYTES = 255

NO_LIMIT = 2**64 - 1

_CLAIM = struct.Struct("<IQQB16s")  # fence, claimed at (ns since 1970), accepted position, is certain, claim id


@dataclass(frozen=True, slots=True)
class Lease:
    """One claim. `accepted`: the last log position of the predecessor that counts. `body`: the object."""

    fence: int
    claimed_ns: int
    accepted: int
    is_certain: bool
    claim_id: bytes
    machine: str
    body: bytes

    @classmethod
    def make(
        cls, keys: DriveKeys, fence: int, machine: str, now_ns: int, *, accepted: int = 0, is_certain: bool = True
    ) -> "Lease":
        """A new claim, not put yet."""
        claim_id = os.urandom(CLAIM_ID_BYTES)
        name = machine.encode()[:MOST_NAME_BYTES]
        sealed = seal_one(keys, Kind.LEASE, encode(_CLAIM.pack(fence, now_ns, accepted, is_certain, claim_id) + name))
        shown = name.decode(errors="ignore")
        return cls(fence, now_ns, accepted, is_certain, claim_id, shown, bytes(sealed.body))

    @classmethod
    def unreadable(cls, fence: int) -> "Lease":
        """What stands for a claim that is there and says nothing any more."""
        return cls(fence, 0, NO_LIMIT, False, b"", "whose claim cannot be read", b"")

    @classmethod
    def decode(cls, keys: DriveKeys, body: bytes) -> "Lease":
        """Raises LeaseDamaged, WrongDrive, WrongKey."""
        try:
            header = Header.decode(body)
            if header.kind is not Kind.LEASE:
                raise LeaseDamaged(f"a claim to the drive is no claim but a {header.kind.name.lower()}")
            plain = decode(Opener(keys, header).open(HEADER_BYTES, body[HEADER_BYTES:]), 1 << 10)
            fence, claimed_ns, accepted, is_certain, claim_id = _CLAIM.unpack_from(plain)
        except (UnknownFormat, BrokenSeal, Undecodable, struct.error) as error:
            raise LeaseDamaged("a claim to the drive in the store is not what a holder of its keys wrote") from error
        machine = bytes(plain[_CLAIM.size :]).decode(errors="ignore")
        return cls(fence, claimed_ns, accepted, bool(is_certain), claim_id, machine, body)


async def current(store: ObjectStore, keys: DriveKeys, after: int = 0) -> Lease | None:
    """The newest claim behind number `after`; None when there is none. Raises LeaseDamaged, WrongKey, StoreError."""
    newest = None
    while (found := await _read(store, keys, after + 1)) is not None:
        newest, after = found, found.fence
    return newest


async def survey(store: ObjectStore, keys: DriveKeys) -> list[Lease]:
    """All claims that there are, the first first, for who takes over: those behind a lost one as well, and for each
    that nobody can read `Lease.unreadable`. Raises WrongKey, StoreError.
    """
    names = [parse_name(info.name) async for info in list_objects(store, LEASES)]
    listed = sorted(name.fence for name in names if isinstance(name, LeaseName))
    claims: list[Lease] = []
    fence: int | None = 1
    while fence is not None:
        found = await _read_or_not(store, keys, fence)
        if found is not None:
            claims.append(found)
        # One that is not listed may be there all the same; behind one that is not there only a listing leads on.
        fence = fence + 1 if found is not None else next((one for one in listed if one > fence), None)
    return claims


async def _read_or_not(store: ObjectStore, keys: DriveKeys, fence: int) -> Lease | None:
    try:
        return await _read(store, keys, fence)
    except LeaseDamaged:
        return Lease.unreadable(fence)


def accepted_of(leases: Sequence[Lease]) -> dict[int, int]:
    """By fence, but for the newest: the last log position that whoever took over has accepted; the rest is ignored."""
    return {before.fence: after.accepted for before, after in pairwise(leases) if after.fence == before.fence + 1}


async def claim(
    store: ObjectStore,
    keys: DriveKeys,
    machine: str,
    now_ns: int,
    can_create: bool,
    take_over: int | None = None,
    *,
    accepted: int = 0,
    keep: Callable[[bytes], None] = lambda body: None,
    settle_s: float = SETTLE_S,
) -> Lease:
    """Claim the store: the first lease, or the one behind `take_over`, which must be the newest.

    `keep` makes the claim durable on this machine; whoever has kept one calls `resume` instead. Raises LeaseHeld,
    LeaseDamaged, StoreError.
    """
    if take_over is None:
        newest = await current(store, keys)
    else:
        newest = next(reversed(await survey(store, keys)), None)
    if newest is not None and take_over != newest.fence:
        raise _held(newest)
    fence = 1 if newest is None else newest.fence + 1
    lease = Lease.make(keys, fence, machine, now_ns, accepted=accepted, is_certain=can_create)
    keep(lease.body)
    if can_create:
        await _create(store, keys, lease)
    else:
        await _win(store, keys, lease, now_ns, settle_s)
    return lease


async def resume(
    store: ObjectStore,
    keys: DriveKeys,
    lease: Lease,
    now_ns: int,
    *,
    keep: Callable[[bytes], None] = lambda body: None,
    settle_s: float = SETTLE_S,
) -> Lease:
    """Go on with a claim that this machine has kept, and perhaps put. Returns the one that it has.

    One that is settled by bids and was not is made anew: its bid may be too old to count. Raises LeaseHeld,
    LeaseDamaged, StoreError.
    """
    for _ in range(2):  # that it is not found proves nothing: a replica may be behind
        if not await _is_free(store, keys, lease):
            return lease
    if lease.is_certain:
        await _create(store, keys, lease)
        return lease
    newest = await current(store, keys)
    if newest is not None and newest.claim_id == lease.claim_id:
        return lease
    await store.delete([str(LeaseBidName(lease.fence, lease.claim_id))])
    return await claim(
        store,
        keys,
        lease.machine,
        now_ns,
        False,
        lease.fence - 1 or None,
        accepted=lease.accepted,
        keep=keep,
        settle_s=settle_s,
    )


async def check(store: ObjectStore, keys: DriveKeys, lease: Lease) -> None:
    """Return when no later claim is seen. Raises LeaseLost, LeaseDamaged, WrongKey, StoreError."""
    later = await current(store, keys, after=lease.fence)
    if later is None and not lease.is_certain:
        there = await _read(store, keys, lease.fence)
        later = there if there is not None and there.claim_id != lease.claim_id else None
    if later is not None:
        raise LeaseLost(later.machine, later.claimed_ns, later.fence)


async def _read(store: ObjectStore, keys: DriveKeys, fence: int) -> Lease | None:
    try:
        found = await get_proven(store, str(LeaseName(fence)), partial(Lease.decode, keys))
    except ObjectMissing:
        return None
    if found.fence != fence:
        raise LeaseDamaged(f"claim {found.fence} to the drive lies in the store under the name of claim {fence}")
    return found


async def _is_free(store: ObjectStore, keys: DriveKeys, lease: Lease) -> bool:
    """Whether nobody has the number; False when it is this very claim, made whole if need be. Raises LeaseHeld."""
    try:
        found = await _read(store, keys, lease.fence)
    except LeaseDamaged:
        name = str(LeaseName(lease.fence))
        if not _resembles(await store.get(name), lease.body):
            raise
        await store.put(name, lease.body)
        found = await _read(store, keys, lease.fence)
    if found is not None and found.claim_id != lease.claim_id:
        raise _held(found)
    return found is None


def _resembles(body: bytes, ours: bytes) -> bool:
    """Whether it once was these bytes. Two claims have one byte in 256 in common."""
    return 2 * sum(map(int.__eq__, body, ours)) > len(ours)


async def _create(store: ObjectStore, keys: DriveKeys, lease: Lease) -> None:
    try:
        await store.put(str(LeaseName(lease.fence)), lease.body, if_absent=True)
    except ObjectExists:
        await _is_free(store, keys, lease)


async def _win(store: ObjectStore, keys: DriveKeys, lease: Lease, now_ns: int, settle_s: float) -> None:
    bid = str(LeaseBidName(lease.fence, lease.claim_id))
    await store.put(bid, lease.body)
    try:
        await _outbid(store, keys, lease, now_ns, settle_s)
    except LeaseHeld:
        await store.delete([bid])  # it holds nobody up any more
        raise
    await trio.sleep(settle_s)
    if await _is_free(store, keys, lease):
        raise StoreUnavailable("a claim to the drive that was just stored is not there")


async def _outbid(store: ObjectStore, keys: DriveKeys, lease: Lease, now_ns: int, settle_s: float) -> None:
    await trio.sleep(settle_s)
    is_shown = False
    async for info in list_objects(store, f"{LeaseName(lease.fence)}-"):
        name = parse_name(info.name)
        if not isinstance(name, LeaseBidName):
            continue
        is_shown |= name.claim_id == lease.claim_id
        if name.claim_id < lease.claim_id:
            try:
                rival = Lease.decode(keys, await store.get(info.name))
            except (ObjectMissing, LeaseDamaged):  # it has lost, or never was one
                continue
            if now_ns - rival.claimed_ns < STALE_BID_S * 10**9:
                raise _held(rival)
    if not is_shown:
        raise StoreUnavailable("its listings do not show what was just stored")
    with trio.move_on_after(settle_s / 2) as put:  # or a rival may have looked, and seen nothing, in between
        if await _is_free(store, keys, lease):
            await store.put(str(LeaseName(lease.fence)), lease.body)
    if put.cancelled_caught:
        raise StoreUnavailable("it is too slow to settle which of several machines was first")


def _held(lease: Lease) -> LeaseHeld:
    return LeaseHeld(lease.machine, lease.claimed_ns, lease.fence)
