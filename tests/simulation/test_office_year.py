"""Weeks of an office under upkeep, over a listing that lies: little that is dead stays, and nothing needed ever goes.

In the middle the core dies. A longer watch, of a year: UPKEEP_DAYS=365. And a day of trickle work, a pack every ten
seconds: TRICKLE_PACKS=8640.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.cloud_drive import CloudDrive
from kit.faulty_store import What
from kit.office_year import MARGINS, OfficeYear, small_packs
from trio.testing import MockClock

from cloud_tier.errors import ObjectMissing
from cloud_tier.margins import Margins

DAYS = int(os.environ.get("UPKEEP_DAYS", "16"))
MOST_DEAD = 0.25
TRICKLE_PACKS = int(os.environ.get("TRICKLE_PACKS", "60"))


@pytest.fixture(autouse=True)
def scaled() -> Iterator[None]:
    with small_packs():
        yield


@pytest.mark.timeout(60 + 3 * DAYS)
async def test_an_office_ends_with_little_that_is_dead_in_the_store(virtual_time: MockClock, tmp_path: Path) -> None:
    async with CloudDrive(tmp_path / "state", margins=MARGINS) as built:
        office = OfficeYear(built, seed=1)
        for _ in range(4):
            built.store.plan("list", What.EMPTY, times=None)
            await office.go_on(DAYS // 4)
            built.store.faults.clear()
            assert len(await built.packs()) < 100
            await built.restart(crash=True)
            office.tidy_up()
        assert await office.dead_share() <= MOST_DEAD
        assert built.drive.database.row("SELECT count(*) FROM packs") <= (100,)


async def test_a_careless_collector_is_found_out(
    virtual_time: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachefs.packs._DEAD", "SELECT pack FROM packs WHERE pack > ? AND state = ? LIMIT ?")
    monkeypatch.setattr("cachefs.packs._HOLDS", "SELECT 1 WHERE ? < 0")
    async with CloudDrive(tmp_path / "state", margins=MARGINS) as built:
        office = OfficeYear(built, seed=1)
        with pytest.raises((AssertionError, ObjectMissing)):
            await office.go_on(10)


@pytest.mark.timeout(60 + TRICKLE_PACKS // 30)
async def test_a_day_of_trickle_work_leaves_few_objects(virtual_time: MockClock, tmp_path: Path) -> None:
    async with CloudDrive(tmp_path / "state", margins=Margins(grace_s=0.0, scrub_days=0.0)) as built:
        built.retain()
        for number in range(TRICKLE_PACKS):
            await built.write(f"{number}", bytes([number % 251]) * 3000 + number.to_bytes(4, "little"))
            await built.seal()
            await built.tier.uploader.flush()
        assert len(await built.packs()) == TRICKLE_PACKS
        before = built.store.calls["get"] + built.store.calls["put"]
        await built.cut()
        for _ in range(3):
            await built.tier.upkeep.round(is_daily=True)
            await built.cut()
        assert len(await built.packs()) < 20
        assert built.store.calls["get"] + built.store.calls["put"] - before < 40, "nothing is fetched that is here"
        await built.require_readable()
