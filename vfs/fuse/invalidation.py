"""Telling the kernel that something changed behind its back.

A notification waits for locks that a request may hold while it waits for us: sent from the loop it hangs the core for
good, so that not even kill -9 ends it (T14). So all of them go through one queue, drained by a thread of its own, and
no operation ever waits for it: how soon a change is seen depends on it, and nothing else. Who says that a change is
done waits with `settled`, which has a deadline: a program that was told so must not open the old file by its path.
"""

import contextlib
import logging
import queue
import threading
from typing import TYPE_CHECKING

import pyfuse3
import trio

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLED_WITHIN_S = 5.0

log = logging.getLogger(__name__)


class Invalidations:
    """The queue and its thread, while the drive is mounted."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[int, bytes | None] | Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._drain, name="invalidations", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def entry(self, parent: int, name: bytes) -> None:
        """What `name` stands for in the folder has changed."""
        self._queue.put((parent, name))

    def inode(self, ino: int) -> None:
        """Attributes, and the contents of a folder, have changed."""
        self._queue.put((ino, None))

    async def settled(self, deadline_s: float = SETTLED_WITHIN_S) -> bool:
        """Return once the kernel has been told all that was put into the queue before. False if the deadline passed."""
        told, loop = trio.Event(), trio.lowlevel.current_trio_token()
        self._queue.put(lambda: loop.run_sync_soon(told.set))
        with trio.move_on_after(deadline_s) as scope:
            await told.wait()
        return not scope.cancelled_caught

    def stop(self) -> None:
        """End the thread once the queue is empty; it is not waited for."""
        self._queue.put(None)

    def _drain(self) -> None:
        while (item := self._queue.get()) is not None:
            if callable(item):
                with contextlib.suppress(trio.RunFinishedError):
                    item()
                continue
            ino, name = item
            with contextlib.suppress(OSError):  # the kernel does not know it, or is gone
                if name is None:
                    pyfuse3.invalidate_inode(ino, attr_only=True)
                else:
                    pyfuse3.invalidate_entry(ino, name)
