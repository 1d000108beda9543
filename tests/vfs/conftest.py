"""Drives for the tests of vfs: each a copy of one fresh state, because making one costs more than most tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kit.drive_builder import DriveBuilder
from kit.fake_clock import FakeClock
from kit.still_drive import StillDrive

from vfs.state import make_state


@pytest.fixture(scope="session")
def fresh_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state directory of a new drive. To be copied, never opened."""
    state = tmp_path_factory.mktemp("fresh") / "state"
    make_state(state, FakeClock(), 1000, 1000)
    return state


@pytest.fixture
def still(tmp_path: Path, fresh_state: Path) -> Iterator[StillDrive]:
    """A drive on which nothing happens by itself. At the end of each test its rows must be sound."""
    drive = StillDrive.opened(tmp_path / "state", fresh_state)
    yield drive
    try:
        drive.assert_sound()
    finally:
        drive.abandon()


@pytest.fixture
async def running(tmp_path: Path, autojump_clock: object) -> AsyncIterator[DriveBuilder]:
    """A drive with its background tasks, in time that passes by itself when everybody waits."""
    async with DriveBuilder(tmp_path / "running") as built:
        yield built
