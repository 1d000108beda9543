"""The policy is the drive's: set once, it is the same after a restart, a crash and a recovery."""

from pathlib import Path

import pytest
from kit.cloud_drive import KEYS, CloudDrive
from trio.testing import MockClock

from vfs.errors import NotFound
from vfs.policies import NOTICE_S
from vfs.recovering import bring_back
from vfs.retention import DAY_S, Policy

NOW_S = 1_800_000_000
SHORT, LONG = Policy(day_s=DAY_S), Policy(day_s=400 * DAY_S)


async def test_longer_counts_at_once_and_shorter_after_the_notice(virtual_time: MockClock, tmp_path: Path) -> None:
    async with CloudDrive(tmp_path / "state") as built:
        policies = built.drive.policies
        policies.set(LONG, NOW_S)
        assert (policies.current, policies.pending) == (LONG, None)
        policies.set(SHORT, NOW_S)
        assert policies.at(NOW_S + NOTICE_S - 1) == LONG
        assert policies.at(NOW_S + NOTICE_S) == SHORT
        assert policies.pending is None


async def test_what_is_set_again_waits_again_and_what_is_called_off_never_counts(
    virtual_time: MockClock, tmp_path: Path
) -> None:
    async with CloudDrive(tmp_path / "state") as built:
        policies = built.drive.policies
        policies.set(SHORT, NOW_S)
        policies.set(Policy(day_s=2 * DAY_S), NOW_S + DAY_S)
        assert policies.at(NOW_S + NOTICE_S) == Policy()
        assert policies.at(NOW_S + DAY_S + NOTICE_S) == Policy(day_s=2 * DAY_S)
        policies.set(SHORT, NOW_S)
        policies.cancel()
        assert policies.at(NOW_S + 100 * NOTICE_S) == Policy(day_s=2 * DAY_S)
        with pytest.raises(NotFound):
            policies.cancel()


async def test_it_comes_back_from_the_store_alone_and_the_last_runs_do_not(
    virtual_time: MockClock, tmp_path: Path
) -> None:
    async with CloudDrive(tmp_path / "state") as built:
        built.drive.policies.set(LONG, NOW_S)
        built.drive.policies.set(SHORT, NOW_S)
        built.drive.database.write("INSERT INTO schedules VALUES ('scrub local', 1, 1, 'of that machine')")
        await built.write("a", b"some work")
        await built.drive.flush()
        (tmp_path / "again").mkdir()
        await bring_back(tmp_path / "again", built.store, KEYS, built.clock.now_ns())
        built.dies_at_exit = True
    async with CloudDrive(tmp_path / "again") as again:
        policies = again.drive.policies
        assert (policies.current, policies.pending, policies.takes_effect_s) == (LONG, SHORT, NOW_S + NOTICE_S)
        assert again.drive.database.rows("SELECT * FROM schedules") == []
