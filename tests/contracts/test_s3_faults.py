"""An S3 store that is asked again lives through what networks and servers do, one fault after the other.

Between store and server stands `kit.fault_proxy`. What a store cannot see by itself (an answer with a wrong bit, an
object that a replica does not know yet) comes through: those lies are for the layers above, whose seals and whose rule
that nothing follows from absence are made for them.

A longer watch, with every fault in every place: STORE_SEEDS=20.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import pytest
import trio
from kit.breaks import Break
from kit.fault_proxy import FaultProxy, fault_proxy
from kit.s3_servers import BUCKET, S3Server

from cloud_tier.errors import ConnectionStale, ObjectExists, ObjectMissing, StoreThrottled, UploadDamaged
from cloud_tier.object_store import Page, list_objects
from cloud_tier.retrying import Retrying, RetryPolicy
from cloud_tier.s3_store import S3Store, open_s3_store

BODY = random.Random(3).randbytes(300_000)
POLICY = RetryPolicy(first_wait_s=0.01, longest_wait_s=0.02, deadline_s=20.0)
SEEDS = range(1, 1 + int(os.environ.get("STORE_SEEDS", "1")))
# A hang is half a second of waiting, so that one put and one get must do, unless somebody has the time.
QUICKLY_TOLD = [Break.RESET, Break.ERROR_500, Break.SLOW_DOWN]
NOTHING_DONE = [*QUICKLY_TOLD, Break.HANG]
NOTHING_DONE_ELSEWHERE = NOTHING_DONE if len(SEEDS) > 1 else QUICKLY_TOLD
DONE_IN_SECRET = [Break.LOST_ACK, Break.STORED_500]


@dataclass
class Line:
    """A store at the end of a line that breaks."""

    proxy: FaultProxy
    bare: S3Store

    def asked_again(self) -> Retrying:
        return Retrying(self.bare, POLICY, random.Random(1))


@pytest.fixture(scope="module")
def kept_line(moto_server: S3Server) -> Iterator[Line]:
    with fault_proxy(moto_server.endpoint, seed=5) as proxy:
        proxy.retry_after_s = 0
        proxy.delay_s = 0.03
        open_it = partial(open_s3_store, BUCKET, "faults", endpoint=proxy.endpoint, read_timeout_s=0.5)
        yield Line(proxy, trio.run(open_it))


@pytest.fixture
def line(kept_line: Line) -> Iterator[Line]:
    kept_line.proxy.forget()
    yield kept_line
    kept_line.proxy.assert_all_hit()
    kept_line.proxy.forget()
    trio.run(remove_all, kept_line.bare)


async def remove_all(store: S3Store) -> None:
    await store.delete([info.name async for info in list_objects(store, "")])


@pytest.mark.parametrize(
    "what", [*NOTHING_DONE, *DONE_IN_SECRET, Break.DROP_UPLOAD, Break.CORRUPT_UPLOAD, Break.DELAY, Break.TWICE]
)
async def test_put_ends_with_the_object_whole(line: Line, what: Break) -> None:
    line.proxy.plan("PUT", what)
    store = line.asked_again()
    await store.put("a", BODY)
    assert store.statistics().retries > 0 or what in (Break.DELAY, Break.TWICE)
    assert await store.get("a") == BODY


@pytest.mark.parametrize("what", [*NOTHING_DONE, Break.LOST_ACK, Break.DROP_ANSWER, Break.TRUNCATE, Break.DELAY])
async def test_get_ends_with_every_byte(line: Line, what: Break) -> None:
    store = line.asked_again()
    await store.put("a", BODY)
    if what in NOTHING_DONE_ELSEWHERE or what not in NOTHING_DONE:
        line.proxy.plan("GET", what)
    assert await store.get("a") == BODY
    line.proxy.plan("GET", what)
    assert await store.get("a", 1000, 200_000) == BODY[1000:201_000]


@pytest.mark.parametrize("what", [Break.DROP_ANSWER, Break.TRUNCATE])
async def test_a_refusal_that_is_cut_off_is_asked_for_again(line: Line, what: Break) -> None:
    line.proxy.plan("GET", what)
    with pytest.raises(ObjectMissing):
        await line.asked_again().get("not-there")


@pytest.mark.parametrize("what", [*NOTHING_DONE_ELSEWHERE, *DONE_IN_SECRET, Break.DROP_ANSWER, Break.TRUNCATE])
async def test_list_and_delete_end_with_what_is_so(line: Line, what: Break) -> None:
    store = line.asked_again()
    await store.put("a", BODY)
    line.proxy.plan("LIST", what)
    page = await store.list_page("")
    assert [info.name for info in page.objects] == ["a"]
    line.proxy.plan("POST", what)
    await store.delete(["a"])
    assert await store.list_page("") == Page([], True)


@pytest.mark.parametrize("what", [*NOTHING_DONE_ELSEWHERE, *DONE_IN_SECRET])
async def test_create_only_is_ours_whatever_became_of_the_answer(line: Line, what: Break) -> None:
    store = line.asked_again()
    line.proxy.plan("PUT", what)
    await store.put("lease/000001", b"ours", if_absent=True)
    with pytest.raises(ObjectExists):
        await store.put("lease/000001", b"theirs", if_absent=True)
    assert await store.get("lease/000001") == b"ours"


async def test_damaged_upload_is_noticed_although_the_server_took_it(line: Line) -> None:
    line.proxy.plan("PUT", Break.CORRUPT_UPLOAD)
    with pytest.raises(UploadDamaged):
        await line.bare.put("a", BODY)


async def test_throttling_says_for_how_long(line: Line) -> None:
    line.proxy.plan("PUT", Break.SLOW_DOWN)
    line.proxy.retry_after_s = 7
    with pytest.raises(StoreThrottled) as caught:
        await line.bare.put("a", BODY)
    assert caught.value.retry_after_s == 7.0
    line.proxy.retry_after_s = 0


async def test_kept_connection_that_died_is_told_from_a_store_that_is_away(line: Line) -> None:
    await line.bare.put("a", BODY)
    line.proxy.plan("GET", Break.RESET)
    with pytest.raises(ConnectionStale):
        await line.bare.get("a")


async def test_idle_connections_that_the_server_ended_cost_no_stall(line: Line) -> None:
    patient = RetryPolicy(first_wait_s=1000.0, longest_wait_s=1000.0)  # a wait would end the test
    store = Retrying(line.bare, patient, random.Random(1))

    async def use(name: str) -> None:
        await store.put(name, BODY)
        assert await store.get(name) == BODY

    for _ in range(3):
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(use, f"{number}")
        assert line.proxy.end_idle() >= 2
    assert store.statistics().retries == store.statistics().stale


async def test_lies_that_only_seals_can_show_come_through(line: Line) -> None:
    store = line.asked_again()
    await store.put("a", BODY)
    line.proxy.plan("GET", Break.CORRUPT_ANSWER)
    damaged = await store.get("a")
    assert damaged != BODY
    assert len(damaged) == len(BODY)
    line.proxy.plan("GET", Break.STALE)
    with pytest.raises(ObjectMissing):
        await store.get("a")
    line.proxy.plan("LIST", Break.EMPTY)
    assert await store.list_page("") == Page([], True)
    assert await store.get("a") == BODY


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_by_chance_no_object_is_lost_or_wrong(line: Line, seed: int) -> None:
    honest = [*QUICKLY_TOLD, *DONE_IN_SECRET, Break.DROP_UPLOAD, Break.CORRUPT_UPLOAD, Break.DROP_ANSWER, Break.TWICE]
    chance = random.Random(seed)
    store = Retrying(line.bare, POLICY, chance)
    bodies = {f"packs/{number:02d}": chance.randbytes(chance.randrange(100_000)) for number in range(24)}
    line.proxy.scatter(0.25, honest)

    async def put_and_get(names: list[str]) -> None:
        for name in names:
            await store.put(name, bodies[name])
            assert await store.get(name) == bodies[name]

    async with trio.open_nursery() as nursery:
        for some in range(4):
            nursery.start_soon(put_and_get, sorted(bodies)[some::4])
    assert {info.name: info.size_bytes async for info in list_objects(store, "packs/")} == {
        name: len(body) for name, body in bodies.items()
    }
    assert store.statistics().retries > 5


async def test_a_cancelled_upload_stops_sending(line: Line) -> None:
    begun = trio.Event()

    async def slow(size_bytes: int) -> None:
        begun.set()
        await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: line.bare.put("a", bytes(64 << 20), pace=slow))
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert await line.bare.list_page("") == Page([], True)
