"""A store is believed what it does, not what it says."""

import pytest
from kit.faulty_store import FaultyStore, What
from trio.testing import MockClock

from cloud_tier.errors import StoreDenied, StoreMisconfigured, StoreUnavailable
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import Buffer, Pace, Page
from cloud_tier.probe import Capabilities, probe


class Overwriting(MemoryStore):
    """Ignores create-only, as some servers do."""

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        await super().put(name, body, pace=pace)


class Refusing(MemoryStore):
    """Says that it does not know create-only."""

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        if if_absent:
            raise StoreMisconfigured("501 NotImplemented")
        await super().put(name, body, pace=pace)


class Wholesale(MemoryStore):
    """Ignores ranges."""

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        return await super().get(name)


class Short(MemoryStore):
    """Answers a range beyond the end with what there is."""

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        return (await super().get(name))[start:][:length]


class FirstPageOnly(MemoryStore):
    """Begins every listing at its beginning."""

    async def list_page(self, prefix: str, after: str = "") -> Page:
        return await super().list_page(prefix)


class Keeping(MemoryStore):
    """Says yes to a delete, and keeps all."""

    async def delete(self, names: object) -> None:
        pass


async def test_good_store_is_found_good_and_left_empty() -> None:
    store = MemoryStore()
    assert await probe(store) == Capabilities(conditional_create=True)
    assert store.objects == {}


@pytest.mark.parametrize("kind", [Overwriting, Refusing])
async def test_store_that_cannot_create_only_is_reported(kind: type[MemoryStore]) -> None:
    store = kind()
    assert await probe(store) == Capabilities(conditional_create=False)
    assert store.objects == {}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Wholesale, "another one"),
        (Short, "more of an object than there is"),
        (FirstPageOnly, "continued behind a name"),
        (Keeping, "deleted"),
    ],
)
async def test_store_that_the_drive_cannot_live_with_is_refused_with_the_reason(
    kind: type[MemoryStore], reason: str
) -> None:
    with pytest.raises(StoreMisconfigured, match=reason):
        await probe(kind())


@pytest.mark.parametrize(
    ("call", "what", "reason"),
    [
        ("put", What.CORRUPT, "not what was stored"),
        ("get", What.MISSING, "not there"),
        ("list", What.EMPTY, "do not show"),
    ],
)
async def test_lie_of_a_store_is_found_out_and_nothing_is_left_behind(
    call: str, what: What, reason: str, autojump_clock: MockClock
) -> None:
    memory = MemoryStore()
    store = FaultyStore(memory)
    store.plan(call, what)
    with pytest.raises(StoreMisconfigured, match=reason):
        await probe(store)
    store.assert_all_hit()
    assert memory.objects == {}


async def test_what_the_store_raises_comes_through() -> None:
    store = FaultyStore(MemoryStore())
    store.plan("list", error=StoreDenied("no right to list"))
    with pytest.raises(StoreDenied):
        await probe(store)
    store.is_offline = True
    with pytest.raises(StoreUnavailable):
        await probe(store)
