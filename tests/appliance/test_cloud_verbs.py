"""Flush, warm, drop and pin over a real engine: what the tasks say, and what becomes of the bytes."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from kit.cloud_drive import KEYS, CloudDrive
from kit.faulty_store import FaultyStore
from trio.testing import MockClock

from appliance.cloud_verbs import LATE, CloudVerbs
from appliance.control.protocol import ServiceError, Task
from appliance.keys import Keys
from appliance.leasing import Leasing
from appliance.places import StatePlaces
from appliance.store_link import StoreLink
from cloud_tier.clock import LoopClock
from cloud_tier.measuring import Measuring
from cloud_tier.memory_store import MemoryStore
from cloud_tier.retrying import Retrying, RetryPolicy
from cloud_tier.store_url import DirUrl, OpenStore
from vfs.fuse.mount import Mount

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
EACH = 30_000


def noise(seed: int, length: int = EACH) -> bytes:
    return random.Random(seed).randbytes(length)


class Standing:
    """A drive with a store, and its verbs, as a mounted one would offer them."""

    def __init__(self, state: Path) -> None:
        self.store = FaultyStore(MemoryStore())
        measured = Measuring(self.store, LoopClock())
        retried = Retrying(measured, RetryPolicy(deadline_s=0.0))
        keys = cast("Keys", SimpleNamespace(held=KEYS))
        leasing = Leasing(StatePlaces(state), keys, LoopClock())
        self.link = StoreLink(DirUrl(Path("/the/store")), OpenStore(retried, retried, measured, retried), keys, leasing)
        self.built = CloudDrive(state, self.link.store)
        self.collects = True
        self.operations = SimpleNamespace(read_only_reason=None)
        self.cloud: CloudVerbs

    async def collect(self) -> bool:
        return self.collects

    async def ended(self, task: Task) -> Task:
        with trio.fail_after(1000):
            while task.state == "running":
                await trio.sleep(0.5)
                task = await self.cloud.task(task.id)
        return task


@pytest.fixture
async def standing(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[Standing]:
    standing = Standing(tmp_path / "state")
    async with standing.built as built, trio.open_nursery() as nursery:
        mount = SimpleNamespace(drive=built.drive, collect=standing.collect, operations=standing.operations)
        standing.cloud = CloudVerbs(cast("Mount", mount), standing.link, lambda: NOON)
        await nursery.start(standing.cloud.run)
        await built.mkdir("team")
        await built.write("team/plan", noise(1))
        await built.write("else", noise(2))
        yield standing
        nursery.cancel_scope.cancel()


async def refusal(call: object) -> str:
    with pytest.raises(ServiceError) as caught:
        await call  # type: ignore[misc]
    return caught.value.code


async def test_flush_is_done_when_the_store_has_everything(virtual_time: MockClock, standing: Standing) -> None:
    task = await standing.cloud.flush()
    assert task.state == "running"
    task = await standing.ended(task)
    assert (task.state, task.done_bytes, task.total_bytes) == ("done", 2 * EACH, 2 * EACH)
    assert (task.warning, task.error, task.created, task.finished) == (None, None, NOON, NOON)
    assert standing.built.drive.cache.catalog.unsent_bytes == 0
    task = await standing.ended(await standing.cloud.flush())
    assert task.done_bytes == 0


async def test_flush_says_what_the_kernel_did_not_hand_over(virtual_time: MockClock, standing: Standing) -> None:
    standing.collects = False
    task = await standing.ended(await standing.cloud.flush())
    assert (task.state, task.warning) == ("done", LATE)


@pytest.mark.expected_log("cloud_tier.uploader: The cloud store cannot be reached")
async def test_flush_says_why_it_waits_and_goes_on_by_itself(virtual_time: MockClock, standing: Standing) -> None:
    standing.store.is_offline = True
    task = await standing.cloud.flush()
    await trio.sleep(60)
    task = await standing.cloud.task(task.id)
    assert (task.state, task.done_bytes, task.total_bytes) == ("running", 0, 2 * EACH)
    assert "cannot be reached" in (task.trouble or "")
    standing.store.is_offline = False
    task = await standing.ended(task)
    assert (task.state, task.trouble) == ("done", None)


async def test_drop_gives_up_what_may_go_and_counts_what_stays(virtual_time: MockClock, standing: Standing) -> None:
    built = standing.built
    nothing = await standing.cloud.drop(None)
    assert (nothing.dropped_bytes, nothing.pinned_bytes) == (0, 0)
    assert nothing.unsent_bytes >= 2 * EACH
    await built.sent()
    await built.write("team/new", noise(3))
    dropped = await standing.cloud.drop("team")
    assert dropped.dropped_bytes >= EACH
    assert dropped.unsent_bytes >= EACH
    assert (built.held_bytes("team/plan"), built.held_bytes("team/new"), built.held_bytes("else")) == (0, EACH, EACH)
    await standing.cloud.pin("else")
    rest = await standing.cloud.drop(None)
    assert rest.dropped_bytes == 0
    assert rest.pinned_bytes >= EACH
    assert (await standing.cloud.drop("else")).pinned_bytes == rest.pinned_bytes
    assert await refusal(standing.cloud.drop("nowhere")) == "not_found"
    assert await refusal(standing.cloud.drop(".snapshots/x")) == "usage"


async def test_pins_are_told_apart_and_say_what_is_missing(virtual_time: MockClock, standing: Standing) -> None:
    await standing.built.sent()
    await standing.cloud.drop(None)
    pinned = await standing.cloud.pin("team")
    assert (pinned.size_bytes, pinned.missing_bytes, pinned.beyond_bytes) == (EACH, EACH, 0)
    assert (await standing.cloud.pins()).paths == ["team"]
    assert await refusal(standing.cloud.unpin("team/plan")) == "not_found"
    assert (await standing.cloud.unpin("team")).paths == []
    assert await refusal(standing.cloud.pin("nowhere")) == "not_found"
    standing.operations.read_only_reason = "the disk failed"
    assert await refusal(standing.cloud.pin("team")) == "read_only"


async def test_warm_brings_a_folder_so_that_it_is_read_without_the_store(
    virtual_time: MockClock, standing: Standing
) -> None:
    built = standing.built
    await built.sent()
    await standing.cloud.drop(None)
    task = await standing.ended(await standing.cloud.warm(""))
    assert (task.state, task.done_bytes, task.total_bytes) == ("done", 2 * EACH, 2 * EACH)
    assert (await standing.ended(await standing.cloud.warm("team"))).total_bytes == 0
    standing.store.is_offline = True
    assert await built.read("team/plan") == noise(1)
    assert await refusal(standing.cloud.warm("nowhere")) == "not_found"


async def test_warm_that_finds_no_room_fails_with_a_sentence(virtual_time: MockClock, standing: Standing) -> None:
    built = standing.built
    await built.write("large", noise(4, 3 << 20))
    await built.sent()
    await standing.cloud.drop(None)
    await trio.sleep(1)
    built.drive.cache.budget.limit_bytes = 2 << 20
    task = await standing.ended(await standing.cloud.warm("large"))
    assert task.error is not None
    assert (task.state, task.error.code) == ("failed", "cache_full")
    assert "of 3.0 MiB came" in task.error.message


async def test_an_unforeseen_end_of_a_task_is_told_and_harms_nobody(
    virtual_time: MockClock, standing: Standing, expected_log: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(expected_log)
    expected_log("appliance.tasks: task 1 .flush. was not done")

    async def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(standing.built.drive, "flush", broken)
    task = await standing.ended(await standing.cloud.flush())
    assert task.error is not None
    assert (task.state, task.error.code) == ("failed", "unexpected")
    assert await refusal(standing.cloud.task(99)) == "not_found"
