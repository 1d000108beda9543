"""What can go wrong with bytes in a place we do not trust.

    CloudError
    ├── StoreError               a store did not do what it was asked; the text is a sentence for the drive's owner
    │   ├── StoreUnavailable     no answer, or one that says "not now"                                  retryable
    │   │   ├── ConnectionStale      a kept connection turned out to be dead: ask again at once         retryable
    │   │   └── StoreThrottled       asked too fast: not before `retry_after_s`                         retryable
    │   ├── UploadDamaged        what arrived is not what was sent; it does not count                   retryable
    │   ├── StoreDenied          the store knows us not, or not for this
    │   ├── StoreMisconfigured   address, bucket, clock, certificate or disk are not what we need
    │   ├── StoreFull            no room left there
    │   ├── StoreTaken           something lies there that is not this drive; nothing of it is touched
    │   ├── ObjectMissing        the store says that there is no such object: no proof, nothing is deleted for it
    │   ├── ObjectExists         create-only, and somebody was first
    │   └── RangeBeyondEnd       the object is shorter than what was asked for
    ├── SealedError              a sealed object cannot be opened: the same bytes will give the same answer
    │   ├── UnknownFormat        it is something else, or of a newer version of the format
    │   ├── WrongDrive           it belongs to another drive
    │   ├── WrongKey             it was sealed under a generation of keys that is not at hand
    │   ├── HeaderDamaged        the drive's header is not what a holder of the keys wrote
    │   ├── PackDamaged          header, index or end of a pack are not what was written
    │   ├── RecordDamaged        a record of a pack is not what was written, or lies in the wrong place
    │   ├── LogDamaged           an entry of the metadata log is not what was written
    │   ├── CheckpointDamaged    a checkpoint, or a part of one, is not what was written
    │   ├── NothingToRecover     the store has no checkpoint that can be used
    │   └── EncodingFailed       what was just encoded does not decode to what went in: it must not be stored
    ├── KeysError                the drive's keys cannot be had, or changed, in this way
    │   ├── WrongPassphrase      no wrap opens with it
    │   ├── WrapRevoked          it did open the drive once
    │   ├── WrongKit             the kit is sound and belongs to another drive
    │   ├── KitDamaged           the kit was mistyped or is not whole; `where` names the group
    │   ├── RingDamaged          the key ring is not what a holder of the keys wrote
    │   ├── RingRolledBack       the key ring is older than the one seen before, or does not continue it
    │   ├── NoSuchWrap           no wrap has this number
    │   ├── LastWrap             nobody could open the drive any more
    │   └── KeyFileRefused       the key file is missing, damaged, or readable by others
    └── LeaseError               the right to write to the store is not ours
        ├── LeaseHeld            another machine has it; it may be taken over, by its number
        ├── LeaseLost            another machine has taken it over
        └── LeaseDamaged         a claim to it is not what a holder of the keys wrote

`is_retryable` says whether the same call to a store may succeed when it is made again, unchanged, a little later.
Everything else wants a person, or a decision of the caller. What may be made twice, and what a failed call may have
done all the same, stands in `cloud_tier.object_store`.
"""

from datetime import UTC, datetime
from typing import ClassVar


class CloudError(Exception):
    """Base of everything raised by cloud_tier."""


class StoreError(CloudError):
    """A store did not do what it was asked.

    `detail` is the cause in the words of whoever noticed it. The text is a sentence on what happened, what still works
    and what to do; the classes below bring it along.
    """

    is_retryable: ClassVar[bool] = False
    happened: ClassVar[str] = "The cloud store failed"
    advice: ClassVar[str] = "What is on this machine can be used as ever; `hybrid-drive doctor` says more."

    def __init__(self, detail: str) -> None:
        super().__init__(f"{self.happened}: {detail.rstrip('.')}. {self.advice}")
        self.detail = detail


class StoreUnavailable(StoreError):
    """No answer in time, a broken connection, or an answer that says that the trouble is the store's own."""

    is_retryable = True
    happened = "The cloud store cannot be reached or does not answer"
    advice = (
        "What is on this machine can be used as ever and uploads wait; they go on by themselves. "
        "If it lasts, look at the internet line, or at the disk if the store is one."
    )


class ConnectionStale(StoreUnavailable):
    """The connection ended before an answer came, as one does that lay idle for too long."""


class StoreThrottled(StoreUnavailable):
    """The store wants fewer requests. `retry_after_s`: how long it asked us to wait; 0 when it did not say."""

    happened = "The cloud store asks us to slow down"
    advice = "Nothing needs to be done: uploads go on, more slowly."

    def __init__(self, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class UploadDamaged(StoreError):
    """The store holds, or was about to hold, other bytes than were sent. The local copy stays what counts."""

    is_retryable = True
    happened = "An upload was damaged on its way"
    advice = (
        "Nothing is lost: the copy on this machine is kept and sent again. "
        "If it happens often, suspect the network hardware or the store."
    )


class StoreDenied(StoreError):
    """The credentials are missing, wrong, expired, or not good for this."""

    happened = "The cloud store refuses us"
    advice = (
        "What is on this machine can be used as ever, but nothing new reaches the cloud. "
        "Check the access key and its rights: reading, writing, listing and deleting."
    )


class StoreMisconfigured(StoreError):
    """What was configured cannot work as it is: address, bucket, region, clock, certificate, or a disk's abilities."""

    happened = "The cloud store cannot be used as it is configured"
    advice = (
        "What is on this machine can be used as ever, but nothing new reaches the cloud. "
        "Check the store's address in the configuration."
    )


class StoreFull(StoreError):
    """The disk or the quota behind the store is used up."""

    happened = "The cloud store is full"
    advice = (
        "What is on this machine can be used as ever, but nothing new reaches the cloud. "
        "Make room there, raise the quota, or keep fewer snapshots."
    )


class StoreTaken(StoreError):
    """There is another drive in the store, or something that is none."""

    happened = "The store is not free for this drive"
    advice = "Nothing was changed there; name an empty or a new place, or bring that drive back with `recover`."


class ObjectMissing(StoreError):
    """The store says that it has no object of this name. A store may be wrong, or late."""

    happened = "The cloud store lacks an object"
    advice = "Nothing else is touched because of it; `hybrid-drive scrub` tells which files it belongs to."

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class ObjectExists(StoreError):
    """A create-only put found an object of this name. It was left as it is."""

    happened = "The cloud store already has an object"
    advice = "It was left as it is."

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class RangeBeyondEnd(StoreError):
    """The object ends before the range does: it is not the object that was written. Never a short answer instead."""

    happened = "An object in the cloud store is shorter than it was when it was written"
    advice = "Nothing wrong was served; `hybrid-drive scrub` tells which files it belongs to."

    def __init__(self, name: str, start: int, length: int | None, size_bytes: int) -> None:
        asked = f"from byte {start}" if length is None else f"{length} bytes from byte {start}"
        super().__init__(f"{name} has {size_bytes} bytes, asked for were those {asked}")
        self.name = name
        self.size_bytes = size_bytes


class SealedError(CloudError):
    """A sealed object cannot be opened."""


class UnknownFormat(SealedError):
    """Not an object of ours, or one that this version of the program cannot read."""


class WrongDrive(SealedError):
    """The object belongs to another drive."""


class WrongKey(SealedError):
    """The generation of keys under which the object was sealed is not at hand."""


class HeaderDamaged(SealedError):
    """The drive's header is not what somebody who holds the drive's keys wrote."""


class PackDamaged(SealedError):
    """Header, index or trailer of a pack are not what was written."""


class RecordDamaged(SealedError):
    """A record of a pack is not what was written, or not the one that was asked for."""


class LogDamaged(SealedError):
    """An object or an entry of the metadata log is not what was written."""


class CheckpointDamaged(SealedError):
    """A checkpoint's manifest or one of its parts is not what was written."""


class NothingToRecover(SealedError):
    """No checkpoint in the store can be used; the text says what was found."""


class EncodingFailed(SealedError):
    """What was encoded does not decode to what went in: memory or processor made a mistake."""


class KeysError(CloudError):
    """The drive's keys cannot be had, or changed, in this way."""


class WrongPassphrase(KeysError):
    """No wrap of the ring opens with this passphrase."""


class WrapRevoked(KeysError):
    """The passphrase, kit or key file opened the drive once and was revoked since."""


class WrongKit(KeysError):
    """The kit is sound, but belongs to another drive."""


class KitDamaged(KeysError):
    """The kit cannot be read. `where`: the line and group that is wrong, for the one who types it; '' = not known."""

    def __init__(self, what: str, where: str = "") -> None:
        super().__init__(what)
        self.where = where


class RingDamaged(KeysError):
    """The key ring is not what somebody who holds the drive's keys wrote."""


class RingRolledBack(KeysError):
    """The key ring is older than the one this machine has seen, or does not continue it."""


class NoSuchWrap(KeysError):
    """The ring has no wrap of this number."""


class LastWrap(KeysError):
    """Revoking this wrap would leave nobody who can open the drive."""


class KeyFileRefused(KeysError):
    """The key file cannot be used."""


class LeaseError(CloudError):
    """The right to write to the store is not ours."""


class LeaseHeld(LeaseError):
    """Another machine has claimed the drive. `fence` is the number that a takeover has to name."""

    def __init__(self, machine: str, claimed_ns: int, fence: int) -> None:
        super().__init__(
            f"the drive belongs to the machine {machine} since {_instant(claimed_ns)} (lease {fence}); as long as that "
            f"may be running, nothing is sent from here"
        )
        self.machine, self.claimed_ns, self.fence = machine, claimed_ns, fence


class LeaseLost(LeaseError):
    """Another machine has taken the drive over, which this one had."""

    def __init__(self, machine: str, claimed_ns: int, fence: int) -> None:
        super().__init__(
            f"the machine {machine} has taken this drive over on {_instant(claimed_ns)} (lease {fence}); what was not "
            f"sent by then stays on this machine, and nothing more is sent or deleted from here"
        )
        self.machine, self.claimed_ns, self.fence = machine, claimed_ns, fence


class LeaseDamaged(LeaseError):
    """An object of the chain of claims does not prove what it should: nobody is believed to have taken over by it."""


def _instant(ns: int) -> str:
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d at %H:%M UTC")
