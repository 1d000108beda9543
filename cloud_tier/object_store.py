"""What a store is: objects under names. The comments below are the contract that every store and wrapper keeps.

**Objects are immutable and their names are never used twice** for other bytes. That is what makes the rest simple: a
put may be made twice, by a retry or by a network that repeats a request; one that was cancelled may still arrive later,
and then brings the same bytes; a reader needs no locks and no versions.

**A failed or cancelled put may have happened.** The store may have kept the object and only its answer was lost. Made
again it does no harm; whoever gives up instead must look, or use another name. With `if_absent` the second attempt may
find the first one's object: `cloud_tier.retrying` then compares the bytes, so a create-only body must be one that
nobody else writes (a lease holds a random number).

**Nothing follows from absence.** A store may answer "no such object" or leave a name out of a list for a while. Readers
take it for a failure, and nothing is ever deleted because of it (I13).

**Stores retry nothing themselves**; that is one wrapper's work. **Cancellation is prompt**: a call that waits for a
thread lets go of it, and the thread ends in its own time, with its result thrown away.

Ranges are answered whole or not at all: a short answer is never passed on, because to the layers above it would look
like damage far away from its cause.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import trio

from cloud_tier.errors import RangeBeyondEnd

PAGE_OBJECTS = 1000  # what S3 lists, and deletes, in one request
PIECE_BYTES = 64 << 10  # how much moves between two calls of a pace

_NAME = re.compile(r"[0-9a-z-][0-9a-z.-]*(/[0-9a-z-][0-9a-z.-]*)*")
_PREFIX = re.compile(r"[0-9a-z./-]*")
MAX_NAME_LENGTH = 255
DELETED_AT_ONCE = 500  # S3 takes 1,000 names in one request

Buffer = bytes | bytearray | memoryview
"""What a body may be."""

Pace = Callable[[int], Awaitable[None]]
"""Awaited by a store before it moves the next so many bytes of a body over the wire; returns when they may go.

One that mostly has nothing to wait for has a method `is_free() -> bool` as well: see there.
"""


class ObjectInfo(NamedTuple):
    """One line of a listing."""

    name: str
    size_bytes: int


class Page(NamedTuple):
    """Some lines of a listing, sorted by name. `is_last`: no name comes after them."""

    objects: list[ObjectInfo]
    is_last: bool


class ObjectStore(Protocol):
    """Objects under names. Every call raises `StoreError`; ValueError for a name or range that no store may get.

    Any number of calls may run at once.
    """

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        """Make the object hold `body`, whole or not at all; durable when this returns.

        What arrived over a network was compared with what was sent (UploadDamaged). With `if_absent`, raises
        ObjectExists when the name is taken, also by one of two that try at once; only where the probe says that the
        store can (`Capabilities.conditional_create`): others overwrite, or raise StoreMisconfigured. `body` must not
        change meanwhile.
        """
        ...

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        """The `length` (at least 1) bytes from `start`, or all from `start` to the end.

        Raises ObjectMissing, and RangeBeyondEnd when not every byte asked for is there; of a range there must be at
        least one byte. An empty object is read as a whole. The bytes are what the store says they are: who needs to
        know that they are right checks their seal.
        """
        ...

    async def size(self, name: str) -> int:
        """The object's length in bytes. Raises ObjectMissing."""
        ...

    async def delete(self, names: Sequence[str]) -> None:
        """Remove these objects for good; those that are not there are no error.

        After a failure some may be gone and others not.
        """
        ...

    async def list_page(self, prefix: str, after: str = "") -> Page:
        """The first objects whose names begin with `prefix` and sort after `after` (by code points).

        At most 1,000, and at least one unless the page is the last. `list_objects` makes one list of the pages.
        """
        ...

    async def aclose(self) -> None:
        """Let go of connections and files. Calls that still run may fail; nothing is called afterwards."""
        ...


class _Listing:
    # Not an async generator: one that is left half-way wants to be closed by hand, and complains.
    def __init__(self, store: ObjectStore, prefix: str, after: str) -> None:
        self._store = store
        self._prefix = prefix
        self._after = after
        self._waiting: list[ObjectInfo] = []  # reversed
        self._is_last = False

    def __aiter__(self) -> "_Listing":
        return self

    async def __anext__(self) -> ObjectInfo:
        if not self._waiting:
            if self._is_last:
                raise StopAsyncIteration
            page = await self._store.list_page(self._prefix, self._after)
            self._waiting, self._is_last = page.objects[::-1], page.is_last
            if not self._waiting:
                raise StopAsyncIteration
        info = self._waiting.pop()
        self._after = info.name
        return info


def list_objects(store: ObjectStore, prefix: str, after: str = "") -> AsyncIterator[ObjectInfo]:
    """All objects whose names begin with `prefix` and sort after `after`, by name, a page per request.

    What is put or deleted meanwhile may or may not be seen.
    """
    return _Listing(store, prefix, after)


async def delete_all(store: ObjectStore, names: Sequence[str], before: Callable[[], Awaitable[None]]) -> None:
    """Delete many objects; `before` is awaited before each request. Raises StoreError, and what `before` raises."""
    for begin in range(0, len(names), DELETED_AT_ONCE):
        await before()
        await store.delete(names[begin : begin + DELETED_AT_ONCE])


def is_name(name: str) -> bool:
    """Whether every store can keep an object under this name: words of `[0-9a-z.-]` between slashes.

    No word begins with a dot (a directory keeps its own things under such names). No name may be another one's folder,
    which nobody checks.
    """
    return len(name) <= MAX_NAME_LENGTH and _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raises ValueError unless `name` is one that every store can keep."""
    if not is_name(name):
        raise ValueError(f"not a name of an object: {name!r}")


def check_prefix(prefix: str) -> None:
    """Raises ValueError unless names can begin so."""
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"no object's name begins so: {prefix!r}")


def check_range(start: int, length: int | None) -> None:
    """Raises ValueError unless the range is one that a store can be asked for."""
    if start < 0 or (length is not None and length < 1):
        raise ValueError(f"not a range: {length} bytes from {start}")


def wait_in_thread(pace: Pace, size_bytes: int) -> None:
    """Wait for `pace` in a thread of trio's. Raises trio.Cancelled when nobody waits for the thread any more."""
    trio.from_thread.check_cancelled()
    if not is_free(pace):
        trio.from_thread.run(pace, size_bytes)


def is_free(pace: Pace) -> bool:
    """Whether it says that it would return at once. For threads, which a visit to the loop costs a switch or two.

    Asked for every piece of every body, so not by an isinstance of a Protocol, which takes longer than the piece.
    """
    ask = getattr(pace, "is_free", None)
    return ask is not None and ask()


def cut_range(name: str, size_bytes: int, start: int, length: int | None) -> tuple[int, int]:
    """Where the range begins and ends in an object of `size_bytes`. Raises RangeBeyondEnd."""
    end = size_bytes if length is None else start + length
    if end > size_bytes or (start >= size_bytes and start > 0):
        raise RangeBeyondEnd(name, start, length, size_bytes)
    return start, end
