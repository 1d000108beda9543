"""The core dies before and after each call that upkeep makes to the store: everything that is needed stays there."""

from itertools import count
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import CloudDrive
from trio.testing import MockClock

from cloud_tier.margins import Margins
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import Buffer, Pace

MARGINS = Margins(grace_s=0.0, least_small=3)
FILES = {f"{number}": bytes([number]) * 5000 for number in range(4)}


class Stopping(MemoryStore):
    """Never answers at one of the points that its calls pass, one before and one after each."""

    def __init__(self) -> None:
        super().__init__()
        self.points = 0
        self.stops_at = 0

    async def _pass(self) -> None:
        self.points += 1
        if 0 < self.stops_at <= self.points:  # and whoever asks a second time hears nothing either
            await trio.sleep_forever()

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await self._pass()
        await super().put(name, body, if_absent=if_absent, pace=pace)
        await self._pass()

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        await self._pass()
        data = await super().get(name, start, length, pace=pace)
        await self._pass()
        return data

    async def delete(self, names: object) -> None:
        await self._pass()
        await super().delete(names)  # type: ignore[arg-type]
        await self._pass()


async def tidy_up(built: CloudDrive) -> None:
    for _ in range(3):
        await built.tier.upkeep.round(is_daily=True)
        await built.cut()


@pytest.mark.parametrize("is_cut", [False, True])
async def test_wherever_the_core_dies_in_upkeep_all_that_is_needed_is_in_the_store(
    virtual_time: MockClock, tmp_path: Path, is_cut: bool
) -> None:
    for stops_at in count(1):
        store = Stopping()
        async with CloudDrive(tmp_path / f"{stops_at}", store, margins=MARGINS) as built:
            built.store._inner = store
            for name, data in FILES.items():
                await built.write(name, data)
                await built.sent()
            await built.unlink("2")
            await built.cut()
            await built.drop()
            built.retain()
            store.points, store.stops_at = 0, stops_at
            with trio.move_on_after(60) as scope:
                await tidy_up(built)
            if is_cut:
                await built.cut()
            store.stops_at = 0
            await built.restart(crash=True)
            built.retain()
            await built.require_readable()
            await tidy_up(built)
            await built.require_readable()
            assert len(await built.packs()) == 1
            for name in FILES.keys() - {"2"}:
                assert await built.read(name) == FILES[name]
        if not scope.cancelled_caught:
            break
    assert stops_at > 8
