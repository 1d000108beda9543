"""The durability protocol: what each of the three promises covers, who is answered when, and what a failure means."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from kit.bare_cache import EPOCH, bare_cache, put, said, say
from kit.fault_plan import FaultPlan, FaultyDisk
from kit.inline_threads import inline_threads
from kit.losing_disk import LosingDisk
from trio.testing import MockClock, wait_all_tasks_blocked

import cachefs.cut
from cachefs.cache import Cache
from cachefs.cut import PENDING_STATEMENTS, SPILLED_STATEMENTS, UNWRITTEN_ROWS, CutPolicy
from cachefs.disk import RealDisk
from cachefs.errors import StorageBroken
from cachefs.intent_log import MARK, read_records

NEVER = CutPolicy(period_s=float("inf"))
QUICK = CutPolicy(period_s=float("inf"), quick_s=float("inf"))  # however slow the disk is
SLOW = CutPolicy(period_s=float("inf"), quick_s=-1.0)


def logged(state: Path) -> list[int]:
    """Kinds of the records in the newest intent log."""
    path = max((state / "intents").glob("*.log"), key=lambda path: int(path.stem))
    return [record.kind for record in read_records(path.read_bytes(), int(path.stem))[1]]


def committed(cache: Cache) -> dict[str, object]:
    """What another connection sees: the last cut."""
    reader = cache.database.reader()
    rows: list[Any] = reader.execute("SELECT name, value FROM things").fetchall()
    reader.close()
    return dict(rows)


def fill(cache: Cache) -> None:
    for number in range(100):
        say(cache, f"row {number}", bytes(4000))


# --- the three promises ---


async def test_log_point_writes_rows_out_and_syncs_nothing(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER) as cache:
        before = plan.calls["sync"]
        say(cache, "row", 1)
        cache.cuts.log()
        assert plan.calls["sync"] == before
        assert logged(tmp_path) != []
        assert committed(cache) == {}
    async with bare_cache(tmp_path) as cache:
        assert said(cache) == {"row": 1}


async def test_sync_point_marks_what_its_segments_hold_and_commits_nothing(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        put(cache, b"bytes")
        say(cache, "row", 1)
        await cache.cuts.wait_synced()
        assert logged(tmp_path)[-1] == MARK
        assert committed(cache) == {}


async def test_cut_commits_and_starts_a_new_log(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        number = cache.cuts.number
        say(cache, "row", 1)
        await cache.cuts.wait_cut()
        assert committed(cache) == {"row": 1}
        assert cache.cuts.number == number + 1
        await trio.sleep(1)
        assert [path.name for path in (tmp_path / "intents").iterdir()] == [f"{number + 1}.log"]
        assert cache.cuts.uncommitted_rows() == 0


async def test_row_in_memory_is_part_of_every_promise(tmp_path: Path) -> None:
    """Upper layers keep rows in memory until a flusher writes them."""
    for promise in ("log", "synced", "cut"):
        async with bare_cache(tmp_path / promise, policy=NEVER) as cache:
            waiting = [("row", 1)]

            def flush(cache: Cache = cache, waiting: list[tuple[str, int]] = waiting) -> None:
                while waiting:
                    say(cache, *waiting.pop())

            cache.cuts.flushers.append(flush)
            if promise == "log":
                cache.cuts.log()
            else:
                await (cache.cuts.wait_synced() if promise == "synced" else cache.cuts.wait_cut())
        async with bare_cache(tmp_path / promise) as cache:
            assert said(cache) == {"row": 1}


# --- when ---


async def test_cut_comes_by_itself_after_its_period(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path) as cache:
        say(cache, "row", 1)
        await trio.sleep(4.9)
        assert committed(cache) == {}
        await trio.sleep(0.2)
        assert committed(cache) == {"row": 1}


async def test_idle_drive_makes_no_cuts(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path) as cache:
        await trio.sleep(30)  # what the start has freed is reclaimed and committed
        number = cache.cuts.number
        await trio.sleep(3600)
        assert cache.cuts.number == number


async def test_many_rows_bring_the_cut_forward(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path, policy=CutPolicy(period_s=float("inf"), max_rows=10)) as cache:
        for number in range(11):
            say(cache, f"row {number}", number)
        cache.cuts.log()
        await trio.sleep(0.1)
        assert len(committed(cache)) == 11


async def test_many_bytes_bring_the_cut_forward(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path, policy=CutPolicy(period_s=float("inf"), max_bytes=10_000)) as cache:
        say(cache, "row", 1)
        put(cache, bytes(10_001))
        await trio.sleep(0.1)
        assert committed(cache) == {"row": 1}


async def test_names_alone_bring_the_cut_forward(tmp_path: Path, virtual_time: MockClock) -> None:
    """Somebody removes a large tree: nothing is written and nothing closed, and still rows do not pile up."""
    async with bare_cache(tmp_path, policy=CutPolicy(max_rows=PENDING_STATEMENTS)) as cache:
        for number in range(PENDING_STATEMENTS + 1):
            say(cache, f"name {number}", number)
            cache.cuts.bound_pending()
        await trio.sleep(0.1)
        assert len(committed(cache)) == PENDING_STATEMENTS + 1


async def test_many_changed_pages_bring_the_cut_forward(
    tmp_path: Path, virtual_time: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COMMIT goes over all pages of its transaction, and nobody else is served meanwhile: they must not be too many."""
    monkeypatch.setattr(cachefs.cut, "SPILLED_PAGES", 2)
    async with bare_cache(tmp_path, policy=CutPolicy(period_s=float("inf"))) as cache:
        for number in range(SPILLED_STATEMENTS + 1):
            say(cache, f"row {number}" * 20, number)
        cache.cuts.log()
        await trio.sleep(0.1)
        assert len(committed(cache)) == SPILLED_STATEMENTS + 1


async def test_pages_have_left_memory_before_the_commit(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        for number in range(SPILLED_STATEMENTS + 1):
            say(cache, f"row {number}" * 20, number)
        before = cache.database.wal_path.stat().st_size
        cache.cuts.log()
        spilled = cache.database.wal_path.stat().st_size
        await cache.cuts.cut()
        assert spilled - before > 50_000
        assert cache.database.wal_path.stat().st_size - spilled < 20_000


async def test_rows_that_one_statement_changes_count_each(tmp_path: Path) -> None:
    """What was removed goes by one statement a table, and touches as many pages as ever."""
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        for number in range(SPILLED_STATEMENTS):
            say(cache, f"row {number}" * 20, number)
        cache.cuts.log()
        await cache.cuts.cut()
        before = cache.database.wal_path.stat().st_size
        waiting = [1] * (SPILLED_STATEMENTS + 1)
        cache.cuts.unwritten.append(lambda: len(waiting))
        cache.cuts.flushers.append(lambda: cache.database.write("DELETE FROM things"))
        cache.cuts.flushers.append(waiting.clear)
        cache.cuts.log()
        assert cache.database.wal_path.stat().st_size > before


async def test_changed_rows_in_memory_are_bounded(tmp_path: Path) -> None:
    """They would all be written in one turn of the loop, at the next close or cut."""
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        waiting = ["inode"] * (UNWRITTEN_ROWS + 1)
        cache.cuts.unwritten.append(lambda: len(waiting))
        cache.cuts.flushers.append(waiting.clear)
        cache.cuts.bound_pending()
        assert waiting == []


async def test_statements_in_memory_are_bounded(tmp_path: Path) -> None:
    """And what is written out early takes the rows in memory along: a batch is never half of an operation."""
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        waiting = ["inode"]

        def flush() -> None:
            while waiting:
                say(cache, waiting.pop(), 1)

        cache.cuts.flushers.append(flush)
        for number in range(PENDING_STATEMENTS + 1):
            say(cache, f"name {number}", number)
        cache.cuts.bound_pending()
        assert cache.database.pending == []
    async with bare_cache(tmp_path) as cache:
        assert len(said(cache)) == PENDING_STATEMENTS + 2


# --- who is answered ---


async def test_all_who_wait_are_answered_by_one_round(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER) as cache:
        put(cache, b"bytes")
        before = plan.calls["sync"]
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(cache.cuts.wait_synced)
        assert plan.calls["sync"] - before == 2  # the segment and the log


async def test_cut_answers_those_who_wait_for_a_sync(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        say(cache, "row", 1)
        number = cache.cuts.number
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.cuts.wait_synced)
            nursery.start_soon(cache.cuts.wait_cut)
        assert cache.cuts.number == number + 1
        assert logged(tmp_path) == []


class SlowDisk(LosingDisk):  # type: ignore[misc]  # the kit has no types here
    """While it syncs, something else happens on the loop."""

    meanwhile: Callable[[Path], Awaitable[None]] | None = None

    def during_sync(self, path: Path) -> None:
        if self.meanwhile is not None:
            trio.from_thread.run(self.meanwhile, path)


@pytest.mark.parametrize("promise", ["synced", "cut"])
async def test_whoever_comes_during_a_round_waits_for_the_next(tmp_path: Path, promise: str) -> None:
    """Its bytes may not be in the sync that is under way (T1)."""
    async with bare_cache(tmp_path / "made", is_running=False):
        pass
    disk = SlowDisk(tmp_path / "made")
    async with bare_cache(tmp_path / "made", disk=disk, policy=NEVER) as cache, trio.open_nursery() as nursery:
        answered: list[str] = []

        async def wait(name: str) -> None:
            await (cache.cuts.wait_synced() if promise == "synced" else cache.cuts.wait_cut())
            answered.append(name)

        async def meanwhile(path: Path) -> None:
            if path.suffix == ".seg":
                disk.meanwhile = None
                put(cache, b"late")
                nursery.start_soon(wait, "late")
                await wait_all_tasks_blocked()
                syncs.append(len([event for event in disk.journal if event.kind == "sync"]))

        put(cache, b"early")
        disk.meanwhile, syncs = meanwhile, list[int]()
        await wait("early")
        assert answered == ["early"]
        await cache.cuts.wait_cut()
        await wait_all_tasks_blocked()
        assert answered == ["early", "late"]
        later = [event for event in disk.journal if event.kind == "sync"][syncs[0] :]
        assert len(later) > 2  # the round that was under way, and one more


# --- failures ---


@pytest.mark.parametrize("kind", ["sync", "sync_directory"])
@pytest.mark.parametrize("promise", ["synced", "cut"])
async def test_failed_sync_is_told_to_everybody_and_never_tried_again(tmp_path: Path, kind: str, promise: str) -> None:
    plan, told = FaultPlan(), list[StorageBroken]()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER) as cache:

        async def wait() -> None:
            with pytest.raises(StorageBroken) as caught:
                await (cache.cuts.wait_synced() if promise == "synced" else cache.cuts.wait_cut())
            told.append(caught.value)

        put(cache, b"bytes")  # a new segment: its folder is synced too
        say(cache, "row", 1)
        plan.fail(kind, times=1)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
        plan.assert_all_hit()
        calls = plan.calls[kind]
        await wait()
        with pytest.raises(StorageBroken):
            cache.cuts.log()
        assert plan.calls[kind] == calls
        assert len(set(map(id, told))) == 1
        assert cache.cuts.broken is told[0]


async def test_log_that_could_not_be_written_acknowledges_nothing_later(tmp_path: Path) -> None:
    """A later batch would lie behind the one that is missing, and be unreadable."""
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER) as cache:
        say(cache, "first", 1)
        plan.fail("pwrite")
        with pytest.raises(StorageBroken):
            cache.cuts.log()
        plan.assert_all_hit()
        say(cache, "second", 1)
        with pytest.raises(StorageBroken):
            cache.cuts.log()
        with pytest.raises(StorageBroken):
            await cache.cuts.wait_cut()


async def test_core_ends_when_the_log_cannot_be_written(tmp_path: Path, virtual_time: MockClock) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER, is_running=False) as cache:

        async def run() -> None:
            with pytest.raises(StorageBroken):
                await cache.cuts.run()

        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await wait_all_tasks_blocked()
                say(cache, "row", 1)
                plan.fail("pwrite")
                with pytest.raises(StorageBroken):
                    cache.cuts.log()


async def test_core_ends_when_a_transaction_is_lost(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path, policy=NEVER, is_running=False) as cache:

        async def run() -> None:
            with pytest.raises(StorageBroken):
                await cache.cuts.run()

        with trio.fail_after(1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run)
                await wait_all_tasks_blocked()
                cache.database.connection.pragma("max_page_count", cache.database.row("PRAGMA page_count")[0])
                with pytest.raises(StorageBroken):
                    fill(cache)
        with pytest.raises(StorageBroken):
            cache.cuts.log()


@pytest.mark.expected_log("could not be given back")
async def test_bytes_that_cannot_be_punched_are_tried_again_at_the_next_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER) as cache:
        keep, gone = put(cache, b"keep"), put(cache, b"gone")
        await cache.cuts.wait_cut()
        cache.blocks.drop(gone.number)
        plan.fail("punch", times=2)
        for _ in range(2):
            await cache.cuts.wait_cut()
        plan.assert_all_hit()
        assert cache.segments.statistics()["free_queue_bytes"] == 4096
        assert len([record for record in caplog.records if "given back" in record.message]) == 1
        for _ in range(2):
            await cache.cuts.wait_cut()
        assert cache.segments.statistics()["free_queue_bytes"] == 0
        assert cache.database.row("SELECT count(*) FROM free_queue") == (0,)
        assert cache.read_nowait(keep, 0, 4) == b"keep"


@pytest.mark.expected_log("could not be given back")
async def test_a_drive_at_rest_tries_again_to_give_bytes_back(tmp_path: Path, autojump_clock: MockClock) -> None:
    plan = FaultPlan()
    with inline_threads():
        async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=CutPolicy(period_s=5)) as cache:
            put(cache, b"keep")
            gone = put(cache, b"gone")
            await cache.cuts.wait_cut()
            cache.blocks.drop(gone.number)
            plan.fail("punch", times=2)
            await cache.cuts.wait_cut()
            await trio.sleep(60)
            assert plan.calls["punch"] == 3
            assert cache.segments.statistics()["free_queue_bytes"] == 0


@pytest.mark.expected_log("could not be given back")
async def test_bytes_that_were_never_punched_go_at_the_next_start(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER) as cache:
        put(cache, b"keep")
        gone = put(cache, b"gone")
        await cache.cuts.wait_cut()
        cache.blocks.drop(gone.number)
        plan.fail("punch", times=None)
        await cache.cuts.wait_cut()
        await cache.cuts.wait_cut()
        assert cache.cuts.broken is None
    async with bare_cache(tmp_path) as cache:
        await cache.cuts.wait_cut()
        assert cache.database.row("SELECT count(*) FROM free_queue") == (0,)


@pytest.mark.expected_log("could not be removed")
async def test_log_that_cannot_be_removed_is_in_nobodys_way(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER) as cache:
        say(cache, "one", 1)
        plan.fail("unlink")
        await cache.cuts.wait_cut()
        say(cache, "two", 2)
        await cache.cuts.wait_cut()
        plan.assert_all_hit()
    async with bare_cache(tmp_path) as cache:
        assert said(cache) == {"one": 1, "two": 2}
        assert len(list((tmp_path / "intents").iterdir())) == 1


async def test_cancelled_wait_leaves_the_round_to_the_others(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path, policy=NEVER, is_running=False) as cache:
        say(cache, "row", 1)
        with trio.move_on_after(1):
            await cache.cuts.wait_cut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.cuts.run)
            await cache.cuts.wait_cut()
            nursery.cancel_scope.cancel()
        assert committed(cache) == {"row": 1}


# --- steps of a cut ---


async def test_operations_wait_while_a_cut_drains_and_commits(tmp_path: Path, virtual_time: MockClock) -> None:
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        gate, order = cache.cuts.gate, list[str]()

        async def long_write() -> None:
            with gate.inside():
                await trio.sleep(1)
                say(cache, "long", 1)
                order.append("long write")

        async def operation() -> None:
            await gate.wait_open()
            order.append("operation")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(long_write)
            await wait_all_tasks_blocked()
            nursery.start_soon(cache.cuts.wait_cut)
            await wait_all_tasks_blocked(0.01)
            assert gate.is_closed
            nursery.start_soon(operation)
        assert order == ["long write", "operation"]
        assert committed(cache) == {"long": 1}


async def test_wal_is_kept_short(tmp_path: Path, virtual_time: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cachefs.cut.CHECKPOINT_WAL_BYTES", 100_000)
    async with bare_cache(tmp_path, policy=NEVER) as cache:
        for number in range(20):
            say(cache, f"row {number}", bytes(20_000))
            await cache.cuts.wait_cut()
        assert cache.database.wal_path.stat().st_size < 300_000
        assert cache.database.path.stat().st_size > 300_000


# --- bytes in the log ---


async def test_few_bytes_are_durable_with_one_sync(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=QUICK, is_running=False) as cache:
        await cache.cuts.cut()
        put(cache, b"first")
        await cache.cuts.cut()  # the segment's name is durable
        before = plan.calls["sync"]
        put(cache, b"bytes")
        await cache.cuts.wait_synced()
        assert plan.calls["sync"] - before == 1


async def test_nothing_new_is_durable_without_a_sync(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=QUICK, is_running=False) as cache:
        put(cache, b"first")
        await cache.cuts.cut()
        say(cache, "row", 1)
        await cache.cuts.wait_synced()
        before = plan.calls["sync"]
        await cache.cuts.wait_synced()
        assert plan.calls["sync"] == before
        put(cache, b"bytes")
        await cache.cuts.wait_synced()
        assert plan.calls["sync"] == before + 1


async def test_slow_disk_is_waited_for_in_a_thread(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=SLOW, is_running=False) as cache:
        put(cache, b"first")
        await cache.cuts.cut()
        say(cache, "slow", 1)
        await cache.cuts.wait_synced()  # that took long
        put(cache, b"bytes")
        before = plan.calls["sync"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.cuts.wait_synced)
            await wait_all_tasks_blocked()
            assert plan.calls["sync"] == before  # until the task that may wait for it runs
            nursery.start_soon(cache.cuts.run)
            with trio.fail_after(10):
                while plan.calls["sync"] == before:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()


async def test_cut_that_is_cancelled_leaves_its_bytes_unsynced(tmp_path: Path) -> None:
    """A core that is told to stop cancels the round under way; the last cut must sync what that round had taken."""
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), policy=NEVER, is_running=False) as cache:
        put(cache, b"bytes")
        with trio.CancelScope() as scope:
            scope.cancel()
            await cache.cuts.cut()
        assert scope.cancelled_caught
        before = plan.calls["sync"]
        await cache.cuts.cut()
        assert plan.calls["sync"] - before == 3  # the segment, its page sums, and SQLite's log


async def test_large_write_is_on_its_way_to_the_disk_before_anybody_syncs(tmp_path: Path) -> None:
    begun: list[int] = []

    class Watched(RealDisk):
        def will_sync(self, fd: int, offset: int, length: int) -> None:
            begun.append(length)
            super().will_sync(fd, offset, length)

    async with bare_cache(tmp_path, disk=Watched()) as cache:
        put(cache, b"small")
        block = cache.blocks.create(1 << 20, EPOCH)
        await cache.write(block, 0, bytes(1 << 20))
        assert begun == [1 << 20]
