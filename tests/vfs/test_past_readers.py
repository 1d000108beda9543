"""Readers of the past get right bytes or ESTALE, never zeros or half a folder; nobody waits behind long questions."""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pyfuse3
import pytest
import trio
from kit.drive_builder import DriveBuilder
from kit.requests import NO_TOKEN, caller

from vfs.extents import WINDOW_BYTES
from vfs.fuse.file_io import KEPT_WINDOWS
from vfs.fuse.operations import DriveOperations
from vfs.ids import ROOT, SNAPSHOTS_VIEW, in_view, view_of

CTX = caller()


def deleted_first(running: DriveBuilder, name: str, query: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    """The query, but the snapshot of that name is deleted, and its rows are gone, while it waits for its thread."""

    async def ask(*arguments: Any) -> Any:
        running.drive.snapshots.delete(name)
        await running.drive.reaper.finish()
        await running.cut()
        return await query(*arguments)

    return ask


@pytest.fixture
async def kept(running: DriveBuilder) -> tuple[str, int]:
    """A snapshot of a file whose bytes only the past has, and the number of its view."""
    await running.write("file", b"then" * 10_000)
    name = (await running.snapshot()).name
    await running.unlink("file")
    return name, view_of(running.drive.doors.lookup(in_view(SNAPSHOTS_VIEW, ROOT), name.encode()))


async def test_read_never_gives_zeros(
    running: DriveBuilder, kept: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, view = kept
    operations, past = DriveOperations(running.drive), running.drive.past
    found = past.find(ROOT, b"file", running.drive.doors.epoch_of(view))
    assert found is not None
    opened = await operations.open(in_view(view, found), os.O_RDONLY, CTX)
    monkeypatch.setattr(past, "pieces", deleted_first(running, name, past.pieces))
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await operations.read(opened.fh, 0, 40_000)
    assert refused.value.errno == errno.ESTALE


async def test_listing_never_gives_half_a_folder(
    running: DriveBuilder, kept: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, view = kept
    operations, past = DriveOperations(running.drive), running.drive.past
    folder = await operations.opendir(in_view(view, ROOT), CTX)
    monkeypatch.setattr(past, "children", deleted_first(running, name, past.children))
    monkeypatch.setattr(pyfuse3, "readdir_reply", lambda *_: True)
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await operations.readdir(folder, 0, NO_TOKEN)
    assert refused.value.errno == errno.ESTALE


async def test_past_files_are_read_while_a_long_comparison_runs(tmp_path: Path) -> None:
    async with DriveBuilder(tmp_path / "state") as running:
        await running.write("file", b"then")
        epoch = (await running.snapshot()).epoch

        async def read_meanwhile() -> list[bytes]:
            with trio.fail_after(20):
                return [entry.name for entry, _ in await running.drive.past.children(ROOT, epoch)]

        names = await running.drive.past.study(lambda query: trio.from_thread.run(read_meanwhile))
    assert b"file" in names


async def test_an_open_past_file_holds_few_windows(running: DriveBuilder) -> None:
    await running.write("large", b"end", offset=20 * WINDOW_BYTES)
    name = (await running.snapshot()).name
    view = view_of(running.drive.doors.lookup(in_view(SNAPSHOTS_VIEW, ROOT), name.encode()))
    operations = DriveOperations(running.drive)
    opened = await operations.open(in_view(view, running.inode("large").ino), os.O_RDONLY, CTX)
    for index in range(20):
        assert await operations.read(opened.fh, index * WINDOW_BYTES, 4096) == bytes(4096)
    assert await operations.read(opened.fh, 20 * WINDOW_BYTES - 2, 5) == b"\0\0end"
    assert len(operations.open_files[opened.fh].windows or ()) <= KEPT_WINDOWS
