"""The running drive's line to its store: a start needs none, another past is refused, looking is free."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from kit.fake_clock import FakeClock
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from appliance.keys import Brought, Keys
from appliance.leasing import Leasing
from appliance.making import Wishes, make_drive
from appliance.places import StatePlaces
from appliance.store_link import AGAIN_S, DAY_S, START_S, StoreLink, look_once
from cloud_tier.drive_header import DriveHeader
from cloud_tier.errors import StoreUnavailable
from cloud_tier.late_store import Late
from cloud_tier.measuring import Measuring
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_names import DRIVE
from cloud_tier.object_store import ObjectStore
from cloud_tier.retrying import Retrying
from cloud_tier.ring_store import put_header, put_ring
from cloud_tier.store_url import DirUrl, OpenStore

BACK_S = 30.0
URL = DirUrl(Path("/the/store"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """The keys of a drive; nothing here changes them."""
    places = StatePlaces(tmp_path_factory.mktemp("made") / "state")
    trio.run(make_drive, places, Wishes(give_kit=lambda made: None))
    return Keys.open(places, Brought())


@pytest.fixture
async def store(opened: Keys) -> MemoryStore:
    """What the drive's store holds."""
    store = MemoryStore()
    await put_header(store, opened.header_bytes)
    await put_ring(store, opened.ring)
    return store


def link_to(store: ObjectStore, opened: Keys) -> StoreLink:
    measured = Measuring(store, FakeClock())
    retried = Retrying(measured)
    return StoreLink(
        URL, OpenStore(retried, retried, measured, retried), opened, Leasing(opened._places, opened, FakeClock())
    )


async def test_the_drives_own_store_is_reachable_and_may_be_used(
    opened: Keys, store: MemoryStore, autojump_clock: MockClock
) -> None:
    link = link_to(store, opened)
    assert (link.status().state, link.status().url) == ("unknown", "file:///the/store")
    await link.look()
    assert link.status().state == "reachable"
    assert link.followed.is_set()
    assert link.keys is opened


async def test_a_start_waits_a_moment_for_the_store_and_then_goes_on(
    opened: Keys, store: MemoryStore, autojump_clock: MockClock
) -> None:
    is_plugged = False

    async def opening() -> ObjectStore:
        if not is_plugged:
            raise StoreUnavailable("nothing is mounted there")
        return store

    link = link_to(Late(opening), opened)
    await link.look()
    assert trio.current_time() <= START_S
    assert link.status().state == "unreachable"
    assert "nothing is mounted there" in (link.status().reason or "")
    assert not link.followed.is_set()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await trio.sleep(10 * AGAIN_S)
        is_plugged = True
        with trio.fail_after(BACK_S):
            await link.followed.wait()
        nursery.cancel_scope.cancel()
    assert link.status().state == "reachable"


@pytest.mark.expected_log("the store is not used: The store is not free for this drive")
async def test_another_drives_store_is_refused_until_the_right_one_is_back(
    opened: Keys, store: MemoryStore, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    right, store.objects = store.objects, {}
    store.objects[DRIVE] = right[DRIVE][:10] + bytes(16) + right[DRIVE][26:]
    link = link_to(store, opened)
    with caplog.at_level(logging.ERROR):
        await link.look()
        assert link.status().state == "refused"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run)
            await trio.sleep(3.5 * AGAIN_S)
            assert not link.followed.is_set()
            assert len(caplog.records) == 1, "said once"
            store.objects = right
            with trio.fail_after(BACK_S):
                await link.followed.wait()
            nursery.cancel_scope.cancel()
    assert link.status().state == "reachable"


@pytest.mark.expected_log("the store is not used: The store has no object keys/")
async def test_an_emptied_store_is_refused(opened: Keys, store: MemoryStore) -> None:
    del store.objects["keys/000002"]
    link = link_to(store, opened)
    await link.look()
    assert link.status().state == "refused"
    assert "an older state" in (link.status().reason or "")


@pytest.mark.parametrize(("nth", "what"), [(1, What.MISSING), (1, What.CORRUPT), (2, What.MISSING), (2, What.CORRUPT)])
async def test_one_answer_that_is_wrong_makes_no_other_store(
    opened: Keys, store: MemoryStore, what: What, nth: int, autojump_clock: MockClock
) -> None:
    faulty = FaultyStore(store)
    faulty.plan("get", what, nth)
    link = link_to(faulty, opened)
    await link.look()
    assert link.followed.is_set()
    faulty.assert_all_hit()


async def test_the_doctor_looks_once_at_the_store_of_a_drive_that_is_stopped(tmp_path: Path, opened: Keys) -> None:
    places = StatePlaces(tmp_path / "state")
    await make_drive(places, Wishes(give_kit=lambda made: None))
    url, header = DirUrl(places.store), places.drive_header.read_bytes()
    assert DriveHeader.peek(header).drive_id != opened.held.drive_id
    assert (await look_once(url, header, FakeClock())).state == "reachable"
    assert (await look_once(url, opened.header_bytes, FakeClock())).state == "refused"
    (places.store / DRIVE).unlink()
    assert (await look_once(url, header, FakeClock())).state == "refused"
    assert (await look_once(DirUrl(tmp_path / "away"), header, FakeClock())).state == "unreachable"


async def test_a_ring_that_rots_while_the_drive_runs_is_whole_again_within_a_day(
    opened: Keys, store: MemoryStore, autojump_clock: MockClock, expected_log: Callable[[str], None]
) -> None:
    expected_log("was damaged, and was put there anew")
    link = link_to(store, opened)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        await trio.sleep(60)
        assert link.followed.is_set()
        name = next(name for name in store.objects if name.startswith("keys/"))
        whole = store.objects[name]
        store.objects[name] = whole[:-1]
        await trio.sleep(DAY_S + AGAIN_S)
        nursery.cancel_scope.cancel()
    assert store.objects[name] == whole
    assert link.status().state == "reachable"
