"""Waiting for the kernel's next request without going to sleep for it.

pyfuse3 asks trio to wait for the FUSE descriptor before each request. That costs two passes of the scheduler and two
system calls of epoll a request; and where nothing else is to do the core's processor goes to sleep, which on a virtual
machine takes longer to end than the request itself. So `install` puts `Waiting` in the place where pyfuse3 looks for
trio (the seam that its asyncio mode uses as well), and the descriptor is polled instead:

    at once          a request that is there already is taken without leaving the task
    for a moment     after a request, for up to `MOST_SPIN_S`, as long as that has lately paid
    then by trio     and the processor may sleep

In the middle of sustained work the machine's other processors are kept awake as well (`awake`), because a program waits
for its answer on one of them.

The moment grows when the next request came soon after we went to sleep and is halved when it did not, as KVM's
halt-polling does; so an idle drive polls nothing. Nobody starves: every `TURN_S` seconds of requests or polling the
scheduler gets a real turn, in which every other task that is ready runs.
"""

import select
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import pyfuse3
import trio

from cloud_tier.giving_way import requests
from vfs.fuse.awake import AwakeProcessors

TURN_S = 0.001  # of requests or polling, then all others have a turn
SPIN_TURN_S = 0.00005
MOST_SPIN_S = 0.0002
LEAST_SPIN_S = 0.00002
AWAKE_S = 0.02  # without a request, then processors may sleep
SOON_S = 0.0004  # a request that comes so soon after we slept would have been worth polling for


class ReadTurn:
    """Who waits for the next request; stands in for pyfuse3's `trio.Lock`.

    Unlike a lock it may be taken again by the task that has just given it back: the one that waited longest is told
    that the turn is free, but it runs only once that task awaits something. So one task serves request after request
    without a switch, and another one takes over as soon as a handler has to wait.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._is_taken:
            await self._waiting.park()
        self._is_taken = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_taken = False
        if self._waiting:
            self._waiting.unpark()


class Waiting:
    """What pyfuse3 gets to see as `trio.lowlevel`."""

    def __init__(self, is_polling: bool, first: Iterable[Callable[[int], None]] = ()) -> None:
        self._first = deque(first)
        self._is_polling = is_polling
        self._spin_s = 0.0
        self._processors = AwakeProcessors()
        self._yielded = 0.0
        self._pollers: dict[int, select.poll] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(trio.lowlevel, name)

    async def wait_readable(self, fd: int) -> None:
        """Return once a request can be read. Raises trio.ClosedResourceError when the session ends."""
        requests.count += 1
        if self._first:
            self._first.popleft()(fd)
        if not self._is_polling or not await self._poll(fd):
            await self._sleep(fd)

    async def _poll(self, fd: int) -> bool:
        """Whether a request came while it was worth looking out for one."""
        poller = self._pollers.get(fd)
        if poller is None:
            poller = self._pollers[fd] = select.poll()
            poller.register(fd, select.POLLIN)
        poll, clock = poller.poll, time.perf_counter
        now = clock()
        if now - self._yielded > TURN_S:
            await trio.lowlevel.checkpoint()
            now = self._yielded = clock()
        if poll(0):
            return True
        end = now + self._spin_s
        while now < end:
            turn = min(end, now + SPIN_TURN_S)
            while now < turn:
                if poll(0):
                    return True
                now = clock()
            await trio.lowlevel.checkpoint()
            now = self._yielded = clock()
        return False

    async def _sleep(self, fd: int) -> None:
        fell_asleep = time.perf_counter()
        if self._processors.is_held:
            with trio.move_on_after(AWAKE_S) as patience:
                await trio.lowlevel.wait_readable(fd)
            if patience.cancelled_caught:
                self._processors.let_go()
        if not self._processors.is_held:
            await trio.lowlevel.wait_readable(fd)
        self._yielded = time.perf_counter()
        if self._yielded - fell_asleep < SOON_S:
            self._spin_s = min(MOST_SPIN_S, max(LEAST_SPIN_S, 2 * self._spin_s))
            if self._spin_s == MOST_SPIN_S and self._is_polling:
                self._processors.hold()
        else:
            self._spin_s = self._spin_s / 2 if self._spin_s > LEAST_SPIN_S else 0.0
            if not self._spin_s:
                self._processors.let_go()


class _Trio:
    """trio as pyfuse3 gets to see it."""

    def __init__(self, lowlevel: Waiting, lock: type) -> None:
        self.lowlevel = lowlevel
        self.Lock = lock  # pyfuse3 asks for it by this name

    def __getattr__(self, name: str) -> Any:
        return getattr(trio, name)


def install(*, is_polling: bool = True, first: Iterable[Callable[[int], None]] = ()) -> None:
    """Let pyfuse3 wait this way from its next start on.

    `is_polling`: False to sleep at once, as pyfuse3 does by itself. `first`: what is done with the descriptor before
    its first, second, … request.
    """
    pyfuse3.trio = _Trio(Waiting(is_polling, first), ReadTurn if is_polling else trio.Lock)  # type: ignore[attr-defined]
