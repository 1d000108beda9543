"""Mounting: options, start, and an end that loses nothing.

At the end the kernel still holds dirty pages. So the drive is unmounted while its loop still serves, by a thread; only
when somebody keeps it busy is it detached, after the companion has flushed what it could.
"""

import ctypes
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyfuse3
import trio

from vfs.drive import Drive
from vfs.fuse import request_loop
from vfs.fuse.flusher import Flusher
from vfs.fuse.handshake import Handshake
from vfs.fuse.invalidation import Invalidations
from vfs.fuse.operations import DriveOperations
from vfs.ids import ROOT

log = logging.getLogger(__name__)

NAME = "hybrid-drive"
MNT_DETACH = 2
UNMOUNT_DEADLINE_S = 60.0
ELSEWHERE_S = 5.0
"""In which the kernel ends the connection after the mount is gone, unless a namespace that did not hear has it too."""


class Mount:
    """A drive that is mounted."""

    def __init__(self, drive: Drive, path: Path) -> None:
        self.drive = drive
        self.path = path
        self.operations = DriveOperations(drive)
        self.invalidations = Invalidations()
        self.flusher = Flusher(path)

    async def collect(self) -> bool:
        """Bring what the kernel holds dirty of files open for writing. False when it did not come in time."""
        open_for_writing = {
            file.inode.ino for file in self.operations.open_files.all() if file.is_writable and file.inode.nlink
        }
        paths = [path for path in map(self.path_of, open_for_writing) if path is not None]
        self.operations.flusher_pid = self.flusher.pid
        try:
            return not paths or await self.flusher.flush(paths)
        finally:  # the number may become somebody else's, whose fsync must mean what it says
            self.operations.flusher_pid = None

    def path_of(self, ino: int) -> bytes | None:
        """One path of a live inode below the mount, or None."""
        steps: list[bytes] = []
        while ino != ROOT:
            parents = self.drive.namespace.parents(ino)
            if not parents or ino < ROOT:
                return None
            ino, name = parents[0]
            steps.append(name)
        return b"/".join(reversed(steps))

    def changed(self, parent: int, name: bytes) -> None:
        """A name stands for something else now, behind the kernel's back."""
        self.invalidations.entry(parent, name)
        self.invalidations.inode(parent)

    async def run(self) -> None:
        """Answer the kernel until the drive is unmounted."""
        await pyfuse3.main()

    async def unmount(self) -> None:
        """Unmount while `run` serves; it returns soon after."""
        await self.collect()  # where a namespace keeps the mount too, unmounting it here writes nothing out
        with trio.move_on_after(UNMOUNT_DEADLINE_S):
            if await trio.to_thread.run_sync(_umount, self.path, 0, abandon_on_cancel=True):
                await trio.sleep(ELSEWHERE_S)  # `run` ends long before, and whoever waits here with it
                log.info("another mount namespace of this machine keeps the drive; programs there will see errors")
                pyfuse3.terminate()
                return
        log.info("the drive is busy: it is detached; programs that still use it will see errors")
        await self.collect()
        with trio.move_on_after(5):
            await trio.to_thread.run_sync(_umount, self.path, MNT_DETACH, abandon_on_cancel=True)
        pyfuse3.terminate()


def _umount(path: Path, flags: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), flags) == 0:
        return True
    if os.geteuid() != 0:
        return os.spawnlp(os.P_WAIT, "fusermount3", "fusermount3", "-u", *(["-z"] if flags else []), str(path)) == 0
    return False


@asynccontextmanager
async def mounted(drive: Drive, path: Path, *, is_polling: bool = True) -> AsyncIterator[Mount]:
    """Mount the drive at an empty folder. Raises RuntimeError when the kernel refuses.

    `is_polling`: see `request_loop`.
    """
    options = {f"fsname={NAME}", f"subtype={NAME}", "default_permissions"}
    if os.geteuid() == 0:
        options.add("allow_other")
    mount = Mount(drive, path)
    handshake = Handshake()
    request_loop.install(is_polling=is_polling, first=(handshake.begin, handshake.end))
    pyfuse3.init(mount.operations, str(path), options)
    mount.invalidations.start()
    try:
        yield mount
    finally:
        mount.invalidations.stop()
        pyfuse3.close(unmount=False)
        _umount(path, MNT_DETACH)
