"""A drive on which nothing happens by itself: no cut, no reaping, no time passes, unless the test says so.

Each call is one short trio run on a clock that stands still, so tests are plain functions and every run is the same.
Nothing here loses power, so nothing waits for the disk.
"""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing
from kit.drive_builder import SMALL_CUTS, DriveBuilder
from kit.fake_clock import FakeClock

from cachefs.disk import Disk, RealDisk
from vfs.actors import Caller
from vfs.check import check
from vfs.drive import Drive
from vfs.snapshots import Snapshot


class UnsyncedDisk(RealDisk):
    """Syncs cost nothing."""

    def sync(self, fd: object) -> None:  # type: ignore[override]
        pass

    def sync_directory(self, path: Path) -> None:
        pass


def run(step: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
    """One call to its end, while time stands still."""

    async def call() -> Any:
        return await step(*arguments, **named)

    return trio.run(call, clock=trio.testing.MockClock())


class StillDrive(DriveBuilder):  # type: ignore[misc]
    """A `DriveBuilder` that is never entered. Its waiting calls go through `do`: `still.do(still.write, "a", b"1")`."""

    clock: FakeClock

    def __init__(self, state: Path, *, disk: Disk | None = None) -> None:
        super().__init__(state, disk=disk or UnsyncedDisk(), clock=FakeClock())

    @classmethod
    def opened(cls, state: Path, fresh: Path, *, disk: Disk | None = None) -> "StillDrive":
        """Open a copy of a state that was just made."""
        shutil.copytree(fresh, state)
        still = cls(state, disk=disk)
        still.open()
        return still

    def open(self) -> None:
        self.drive = run(
            Drive.open, self.state, disk=self.disk, clock=self.clock, policy=self.policy, limit_bytes=self.limit_bytes,
            names=SMALL_CUTS,
        )  # fmt: skip
        self.drive.cuts.is_space_short = lambda: True  # what is freed is punched at the next cut and not at rest
        self.caller = self.as_user(1000)

    def as_user(self, uid: int) -> Caller:
        """A user of this machine; his group has the next number."""
        return Caller(uid, uid + 1, self.drive.actors.local(uid))

    def do(self, step: Callable[..., Awaitable[Any]], *arguments: Any, **named: Any) -> Any:
        """One waiting call, a millisecond after the one before."""
        self.clock.advance(0.001)
        return run(step, *arguments, **named)

    def snap(self, label: str | None = None, *, is_held: bool = False) -> Snapshot:
        """A snapshot, in a second of its own."""
        self.clock.advance(1.1)
        snapshot: Snapshot = run(self.drive.snapshots.create, label, is_held=is_held)
        return snapshot

    def reap(self) -> None:
        """Everything that the background has to do."""
        run(self.drive.reaper.finish)

    def seal(self) -> None:  # type: ignore[override]
        run(self.drive.sealing.sweep)
        run(DriveBuilder.seal, self)

    def rest(self) -> None:
        """End and start again."""
        run(self.drive.close)
        self.open()

    def die(self) -> None:
        """The core dies, and another one starts."""
        self.abandon()
        self.open()

    def rows(self, table: str) -> list[Any]:
        """All rows of a table, as they would be after a close point."""
        self.drive.cuts.log()
        return sorted(self.drive.database.rows(f"SELECT * FROM {table}"), key=repr)

    def assert_sound(self) -> None:
        """Every invariant holds, as fsck runs them."""
        self.drive.cuts.log()
        findings, _ = check(self.drive.database, self.state / "segments")
        assert findings == [], findings
