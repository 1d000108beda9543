"""A store that is opened when it is first asked, and asked for again until that works.

So a drive starts while its store is unplugged or the line is down, and offline is a state like any other: whoever asks
gets the error of opening, and the next one tries anew.
"""

from collections.abc import Awaitable, Callable, Sequence

import trio

from cloud_tier.object_store import Buffer, ObjectStore, Pace, Page


class Late:
    """An `ObjectStore` around one that `opening` gives. Every call raises what `opening` raises, too."""

    def __init__(self, opening: Callable[[], Awaitable[ObjectStore]]) -> None:
        self._opening = opening
        self._turn = trio.Lock()
        self._inner: ObjectStore | None = None

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await (await self._opened()).put(name, body, if_absent=if_absent, pace=pace)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        return await (await self._opened()).get(name, start, length, pace=pace)

    async def size(self, name: str) -> int:
        return await (await self._opened()).size(name)

    async def delete(self, names: Sequence[str]) -> None:
        await (await self._opened()).delete(names)

    async def list_page(self, prefix: str, after: str = "") -> Page:
        return await (await self._opened()).list_page(prefix, after)

    async def aclose(self) -> None:
        if self._inner is not None:
            await self._inner.aclose()
        await trio.lowlevel.checkpoint()

    async def _opened(self) -> ObjectStore:
        if self._inner is None:
            async with self._turn:
                if self._inner is None:
                    self._inner = await self._opening()
        return self._inner
