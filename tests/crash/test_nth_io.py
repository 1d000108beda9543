"""Let the nth I/O fail, for every n until the workload gets through: errors have names, and nothing promised is lost.

The workload goes on after a refusal, as programs do. After each round the drive is opened again on a sound disk, as
after the death of the core: everything that was answered is there, and `vfs.check` finds nothing. Or power is lost on
top of it: then everything that a sync answered is there.
"""

import contextlib
import errno
import logging
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from crash.engine_rounds import POLICY, QuietDisk, small_limits
from kit.disk_journal import synced
from kit.drive_builder import DriveBuilder
from kit.fault_plan import ANY, FaultPlan, FaultyDisk
from kit.inline_threads import inline_threads
from kit.losing_disk import LosingDisk, follow_boots, losing_drive
from kit.sqlite_files import watched
from trio.testing import MockClock

from cachefs.errors import CacheError
from cachefs.syncs import DISTRUST
from vfs.check import check
from vfs.errors import VfsError

TYPED = (CacheError, VfsError)
STEP = 1 if "CRASH_EVERY" in os.environ else 3  # the rounds differ in the calls they meet
ROUNDS = 400  # more I/Os than the workload needs


class Told:
    """What somebody was promised who goes on after a refusal: path → bytes, or None once it was removed."""

    def __init__(self) -> None:
        self.promised: dict[str, bytes | None] = {}
        self.durable: dict[str, bytes | None] = {}
        """What was promised to survive more than the death of the core: a failed sync may cost the rest."""
        self.tried: dict[str, bytes | None] = {}
        self.uncertain: set[str] = set()
        self.refusals: list[Exception] = []

    async def try_(self, change: Awaitable[Any], **results: bytes | None) -> None:
        """Make a change after which these paths hold these bytes."""
        try:
            await change
        except Exception as error:
            self.refusals.append(error)
            self.uncertain.update(results)
        else:
            self.tried.update(results)

    async def promise(self, wait: Callable[[], Awaitable[Any] | None], *, is_durable: bool = False) -> None:
        """Let everything tried so far be answered; `is_durable`: by a sync point or a cut."""
        try:
            waiting = wait()
            if waiting is not None:
                await waiting
        except Exception as error:
            self.refusals.append(error)
        else:
            self.promised.update(self.tried)
            self.tried.clear()
            if is_durable:
                self.durable = dict(self.promised)


async def workload(built: DriveBuilder, told: Told) -> None:
    """Files small and large, one replaced, one removed, with every kind of promise in between."""
    for name in ("small", "other", "third"):
        await told.try_(built.write(name, name.encode() * 1000), **{name: name.encode() * 1000})
        await told.promise(built.close_point)
    await told.try_(built.write("large", b"large" * 40_000), large=b"large" * 40_000)
    await told.promise(built.fsync, is_durable=True)
    await told.try_(built.write("temporary", b"replaced" * 1000), temporary=b"replaced" * 1000)
    if built.find("temporary") is not None and "temporary" in told.tried:
        await told.try_(built.rename("temporary", "small"), small=b"replaced" * 1000, temporary=None)
    await told.try_(built.write("passing", b"fills segments" * 50_000), passing=b"fills segments" * 50_000)
    await told.promise(built.cut, is_durable=True)
    if built.find("passing") is not None:
        await told.try_(built.unlink("passing"), passing=None)
    await told.promise(built.cut, is_durable=True)
    if built.find("other") is not None:
        await told.try_(built.unlink("other"), other=None)
    await told.promise(built.snapshot)
    await told.try_(built.write("large", b"shorter"), large=b"shorter")
    await told.promise(built.cut, is_durable=True)
    await told.try_(built.write("last", b"last" * 1000), last=b"last" * 1000)
    await told.promise(built.fsync, is_durable=True)
    await told.promise(built.cut, is_durable=True)


async def one_round(state: Path, plan: FaultPlan) -> tuple[LosingDisk, Told]:
    """Run while the plan strikes, then let the core die."""
    told = Told()
    async with losing_drive(state, policy=POLICY, plan=plan, over=lambda disk: FaultyDisk(disk, plan)) as (built, disk):
        plan.is_armed = True
        await workload(built, told)
        plan.is_armed = False
        if built.drive.cuts.broken is not None:
            await built.wait_broken()
        built.dies_at_exit = True
    return disk, told


async def verdict(state: Path, told: Told, *, is_power_lost: bool = False) -> list[str]:
    """Open on a sound disk: what of the promises does not hold."""
    wrong = []
    promised = told.durable if is_power_lost else told.promised
    if (state / "intents" / DISTRUST).exists():  # a sync failed: what was only closed since may be there, or not
        promised = {path: data for path, data in promised.items() if told.durable.get(path, b"?") == data}
    async with DriveBuilder(state, disk=QuietDisk(), policy=POLICY) as built:
        for path, data in promised.items():
            found = await built.read(path) if built.find(path) else None
            # What was tried after the last promise, or was refused, may be there, or not, or in part.
            is_later = path in told.tried or path in told.uncertain or told.promised.get(path, b"?") != data
            if not is_later and found != data:
                wrong.append(f"{path} is not as promised: {found and found[:20]!r}")
        built.close_point()
        findings, _ = check(built.drive.database, state / "segments")
    return wrong + [f"{finding.rule}: {finding.message}" for finding in findings]


def fail_until_success(
    tmp_path: Path,
    kind: str,
    code: int,
    times: int | None,
    first: int,
    *,
    is_power_lost: bool = False,
    step: int = STEP,
) -> int:
    """Rounds with the `first` call failing, then every `step`th. Returns the first number that was never reached."""
    for nth in range(first, ROUNDS, step):
        plan = FaultPlan()
        plan.is_armed = False
        fault = plan.fail(kind, nth, code, times=times)
        state = tmp_path / str(nth)
        with small_limits(), inline_threads(), pytest.MonkeyPatch.context() as patch:
            disk, told = trio.run(one_round, state, plan, clock=MockClock(autojump_threshold=0))
            assert [error for error in told.refusals if not isinstance(error, TYPED)] == [], f"call {nth}"
            follow_boots(patch, disk)
            if is_power_lost:
                disk.power_loss(synced)
            look = partial(verdict, state, told, is_power_lost=is_power_lost)
            assert trio.run(look, clock=MockClock(autojump_threshold=0)) == [], f"call {nth}"
        if not fault.hits:
            assert told.refusals == []
            return nth
    raise AssertionError("the workload never got through")


@pytest.fixture
def may_postpone(caplog: pytest.LogCaptureFixture, expected_log: Callable[[str], None]) -> Iterator[None]:
    """What can be done later (removing a file, shortening a log) is only warned of, in the rounds that meet it."""
    yield
    if any(record.levelno >= logging.WARNING for record in caplog.get_records("call")):
        expected_log(
            "could not be (removed|given back|shortened)|a sync failed when the drive ran last|are served unchecked"
        )


@pytest.mark.usefixtures("may_postpone")
@pytest.mark.parametrize(
    ("code", "times", "first"),
    [(errno.EIO, 1, 1), (errno.ENOSPC, 1, 2), (errno.EIO, None, 3), (errno.ENOSPC, None, 1)],
    ids=["EIO once", "ENOSPC once", "EIO for ever", "ENOSPC for ever"],
)
def test_any_call_may_fail(tmp_path: Path, code: int, times: int | None, first: int) -> None:
    assert fail_until_success(tmp_path, ANY, code, times, first) > 100


RARE = ("create seg", "create sum", "create log", "unlink log", "unlink seg", "unlink sum", "punch", "sqlite truncate")
KINDS = (
    "create seg", "create sum", "create log", "pwrite seg", "pwrite sum", "pwrite log", "sync seg", "sync sum",
    "sync log", "unlink log", "unlink seg", "unlink sum", "punch", "sync_directory", "read_cached",
    "sqlite open", "sqlite truncate", "sqlite sync",
)  # fmt: skip


@pytest.mark.usefixtures("may_postpone")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_call_may_fail(tmp_path: Path, kind: str, code: int) -> None:
    """Once, wherever it comes; also kinds that are so rare that counting all calls would step over them."""
    assert fail_until_success(tmp_path, kind, code, 1, 1, step=1 if kind in RARE else STEP) > 1


@pytest.mark.usefixtures("may_postpone")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_any_write_of_sqlite_may_fail(tmp_path: Path, code: int) -> None:
    assert fail_until_success(tmp_path, "sqlite write", code, None, 2) > 20


@pytest.mark.usefixtures("may_postpone")
@pytest.mark.parametrize(
    ("kind", "code", "times", "first"),
    [(ANY, errno.EIO, 1, 2), (ANY, errno.ENOSPC, None, 2), ("sync", errno.EIO, 1, 1), ("sqlite sync", errno.EIO, 1, 1)],
    ids=["EIO once", "ENOSPC for ever", "a sync", "a sync of SQLite"],
)
def test_any_call_may_fail_before_power_is_lost(
    tmp_path: Path, kind: str, code: int, times: int | None, first: int
) -> None:
    assert fail_until_success(tmp_path, kind, code, times, first, is_power_lost=True) > 3


async def start_and_die(state: Path, disk: LosingDisk, plan: FaultPlan, vfs: str) -> None:
    """One start while the plan strikes. A refusal is in words; who came up dies."""
    plan.is_armed = True
    with contextlib.suppress(*TYPED, OSError):
        async with DriveBuilder(state, disk=FaultyDisk(disk, plan), policy=POLICY, vfs=vfs) as built:
            plan.is_armed = False
            built.dies_at_exit = True
    plan.is_armed = False


@pytest.mark.usefixtures("may_postpone")
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_any_call_of_a_start_may_fail(tmp_path: Path, code: int) -> None:
    """The core died. The next start meets a bad or full disk, wherever; the one after that has everything."""
    quiet = FaultPlan()
    quiet.is_armed = False
    with small_limits(), inline_threads():
        _, told = trio.run(one_round, tmp_path / "made", quiet, clock=MockClock(autojump_threshold=0))
    met = set[str]()
    for nth in range(1, ROUNDS):
        state, plan = tmp_path / str(nth), FaultPlan()
        shutil.copytree(tmp_path / "made", state)
        plan.is_armed = False
        fault = plan.fail(ANY, nth, code)
        disk = LosingDisk(state)
        with small_limits(), inline_threads(), pytest.MonkeyPatch.context() as patch:
            follow_boots(patch, disk)
            with watched(f"start {nth} {code}", disk, plan) as vfs:
                trio.run(start_and_die, state, disk, plan, vfs, clock=MockClock(autojump_threshold=0))
            assert trio.run(verdict, state, told, clock=MockClock(autojump_threshold=0)) == [], f"call {nth}"
        met.update(plan.calls)
        if not fault.hits:
            assert {"open", "truncate", "create log", "sync seg", "sync sum", "unlink"} <= met
            return
    raise AssertionError("the start never got through")
