"""The companion's fsync brings bytes to the core and no more; everybody else's is a promise."""

import os
from pathlib import Path

import trio
from kit.drive_builder import DriveBuilder
from kit.requests import caller

from vfs.fuse.mount import Mount
from vfs.fuse.operations import DriveOperations


async def test_every_thread_of_the_companion_is_known_while_it_collects(running: DriveBuilder) -> None:
    """The kernel names the thread that asks, not its process. A sync for each open file would outlast the deadline."""
    await running.write("file", b"bytes")
    operations, ino = DriveOperations(running.drive), running.inode("file").ino

    async def opened_by(pid: int) -> bool:
        ctx = caller(0, 0, pid)
        return operations.open_files[(await operations.open(ino, os.O_RDONLY, ctx)).fh].is_barrier

    operations.flusher_pid = os.getpid()
    threads = await trio.to_thread.run_sync(lambda: os.listdir("/proc/self/task"))
    assert len(threads) > 1
    for thread in threads:
        assert await opened_by(int(thread))
    assert not await opened_by(os.getppid())
    operations.flusher_pid = None
    assert not await opened_by(os.getpid())


async def test_number_of_the_companion_means_nothing_when_it_does_not_collect(
    running: DriveBuilder, tmp_path: Path
) -> None:
    """It may have ended, and its number be that of a program that needs its fsync."""
    mount = Mount(running.drive, tmp_path)
    mount.flusher.pid = os.getpid()
    await mount.collect()
    assert mount.operations.flusher_pid is None
