"""Real programs on a real disk that loses power: nothing acknowledged is lost, and a careless drive is found out."""

import pytest
from crash.power_rounds import run_rounds

pytestmark = [pytest.mark.needs_program("git", "mkfs.ext4", "mount", "fusermount3"), pytest.mark.timeout(240)]


def test_programs_find_everything_that_was_acknowledged_after_power_losses() -> None:
    assert run_rounds(3, seed=11) == []


def test_drive_that_does_not_sync_files_is_found_out() -> None:
    """Negative control: the same rounds must see its losses. Directories: see docs/testing.md."""
    assert run_rounds(3, seed=11, careless="file-fsync", stop_at_loss=True) != []
