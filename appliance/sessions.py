"""Who comes in by the doors: each process of theirs that serves somebody, as long as it lives.

A door tells before it serves; nobody need tell that it has ended, since a process that was killed could not. A
descriptor of the process is held instead: the kernel makes it readable at the end, before the number can be another's.
"""

import math
import os

import trio

from appliance.control.protocol import ServiceError, SessionRequest
from vfs.actors import Actors, Session


class Sessions:
    """A `SessionService`."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self._send, self._receive = trio.open_memory_channel[tuple[int, int]](math.inf)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Forget those that end, until cancelled."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for process, descriptor in self._receive:
                nursery.start_soon(self._forget_at_end, process, descriptor)

    async def register(self, request: SessionRequest) -> None:
        if request.pid not in self._actors.sessions():
            try:
                descriptor = os.pidfd_open(request.pid)
            except OSError as error:
                raise ServiceError("not_found", f"There is no process {request.pid}; nothing was changed.") from error
            self._send.send_nowait((request.pid, descriptor))
        self._actors.register(request.pid, Session(request.kind, request.uid, request.device))

    async def _forget_at_end(self, process: int, descriptor: int) -> None:
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
            self._actors.forget(process)
