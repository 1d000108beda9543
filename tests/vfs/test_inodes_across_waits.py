"""An operation that waits keeps its inode in memory: of two objects for one file each would undo the other's work."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pyfuse3
import pytest
import trio
from kit.drive_builder import DriveBuilder
from kit.requests import caller, fields
from trio.testing import wait_all_tasks_blocked

from vfs.fuse.operations import DriveOperations

CTX = caller()
SIZE_ONLY = fields("size")


@pytest.fixture
async def crowded(running: DriveBuilder, monkeypatch: pytest.MonkeyPatch) -> DriveBuilder:
    """A drive with `file` (b"old bytes") and 40 others, none of them in memory, where there is room for ten."""
    await running.mkdir("others")
    for number in range(40):
        await running.write(f"others/{number}", b"")
    await running.write("file", b"old bytes")
    await running.restart()
    monkeypatch.setattr("vfs.inodes.CACHED_INODES", 10)
    return running


@asynccontextmanager
async def overtaken(crowded: DriveBuilder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[trio.Nursery]:
    """What is started in the nursery has its inode, finds the gate closed, and meanwhile others fill the memory."""
    gate = crowded.drive.cuts.gate

    async def close_gate(*_: object) -> None:
        await gate.close()

    monkeypatch.setattr(crowded.drive.undo_epochs, "before_content", close_gate)
    async with trio.open_nursery() as nursery:
        yield nursery
        await wait_all_tasks_blocked()
        monkeypatch.undo()
        monkeypatch.setattr("vfs.inodes.CACHED_INODES", 10)
        for number in range(40):
            crowded.inode(f"others/{number}")
        crowded.inode("file")
        gate.open()


async def test_file_opened_to_be_emptied_is_one_file(crowded: DriveBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    operations = DriveOperations(crowded.drive)
    opened: list[pyfuse3.FileInfo] = []

    async def open_file() -> None:
        opened.append(await operations.open(ino, os.O_WRONLY | os.O_TRUNC, CTX))

    ino = crowded.inode("file").ino
    async with overtaken(crowded, monkeypatch) as nursery:
        nursery.start_soon(open_file)
    await operations.write(opened[0].fh, 0, b"new bytes")
    assert await crowded.read("file") == b"new bytes"
    await operations.release(opened[0].fh)
    assert crowded.inode("file").opens == 0


async def test_truncated_file_is_one_file(crowded: DriveBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    operations, wanted = DriveOperations(crowded.drive), pyfuse3.EntryAttributes()
    wanted.st_size = 3
    ino = crowded.inode("file").ino
    async with overtaken(crowded, monkeypatch) as nursery:
        nursery.start_soon(operations.setattr, ino, wanted, SIZE_ONLY, None, CTX)
    assert await crowded.read("file") == b"old"
    assert crowded.inode("file").opens == 0
