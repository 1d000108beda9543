"""A listing is given in parts, so that a folder of any size keeps nobody waiting; together they are the folder."""

from collections.abc import Callable

import pyfuse3
import pytest
from kit.drive_builder import DriveBuilder
from kit.requests import NO_TOKEN, caller

import vfs.fuse.dirs
from cachefs.cut import PENDING_STATEMENTS
from vfs.fuse.operations import DriveOperations
from vfs.ids import ROOT, SNAPSHOTS_VIEW, Ino, in_view, view_of

CTX = caller()
Part = list[tuple[bytes, int]]


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> list[Part]:
    """What each reply held: names and cookies. The kernel would always take more."""
    found: list[Part] = []

    def reply(token: object, name: bytes, attributes: object, cookie: int) -> bool:
        found[-1].append((name, cookie))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    monkeypatch.setattr(vfs.fuse.dirs, "ROWS_PER_QUERY", 2)
    monkeypatch.setattr(vfs.fuse.dirs, "ENTRIES_PER_REPLY", 4)
    monkeypatch.setattr(vfs.fuse.dirs, "VIEWS_PER_REPLY", 4)
    return found


async def listed(operations: DriveOperations, ino: Ino, parts: list[Part]) -> list[bytes]:
    """All names of a folder, asked for as the kernel does: until a reply is empty."""
    handle, cookie = await operations.opendir(ino, CTX), 0
    while True:
        parts.append([])
        await operations.readdir(handle, cookie, NO_TOKEN)
        if not parts[-1]:
            return [name for part in parts for name, _ in part]
        cookie = parts[-1][-1][1]


def of_live(running: DriveBuilder) -> Ino:
    return ROOT


def of_past(running: DriveBuilder) -> Ino:
    oldest = running.drive.snapshots.all()[0].name.encode()
    return in_view(view_of(running.drive.doors.lookup(in_view(SNAPSHOTS_VIEW, ROOT), oldest)), ROOT)


@pytest.mark.parametrize("where", [of_live, of_past])
async def test_parts_are_small_and_make_up_the_folder(
    running: DriveBuilder, parts: list[Part], where: Callable[[DriveBuilder], Ino]
) -> None:
    names = [b"%d" % number for number in range(11)]
    for name in names:
        await running.create(name.decode())
    await running.snapshot()
    found = await listed(DriveOperations(running.drive), where(running), parts)
    assert found == [b".", b"..", b"Previous Versions", *names]
    assert max(map(len, parts)) <= 4 + 2
    assert len(parts) > 3


async def test_snapshots_that_are_deleted_meanwhile_do_not_end_the_listing(
    running: DriveBuilder, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    for number in range(12):
        running.clock.advance(1.1)  # type: ignore[attr-defined]
        names.append((await running.snapshot(f"s{number}")).name)
    operations, door = DriveOperations(running.drive), in_view(SNAPSHOTS_VIEW, ROOT)
    handle = await operations.opendir(door, CTX)
    parts.append([])
    await operations.readdir(handle, 0, NO_TOKEN)
    for name in names[4:9]:
        running.drive.snapshots.delete(name)
    parts.append([])
    await operations.readdir(handle, parts[0][-1][1], NO_TOKEN)
    assert [name for name, _ in parts[1]] == [name.encode() for name in names[9:]]


async def test_numbering_the_views_of_many_snapshots_leaves_few_statements_in_memory(running: DriveBuilder) -> None:
    for _ in range(3):
        running.clock.advance(1.1)  # type: ignore[attr-defined]
        await running.snapshot()
    for number in range(PENDING_STATEMENTS):
        running.drive.database.write("UPDATE clock SET epoch = epoch WHERE id > ?", (number,))
    operations = DriveOperations(running.drive)
    handle = await operations.opendir(in_view(SNAPSHOTS_VIEW, ROOT), CTX)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyfuse3, "readdir_reply", lambda *_: True)
        await operations.readdir(handle, 0, NO_TOKEN)
        await operations.readdir(handle, 2, NO_TOKEN)
    assert len(running.drive.database.pending) < PENDING_STATEMENTS
