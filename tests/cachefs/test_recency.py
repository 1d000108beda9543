"""A restart does not forget what is in use, and nothing depends on that."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import CloudDrive
from kit.fake_clock import FakeClock
from trio.testing import MockClock

from cachefs.evicting import SAVE_S
from cachefs.eviction import SOON_MIN
from cachefs.tier import RECENCY

FILES = [f"{number}" for number in range(20)]
IN_USE = FILES[:5]
BYTES = 700  # one block each


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    """A drive with twenty files, all here and in the store; the five that came first are read again and again."""
    clock = FakeClock()
    async with CloudDrive(tmp_path / "state", clock=clock) as built:
        for number, name in enumerate(FILES):
            await built.write(name, random.Random(number).randbytes(BYTES))
        await built.sent()
        await built.cut()
        await built.tier.evicting.make_room(0)
        for _ in range(3):
            clock.advance(60.0 * SOON_MIN)
            for name in IN_USE:
                await built.read(name)
            await built.tier.evicting.evict(1)  # a victim sorts the reads in
        yield built


def still_here(built: CloudDrive) -> set[str]:
    return {name for name in FILES if built.held_bytes(name)}


async def make_half_leave(built: CloudDrive) -> None:
    await trio.sleep(2)  # it has looked around after its start
    await built.tier.evicting.evict(built.tier.evicting.evictable_bytes // 2)
    await built.cut()
    assert 5 <= len(still_here(built)) <= 10


async def test_what_is_in_use_stays_over_a_restart(virtual_time: MockClock, built: CloudDrive) -> None:
    await built.restart()
    await make_half_leave(built)
    assert set(IN_USE) <= still_here(built)


async def test_what_was_in_use_minutes_ago_stays_over_the_death_of_the_core(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    await trio.sleep(SAVE_S + 2)
    await built.cut()
    await built.restart(crash=True)
    await make_half_leave(built)
    assert set(IN_USE) <= still_here(built)


@pytest.mark.parametrize("spoil", ["removed", "torn", "turned over"])
async def test_without_the_file_or_with_a_damaged_one_everything_may_go(
    virtual_time: MockClock, built: CloudDrive, spoil: str
) -> None:
    def between() -> None:
        path = built.state / RECENCY
        order = path.read_bytes()
        if spoil == "removed":
            path.unlink()
        else:
            path.write_bytes(order[: len(order) // 2 + 3] if spoil == "torn" else order[::-1])

    await built.restart(between=between)
    await trio.sleep(2)
    await built.drop()
    assert still_here(built) == set()
    for number, name in enumerate(FILES):
        assert await built.read(name) == random.Random(number).randbytes(BYTES)
