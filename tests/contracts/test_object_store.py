"""What `cloud_tier.object_store` promises, asked of every store and of every wrapper around one."""

import random

import pytest
import trio
from contracts.subjects import Subject

from cloud_tier.errors import ObjectExists, ObjectMissing, RangeBeyondEnd
from cloud_tier.object_store import ObjectInfo, Page, list_objects
from cloud_tier.probe import Capabilities, probe

BODY = random.Random(7).randbytes(1000)
REFUSED = [
    "",
    "/a",
    "a/",
    "a//b",
    "../a",
    "a/../b",
    ".",
    ".hidden",
    "a/.b",
    "A",
    "ä",
    "a b",
    "a\n",
    "a\\b",
    "a_b",
    "x" * 256,
]
BIG = random.Random(8).randbytes((16 << 20) + 123)


async def all_names(subject: Subject, prefix: str, after: str = "") -> list[str]:
    return [info.name async for info in list_objects(subject.store, prefix, after)]


async def test_object_is_what_was_put(subject: Subject) -> None:
    for number, body in enumerate([b"", b"x", BODY]):
        await subject.store.put(f"packs/1/{number}", body)
        assert await subject.store.get(f"packs/1/{number}") == body
        assert await subject.store.size(f"packs/1/{number}") == len(body)


async def test_any_buffer_is_a_body(subject: Subject) -> None:
    for number, kind in enumerate([bytes, bytearray, memoryview]):
        await subject.store.put(f"{number}", kind(BODY))
        read = await subject.store.get(f"{number}")
        assert type(read) is bytes
        assert read == BODY


async def test_big_object_is_what_was_put(subject: Subject) -> None:
    await subject.store.put("packs/1/big", BIG)
    assert await subject.store.get("packs/1/big") == BIG
    assert await subject.store.get("packs/1/big", len(BIG) - 5) == BIG[-5:]


async def test_range_is_answered_to_the_byte(subject: Subject) -> None:
    await subject.store.put("a", BODY)
    for start, length in [(0, 1), (0, 1000), (10, 20), (999, 1), (400, None), (999, None)]:
        end = len(BODY) if length is None else start + length
        assert await subject.store.get("a", start, length) == BODY[start:end], (start, length)


async def test_range_beyond_the_end_is_refused_and_never_short(subject: Subject) -> None:
    await subject.store.put("a", BODY)
    for start, length in [(0, 1001), (999, 2), (1000, 1), (1000, None), (5000, 10)]:
        with pytest.raises(RangeBeyondEnd) as caught:
            await subject.store.get("a", start, length)
        assert caught.value.size_bytes == 1000, (start, length)


async def test_empty_object_has_no_range(subject: Subject) -> None:
    await subject.store.put("a", b"")
    with pytest.raises(RangeBeyondEnd):
        await subject.store.get("a", 0, 1)


async def test_what_is_no_range_is_refused(subject: Subject) -> None:
    await subject.store.put("a", BODY)
    for start, length in [(-1, 1), (0, 0), (0, -1)]:
        with pytest.raises(ValueError, match="range"):
            await subject.store.get("a", start, length)


async def test_missing_object_is_named(subject: Subject) -> None:
    await subject.store.put("here/a", BODY)
    for name in ("gone", "here/b", "here/a/c", "here"):
        with pytest.raises(ObjectMissing) as caught:
            await subject.store.get(name)
        assert caught.value.name == name
        with pytest.raises(ObjectMissing):
            await subject.store.get(name, 5, 5)
        with pytest.raises(ObjectMissing):
            await subject.store.size(name)


async def test_name_that_some_store_could_not_keep_is_refused(subject: Subject) -> None:
    for name in REFUSED:
        with pytest.raises(ValueError, match="name"):
            await subject.store.put(name, BODY)
        with pytest.raises(ValueError, match="name"):
            await subject.store.get(name)
        with pytest.raises(ValueError, match="name"):
            await subject.store.size(name)
        with pytest.raises(ValueError, match="name"):
            await subject.store.delete([name])
    with pytest.raises(ValueError, match="begins"):
        await subject.store.list_page("ä")
    assert await all_names(subject, "") == []


async def test_put_again_with_the_same_bytes_changes_nothing(subject: Subject) -> None:
    await subject.store.put("a", BODY)
    await subject.store.put("a", BODY)
    assert await subject.store.get("a") == BODY
    assert await all_names(subject, "") == ["a"]


@pytest.mark.creates_only
async def test_create_only_leaves_what_is_there(subject: Subject) -> None:
    await subject.store.put("lease/000001", b"first", if_absent=True)
    with pytest.raises(ObjectExists) as caught:
        await subject.store.put("lease/000001", b"second", if_absent=True)
    assert caught.value.name == "lease/000001"
    assert await subject.store.get("lease/000001") == b"first"


@pytest.mark.creates_only
async def test_one_of_two_who_create_at_once_wins(subject: Subject) -> None:
    outcomes: dict[str, list[bytes]] = {"won": [], "lost": []}

    async def create(body: bytes) -> None:
        try:
            await subject.store.put("lease/000001", body, if_absent=True)
            outcomes["won"].append(body)
        except ObjectExists:
            outcomes["lost"].append(body)

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(create, b"writer %d" % number)
    assert len(outcomes["won"]) == 1
    assert len(outcomes["lost"]) == 7
    assert await subject.store.get("lease/000001") == outcomes["won"][0]


async def test_deleted_objects_are_gone_and_missing_ones_no_error(subject: Subject) -> None:
    for name in ("a", "b/c", "b/d"):
        await subject.store.put(name, BODY)
    await subject.store.delete(["a", "b/c", "never/was", "neither"])
    await subject.store.delete(["a"])
    await subject.store.delete([])
    assert await all_names(subject, "") == ["b/d"]
    with pytest.raises(ObjectMissing):
        await subject.store.get("a")


async def test_listing_is_sorted_by_name_and_bounded_by_prefix_and_after(subject: Subject) -> None:
    names = ["a", "b-c/1", "b.c", "b/1", "b/1-2", "b/10", "b/2/x", "b/2/y", "b0", "c/1"]
    for name in reversed(names):
        await subject.store.put(name, name.encode())
    assert names == sorted(names)
    assert await all_names(subject, "") == names
    assert await all_names(subject, "b/") == ["b/1", "b/1-2", "b/10", "b/2/x", "b/2/y"]
    assert await all_names(subject, "b/1") == ["b/1", "b/1-2", "b/10"]
    assert await all_names(subject, "b/", "b/10") == ["b/2/x", "b/2/y"]
    assert await all_names(subject, "b/", "b/2/x") == ["b/2/y"]
    assert await all_names(subject, "", "b/1x") == ["b/2/x", "b/2/y", "b0", "c/1"]
    assert await all_names(subject, "d") == []
    page = await subject.store.list_page("b/2/")
    assert page == Page([ObjectInfo("b/2/x", 5), ObjectInfo("b/2/y", 5)], True)


async def test_listing_of_more_than_a_page_is_whole(subject: Subject) -> None:
    names = [f"log/{number:06d}" for number in range(subject.page_objects + 5)]
    async with trio.open_nursery() as nursery:
        for some in range(8):
            nursery.start_soon(put_all, subject, names[some::8])
    page = await subject.store.list_page("log/")
    assert [info.name for info in page.objects] == names[: subject.page_objects]
    assert not page.is_last
    assert await all_names(subject, "log/") == names
    await subject.store.delete(names)
    assert await subject.store.list_page("") == Page([], True)


async def put_all(subject: Subject, names: list[str]) -> None:
    for name in names:
        await subject.store.put(name, b"x")


async def test_sixteen_puts_at_once_are_sixteen_objects(subject: Subject) -> None:
    bodies = {f"packs/{number:02d}": random.Random(number).randbytes(300_000) for number in range(16)}
    async with trio.open_nursery() as nursery:
        for name, body in bodies.items():
            nursery.start_soon(subject.store.put, name, body)
    read: dict[str, bytes] = {}

    async def get(name: str) -> None:
        read[name] = await subject.store.get(name)

    async with trio.open_nursery() as nursery:
        for name in bodies:
            nursery.start_soon(get, name)
    assert read == bodies


async def test_bodies_are_paced_in_both_directions(subject: Subject) -> None:
    moved: list[int] = []

    async def pace(size_bytes: int) -> None:
        moved.append(size_bytes)

    body = BIG[:1_000_000]
    await subject.store.put("a", body, pace=pace)
    assert sum(moved) == len(body)
    assert max(moved) <= 64 << 10
    moved.clear()
    assert await subject.store.get("a", 100, 500_000, pace=pace) == body[100:500_100]
    assert sum(moved) == 500_000
    assert max(moved) <= 64 << 10


async def test_a_cancelled_put_lets_go_at_once_and_leaves_all_or_nothing(subject: Subject) -> None:
    begun = trio.Event()

    async def stuck(size_bytes: int) -> None:
        begun.set()
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: subject.store.put("a", BODY, pace=stuck))
        await begun.wait()
        nursery.cancel_scope.cancel()
    assert await all_names(subject, "") == []
    await subject.store.put("a", BODY)
    assert await subject.store.get("a") == BODY


async def test_probe_finds_what_the_store_can_do(subject: Subject) -> None:
    assert await probe(subject.store) == Capabilities(conditional_create=subject.creates_only)
    assert await all_names(subject, "") == []
