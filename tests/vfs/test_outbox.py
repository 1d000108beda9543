"""What each cut changed is recorded whole: run on an older copy, it gives the tables of the drive (T7)."""

import random
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from kit.cloud_drive import KEYS, CloudDrive
from kit.damage import flip_bit
from kit.fault_plan import FaultPlan, FaultyDisk
from kit.replica import Replica, entries_in
from trio.testing import MockClock

from cachefs.disk import RealDisk
from cachefs.outbox import MOST_BYTES, Outbox, table_of
from cloud_tier.object_names import LOG
from cloud_tier.object_store import list_objects
from vfs.drive import Drive
from vfs.people import Role, SecretKind
from vfs.shares import Access
from vfs.state import LOCAL_TABLES


@pytest.fixture
async def built(tmp_path: Path, virtual_time: MockClock) -> AsyncIterator[CloudDrive]:
    async with CloudDrive(tmp_path / "state") as drive:
        yield drive


def outbox_of(drive: Drive) -> Outbox:
    assert drive.cuts.outbox is not None
    return drive.cuts.outbox


async def gathered(drive: Drive) -> Outbox:
    """The outbox, once it has the cut that is made now."""
    await drive.cuts.wait_cut()
    while outbox_of(drive).position < drive.cuts.durable:
        await trio.sleep(0.01)
    return outbox_of(drive)


async def work(built: CloudDrive, seed: int, steps: int) -> None:
    """Anything that writes rows."""
    chance = random.Random(seed)
    paths = [f"f{number}" for number in range(6)]
    for _ in range(steps):
        path, other = chance.sample(paths, 2)
        match chance.randrange(11):
            case 0 | 1 | 2:
                await built.write(path, chance.randbytes(chance.choice((10, 5000, 70_000))))
            case 3 if built.find(path):
                await built.write(path, chance.randbytes(300), chance.randrange(60_000))
            case 4 if built.find(path):
                await built.rename(path, other)
            case 5 if built.find(path):
                await built.unlink(path)
            case 6:
                await built.seal()
            case 7:
                await built.sent()
                await built.drop()
            case 8:
                built.clock.advance(1)
                await built.snapshot()
                snapshots = built.drive.snapshots.all()
                if len(snapshots) > 3:
                    built.drive.snapshots.delete(chance.choice(snapshots).name)
            case 9:
                await built.cut()
            case 10:
                change_people(built, chance)


def change_people(built: CloudDrive, chance: random.Random) -> None:
    """Anything that writes rows about people."""
    people, shares = built.drive.people, built.drive.shares
    names = [user.name for user in people.users()]
    if len(names) < 3:
        user = people.add_user(f"user{people.next_number()}", "", Role.EMPLOYEE)
        people.set_secrets(user.uid, {SecretKind.NT: "00" * 16})
        people.add_member(people.add_group(f"group{user.uid}").name, user.name)
        shares.allow(shares.open(f"Share {user.uid}").name, user.name, chance.choice(list(Access)))
    elif chance.random() < 0.5:
        people.remove_user(chance.choice(names))
    elif shares.all():
        shares.close(chance.choice(shares.all()).name)
        people.remove_group(chance.choice(people.groups()).name)


@pytest.mark.parametrize("seed", range(4))
async def test_entries_alone_give_the_same_tables(built: CloudDrive, tmp_path: Path, seed: int) -> None:
    await built.cut()
    replica = Replica(built.state, tmp_path / "replica.db")
    for round_ in range(6):
        await work(built, 10 * seed + round_, 25)
        if round_ == 4:
            await built.restart()
        elif round_ % 2:
            await built.restart(crash=True)
        await built.sent()
        assert replica.follow(await entries_in(built.store, KEYS)) > 0
        assert replica.differences(built.state) == []
    replica.close()


async def test_no_row_that_travels_comes_from_a_table_of_this_machine(built: CloudDrive) -> None:
    seen: set[str] = set()
    write = built.drive.database.write
    built.drive.database.write = lambda sql, values=(): (seen.add(sql), write(sql, values))[1]  # type: ignore[assignment]
    await work(built, 7, 150)
    travelling = [sql for sql in seen if table_of(sql) not in LOCAL_TABLES]
    assert len(travelling) > 15
    assert not [sql for sql in travelling for table in LOCAL_TABLES if table in sql.split()]


async def test_a_chain_goes_on_over_a_restart(built: CloudDrive) -> None:
    await built.write("a", b"one")
    before = (await gathered(built.drive)).origin
    await built.restart()
    await built.write("b", b"two")
    await built.restart(crash=True)
    assert (await gathered(built.drive)).origin == before


async def test_a_damaged_entry_begins_a_new_chain_and_stops_nothing(built: CloudDrive) -> None:
    await built.write("a", b"one")
    await gathered(built.drive)

    def damage() -> None:
        newest = max((built.state / "outbox").glob("0*"))
        flip_bit(newest, newest.stat().st_size // 2)

    await built.restart(between=damage)
    outbox = await gathered(built.drive)
    assert outbox.origin > 1
    await built.write("b", b"two")
    assert (await gathered(built.drive)).position > outbox.origin
    assert await built.read("a") == b"one"


async def test_cuts_that_nobody_recorded_begin_a_new_chain(built: CloudDrive) -> None:
    await built.write("a", b"one")
    await gathered(built.drive)
    cloud, built.cloud = built.cloud, None
    await built.restart()  # as a check of a stopped drive does
    built.cloud = cloud
    await built.restart()
    assert outbox_of(built.drive).origin == outbox_of(built.drive).position - 1


@pytest.mark.expected_log("could not be made ready for the store")
async def test_a_full_disk_delays_entries_and_loses_none(built: CloudDrive, tmp_path: Path) -> None:
    await gathered(built.drive)
    replica = Replica(built.state, tmp_path / "replica.db")
    plan = FaultPlan()
    outbox_of(built.drive)._disk = FaultyDisk(RealDisk(), plan)
    plan.fail("create log", code=28, times=3)
    for number in range(3):
        await built.write(f"{number}", b"bytes")
        await built.cut()
    await built.write("last", b"bytes")
    await built.sent()
    replica.follow(await entries_in(built.store, KEYS))
    plan.assert_all_hit()
    assert replica.differences(built.state) == []
    replica.close()


async def test_what_waits_for_too_long_is_given_up_for_a_checkpoint(built: CloudDrive) -> None:
    await built.write("a", b"one")
    outbox = await gathered(built.drive)
    built.drive.mirror.shipping.wake()  # type: ignore[union-attr]
    assert 0 < outbox.waiting_bytes < MOST_BYTES
    outbox.abandon()
    assert outbox.waiting == {}
    assert outbox.origin == outbox.position
    await built.restart(crash=True)
    await built.write("b", b"two")
    assert (await gathered(built.drive)).origin == outbox.origin


async def test_hours_of_small_changes_are_few_objects_and_the_same_rows(
    virtual_time: MockClock, built: CloudDrive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cachefs.shipping.COMPACT_S", 300.0)
    await built.sent()
    replica = Replica(built.state, tmp_path / "replica.db")
    counts = []
    for number in range(100):
        await built.write(f"{number % 7}", b"%d" % number)
        await trio.sleep(11)
        counts.append(len([info async for info in list_objects(built.store, LOG)]))
    await built.sent()
    assert sum(after < before for before, after in pairwise(counts)) == 3  # times that many became one
    assert max(counts) < 80
    await built.restart(crash=True)
    await built.sent()
    assert len(list((built.state / "outbox").iterdir())) < 60
    replica.follow(await entries_in(built.store, KEYS))
    assert replica.differences(built.state) == []
    replica.close()
