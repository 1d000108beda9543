"""What the service manager is told: that the drive serves, that it ends, and that its supervisor is alive.

The protocol of sd_notify(3): datagrams of KEY=VALUE lines to the socket that NOTIFY_SOCKET names. Without it, as in a
terminal, nothing is told. Telling never fails: a manager that is not there is no reason to stop a drive.
"""

import logging
import os
import socket
from collections.abc import Mapping

import trio

log = logging.getLogger(__name__)

PER_WATCH = 3
"""So often the manager is told within the time after which it takes the supervisor for hung."""


class Notify:
    """The way to the service manager."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watch_s = int(environment.get("WATCHDOG_USEC") or 0) / 1e6
        if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            self._watch_s = 0.0

    def ready(self, status: str) -> None:
        """The drive serves."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One sentence for `systemctl status`."""
        self._send(f"STATUS={status}")

    def stopping(self) -> None:
        """The drive was told to end."""
        self._send("STOPPING=1\nSTATUS=The drive is being stopped.")

    async def keep_watch(self) -> None:
        """Tell the manager for ever that this loop turns; returns at once where nobody watches."""
        while self._address and self._watch_s > 0:
            self._send("WATCHDOG=1")
            await trio.sleep(self._watch_s / PER_WATCH)

    def _send(self, text: str) -> None:
        if not self._address:
            return
        # A name that begins with @ is one in the kernel's table, where that byte is NUL.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to_manager:
                to_manager.setblocking(False)
                to_manager.sendto(text.encode(), address)
        except OSError as error:
            log.warning("the service manager could not be told: %s", error)
