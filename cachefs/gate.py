"""The gate that every changing operation passes, so that a cut can find a moment when none is running.

Code between two awaits is atomic, so most operations need only look at `is_closed`. One that awaits in the middle (a
large write in a thread) stands inside while it does: `with gate.inside():`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import trio


class Gate:
    """Open by default. Closing waits until nobody stands inside."""

    def __init__(self) -> None:
        self.is_closed = False
        self._inside = 0
        self._opened = trio.Event()
        self._emptied: trio.Event | None = None

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
        self._opened = trio.Event()
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
