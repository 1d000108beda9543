"""Bytes that rot under a drive: what is noticed, and that a crash makes no false alarm of it."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
import trio.testing
from kit.drive_builder import DriveBuilder

from cachefs.cut import CutPolicy
from cachefs.errors import BytesDamaged
from vfs.damage import DamageLog, hits
from vfs.errors import DataLost
from vfs.past import Past, Query

T = TypeVar("T")

NEVER = CutPolicy(period_s=1e9, max_rows=10**9, max_bytes=1 << 60)
OLD, NEW = b"old " * 4096, b"new " * 4096


async def test_bytes_changed_just_before_a_snapshot_are_believed_after_a_crash(tmp_path: Path) -> None:
    """The snapshot freezes what was written in place since the cut, whose sums are only in memory."""
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        await built.write("document", OLD)
        await built.cut()
        await built.write("document", NEW[:5000], 0)
        name = (await built.snapshot()).name
        await built.restart(crash=True)
        assert await built.read("document") == NEW[:5000] + OLD[5000:]
        assert await built.read_past(name, "document") == NEW[:5000] + OLD[5000:]


async def test_what_a_snapshot_holds_is_checked_after_a_crash(tmp_path: Path) -> None:
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        await built.write("document", OLD)
        await built.snapshot()
        await built.cut()
        await built.restart(crash=True)
        (segment,) = (tmp_path / "segments").glob("*.seg")
        segment.write_bytes(segment.read_bytes().replace(OLD, OLD[:9000] + b"?" + OLD[9001:]))
        with pytest.raises(DataLost):
            await built.read("document")


async def test_damage_is_named_by_files_and_snapshots(tmp_path: Path) -> None:
    """A file with two names and a past that shares its first page; then it moves, and its live copy gets another."""
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        await built.mkdir("folder")
        await built.write("folder/document", OLD)
        await built.link("folder/document", "second")
        first = await built.snapshot()
        await built.rename("folder/document", "folder/renamed")
        second = await built.snapshot()
        await built.write("folder/renamed", NEW[:4096], 0)
        third = await built.snapshot()
        await built.cut()
        query, snapshots = built.drive.database.rows, [first, second, third]
        (block,) = {row[0] for row in query("SELECT block FROM extents_history")}
        head = {(hit.path, hit.offset, hit.shown_by) for hit in hits(query, block, 0, 4096, snapshots)}
        assert {(hit[1], hit[2]) for hit in head} == {(0, (first.name, second.name))}
        assert {hit[0] for hit in head} <= {b"folder/renamed", b"second"}
        tail = {(hit.path, hit.offset, hit.shown_by) for hit in hits(query, block, 8192, 12288, snapshots)}
        assert {hit for hit in tail if not hit[2]} == {(b"folder/renamed", 8192, ()), (b"second", 8192, ())}
        assert {name for hit in tail for name in hit[2]} == {first.name, second.name, third.name}
        await built.unlink("second")
        await built.unlink("folder/renamed")
        gone = {(hit.path, hit.shown_by) for hit in hits(query, block, 8192, 12288, snapshots)}
        assert {path for path, shown in gone if not shown} <= {None}
        assert {name for _, shown in gone for name in shown} == {first.name, second.name, third.name}


class SlowPast(Past):
    """Names are searched for until the test says that they were found."""

    def __init__(self) -> None:
        self.is_found = trio.Event()

    async def study(self, work: Callable[[Query], T]) -> T:
        await self.is_found.wait()
        return work(lambda sql, parameters: [])


@pytest.mark.expected_log("document is damaged at byte 4096")
async def test_a_reader_need_not_wait_for_the_search_of_who_met_the_damage_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Sealing looks for the names in a thread; a reader knows them, and has the line before it hears of the error."""
    log, past, error = DamageLog(), SlowPast(), BytesDamaged(1, 1, 4096, "is not what was written")
    page = (error.block, error.offset)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.report_page, past, error, [])
        await trio.testing.wait_all_tasks_blocked()
        assert log.is_news(page)
        log.report("document", 4096, page, error)
        past.is_found.set()
    assert not log.is_news(page)
    assert len([line for line in caplog.messages if "is damaged at byte" in line]) == 1
