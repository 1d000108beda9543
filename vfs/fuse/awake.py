"""Keeping the machine's processors from going to sleep while requests come one after another.

Polling spares the core's own processor the sleep between two requests; the one on which the program waits for its
answer sleeps all the same, and on a virtual machine waking it takes longer than the request. So while the drive is in
the middle of such work it asks the kernel for no latency at all, as `tuned` does for whole machines: an idle processor
then polls. The wish stands as long as the file is open (Documentation/power/pm_qos_interface.rst); a core that dies
takes it along. Without the right to ask, nothing is different.
"""

import os
import struct
from pathlib import Path

WISH = Path("/dev/cpu_dma_latency")


class AwakeProcessors:
    """The wish, made or not."""

    def __init__(self) -> None:
        self._fd = -1
        self._may_ask = True

    @property
    def is_held(self) -> bool:
        """Whether the wish stands."""
        return self._fd >= 0

    def hold(self) -> None:
        """Ask for processors that stay awake."""
        if self._fd >= 0 or not self._may_ask:
            return
        try:
            self._fd = os.open(WISH, os.O_WRONLY | os.O_CLOEXEC)
            os.write(self._fd, struct.pack("i", 0))
        except OSError:
            self._may_ask = False
            self.let_go()

    def let_go(self) -> None:
        """Let them sleep again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
