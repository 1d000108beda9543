"""Upkeep of the store over a whole drive: what is dead goes late, what is needed never, and steps stay small."""

import random
from collections.abc import AsyncIterator
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import KEYS, CloudDrive
from kit.faulty_store import What
from trio.testing import MockClock

from cachefs.catalog import DOOMED, STORED
from cloud_tier.errors import StoreUnavailable
from cloud_tier.gc import Right
from cloud_tier.margins import Margins
from cloud_tier.pack import PackId
from vfs.check import check
from vfs.cloud_epochs import YOUNG_S

DAY_S = 86_400.0
MARGINS = Margins(small_bytes=150_000, scrub_days=0)


def noise(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    async with CloudDrive(tmp_path / "state", margins=MARGINS) as drive:
        drive.retain()
        yield drive
        await drive.cut()
        findings, _ = check(drive.drive.database, drive.state / "segments")
        assert findings == []


def states(built: CloudDrive) -> list[int]:
    return [state for (state,) in built.drive.database.rows("SELECT state FROM packs ORDER BY pack")]


async def gone(built: CloudDrive, *names: str) -> None:
    """The files are removed, and their blocks with them."""
    for name in names:
        await built.unlink(name)
    built.clock.advance(YOUNG_S)  # type: ignore[attr-defined]  # as long as their names are remembered
    await built.cut()
    await trio.sleep(5)
    await built.drive.reaper.finish()
    await built.cut()


async def rounds(built: CloudDrive, days: float, *, is_daily: bool = False) -> None:
    """Let time pass, a quarter of a day between two rounds."""
    for _ in range(max(1, round(days * 4))):
        await built.tier.upkeep.round(is_daily=is_daily)
        await built.cut()
        built.clock.advance(DAY_S / 4)  # type: ignore[attr-defined]


async def test_a_dead_pack_waits_for_the_grace_and_then_goes(virtual_time: MockClock, built: CloudDrive) -> None:
    await built.write("a", noise(1, 50_000))
    await built.sent()
    await gone(built, "a")
    await rounds(built, 1)
    assert states(built) == [DOOMED]
    assert len(await built.packs()) == 1, "the grace has not passed"
    await rounds(built, 1.5)
    assert states(built) == []
    assert await built.packs() == []


async def test_nothing_goes_before_the_oldest_checkpoint_is_newer_than_the_doom(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    await built.write("a", noise(1, 50_000))
    await built.sent()
    await gone(built, "a")
    collector = built.tier.upkeep.collector
    collector.oldest_retained = lambda: None
    await rounds(built, 4)
    assert len(await built.packs()) == 1
    (doomed_at,) = built.drive.database.row("SELECT doomed_at FROM packs")
    collector.oldest_retained = lambda: doomed_at
    await rounds(built, 1)
    assert len(await built.packs()) == 1, "that checkpoint may be the very one that dooms it"
    collector.oldest_retained = lambda: doomed_at + 1
    await rounds(built, 1)
    assert await built.packs() == []


async def test_the_same_bytes_written_again_never_lead_into_a_doomed_pack(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    await built.write("a", noise(1, 50_000))
    await built.sent()
    await gone(built, "a")
    await rounds(built, 0.5)
    await built.write("b", noise(1, 50_000))
    await built.sent()
    assert states(built) == [DOOMED, STORED]
    await rounds(built, 3)
    await built.drop()
    assert len(await built.packs()) == 1
    assert await built.read("b") == noise(1, 50_000)


async def test_a_block_that_any_state_needs_keeps_its_pack(virtual_time: MockClock, built: CloudDrive) -> None:
    await built.write("a", noise(1, 50_000))
    snapshot = await built.snapshot()
    await built.sent()
    await gone(built, "a")
    await rounds(built, 3)
    await built.drop()
    assert await built.read_past(snapshot.name, "a") == noise(1, 50_000)
    built.drive.snapshots.delete(snapshot.name)
    await built.cut()
    await trio.sleep(60)
    await built.cut()
    await rounds(built, 3)
    assert await built.packs() == []


async def test_a_listing_that_lies_costs_nothing(virtual_time: MockClock, built: CloudDrive) -> None:
    await built.write("a", noise(1, 50_000))
    await built.sent()
    await built.write("b", noise(2, 50_000))
    await built.sent()
    await gone(built, "a")
    asked = built.store.calls["list"]  # by the start, whether the store is ahead of this machine
    built.store.plan("list", What.EMPTY, times=None)
    await rounds(built, 3)
    await built.drop()
    assert await built.read("b") == noise(2, 50_000)
    assert built.store.calls["list"] == asked, "nobody asks for one"
    built.store.faults.clear()
    assert len(await built.packs()) == 1


async def test_what_is_being_recorded_is_not_doomed(virtual_time: MockClock, built: CloudDrive) -> None:
    """The first blocks of a pack have died, and the others are recorded in a later turn."""
    packs = built.tier.packs
    number = await packs.begin(PackId(bytes(32)), KEYS.current, 1, 1000)
    with built.drive.cache.catalog.recording(number):
        assert packs.doom([number]) == 0
    assert packs.doom([number]) == 1


async def test_what_is_needed_since_somebody_looked_is_not_doomed(virtual_time: MockClock, built: CloudDrive) -> None:
    await built.write("a", noise(1, 50_000))
    await built.sent()
    (number,) = built.drive.database.row("SELECT pack FROM packs")
    assert built.tier.packs.doom([number]) == 0


async def test_a_store_that_is_away_is_asked_again_later(virtual_time: MockClock, built: CloudDrive) -> None:
    await built.write("a", noise(1, 50_000))
    await built.sent()
    await gone(built, "a")
    await rounds(built, 1)
    built.store.plan("delete", times=3)
    await rounds(built, 2)
    built.store.assert_all_hit()
    assert await built.packs() == []


async def test_acknowledgement_of_a_deletion_that_is_lost_does_no_harm(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    await built.write("a", noise(1, 50_000))
    await built.sent()
    await gone(built, "a")
    built.store.plan("delete", What.LOST_ACK)
    await rounds(built, 3)
    built.store.assert_all_hit()
    assert states(built) == []


async def test_many_files_go_with_few_requests(virtual_time: MockClock, built: CloudDrive) -> None:
    for number in range(500):  # one pack: the count of requests does not grow with the files
        await built.write(f"{number}", noise(number, 4096))
    await built.sent()
    await gone(built, *map(str, range(500)))
    before = built.store.calls["any"]
    await rounds(built, 3)
    assert await built.packs() == []
    assert built.store.calls["any"] - before <= 2


async def test_packs_of_an_older_lease_stay_for_a_week_after_the_takeover(
    virtual_time: MockClock, tmp_path: Path
) -> None:
    async with CloudDrive(tmp_path / "state") as built:
        await built.write("a", noise(1, 50_000))
        await built.sent()
        await gone(built, "a")
        built.retain()
        right = Right(fence=2, claimed_ns=built.clock.now_ns())
        built.tier.upkeep.collector._right = lambda: right
        await rounds(built, 6.9)
        assert len(await built.packs()) == 1
        await rounds(built, 1)
        assert await built.packs() == []


async def test_the_lease_is_read_before_each_batch_and_without_it_nothing_goes(
    virtual_time: MockClock, built: CloudDrive
) -> None:
    looks = count(1)

    async def refuse() -> None:
        next(looks)
        raise StoreUnavailable("the lease cannot be read")

    await built.write("a", noise(1, 50_000))
    await built.sent()
    await gone(built, "a")
    built.tier.upkeep.collector._right = lambda: Right(check=refuse)
    await rounds(built, 3)
    assert next(looks) > 1
    assert len(await built.packs()) == 1


# --- merge and repack ---


async def test_small_packs_become_one(virtual_time: MockClock, built: CloudDrive) -> None:
    for number in range(10):
        await built.write(f"{number}", noise(number, 9000))
        await built.sent()
    assert states(built) == [STORED] * 10
    await rounds(built, 0.25, is_daily=True)
    assert states(built) == [DOOMED] * 10 + [STORED]
    await built.require_readable()
    await rounds(built, 3)
    assert len(await built.packs()) == 1
    await built.drop()
    for number in range(10):
        assert await built.read(f"{number}") == noise(number, 9000)


async def test_few_small_packs_are_left_alone(virtual_time: MockClock, built: CloudDrive) -> None:
    for number in range(Margins().least_small - 1):
        await built.write(f"{number}", noise(number, 9000))
        await built.sent()
    await rounds(built, 1, is_daily=True)
    assert set(states(built)) == {STORED}


async def sparse(built: CloudDrive) -> None:
    """One pack of 8 files, of which two are needed."""
    for number in range(8):
        await built.write(f"{number}", noise(number, 60_000))
    await built.sent()
    assert states(built) == [STORED]
    await gone(built, *map(str, range(2, 8)))


@pytest.mark.parametrize("is_cold", [False, True])
async def test_a_sparse_pack_is_packed_anew(virtual_time: MockClock, built: CloudDrive, is_cold: bool) -> None:
    await sparse(built)
    if is_cold:
        await built.drop()
    before = built.store.calls["get"]
    await rounds(built, 0.25, is_daily=True)
    assert (built.store.calls["get"] > before) == is_cold, "what is here is not fetched"
    assert built.store.calls["get"] - before <= 2
    assert states(built).count(STORED) == 1
    await built.require_readable()
    await rounds(built, 3)
    (name,) = await built.packs()
    assert await built.store.size(name) < 150_000
    await built.drop()
    assert [await built.read(f"{number}") for number in range(2)] == [noise(n, 60_000) for n in range(2)]


@pytest.mark.expected_log("cloud_tier.repack: pack 1 is not packed anew")
async def test_a_damaged_pack_is_left_as_it_is(virtual_time: MockClock, built: CloudDrive) -> None:
    await sparse(built)
    await built.drop()
    built.store.plan("get", What.CORRUPT, times=None)
    before = states(built)
    await rounds(built, 0.25, is_daily=True)
    built.store.assert_all_hit()
    built.store.faults.clear()
    assert states(built).count(STORED) == before.count(STORED), "what could not be read was not moved"
    await built.require_readable()
    await rounds(built, 0.25, is_daily=True)
    await built.require_readable()


@pytest.mark.expected_log("cloud_tier.uploader: The cloud store cannot be reached")
async def test_fresh_work_goes_first(virtual_time: MockClock, built: CloudDrive) -> None:
    await sparse(built)
    built.store.is_offline = True
    await built.write("fresh", noise(99, 5000))
    await built.seal()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(rounds, built, 0.25, is_daily=True))
        await trio.sleep(120)
        assert states(built).count(DOOMED) == 0, "something waits to be sent"
        built.store.is_offline = False
    assert states(built).count(DOOMED) == 1


@pytest.mark.parametrize("what", [What.REFUSED, What.LOST_ACK])
async def test_a_new_pack_that_could_not_be_sent_is_doomed_and_nothing_moved(
    virtual_time: MockClock, built: CloudDrive, what: What
) -> None:
    await sparse(built)
    before = states(built)
    built.store.plan("put", what)
    await rounds(built, 0.25, is_daily=True)
    built.store.assert_all_hit()
    assert states(built) == [*before, DOOMED]
    await rounds(built, 3, is_daily=True)
    await built.require_readable()
    assert len(await built.packs()) == 1
