"""A whole core in one process, on simulated time: engine, tier, retries, and a store that can be taken away.

    async with SimulatedCore(tmp_path / "state", seed=1) as core:
        await core.save("a", b"bytes")
        core.store.is_offline = True
        await core.pass_time(virtual_time, 24 * 3600)
        ...

Everything of the product that waits does so by trio's clock, and that jumps to the next moment at which somebody has
something to do. `trio.sleep` passes time with every retry, every look and every cut of it, some two thousand times as
fast as it is; `pass_time` in leaps, after each of which whatever became due is done once. A test must name the fixture
`virtual_time` as a parameter. `acknowledged` holds what was synced, and `assert_nothing_lost` compares.
"""

import random
from pathlib import Path
from typing import Any

import trio
from kit.cloud_drive import CloudDrive
from kit.faulty_store import FaultyStore
from trio.testing import MockClock

from cloud_tier.memory_store import MemoryStore
from cloud_tier.retrying import Retrying
from cloud_tier.store_url import PROMPT
from vfs.check import check
from vfs.errors import OutOfReach

AWAKE_S = 0.5  # between two leaps


class SimulatedCore(CloudDrive):
    """The store as `cloud_tier.store_url` wraps it; `seed` decides about waits, and about faults by chance."""

    def __init__(self, state: Path, seed: int = 0, **options: Any) -> None:
        store = FaultyStore(MemoryStore(), seed)
        patient = Retrying(store, chance=random.Random(seed))
        prompt = Retrying(store, PROMPT, random.Random(seed))
        super().__init__(state, patient, prompt=prompt, **options)
        self.store = store
        self.acknowledged: dict[str, bytes] = {}

    async def pass_time(self, clock: MockClock, seconds: float, step_s: float = 300.0) -> None:
        """So much time passes, in leaps."""
        end = trio.current_time() + seconds
        while (left := end - trio.current_time()) > 0:
            clock.jump(max(0.0, min(step_s, left) - AWAKE_S))
            await trio.sleep(min(AWAKE_S, left))

    async def save(self, name: str, data: bytes, offset: int | None = None) -> float:
        """Write and sync; how long the writing took. Raises NoSpace, and then nothing of it counts."""
        begun = trio.current_time()
        await self.write(name, data, offset)
        took_s = trio.current_time() - begun
        await self.fsync()
        before = self.acknowledged.get(name, b"")
        self.acknowledged[name] = data if offset is None else before[:offset] + data + before[offset + len(data) :]
        return took_s

    async def remove(self, name: str) -> None:
        await self.unlink(name)
        await self.fsync()
        del self.acknowledged[name]

    async def is_there(self, name: str) -> bool:
        """Whether the file can be read now; then it must be right."""
        try:
            found = await self.read(name)
        except OutOfReach:
            return False
        assert found == self.acknowledged[name], name
        return True

    async def assert_nothing_lost(self) -> None:
        """Every file can be read, and is right; so are the rows."""
        for name in self.acknowledged:
            assert await self.is_there(name), name
        self.drive.cuts.log()
        assert check(self.drive.database, self.state / "segments")[0] == []
