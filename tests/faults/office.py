"""Somebody at work on a drive whose store fails, who knows what every file must hold.

Everything that `fsync` acknowledged counts from then on. A read may be refused while the store fails, if what it wants
is not here; it may never be wrong. So after every step each file holds what this page says, and the store's troubles
show nowhere else: a refusal of anything but a read of cold bytes ends the work. Now and then the core is killed.
"""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from pathlib import Path

from kit.mounted import MountedDrive

from appliance.commands.waiting import Patience, wait_for_task
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem

NOT_IN_TIME = ("unanswered", "offline")
FEWEST, MOST = 8, 40  # files
LARGEST_BYTES = 1 << 20
FLUSH_S = 3.0


class WrongBytes(AssertionError):
    """A file does not hold what was acknowledged."""


class Office:
    """One worker on the drive's mount. `files`: what must be there, by name."""

    def __init__(self, drive: MountedDrive, seed: int) -> None:
        self.files: dict[str, bytes] = {}
        self.done: Counter[str] = Counter()
        """Steps by name; `refused` are reads that failed because the store did."""
        self._drive = drive
        self._core = ControlClient(drive.state / "run" / "control.sock")  # a command takes a second to start
        self._chance = random.Random(seed)
        self._made = 0

    def step(self) -> None:
        """Do something. Raises WrongBytes."""
        works = [
            self.create,
            self.overwrite,
            self.append,
            self.replace,
            self.delete,
            self.read,
            self.look_cold,
            self.die,
        ]
        work = self._chance.choices(works, weights=[6, 5, 3, 3, 1, 8, 4, 0.2])[0]
        if len(self.files) < FEWEST:
            work = self.create
        elif len(self.files) >= MOST and work == self.create:
            work = self.delete
        work()
        self.done[work.__name__] += 1

    # --- writing: acknowledged by fsync ---

    def create(self) -> None:
        self._made += 1
        name, data = f"file-{self._made}", self._bytes()
        self._save(name, data)
        self.files[name] = data

    def replace(self) -> None:
        name, data = self._any(), self._bytes()
        self._save(".draft", data)
        os.replace(self._path(".draft"), self._path(name))
        self._sync_names()
        self.files[name] = data

    def overwrite(self) -> None:
        name = self._any()
        size = len(self.files[name])
        self._write_into(name, self._chance.randrange(size), self._chance.randbytes(self._chance.randrange(1, 60_000)))

    def append(self) -> None:
        name = self._any()
        self._write_into(name, len(self.files[name]), self._bytes()[:100_000])

    def delete(self) -> None:
        name = self._any()
        os.unlink(self._path(name))
        self._sync_names()
        del self.files[name]

    def _sync_names(self) -> None:
        folder = os.open(self._drive.mount, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)

    def _save(self, name: str, data: bytes) -> None:
        with self._path(name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    def _write_into(self, name: str, offset: int, data: bytes) -> None:
        """A page that is written in part is read first, so a write into cold bytes may be refused; then, or at the
        page where it stopped, nothing was written.
        """
        handle = os.open(self._path(name), os.O_RDWR)
        try:
            written = os.pwrite(handle, data, offset)
        except OSError as error:
            self._refused(error)
            return
        finally:
            os.fsync(handle)
            os.close(handle)
        before = self.files[name]
        self.files[name] = before[:offset] + data[:written] + before[offset + written :]

    def die(self) -> None:
        """kill -9 of the core, whatever it was sending; nobody at work notices more than a pause."""
        self._drive.kill()
        self._drive.start()

    # --- reading ---

    def read(self) -> None:
        self.look_at(self._any())

    def look_cold(self) -> None:
        """Everything that may leave this machine leaves it, and some of it is wanted again."""
        self.flush(FLUSH_S)
        self.drop()
        for name in self._chance.sample(sorted(self.files), min(4, len(self.files))):
            self.forget(name)
            self.look_at(name)

    def look_at(self, name: str) -> bool:
        """Whether the file could be read. Raises WrongBytes."""
        try:
            found = self._path(name).read_bytes()
        except OSError as error:
            self._refused(error)
            return False
        if found != self.files[name]:
            first = next((at for at, (a, b) in enumerate(zip(found, self.files[name], strict=False)) if a != b), None)
            raise WrongBytes(f"{name}: {len(found)} bytes of {len(self.files[name])}, the first wrong one is {first}")
        return True

    def drop(self) -> None:
        """What the store has leaves this machine, but for what the kernel holds."""
        self._core.drop()

    def forget(self, name: str) -> None:
        """The kernel forgets the file's bytes."""
        handle = os.open(self._path(name), os.O_RDONLY)
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)

    def flush(self, most_s: float) -> bool:
        """Whether everything is in the store, within so many seconds."""
        try:
            wait_for_task(self._core, self._core.flush(), Patience(most_s, is_silent=True))
        except ControlProblem as failure:
            if failure.problem.code not in NOT_IN_TIME:
                raise
            return False
        return True

    # ---

    def _refused(self, error: OSError) -> None:
        if error.errno != errno.EIO:
            raise error
        self.done["refused"] += 1

    def _bytes(self) -> bytes:
        """Of any size: most are small."""
        return self._chance.randbytes(int(LARGEST_BYTES ** self._chance.uniform(0.3, 1.0)))

    def _any(self) -> str:
        return self._chance.choice(sorted(self.files))

    def _path(self, name: str) -> Path:
        return self._drive.mount / name
