"""Telling the kernel that something changed behind its back.

A notification waits for locks that a request may hold while it waits for us: sent from the loop it hangs the core for
good, so that not even kill -9 ends it (T14). So all of them go through one queue, drained by a thread of its own, and
nothing ever waits for it: correctness does not depend on them, only how soon a change is seen.
"""

import contextlib
import logging
import queue
import threading

import pyfuse3

log = logging.getLogger(__name__)


class Invalidations:
    """The queue and its thread, while the drive is mounted."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[int, bytes | None] | None] = queue.SimpleQueue()
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

    def stop(self) -> None:
        """End the thread once the queue is empty; it is not waited for."""
        self._queue.put(None)

    def _drain(self) -> None:
        while (item := self._queue.get()) is not None:
            ino, name = item
            with contextlib.suppress(OSError):  # the kernel does not know it, or is gone
                if name is None:
                    pyfuse3.invalidate_inode(ino, attr_only=True)
                else:
                    pyfuse3.invalidate_entry(ino, name)
