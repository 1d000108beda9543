"""Power is lost at any call of the disk: whatever was promised is there; and a drive that is careless is found out.

With `CRASH_EVERY=1 CRASH_SEEDS=100` in the environment, every call of a hundred runs is looked at.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crash.engine_rounds import SEEDS, STEPS, Run, crash_everywhere, record
from kit.disk_journal import Survival, everything, freed, some, synced
from kit.losing_disk import LosingDisk

from cachefs.blocks import Block
from cachefs.intent_log import IntentLog
from cachefs.segments import Segment, Segments
from cachefs.sums import Sums, Taken
from cachefs.syncs import Syncs
from vfs.errors import NotFound


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold_wherever_power_is_lost(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path / "run", seed, STEPS)
    ways = {"nothing more": synced, "removals only": freed, "some of it": some(seed)}
    assert list(crash_everywhere(run, tmp_path / "crash", ways, first=seed)) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold_wherever_the_core_dies(tmp_path: Path, seed: int) -> None:
    run = record(tmp_path / "run", seed, STEPS)
    assert list(crash_everywhere(run, tmp_path / "crash", {"core": everything}, first=seed)) == []


# Negative controls: each takes one care away from the engine or the disk, and the same look must find a loss.

Sabotage = Callable[[pytest.MonkeyPatch], None]


def sync_does_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LosingDisk, "sync", lambda self, fd: None)


def directory_sync_does_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LosingDisk, "sync_directory", lambda self, path: None)


def cut_commits_rows_before_bytes(patch: pytest.MonkeyPatch) -> None:
    async def careless(self: Syncs) -> None:
        await self.bytes_by(lambda unsynced: self.segments([]))  # their names; a cut waits for those

    patch.setattr(Syncs, "bytes_and_sums", careless)


def cut_does_not_look_again_behind_the_gate(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Segments, "has_unsynced", lambda self: False)
    patch.setattr(Sums, "has_changed", lambda self: False)


def bytes_are_punched_when_freed(patch: pytest.MonkeyPatch) -> None:
    careful = Segments.free

    def punch_at_once(self: Segments, segment: Segment, offset: int, capacity: int, **options: Any) -> None:
        careful(self, segment, offset, capacity, **options)
        self._disk.punch(segment.fd, offset, capacity)

    patch.setattr(Segments, "free", punch_at_once)


def mark_is_written_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    def careless(self: Syncs, intents: IntentLog, length: int, unsynced: list[Segment]) -> None:
        intents.mark(length)
        intents.sync()
        self.segments(unsynced)

    patch.setattr(Syncs, "to_mark", careless)


def mark_covers_what_came_during_the_sync(patch: pytest.MonkeyPatch) -> None:
    def careless(self: Syncs, intents: IntentLog, length: int, unsynced: list[Segment]) -> None:
        self.segments(unsynced)
        intents.mark(intents.length)
        intents.sync()

    patch.setattr(Syncs, "to_mark", careless)


def start_trusts_what_the_dead_core_wrote(patch: pytest.MonkeyPatch) -> None:
    careful = Segments.load

    def trusting(self: Segments, *arguments: Any) -> None:
        careful(self, *arguments)
        self.take_unsynced()
        self.directory_dirty = False

    patch.setattr(Segments, "load", trusting)


def start_believes_all_page_sums(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("cachefs.recovery.suspects_of", lambda database, newest_kept: None)


def cut_commits_rows_before_page_sums(patch: pytest.MonkeyPatch) -> None:
    careful, late = Sums.take, dict[Sums, Taken]()

    def of_the_round_before(self: Sums) -> Taken:
        taken = late.get(self, Taken([], set()))
        late[self] = careful(self)
        return taken

    patch.setattr(Sums, "take", of_the_round_before)


def carried_bytes_are_left_out(patch: pytest.MonkeyPatch) -> None:
    careful = IntentLog.append
    patch.setattr(IntentLog, "append", lambda self, rows, carried=(), **options: careful(self, rows, **options))


def log_is_not_replayed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("cachefs.recovery.replay", lambda *arguments: (0, []))


def kept_bytes_are_written_in_place(patch: pytest.MonkeyPatch) -> None:
    careless = lambda self, newest_kept: self.block_id is None and not self.shared and not self.is_frozen  # noqa: E731
    patch.setattr(Block, "is_writable", careless)


def shared_bytes_are_written_in_place(patch: pytest.MonkeyPatch) -> None:
    careless = lambda self, kept: self.block_id is None and self.born > kept and not self.is_frozen  # noqa: E731
    patch.setattr(Block, "is_writable", careless)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "sabotage",
    [
        sync_does_nothing,
        directory_sync_does_nothing,
        cut_commits_rows_before_bytes,
        cut_does_not_look_again_behind_the_gate,
        bytes_are_punched_when_freed,
        mark_is_written_before_the_sync,
        mark_covers_what_came_during_the_sync,
        log_is_not_replayed,
        carried_bytes_are_left_out,
        start_trusts_what_the_dead_core_wrote,
        start_believes_all_page_sums,
        cut_commits_rows_before_page_sums,
        kept_bytes_are_written_in_place,
        shared_bytes_are_written_in_place,
    ],
)
def test_careless_drive_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sabotage: Sabotage
) -> None:
    sabotage(monkeypatch)
    runs: dict[int, Run | None] = {}
    with caplog.at_level("CRITICAL"):  # the drive complains, and rightly
        # A few looks at many runs, then closer ones: what is wrong with one run may never be met in another.
        for every in (311, 101, 31, 11, 3):
            for seed in range(1, 13):
                if is_found_out(tmp_path / str(seed), seed, every, runs):
                    return
    pytest.fail("nobody noticed")


def is_found_out(place: Path, seed: int, every: int, runs: dict[int, Run | None]) -> bool:
    ways: dict[str, Survival] = {"nothing more": synced, "removals only": freed}
    if seed not in runs:
        runs[seed] = None
        with contextlib.suppress(FileNotFoundError, NotFound, AssertionError, BaseExceptionGroup):
            runs[seed] = record(place / "run", seed, STEPS)
    run = runs[seed]
    if run is None:  # the worker itself missed what it had closed, or wrote
        return True
    return next(crash_everywhere(run, place / f"crash {every}", ways, every=every), None) is not None
