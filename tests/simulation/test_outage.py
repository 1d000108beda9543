"""The line is cut for a day: work goes on until what no store has fills its share, slows down, and is told no in time;
once the line is back everything is sent, and nothing was lost.
"""

import random
from collections.abc import Callable
from pathlib import Path

import trio
from kit.faulty_store import What
from kit.simulated_core import SimulatedCore
from trio.testing import MockClock

from cachefs.budget import PRECIOUS_SHARE, SLOWED_SHARE
from vfs.errors import NoSpace

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
BUDGET_BYTES = 16 << 20
FILE_BYTES = 120_000
PERIOD_S = 600.0  # so that the share is full after some sixteen hours
BACK_S = 30.0


def noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(FILE_BYTES)


async def test_a_day_without_a_line(
    virtual_time: MockClock, tmp_path: Path, expected_log: Callable[[str], None]
) -> None:
    expected_log(r"cloud_tier.uploader: The cloud store cannot be reached|cachefs.fetching: The cloud store")
    async with SimulatedCore(tmp_path / "state", limit_bytes=BUDGET_BYTES) as core:
        for number in range(20):
            await core.save(f"before-{number}", noise(1000 + number))
        await core.sent()
        await core.drop()
        core.store.is_offline = True
        cut_at = trio.current_time()
        took: list[float] = []
        refused_at: list[float] = []
        has_died = False
        while (passed_s := trio.current_time() - cut_at) < DAY_S:
            number = len(took)
            try:
                took.append(await core.save(f"during-{number}", noise(number)))
            except NoSpace:
                refused_at.append(passed_s)
                if core.find(f"during-{number}") is not None:
                    await core.unlink(f"during-{number}")
            assert await core.is_there(f"during-{random.Random(number).randrange(len(took))}"), "it is here"
            if passed_s > 5 * HOUR_S and not has_died:
                has_died = True
                await core.restart(crash=True)
            await core.pass_time(virtual_time, PERIOD_S)

        fit = PRECIOUS_SHARE * BUDGET_BYTES / FILE_BYTES
        assert 0.85 * fit < len(took) <= fit, "the share was used, and kept to"
        assert max(took[: int((SLOWED_SHARE - 0.1) * fit)]) < 0.01, "nobody waits while there is room"
        assert took[-1] > 0.02, "whoever fills the rest feels it"
        assert len(refused_at) > 30, "told no, hour after hour, and never kept waiting"
        assert not await core.is_there("before-0"), "what is only in the store cannot be had"

        await core.remove("during-0")
        await core.remove("during-1")
        await trio.sleep(10)
        await core.save("instead", noise(-1))

        core.store.is_offline = False
        await trio.sleep(BACK_S)
        assert await core.is_there("before-0")
        assert core.drive.cache.catalog.unsent_bytes == 0
        await core.save("after", noise(-2))
        await core.sent()
        await core.drop()
        assert core.held_bytes("during-7") == 0
        await core.assert_nothing_lost()
        await core.restart()
        await core.assert_nothing_lost()


async def test_who_comes_after_one_that_waited_in_vain_is_told_at_once(
    virtual_time: MockClock, tmp_path: Path, possible_log: Callable[[str], None]
) -> None:
    """A store that hangs: a hundred files of a copy are not to take half a minute each to fail."""
    possible_log(r"cloud_tier.uploader: The cloud store cannot be reached|cachefs.checkpointing: ")
    async with SimulatedCore(tmp_path / "state", limit_bytes=4 << 20) as core:
        core.store.plan("put", What.HANGS, times=None)
        waits: list[float] = []
        for number in range(60):
            begun = trio.current_time()
            try:
                await core.save(f"{number}", noise(number))
            except NoSpace:
                waits.append(trio.current_time() - begun)
                await core.unlink(f"{number}")
        assert len(waits) > 20
        assert [waited > 20 for waited in waits].count(True) == 1, "for a store that might only have been slow"
        core.store.faults.clear()
        await trio.sleep(1500)  # a call that hangs is given up when its bytes had had time on the slowest line
        await core.save("after", noise(-1))
        await core.sent()
        await core.assert_nothing_lost()
