"""Small work is not kept waiting by a copy that fills a slow line."""

import random
from collections import deque
from collections.abc import Iterable, Sequence

import pytest
import trio
from kit.drive_keys import drive_keys
from kit.inline_threads import inline_threads
from trio.testing import MockClock

from cloud_tier.block_id import block_id
from cloud_tier.ledger import Unsent
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import PIECE_BYTES, Buffer, Pace
from cloud_tier.pack import Entry, PackId
from cloud_tier.packer import FULL_BYTES, Lane
from cloud_tier.uploader import UPLOADS, Uploader

KEYS = drive_keys()
MIB = 1 << 20
LINE_BYTES_PER_S = MIB


class SlowLine(MemoryStore):
    """All uploads together send so many bytes a second; each gets its share."""

    def __init__(self) -> None:
        super().__init__()
        self._line = trio.Lock()

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        for _ in range(0, len(body), PIECE_BYTES):
            if pace is not None:
                await pace(PIECE_BYTES)
            async with self._line:
                await trio.sleep(PIECE_BYTES / LINE_BYTES_PER_S)
        await super().put(name, body, if_absent=if_absent)


class Waiting:
    """A ledger of blocks in memory; when each was offered, and how long it took into the store."""

    def __init__(self) -> None:
        self.took_s: dict[Lane, list[float]] = {lane: [] for lane in Lane}
        self.read_bytes = 0
        self._bytes: dict[int, bytes] = {}
        self._offered_s: dict[int, float] = {}
        self._queues: dict[Lane, deque[Unsent]] = {lane: deque() for lane in Lane}

    def offer(self, lane: Lane, size_bytes: int) -> None:
        number = len(self._bytes) + 1
        data = random.Random(number).randbytes(size_bytes)
        self._bytes[number], self._offered_s[number] = data, trio.current_time()
        self._queues[lane].append(Unsent(number, block_id(KEYS.block_key, data), size_bytes, lane))

    @property
    def unsent_bytes(self) -> int:
        return sum(len(self._bytes[number]) for number in self._offered_s)

    def unsent(self) -> Iterable[int]:
        return list(self._offered_s)

    def is_unsent(self, block: int) -> bool:
        return block in self._offered_s

    def take(self, lane: Lane, most_bytes: int) -> list[Unsent]:
        taken: list[Unsent] = []
        while self._queues[lane] and sum(one.size_bytes for one in taken) < most_bytes:
            taken.append(self._queues[lane].popleft())
        return taken

    def give_back(self, unsent: Sequence[Unsent]) -> None:
        raise AssertionError

    async def read(self, block: int) -> Buffer | None:
        self.read_bytes += len(self._bytes[block])
        return self._bytes[block]

    def cannot_be_sent(self, block: int) -> None:
        raise AssertionError

    async def begin(self, pack_id: PackId, generation: int, fence: int, size_bytes: int) -> int:
        return 1

    async def stored(self, pack: int, blocks: Sequence[tuple[Unsent, Entry]]) -> None:
        for one, _ in blocks:
            self.took_s[one.lane].append(trio.current_time() - self._offered_s.pop(one.block))


@pytest.mark.usefixtures("autojump_clock")
async def test_small_work_has_the_line_for_itself_and_the_copy_goes_on(autojump_clock: MockClock) -> None:
    ledger = Waiting()
    with inline_threads():
        async with trio.open_nursery() as nursery:
            uploader = Uploader(SlowLine(), lambda: KEYS, ledger, 1)
            nursery.start_soon(uploader.run)
            ledger.offer(Lane.FRESH, 1000)
            uploader.wake()
            await trio.sleep(10)
            for _ in range(112):  # more than the uploader takes at once
                ledger.offer(Lane.BULK, MIB)
            for _ in range(25):  # a quarter of the line
                ledger.offer(Lane.FRESH, MIB)
                uploader.wake()
                await trio.sleep(4)
            nursery.cancel_scope.cancel()
    assert len(ledger.took_s[Lane.FRESH]) >= 23
    assert max(ledger.took_s[Lane.FRESH]) < 10, ledger.took_s
    assert len(ledger.took_s[Lane.BULK]) >= 32


class StuckLine(MemoryStore):
    """Uploads begin, and end when `freed` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.freed = trio.Event()
        self.begun = 0

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        self.begun += 1
        await self.freed.wait()
        await super().put(name, body, if_absent=if_absent)


@pytest.mark.usefixtures("autojump_clock")
async def test_the_next_pack_is_made_while_all_that_may_go_at_once_is_on_its_way(autojump_clock: MockClock) -> None:
    ledger, store = Waiting(), StuckLine()
    with inline_threads():
        async with trio.open_nursery() as nursery:
            uploader = Uploader(store, lambda: KEYS, ledger, 1)
            nursery.start_soon(uploader.run)
            for _ in range(8 * FULL_BYTES // MIB):
                ledger.offer(Lane.BULK, MIB)
            uploader.wake()
            await trio.sleep(60)
            sending, packs = store.begun, ledger.read_bytes // FULL_BYTES
            store.freed.set()
            await uploader.wait_idle()
            nursery.cancel_scope.cancel()
    assert (sending, packs) == (UPLOADS[Lane.BULK], UPLOADS[Lane.BULK] + 1)
    assert store.begun == 8
