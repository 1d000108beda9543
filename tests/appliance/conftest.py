"""A drive for tests of what stands on the engine: nothing happens on it by itself."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.fake_clock import FakeClock
from kit.still_drive import StillDrive

from vfs.state import make_state


@pytest.fixture
def still(tmp_path: Path) -> Iterator[StillDrive]:
    """A new drive of root's."""
    make_state(tmp_path / "state", FakeClock(), 0, 0)
    drive = StillDrive(tmp_path / "state")
    drive.open()
    yield drive
    try:
        drive.assert_sound()
    finally:
        drive.abandon()
