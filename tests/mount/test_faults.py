"""A short round of `faults.fault_rounds`: a mounted drive at work over a store that fails every third request."""

from pathlib import Path

import pytest
from faults.fault_rounds import run_round
from kit.breaks import Break
from kit.s3_servers import credentials, rclone

pytestmark = [pytest.mark.needs_product, pytest.mark.timeout(120)]

NASTY = {
    Break.DROP_UPLOAD,
    Break.CORRUPT_UPLOAD,
    Break.STORED_500,
    Break.LOST_ACK,
    Break.TRUNCATE,
    Break.CORRUPT_ANSWER,
    Break.STALE,
}
"""There is no time for all of them: `./just faults` has it, and `tests/contracts` asks the store one by one."""


def test_a_store_that_fails_makes_nothing_wrong_and_loses_nothing(tmp_path: Path) -> None:
    with credentials(), rclone(tmp_path) as server:
        outcome = run_round(server, 1, 5.0, 0.35, NASTY, longer_s=15.0)
    assert outcome.wrong == [], outcome
    assert outcome.done["look_cold"] > 0
