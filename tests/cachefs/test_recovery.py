"""Waking up: each row of the table in `cachefs.recovery`, and a start that itself dies."""

from pathlib import Path

import pytest
from kit.bare_cache import bare_cache, put, said, say
from kit.fault_plan import ANY, FaultPlan, FaultyDisk

from cachefs.cut import CutPolicy
from cachefs.disk import RealDisk
from cachefs.errors import DatabaseDamaged, StorageBroken
from cachefs.intent_log import IntentLog, boot_id


def logs(state: Path) -> list[int]:
    return sorted(int(path.stem) for path in (state / "intents").iterdir())


async def test_intents_of_the_last_cut_are_run_again_and_committed(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        say(cache, "cut", 1)
        await cache.cuts.cut()
        say(cache, "logged", 1)
        cache.cuts.log()
        say(cache, "in memory", 1)
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert said(cache) == {"cut": 1, "logged": 1}
        reader = cache.database.reader()
        assert reader.execute("SELECT count(*) FROM things").fetchone() == (2,)
        reader.close()


async def test_intents_of_a_cut_that_never_happened_are_removed(tmp_path: Path) -> None:
    """Power was lost between the commit, which did not reach the disk, and the first append to the next log."""
    async with bare_cache(tmp_path, is_running=False) as cache:
        number = cache.cuts.number
        following = IntentLog(RealDisk(), tmp_path / "intents", number + 1, b"before power out")
        following.append([("INSERT INTO things VALUES (?, ?)", ("of no cut", 1))])
        following.close()
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert said(cache) == {}
        assert logs(tmp_path) == [cache.cuts.number]


async def test_intents_of_an_older_cut_are_removed_unread(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        old = (tmp_path / "intents" / f"{cache.cuts.number}.log").read_bytes()
        name = cache.cuts.number
        say(cache, "row", 1)
        await cache.cuts.cut()
        (tmp_path / "intents" / f"{name}.log").write_bytes(old)
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert said(cache) == {"row": 1}
        assert logs(tmp_path) == [cache.cuts.number]


async def test_free_queue_is_reclaimed_once_the_first_cut_is_durable(tmp_path: Path) -> None:
    plan = FaultPlan()
    async with bare_cache(tmp_path, is_running=False) as cache:
        put(cache, b"keep")
        gone = put(cache, b"gone")
        await cache.cuts.cut()
        cache.blocks.drop(gone.number)
        cache.cuts.log()
    plan.fail("sync", code=5)
    with pytest.raises(StorageBroken):
        async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan), is_running=False):
            pass
    assert plan.calls["punch"] == 0
    plan.assert_all_hit()


@pytest.mark.expected_log("could not be")
async def test_start_that_dies_at_any_call_is_made_up_for_by_the_next(tmp_path: Path) -> None:
    for nth in range(1, 100):
        state = tmp_path / str(nth)
        async with bare_cache(state, is_running=False) as cache:
            gone, keep = put(cache, b"gone"), put(cache, b"keep")
            await cache.cuts.cut()
            cache.blocks.drop(gone.number)
            say(cache, "logged", 1)
            cache.cuts.log()
        plan = FaultPlan()
        fault = plan.fail(ANY, nth, times=None)
        try:
            async with bare_cache(state, disk=FaultyDisk(RealDisk(), plan), is_running=False):
                pass
        except StorageBroken:
            assert fault.hits
        async with bare_cache(state, is_running=False) as cache:
            assert said(cache) == {"logged": 1}
            assert cache.read_nowait(cache.blocks.get(keep.number), 0, 4) == b"keep"
            assert cache.database.rows("SELECT segment FROM residency") == [(keep.segment.number,)]
        if not fault.hits:
            return
    raise AssertionError("the start never succeeded")


async def test_log_that_contradicts_itself_stops_the_start(tmp_path: Path) -> None:
    async with bare_cache(tmp_path, is_running=False) as cache:
        path = tmp_path / "intents" / f"{cache.cuts.number}.log"
    path.unlink()
    broken = IntentLog(RealDisk(), path.parent, int(path.stem), boot_id())
    broken._numbers["INSERT INTO things VALUES (?, ?)"] = 0  # a batch without the text of its statement
    broken.append([("INSERT INTO things VALUES (?, ?)", ("row", 1))])
    broken.close()
    with pytest.raises(DatabaseDamaged):
        async with bare_cache(tmp_path, is_running=False):
            pass
    assert path.exists()


@pytest.mark.expected_log("a sync failed when the drive ran last")
async def test_after_a_failed_sync_only_what_was_durable_before_is_believed(tmp_path: Path) -> None:
    """The kernel may say that bytes are synced which it gave up before: a second sync proves nothing."""
    plan = FaultPlan()
    async with bare_cache(tmp_path, disk=FaultyDisk(RealDisk(), plan)) as cache:
        put(cache, b"bytes")
        say(cache, "synced", 1)
        await cache.cuts.wait_synced()
        put(cache, bytes(CutPolicy().carried_bytes + 1))
        say(cache, "closed", 1)
        cache.cuts.log()
        plan.fail("sync")
        with pytest.raises(StorageBroken):
            await cache.cuts.wait_synced()
        plan.assert_all_hit()
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert said(cache) == {"synced": 1}
        assert (tmp_path / "drive.db-wal").stat().st_size < (64 << 10)  # started anew
        say(cache, "later", 1)
        cache.cuts.log()
    async with bare_cache(tmp_path, is_running=False) as cache:
        assert said(cache) == {"synced": 1, "later": 1}  # and distrusted no longer
