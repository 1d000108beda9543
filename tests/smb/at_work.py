"""People who work over SMB while processes die, and how long they are held up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from kit.mounted import await_true
from smb.office import Office


class Worker:
    """Somebody who saves file after file, signs in again when he is thrown out, and remembers what was promised him.

    A file counts when its flush was answered: SMB's flush is fsync.
    """

    def __init__(self, office: Office, user: str) -> None:
        self._office = office
        self._user = user
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.kept: dict[str, bytes] = {}

    def _work(self) -> None:
        number = 0
        while not self._is_over.is_set():
            with contextlib.suppress(Exception), self._office.as_user(self._user) as share:
                while not self._is_over.is_set():
                    number += 1
                    name, data = f"{self._user}-{number}", b"%d of %s" % (number, self._user.encode())
                    share.write(name, data)
                    self.kept[name] = data

    def __enter__(self) -> Worker:
        self._thread.start()
        await_true(lambda: len(self.kept) > 5, 20, "work")
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(60)

    def lost(self) -> list[str]:
        """What was acknowledged and is not there as it was."""
        found = {path.name: path.read_bytes() for path in self._office.folder.glob(f"{self._user}-*")}
        return [name for name, data in self.kept.items() if found.get(name) != data]


def back_after(office: Office, kill: Callable[[], object]) -> float:
    """Kills, and returns the seconds until a user works again."""
    begun = time.monotonic()
    kill()
    await_true(lambda: office.smbclient("bob", "ls").returncode == 0, 30, "a share that opens again")
    return time.monotonic() - begun


def sessions(office: Office) -> list[int]:
    """The processes of smbd that serve somebody."""
    parent = office.smbd_pid()
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in children if b"client" in Path(f"/proc/{pid}/cmdline").read_bytes()]
