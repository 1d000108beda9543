"""Random call sequences: the drive does what the plainest file system would do, in the present and in every kept state.

`HYPOTHESIS_DRIVE_EXAMPLES=5000` looks longer.
"""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from kit.fake_clock import FakeClock
from model.drive_machine import DriveMachine  # type: ignore[import-not-found]

from vfs.state import make_state

EXAMPLES = int(os.environ.get("HYPOTHESIS_DRIVE_EXAMPLES", "60"))


@pytest.mark.timeout(60 + EXAMPLES)
def test_drive_is_like_the_model(tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    make_state(fresh, FakeClock(), 1000, 1000)

    class Machine(DriveMachine):  # type: ignore[misc]
        parent = tmp_path
        fresh_state = fresh

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
