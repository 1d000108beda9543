"""One run of a worker, then a look at the drive after a crash at many of its disk calls.

The limits of the engine are made small, so that a short run crosses all of them: segments that fill up and die, blocks
that end, SQLite logs that start anew, batches written out early, writes in threads.
"""

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
from crash.engine_verdict import losses, promise_of
from crash.engine_workload import Arrived, Gone, State, ToldStore, Worker
from crash.store_verdict import store_losses, stored_promise
from kit.disk_journal import Survival, everything, put
from kit.drive_builder import SMALL_CUTS, DriveBuilder
from kit.drive_keys import drive_keys
from kit.inline_threads import inline_threads
from kit.losing_disk import LosingDisk, crash_points, losing_drive
from trio.testing import MockClock

from cachefs.cut import CutPolicy
from cachefs.disk import RealDisk
from cachefs.tier import Cloud
from cloud_tier.errors import NothingToRecover
from cloud_tier.margins import Margins
from cloud_tier.memory_store import MemoryStore
from vfs.recovering import bring_back
from vfs.seal_pass import Names

EVERY = int(os.environ.get("CRASH_EVERY", "79"))  # a prime, so that it meets no rhythm of the calls; 1 looks at all
SEEDS = range(1, 1 + int(os.environ.get("CRASH_SEEDS", "2")))
STEPS = 150
KEYS = drive_keys()
NAMES = Names(KEYS.block_key, SMALL_CUTS.chunker)
POLICY = CutPolicy(period_s=5.0, max_rows=150, max_bytes=500_000, carried_bytes=4_000)
HASTY = Margins(grace_s=0.0, small_bytes=100_000, least_small=3)
SMALL = {
    "cachefs.segments.SEGMENT_BYTES": 512 << 10,
    "vfs.files.MAX_BLOCK_BYTES": 128 << 10,
    "vfs.files.INLINE_BYTES": 16 << 10,
    "cachefs.cut.CHECKPOINT_WAL_BYTES": 150 << 10,
    "cachefs.cut.PENDING_STATEMENTS": 40,
}


class QuietDisk(RealDisk):
    """A disk that need not be waited for."""

    def sync(self, fd: Any) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass


class Run(NamedTuple):
    """What a worker did: the journal of the disk, with the facts, and the states."""

    disk: LosingDisk
    states: list[State]
    store: ToldStore


@contextlib.contextmanager
def small_limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(name, value)
        yield


def record(state: Path, seed: int, steps: int) -> Run:
    """Let a worker run on a drive in `state`, to the end, without a crash."""

    async def work() -> Run:
        policy = replace(POLICY, quick_s=seed % 2 - 0.5)
        store = ToldStore()
        cloud = Cloud(store, lambda: KEYS, margins=HASTY)
        async with losing_drive(state, policy=policy, names=NAMES, cloud=cloud) as (built, disk):
            store.tell = disk.fact
            worker = Worker(built, disk, seed)
            await worker.work(steps)
            return Run(disk, worker.states, store)

    with small_limits(), inline_threads(), pytest.MonkeyPatch.context() as patch:
        _repeat_order(patch, seed)
        return trio.run(work, clock=MockClock(autojump_threshold=0))


def _repeat_order(patch: pytest.MonkeyPatch, seed: int) -> None:
    # trio shuffles the tasks of a turn; with the seed, a failure can be looked at again.
    patch.setattr("trio._core._run._r", random.Random(seed))


async def _store_then(store: ToldStore, facts: list[Any]) -> MemoryStore:
    """What had arrived in the store by the time of the crash."""
    then = MemoryStore()
    for fact in facts:
        if isinstance(fact, Arrived):
            await then.put(fact.name, store.bodies[fact.name])
        elif isinstance(fact, Gone):
            await then.delete([fact.name])
    return then


def look(run: Run, place: Path, survives: Survival, found: Any, facts: list[Any]) -> list[str]:
    """Start a drive from what a crash left, and hold it against the promises. `everything`: only the core died."""
    is_power_lost = survives is not everything
    for folder in ("segments", "intents", "outbox"):
        (place / folder).mkdir(parents=True)
    put(found.found(survives), place)
    boot = b"another boot id!" if is_power_lost else run.disk.boot_id()

    async def examine() -> list[str]:
        try:
            cloud = Cloud(await _store_then(run.store, facts), lambda: KEYS, may_send=trio.Event())  # only read
            async with DriveBuilder(place, disk=QuietDisk(), policy=POLICY, names=NAMES, cloud=cloud) as built:
                return await losses(built, run.states, promise_of(facts, is_power_lost=is_power_lost))
        except Exception as error:
            return [f"the drive does not start or run: {error!r}"]

    with small_limits(), inline_threads(), pytest.MonkeyPatch.context() as patch:
        for module in ("cachefs.cut", "cachefs.recovery"):
            patch.setattr(f"{module}.boot_id", lambda: boot)
        return trio.run(examine, clock=MockClock(autojump_threshold=0))


def look_at_store(run: Run, place: Path, facts: list[Any], spoil: Callable[[MemoryStore], None]) -> list[str]:
    """Bring a drive back from nothing but the store as it was then, and hold it against the promises."""

    async def examine() -> list[str]:
        store = await _store_then(run.store, facts)
        spoil(store)
        promise = stored_promise(facts)
        try:
            recovered = await bring_back(place, store, KEYS, 0)
        except NothingToRecover as error:
            return [] if not promise.oldest else [f"nothing came back: {error}"]
        cloud = Cloud(store, lambda: KEYS, may_send=trio.Event())
        async with DriveBuilder(place, disk=QuietDisk(), policy=POLICY, names=NAMES, cloud=cloud) as built:
            return await store_losses(built, run.states, promise, recovered)

    place.mkdir(parents=True)
    with small_limits(), inline_threads():
        return trio.run(examine, clock=MockClock(autojump_threshold=0))


def burn_everywhere(
    run: Run,
    scratch: Path,
    *,
    every: int = EVERY,
    first: int = 0,
    spoil: Callable[[MemoryStore], None] = lambda store: None,
) -> Iterator[str]:
    """Lose the machine at every so many calls of its disk: what is wrong with what the store gives back, and where."""
    for calls, _, facts in crash_points(run.disk, every, first):
        place = scratch / f"{calls}"
        for loss in look_at_store(run, place, facts, spoil):
            yield f"call {calls}: {loss}"
        shutil.rmtree(place, ignore_errors=True)


def crash_everywhere(
    run: Run, scratch: Path, ways: dict[str, Survival], *, every: int = EVERY, first: int = 0
) -> Iterator[str]:
    """Look at every so many crash points in each of the ways to lose: what is wrong, and where."""
    for calls, state, facts in crash_points(run.disk, every, first):
        for name, survives in ways.items():
            place = scratch / f"{calls} {name}"
            for loss in look(run, place, survives, state, facts):
                yield f"call {calls}, {name}: {loss}"
            shutil.rmtree(place)
