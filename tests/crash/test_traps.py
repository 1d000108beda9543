"""The storage traps, each as the interleaving that once lost data.

What needs only random work and a crash at every call is in `test_power_loss`; here stand those that want a hand on the
order of things. T7 and T25 are proven where the rows are (`tests/cachefs`, `tests/vfs`).
"""

from pathlib import Path
from typing import Any, Literal

import pytest
import trio
from kit.disk_journal import freed, synced
from kit.drive_builder import DriveBuilder
from kit.losing_disk import LosingDisk, losing_drive
from trio.testing import MockClock, wait_all_tasks_blocked

from cachefs.cut import CutPolicy
from cachefs.disk import RealDisk
from cachefs.errors import TransactionLost
from cachefs.free_queue import FreeQueue
from cachefs.intent_log import IntentLog
from vfs.errors import DataLost

NEVER = CutPolicy(period_s=float("inf"), carried_bytes=10_000)
OLD, NEW = b"old " * 5000, b"new " * 5000


# --- T1: a write during another's fsync ---


@pytest.mark.parametrize("promise", ["fsync", "cut"])
async def test_t1_replacement_that_came_during_a_sync_is_old_or_new(
    tmp_path: Path, virtual_time: MockClock, promise: str
) -> None:
    async with losing_drive(tmp_path, policy=NEVER) as (built, disk):
        await built.write("document", OLD)
        await built.cut()
        await built.write("other", OLD)
        pending = [True]

        def replace_document(path: Path) -> None:
            if path.suffix == ".seg" and pending:
                pending.clear()
                for change in (built.write("temporary", NEW), built.rename("temporary", "document")):
                    with pytest.raises(StopIteration):
                        change.send(None)
                built.close_point()

        disk.during_sync = replace_document  # type: ignore[method-assign]
        await (built.fsync() if promise == "fsync" else built.cut())
        assert not pending
        assert await built.read("document") == NEW
        await built.restart(crash=True, between=lambda: disk.power_loss(synced))
        assert await built.read("document") in (OLD, NEW)
        assert await built.read("other") == OLD


# --- T17: bytes in the log ---


@pytest.mark.parametrize("size", [100, 40_000])
async def test_t17_synced_bytes_win_over_older_and_newer_ones(tmp_path: Path, size: int) -> None:
    """Whether the log carried them or their segment was synced; what was written over them and not synced may go."""
    policy = CutPolicy(period_s=float("inf"), carried_bytes=20_000)
    async with losing_drive(tmp_path, policy=policy) as (built, disk):
        for letter in (b"a", b"b", b"c"):
            await built.write("document", letter * size, 0)
            await built.cut() if letter == b"a" else await built.fsync()
        await built.write("document", b"small", 0)
        await built.fsync()
        await built.write("document", b"large" * (size // 5), 0)
        await built.fsync()
        await built.write("document", b"tail!", size - 5)
        await built.fsync()
        await built.write("document", b"lost!", 0)
        await built.restart(crash=True, between=lambda: disk.power_loss(synced))
        assert await built.read("document") == b"large" * (size // 5 - 1) + b"tail!"


async def test_t17_older_bytes_win_when_a_mark_does_not_say_from_where_on_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the test above."""
    careful = IntentLog.mark

    def careless(self: IntentLog, length: int) -> None:
        before = self._bytes_from
        careful(self, length)
        self._bytes_from = before

    monkeypatch.setattr(IntentLog, "mark", careless)
    with pytest.RaisesGroup(AssertionError, flatten_subgroups=True, allow_unwrapped=True):
        await test_t17_synced_bytes_win_over_older_and_newer_ones(tmp_path, 40_000)


# --- T3: SQLite rolls everything back ---


async def test_t3_full_database_ends_the_core_and_costs_nothing_that_was_closed(
    tmp_path: Path, virtual_time: MockClock
) -> None:
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        for number in range(50):
            await built.write(f"closed {number}", b"%d" % number)
        built.close_point()
        connection = built.drive.database.connection
        connection.pragma("max_page_count", connection.pragma("page_count"))
        with pytest.raises(TransactionLost):
            await fill_database(built)
        assert isinstance(await built.wait_broken(), TransactionLost)
        with pytest.raises(TransactionLost):
            built.close_point()
        with pytest.raises(TransactionLost):
            await built.create("after the loss")
        await built.restart(crash=True)
        assert [await built.read(f"closed {number}") for number in range(50)] == [b"%d" % n for n in range(50)]
        assert built.find("after the loss") is None


async def fill_database(built: DriveBuilder) -> None:
    for number in range(10_000):
        await built.create(f"{number} " + "long name " * 20)


# --- T4: bytes that are used after they were freed ---


@pytest.mark.parametrize("survives", [synced, freed])
async def test_t4a_replaced_file_is_old_or_new_after_a_power_loss(
    tmp_path: Path, virtual_time: MockClock, survives: Any
) -> None:
    async with losing_drive(tmp_path, policy=NEVER) as (built, disk):
        await built.write("document", OLD)
        await built.cut()
        await built.write("temporary", NEW)
        await built.rename("temporary", "document")
        built.close_point()
        await built.restart(crash=True, between=lambda: disk.power_loss(survives))
        assert await built.read("document") == OLD


async def test_t4a_freed_bytes_go_once_their_cut_is_durable(tmp_path: Path, virtual_time: MockClock) -> None:
    async with losing_drive(tmp_path, policy=NEVER) as (built, disk):
        await built.write("document", OLD)
        await built.write("neighbour", b"keeps the segment")
        await built.cut()
        before = allocated(tmp_path)
        await built.unlink("document")
        await built.cut()
        await trio.sleep(1)
        assert allocated(tmp_path) <= before - len(OLD) // 4096 * 4096
        assert [event.kind for event in disk.journal].count("punch") == 1


def allocated(state: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in (state / "segments").iterdir())


class HeldDisk(RealDisk):
    """Reads that miss the page cache, or large writes, wait in their thread until they may go on."""

    def __init__(self, holds: Literal["reads", "writes"]) -> None:
        self.holds: str = ""
        self._would_hold = holds
        self.reached = trio.Event()
        self.may_go_on = trio.Event()

    def hold(self) -> None:
        """From now on."""
        self.holds = self._would_hold

    async def _wait(self) -> None:
        self.reached.set()
        await self.may_go_on.wait()

    def read_cached(self, fd: int, buffer: bytearray, offset: int) -> int:
        return -1 if self.holds == "reads" else super().read_cached(fd, buffer, offset)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        if self.holds == "reads" and length > 4096:  # page sums are read in pieces of 4 KiB, on the loop as well
            trio.from_thread.run(self._wait)
        return super().pread(fd, length, offset)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        if self.holds == "writes" and len(data) > 100_000:
            trio.from_thread.run(self._wait)
        super().pwrite(fd, data, offset)


@pytest.mark.parametrize("is_last_of_its_segment", [False, True])
async def test_t4b_read_that_is_under_way_gets_the_bytes_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_last_of_its_segment: bool
) -> None:
    monkeypatch.setattr("cachefs.segments.SEGMENT_BYTES", 128 << 10)
    disk = HeldDisk("reads")
    async with DriveBuilder(tmp_path, disk=disk, policy=NEVER) as built:
        await built.write("document", OLD)
        if not is_last_of_its_segment:
            await built.write("neighbour", b"keeps the segment")
        await built.write("next segment", bytes(100_000))
        await built.cut()
        inode, got = built.inode("document"), list[bytes]()

        async def read() -> None:
            got.append(bytes(await built.drive.files.read(inode, 0, len(OLD))))

        async with trio.open_nursery() as nursery:
            disk.hold()
            nursery.start_soon(read)
            await disk.reached.wait()
            await built.unlink("document")
            for number in range(3):
                await built.write(f"reuses whatever it can {number}", NEW)
                await built.cut()
            disk.may_go_on.set()
        assert got == [OLD]


async def test_t4b_without_leases_the_read_meets_zeros(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above. The sums of the pages keep the zeros from being served."""
    monkeypatch.setattr(FreeQueue, "lease", lambda self: 0)
    monkeypatch.setattr(FreeQueue, "release", lambda self, lease: None)
    with pytest.RaisesGroup(DataLost, flatten_subgroups=True):
        await test_t4b_read_that_is_under_way_gets_the_bytes_of_its_file(tmp_path, monkeypatch, False)


async def test_t4c_late_write_does_not_land_in_somebody_elses_bytes(tmp_path: Path) -> None:
    """A large write is in its thread while the file is cut off: truncation waits, so the write is whole or gone."""
    disk, order = HeldDisk("writes"), list[str]()
    async with DriveBuilder(tmp_path, disk=disk, policy=NEVER) as built:
        await built.write("document", bytes(200_000))
        await built.cut()
        disk.hold()

        async def write() -> None:
            await built.write("document", b"x" * 200_000, 0)
            order.append("written")

        async def truncate() -> None:
            await built.truncate("document", 0)
            order.append("truncated")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await disk.reached.wait()
            nursery.start_soon(truncate)
            nursery.start_soon(built.cut)
            await wait_all_tasks_blocked()
            assert order == []
            disk.may_go_on.set()
        assert order == ["written", "truncated"]
        assert await built.read("document") == b""


# --- T5: two files over one block ---


async def test_t5_clone_within_one_epoch_is_not_changed_by_its_source(tmp_path: Path, virtual_time: MockClock) -> None:
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        await built.write("source", OLD)
        await built.create("clone")
        built.clone("source", "clone")
        await built.write("source", b"X", 0)
        await built.write("clone", b"Y", 1)
        await built.write("source", b"appended", len(OLD))
        assert await built.read("clone") == OLD[:1] + b"Y" + OLD[2:]
        assert await built.read("source") == b"X" + OLD[1:] + b"appended"
        built.close_point()
        await built.restart(crash=True)
        await built.write("source", b"Z", 2)
        assert await built.read("clone") == OLD[:1] + b"Y" + OLD[2:]


async def test_t5_snapshot_taken_while_a_write_is_in_its_thread_does_not_change(tmp_path: Path) -> None:
    disk, names = HeldDisk("writes"), list[str]()
    async with DriveBuilder(tmp_path, disk=disk, policy=NEVER) as built:
        await built.write("document", bytes(200_000))
        disk.hold()

        async def snapshot() -> None:
            names.append((await built.snapshot()).name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(built.write, "document", b"x" * 200_000, 0)
            await disk.reached.wait()
            nursery.start_soon(snapshot)
            await wait_all_tasks_blocked()
            assert names == []
            disk.may_go_on.set()
        disk.holds = ""
        shown = await built.read_past(names[0], "document")
        await built.write("document", b"y" * 200_000, 0)
        assert await built.read_past(names[0], "document") == shown == b"x" * 200_000


# --- T16: nothing on the loop waits for the disk ---


async def test_t16_loop_goes_on_while_a_cut_syncs(tmp_path: Path) -> None:
    loop = trio.lowlevel.current_trio_token()

    class OffLoop(RealDisk):
        async def _visit(self) -> None:
            visits.append(trio.lowlevel.current_trio_token() is loop)

        def sync(self, fd: Any) -> None:
            trio.from_thread.run(self._visit)  # deadlocks, and fails, when called on the loop itself

        def punch(self, fd: int, offset: int, length: int) -> None:
            trio.from_thread.run(self._visit)
            super().punch(fd, offset, length)

    visits: list[bool] = []
    async with DriveBuilder(tmp_path, disk=OffLoop(), policy=NEVER) as built:
        await built.write("document", OLD)
        await built.write("neighbour", OLD)
        await built.fsync()
        await built.unlink("document")
        await built.cut()
        await built.cut()
    assert len(visits) >= 5
    assert all(visits)


# --- T17: one flush for everybody, and only of what must be ---


async def test_t17_fsync_syncs_only_what_was_written(tmp_path: Path, virtual_time: MockClock) -> None:
    async with losing_drive(tmp_path, policy=NEVER) as (built, disk):
        await built.write("document", OLD)
        await built.fsync()
        count = syncs(disk)
        await built.write("document", b"X", 0)
        await built.fsync()
        assert syncs(disk) == count + 1  # the intent log, with the byte in it
        await built.mkdir("folder")
        await built.fsync()
        assert syncs(disk) == count + 2
        await built.fsync()
        assert syncs(disk) == count + 2  # nothing new
        await built.write("document", NEW, 0)
        await built.fsync()
        assert syncs(disk) == count + 4  # many bytes: their segment, the intent log


def syncs(disk: LosingDisk) -> int:
    return [event.kind for event in disk.journal].count("sync")


# --- T25: what freezes on disk ---


async def test_t25a_snapshot_numbers_are_never_used_twice(tmp_path: Path, virtual_time: MockClock) -> None:
    async with DriveBuilder(tmp_path, policy=NEVER) as built:
        first = await built.snapshot("first")
        built.drive.snapshots.delete(first.name)
        built.close_point()
        await built.restart(crash=True)
        await trio.sleep(2)
        second = await built.snapshot("second")
        assert second.number > first.number
        assert second.epoch > first.epoch


async def test_t25b_place_in_a_listing_is_never_given_twice(tmp_path: Path, virtual_time: MockClock) -> None:
    async with DriveBuilder(tmp_path, policy=NEVER) as built:

        def cookies() -> dict[bytes, int]:
            return dict(built.drive.database.rows("SELECT name, cookie FROM dentries WHERE parent = 1"))

        await built.create("one")
        await built.create("two")
        gone = cookies()[b"two"]
        await built.unlink("two")
        built.close_point()
        await built.restart(crash=True)
        await built.create("three")
        assert cookies()[b"three"] > gone > cookies()[b"one"]
