"""A store that fails by plan: the nth call of a kind, or by chance from a seed.

Stricter than any real one: it loses acknowledgements, turns bits over, forgets objects for a while and lists nothing.
A fault that was planned and never hit proves nothing, so a test ends with `assert_all_hit`.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import trio

from cloud_tier.errors import ObjectMissing, StoreError, StoreUnavailable
from cloud_tier.object_store import Buffer, ObjectStore, Pace, Page

ANY = "any"  # a fault of this kind counts the calls of all kinds


class What(Enum):
    """What may happen to a call."""

    REFUSED = "nothing is done, and the error raised"
    LOST_ACK = "it is done, and the error raised"
    DELAYED = "it is done, later"
    HANGS = "nothing is done, and there is never an answer"
    CORRUPT = "one bit is turned over in what is stored, or in what is answered"
    MISSING = "the object is said not to be there"
    EMPTY = "the list is said to hold nothing"


@dataclass
class Fault:
    """Calls of `kind` from the `nth` on meet this; `times` of them, or all (None)."""

    kind: str
    what: What
    nth: int
    times: int | None
    error: StoreError
    delay_s: float
    hits: int = 0


class FaultyStore:
    """An `ObjectStore` around another one. Kinds of calls: put, get, size, delete, list, any."""

    def __init__(self, inner: ObjectStore, seed: int = 0) -> None:
        self._inner = inner
        self._chance = random.Random(seed)
        self._by_chance: list[tuple[float, Fault]] = []
        self.faults: list[Fault] = []
        self.calls: Counter[str] = Counter()
        self.is_offline = False
        """Whether every call raises StoreUnavailable; the calls are counted."""

    def plan(
        self,
        kind: str,
        what: What = What.REFUSED,
        nth: int = 1,
        *,
        times: int | None = 1,
        error: StoreError | None = None,
        delay_s: float = 1.0,
    ) -> Fault:
        """Plan a fault: the `nth` call of `kind` from now on (the first is 1)."""
        fault = Fault(kind, what, self.calls[kind] + nth, times, error or StoreUnavailable("planned"), delay_s)
        self.faults.append(fault)
        return fault

    def scatter(self, probability: float, *whats: What, delay_s: float = 1.0) -> None:
        """From now on each call meets one of these with this probability."""
        for what in whats:
            fault = Fault(ANY, what, 0, None, StoreUnavailable("by chance"), delay_s)
            self._by_chance.append((probability / len(whats), fault))

    def heal(self) -> None:
        """From now on nothing happens by chance, and the store is there."""
        self._by_chance.clear()
        self.is_offline = False

    def met(self) -> set[What]:
        """What has happened so far to any call by chance."""
        return {fault.what for _, fault in self._by_chance if fault.hits}

    def assert_all_hit(self) -> None:
        """Every planned fault came true."""
        missed = [fault for fault in self.faults if not fault.hits]
        assert not missed, f"planned and never hit: {missed}"

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        fault = await self._meet("put", What.CORRUPT)
        if fault and fault.what is What.CORRUPT:
            body = self._turned(body)
        await self._inner.put(name, body, if_absent=if_absent, pace=pace)
        _lose_ack(fault)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        fault = await self._meet("get", What.CORRUPT, What.MISSING)
        if fault and fault.what is What.MISSING:
            raise ObjectMissing(name)
        body = await self._inner.get(name, start, length, pace=pace)
        _lose_ack(fault)
        return self._turned(body) if fault and fault.what is What.CORRUPT else body

    async def size(self, name: str) -> int:
        fault = await self._meet("size", What.MISSING)
        if fault and fault.what is What.MISSING:
            raise ObjectMissing(name)
        size_bytes = await self._inner.size(name)
        _lose_ack(fault)
        return size_bytes

    async def delete(self, names: Sequence[str]) -> None:
        fault = await self._meet("delete")
        await self._inner.delete(names)
        _lose_ack(fault)

    async def list_page(self, prefix: str, after: str = "") -> Page:
        fault = await self._meet("list", What.EMPTY)
        if fault and fault.what is What.EMPTY:
            return Page([], True)
        page = await self._inner.list_page(prefix, after)
        _lose_ack(fault)
        return page

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def _meet(self, kind: str, *possible: What) -> Fault | None:
        """The fault that the call which begins now has to see to itself; the others have happened."""
        self.calls[kind] += 1
        self.calls[ANY] += 1
        if self.is_offline:
            await trio.lowlevel.checkpoint()
            raise StoreUnavailable("planned to be offline")
        fault = self._due(kind, (*possible, What.REFUSED, What.LOST_ACK, What.DELAYED, What.HANGS))
        if fault is None:
            return None
        fault.hits += 1
        if fault.what is What.DELAYED:
            await trio.sleep(fault.delay_s)
        elif fault.what is What.HANGS:
            await trio.sleep_forever()
        elif fault.what is What.REFUSED:
            await trio.lowlevel.checkpoint()
            raise fault.error
        return fault

    def _due(self, kind: str, possible: Sequence[What]) -> Fault | None:
        for fault in self.faults:
            is_left = fault.times is None or fault.hits < fault.times
            if is_left and fault.kind in (kind, ANY) and self.calls[fault.kind] >= fault.nth:
                assert fault.what in possible, f"{fault.what} cannot happen to {kind}"
                return fault
        for probability, fault in self._by_chance:
            if self._chance.random() < probability and fault.what in possible:
                return fault
        return None

    def _turned(self, body: Buffer) -> bytes:
        turned = bytearray(body)
        if turned:
            turned[self._chance.randrange(len(turned))] ^= 1 << self._chance.randrange(8)
        return bytes(turned)


def _lose_ack(fault: Fault | None) -> None:
    if fault and fault.what is What.LOST_ACK:
        raise fault.error
