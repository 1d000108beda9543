"""Hours of work over a store that fails every third call, with deaths of the core in between: nothing wrong or lost.

A longer watch: STORE_SEEDS=20.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from kit.faulty_store import What
from kit.simulated_core import SimulatedCore
from trio.testing import MockClock

SEEDS = range(1, 1 + int(os.environ.get("STORE_SEEDS", "1")))
STEPS = 100
BACK_S = 30.0
STUCK_S = 600.0
HONEST = (What.REFUSED, What.LOST_ACK, What.DELAYED, What.HANGS, What.MISSING)


class Worker:
    """Writes, overwrites, removes, and reads what has gone cold."""

    def __init__(self, core: SimulatedCore, seed: int) -> None:
        self._core = core
        self._chance = random.Random(seed)
        self.cold_reads = self.refused = 0

    async def step(self) -> None:
        names = sorted(self._core.acknowledged)
        what = self._chance.random()
        if what < 0.3 or len(names) < 5:
            name = f"{self._chance.randrange(30)}"
            await self._core.save(name, self._bytes())
        elif what < 0.5:
            name = self._chance.choice(names)
            await self._core.save(name, self._bytes(), self._chance.randrange(len(self._core.acknowledged[name])))
        elif what < 0.55:
            await self._core.remove(self._chance.choice(names))
        elif what < 0.6:
            await self._core.restart(crash=True)
        else:
            with trio.move_on_after(10):
                await self._core.sent()
            await self._core.drop()
            for name in self._chance.sample(names, 3):
                self.cold_reads += 1
                self.refused += not await self._core.is_there(name)

    def _bytes(self) -> bytes:
        return self._chance.randbytes(self._chance.randrange(1, 30_000))


@pytest.mark.parametrize("seed", SEEDS)
async def test_nothing_is_wrong_or_lost_whatever_the_store_does(
    virtual_time: MockClock, tmp_path: Path, seed: int, possible_log: Callable[[str], None]
) -> None:
    possible_log(r"cloud_tier.uploader: The cloud store|cachefs\.(fetching|checkpointing): ")
    async with SimulatedCore(tmp_path / "state", seed) as core:
        worker = Worker(core, seed)
        core.store.scatter(0.3, *HONEST, delay_s=20.0)
        for _ in range(STEPS):
            await worker.step()
            await core.pass_time(virtual_time, random.Random(seed).uniform(1, 60))
        assert worker.cold_reads > 50
        assert core.store.met() == set(HONEST)
        core.store.heal()
        await core.save("first of all", b"after the trouble")
        await trio.sleep(BACK_S)
        assert core.drive.cache.catalog.find(core.blocks_of("first of all")[0]) is not None, "back to work"
        with trio.fail_after(STUCK_S):  # a call that is never answered is given up, a checkpoint tried again
            await core.sent()
        await core.drop()
        await core.assert_nothing_lost()
        await core.restart()
        await core.assert_nothing_lost()
