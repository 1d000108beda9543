"""A machine whose power can be cut: the drive's state lies on a disk of its own, which loses what nobody synced.

The disk is an ext4 image in a temporary folder, mounted through a loop device. The cut is EXT4_IOC_SHUTDOWN without a
flush of the journal, as in xfstests' shutdown tests: from that moment nothing reaches the image any more, and what ext4
held in memory, bytes and names alike, dies when the image is unmounted. The next mount replays the journal, as after a
real power loss. Then the core is started as ever, and nothing else is done by hand.

Owns the image, its mount, the drive on it and their end: `close` leaves no process, no mount and no loop device, also
after a failure. Refuses to shut down any file system but its own image. Wants root.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from kit.mounted import DriveFailed, MountedDrive, await_true, mounted_device

IMAGE_BYTES = 12 << 30  # sparse; a hundred rounds, and every past state of their files
EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
WITHOUT_LOG_FLUSH = (2).to_bytes(4, sys.byteorder)
LOOP_MAJOR = 7
UNMOUNT_DEADLINE_S = 30.0
CORE = Path(__file__).with_name("power_core.py")


class CannotRun(Exception):
    """This machine cannot lose power in this way; the message is one sentence."""


class PoweredDrive(MountedDrive):
    """A drive that can tell how often its machine was started, because the real machine never is."""

    boots = 1
    careless: str | None = None
    """Which syncs of the drive do nothing, see `power_core`."""

    def _program(self) -> list[str]:
        return [sys.executable, str(CORE), str(self.boots), self.careless or "careful"]

    def kill_at_once(self) -> None:
        """kill -9 without asking the state directory, which may be gone, for the pid."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def is_dead(self) -> bool:
        return self._process is None or self._process.poll() is not None


class Machine:
    """The image, mounted, with a running drive on it. `home` is outside of the image and keeps what it keeps."""

    def __init__(self, careless: str | None = None) -> None:
        if os.geteuid() != 0:
            raise CannotRun("Only root can mount a disk image and cut its power: run this as root.")
        self.home = Path(tempfile.mkdtemp(prefix="power-"))
        self.home.chmod(0o755)
        self._image, self.disk = self.home / "image", self.home / "disk"
        self.drive = PoweredDrive(self.disk / "state", self.home / "drive")
        self.drive.console = self.home / "console.log"
        try:
            self._make_image()
            self._plug_in()
            self.drive.run_command("init", as_json=False)
            self.drive.careless = careless
            self.drive.start()
        except BaseException:
            self.close()
            raise

    def _make_image(self) -> None:
        with self._image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self._image)
        self.disk.mkdir()

    def _plug_in(self) -> None:
        _run("mount", "-t", "ext4", "-o", "loop", self._image, self.disk)

    def cut_power(self) -> float:
        """From now on nothing reaches the disk; the core is killed and the mount of the drive taken away.

        Returns the moment, by CLOCK_MONOTONIC: what a program is told after it, it would not have lived to hear.
        """
        disk = os.open(self.disk, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if os.major(os.fstat(disk).st_dev) != LOOP_MAJOR:
                raise DriveFailed(f"{self.disk} is no loop device: it is not ours to shut down")
            moment = time.monotonic()
            fcntl.ioctl(disk, EXT4_IOC_SHUTDOWN, WITHOUT_LOG_FLUSH)
        finally:
            os.close(disk)
        self.drive.kill_at_once()
        self.drive.clear_away(keep_state=True)
        self.drive.console.unlink()  # what a core says whose disk died under it
        return moment

    def lose_core(self) -> float:
        """The core dies by kill -9 and is started again; the disk and the page cache live on. The moment of death."""
        moment = time.monotonic()
        self.drive.kill_at_once()
        self.drive.clear_away(keep_state=True)
        self.drive.start()
        return moment

    def start_again(self) -> float:
        """Power is back: the disk replays its journal, the drive starts by itself. Seconds until it serves."""
        self._unplug()
        self._plug_in()
        self.drive.boots += 1
        begun = time.monotonic()
        self.drive.start()
        return time.monotonic() - begun

    def _unplug(self) -> None:
        # A dying process may hold the disk for a moment longer than we could wait for. And the mount may be gone, but
        # not the file system, when somebody on this machine has just copied all mounts: what was mounted then would be
        # the dead one again.
        def is_out() -> bool:
            subprocess.run(["umount", str(self.disk)], capture_output=True, check=False)
            return mounted_device(self.disk) is None and not self._has_loop_device()

        await_true(is_out, UNMOUNT_DEADLINE_S, f"{self.disk} unmounted")

    def _has_loop_device(self) -> bool:
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with suppress(OSError):  # gone meanwhile
                if backing.read_text().strip() == str(self._image):
                    return True
        return False

    def close(self) -> None:
        """Ends everything by force and removes it."""
        self.drive.clear_away(keep_state=True)
        if mounted_device(self.disk) is not None:
            try:
                self._unplug()
            except DriveFailed:
                _run("umount", "-l", self.disk)
                raise
        shutil.rmtree(self.home)


def _run(*words: str | Path) -> None:
    ended = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise CannotRun(f"`{' '.join(str(word) for word in words)}` said: {ended.stderr.strip()}")
