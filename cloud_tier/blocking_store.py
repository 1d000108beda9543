"""The async half of a store whose calls block: arguments are checked, then the call runs in a thread.

Promises that a cancelled call is abandoned at once: a disk or a server that hangs must not hold up whoever has stopped
waiting for it. Its thread ends by itself, and is counted against `threads` until then.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar, TypeVarTuple

import trio

from cloud_tier.object_store import Buffer, Pace, Page, check_name, check_prefix, check_range

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class BlockingStore(ABC):
    """An `ObjectStore` but for `aclose`; the methods that begin with an underscore are those of the protocol, in a
    thread. `delete_at_once`: the most names of one call of `_delete`.
    """

    def __init__(self, threads: int, delete_at_once: int) -> None:
        self._limiter = trio.CapacityLimiter(threads)
        self._delete_at_once = delete_at_once

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        check_name(name)
        await self._in_thread(self._put, name, body, if_absent, pace)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        check_name(name)
        check_range(start, length)
        return await self._in_thread(self._get, name, start, length, pace)

    async def size(self, name: str) -> int:
        check_name(name)
        return await self._in_thread(self._size, name)

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            check_name(name)
        for at in range(0, len(names), self._delete_at_once):
            await self._in_thread(self._delete, names[at : at + self._delete_at_once])
        await trio.lowlevel.checkpoint()

    async def list_page(self, prefix: str, after: str = "") -> Page:
        check_prefix(prefix)
        return await self._in_thread(self._list_page, prefix, after)

    async def _in_thread(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        return await trio.to_thread.run_sync(call, *args, abandon_on_cancel=True, limiter=self._limiter)

    @abstractmethod
    def _put(self, name: str, body: Buffer, if_absent: bool, pace: Pace | None) -> None: ...

    @abstractmethod
    def _get(self, name: str, start: int, length: int | None, pace: Pace | None) -> bytes: ...

    @abstractmethod
    def _size(self, name: str) -> int: ...

    @abstractmethod
    def _delete(self, names: Sequence[str]) -> None: ...

    @abstractmethod
    def _list_page(self, prefix: str, after: str) -> Page: ...
