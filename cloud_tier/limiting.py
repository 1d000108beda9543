"""A store that keeps to a speed limit, which may change with the hour.

The limit is kept on the wire, not around calls: a body waits before each of its pieces, in the thread that sends or
receives it (`cloud_tier.object_store.Pace`), so that 16 MiB at 1 MiB/s are 16 even seconds and not a burst and a pause.
All transfers of one direction share one line, turn by turn. What was received stands in the kernel's buffers before we
read it, a few hundred KiB that the limit does not see.

Requests without a body are not counted, nor are headers. Where a direction has no limit when a body begins to move,
that body is not paced at all; the next one is.
"""

from collections.abc import Callable, Sequence

import trio

from cloud_tier.clock import Clock
from cloud_tier.object_store import Buffer, ObjectStore, Pace, Page
from cloud_tier.timetable import Timetable

BURST_S = 0.1
"""A line that was idle lets so much through at once: 100 KiB at 1 MiB/s."""


class Line:
    """What passes here keeps to a rate, in the order in which it came. `rate` is asked for every piece: bytes per
    second, or None.
    """

    def __init__(self, rate: Callable[[], int | None], clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._turn = trio.Lock()  # hands over in the order of waiting
        self._free_at_s = float("-inf")

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit now."""
        return self._rate() is not None

    async def take(self, size_bytes: int) -> None:
        """Return when so many bytes may go. A pace."""
        async with self._turn:
            wait_s = self._free_at_s - self._clock.monotonic_s()
            if wait_s > 0:
                await trio.sleep(wait_s)
            rate = self._rate()
            if rate is not None:
                self._free_at_s = max(self._free_at_s, self._clock.monotonic_s() - BURST_S) + size_bytes / rate


class Limiting:
    """An `ObjectStore` around another one."""

    def __init__(self, inner: ObjectStore, timetable: Timetable, clock: Clock) -> None:
        self._inner = inner
        self._up = Line(lambda: timetable.at(clock.now_ns()).up, clock)
        self._down = Line(lambda: timetable.at(clock.now_ns()).down, clock)

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await self._inner.put(name, body, if_absent=if_absent, pace=_both(self._up, pace))

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        return await self._inner.get(name, start, length, pace=_both(self._down, pace))

    async def size(self, name: str) -> int:
        return await self._inner.size(name)

    async def delete(self, names: Sequence[str]) -> None:
        await self._inner.delete(names)

    async def list_page(self, prefix: str, after: str = "") -> Page:
        return await self._inner.list_page(prefix, after)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _both(line: Line, pace: Pace | None) -> Pace | None:
    if not line.is_limited:
        return pace
    if pace is None:
        return line.take
    theirs = pace

    async def wait(size_bytes: int) -> None:
        await theirs(size_bytes)
        await line.take(size_bytes)

    return wait
