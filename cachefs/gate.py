"""The gate that every changing operation passes, so that a cut can find a moment when none is running.

Code between two awaits is atomic, so most operations need only look at `is_closed`. One that awaits in the middle (a
large write in a thread) stands inside while it does: `with gate.inside():`.

Who needs no more than such a moment, for something that does not await, need not wait until another closer is done:
`while_still` comes in behind his gate where he shares it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

T = TypeVar("T")


class Gate:
    """Open by default. Closing waits until nobody stands inside."""

    def __init__(self) -> None:
        self.is_closed = False
        self._inside = 0
        self._opened = trio.Event()
        self._emptied: trio.Event | None = None
        self.is_shared = False
        self._changed = trio.Event()  # shared, or open

    async def wait_open(self) -> None:
        """Return at a moment when the gate is open. A checkpoint only if it is closed."""
        while self.is_closed:
            await self._opened.wait()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Stand inside: the gate may be closed meanwhile, but `close` waits. Enter only right after seeing it open."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside and self._emptied is not None:
                self._emptied.set()

    async def close(self) -> None:
        """Let nobody in and wait until nobody is inside. One closer at a time. Opens again if cancelled."""
        while self.is_closed:
            await self._opened.wait()
        self.is_closed = True
        self._opened, self._changed = trio.Event(), trio.Event()
        if self._inside:
            self._emptied = trio.Event()
            try:
                await self._emptied.wait()
            except BaseException:
                self.open()
                raise
            finally:
                self._emptied = None

    def open(self) -> None:
        """Let operations in again."""
        self.is_closed = False
        self._opened.set()
        self._changed.set()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Around a wait of the closer, behind the closed gate, during which others may act by `while_still`."""
        self.is_shared = True
        self._changed.set()
        try:
            yield
        finally:
            self.is_shared = False
            self._changed = trio.Event()

    async def while_still(self, act: Callable[[], T]) -> T:
        """Call `act` at a moment when nobody is inside, and return what it returns."""
        while self.is_closed and not self.is_shared:
            await self._changed.wait()
        if self.is_closed:
            return act()
        await self.close()
        try:
            return act()
        finally:
            self.open()
