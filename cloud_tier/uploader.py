"""Upload: unsent blocks into packs, packs into the store, with bounded memory and nobody kept waiting.

    ledger ──take──▶ packer ──a few blocks at a time──▶ pack writer (thread) ──▶ several uploads at once ──▶ ledger

    step                                    died here → what is left
    1 read a block, encode it               nothing
    2 close the pack                        nothing
    3 announce it in the ledger, durably    a pack that may be in the store, and is doomed at the next start
    4 put it                                the same
    5 record it                             its blocks are stored, or unsent and the pack doomed

A pack that could not be sent is kept and sent again, the same bytes under the same name (T8), for as long as the core
lives: being offline is a state. At most seven packs are then in memory, two more are filled, and the rest waits in the
cache; what that means for those who write is the budget's business.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from cloud_tier.block_id import block_id
from cloud_tier.clock import LoopClock
from cloud_tier.errors import EncodingFailed, StoreError
from cloud_tier.giving_way import GivingWay, Meter
from cloud_tier.keys import DriveKeys
from cloud_tier.ledger import Ledger, Unsent
from cloud_tier.object_names import PackName
from cloud_tier.object_store import Buffer, ObjectStore
from cloud_tier.pack import Entry, Pack, PackWriter
from cloud_tier.packer import Lane, Packer

log = logging.getLogger(__name__)

UPLOADS = {Lane.FRESH: 4, Lane.BULK: 3}  # at once; so bulk never has the line for itself
YIELD_S = 1.0
"""How long a piece of bulk waits for fresh work on its way: more slowly, a server would take it for dead."""
PIECE_REST_S = 0.006
"""After a piece of bulk while requests are answered: thrice what it takes on a fast line, nothing on a slow one."""
OFFERED_BYTES = 32 << 20  # of a lane, handed out by the ledger and not encoded yet
TURN_BYTES, TURN_BLOCKS = 4 << 20, 64  # encoded in one visit to a thread
LARGE_BYTES = 128 << 10
FIRST_WAIT_S, LONGEST_WAIT_S = 5.0, 15.0  # between attempts for a pack; work goes on soon after a trouble


@dataclass(frozen=True)
class UploadStatistics:
    """Since the start, but for `sending` (packs on their way) and `sending_bytes`.

    `trouble`: why the last attempt failed, in a sentence; None while all is well. `trouble_age_s`: since when none has
    succeeded.
    """

    packs: int
    packed_bytes: int
    blocks: int
    plain_bytes: int
    sending: int
    sending_bytes: int
    trouble: str | None
    trouble_age_s: float


@dataclass
class _Open:
    """A pack that is being filled."""

    writer: PackWriter
    blocks: list[Unsent] = field(default_factory=list)


class Uploader:
    """The task that sends. `run` must be running; `wake` it when something is unsent."""

    def __init__(self, store: ObjectStore, keys: Callable[[], DriveKeys], ledger: Ledger, fence: int) -> None:
        self.trouble: StoreError | None = None
        self.stored: Callable[[Sequence[Unsent]], None] = lambda blocks: None
        """Called when blocks were recorded as stored."""
        self._store = store
        self._keys = keys
        self._ledger = ledger
        self._fence = fence
        self._packer: Packer[Unsent] = Packer(LoopClock())
        self._open: dict[Lane, _Open] = {}
        self._thread = trio.CapacityLimiter(1)
        self._wanted = trio.Event()
        self._progress = trio.lowlevel.ParkingLot()
        self._sending = dict.fromkeys(Lane, 0)
        self._sending_bytes = 0
        self._fresh_sent = trio.lowlevel.ParkingLot()
        self._paces = {
            Lane.FRESH: _Pace(),
            Lane.BULK: _BulkPace(lambda: not self._sending[Lane.FRESH], self._fresh_sent),
        }
        self._give_way = GivingWay()
        self._trouble_since = 0.0
        self._hurries = 0
        self._packs = self._packed_bytes = self._blocks = self._plain_bytes = 0

    def wake(self) -> None:
        """Something may be unsent."""
        self._wanted.set()

    async def flush(self) -> None:
        """Return once what is unsent now was sent, whatever comes later. Packs are closed at once meanwhile."""
        self._hurries += 1
        left = deque(self._ledger.unsent())
        self.wake()
        try:
            while left:
                if self._ledger.is_unsent(left[0]):
                    await self._progress.park()
                else:
                    left.popleft()
        finally:
            self._hurries -= 1

    async def wait_idle(self) -> None:
        """Return when nothing waits to be sent."""
        await trio.lowlevel.checkpoint()
        while any(True for _ in self._ledger.unsent()):
            await self._progress.park()

    @property
    def pieces(self) -> int:
        """A number that grows while anything goes over the line."""
        return sum(pace.pieces for pace in self._paces.values())

    def statistics(self) -> UploadStatistics:
        return UploadStatistics(
            packs=self._packs,
            packed_bytes=self._packed_bytes,
            blocks=self._blocks,
            plain_bytes=self._plain_bytes,
            sending=sum(self._sending.values()),
            sending_bytes=self._sending_bytes,
            trouble=None if self.trouble is None else str(self.trouble),
            trouble_age_s=0.0 if self.trouble is None else trio.current_time() - self._trouble_since,
        )

    async def run(self) -> None:
        """Send for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                self._wanted = trio.Event()
                for lane in Lane:  # each by itself: what waits of a copy keeps nothing fresh from being known
                    for one in self._ledger.take(lane, OFFERED_BYTES - self._packer.waiting_bytes[lane]):
                        self._packer.offer(lane, one, one.size_bytes)
                began = trio.current_time()
                is_busy = await self._encode_some()
                await self._give_way(trio.current_time() - began)
                for lane in self._due(is_busy):
                    await self._close(lane, nursery)
                self._progress.unpark_all()
                if not is_busy:
                    await self._wait()

    def _due(self, is_busy: bool) -> list[Lane]:
        due = list(self._open) if self._hurries and not is_busy else self._packer.due()
        return [lane for lane in due if self._may_send(lane)]

    def _may_send(self, lane: Lane) -> bool:
        return self._sending[lane] < UPLOADS[lane]

    async def _wait(self) -> None:
        due = self._packer.next_due_s([lane for lane in Lane if self._may_send(lane)])
        with trio.move_on_at(due if due is not None else float("inf")):
            await self._wanted.wait()

    # --- encoding ---

    async def _encode_some(self) -> bool:
        """Encode up to `TURN_BYTES` of one lane. False when nothing waits, or the next packs are full already."""
        free = [lane for lane in Lane if self._may_send(lane) or not self._packer.is_full(lane)]
        turn = self._packer.next() if len(free) == len(Lane) else self._packer.next_of(free[0]) if free else None
        if turn is None:
            return False
        lane, batch, size = turn.lane, [turn.item], turn.size_bytes
        while size < TURN_BYTES and len(batch) < TURN_BLOCKS and (turn := self._packer.next_of(lane)) is not None:
            batch.append(turn.item)
            size += turn.size_bytes
        found = await self._read(batch)
        if not found:
            return True
        pack = self._open.get(lane)
        if pack is None:
            pack = self._open[lane] = _Open(PackWriter(self._keys()))
        try:
            await trio.to_thread.run_sync(_add, pack.writer, found, limiter=self._thread)
        except EncodingFailed as error:
            del self._open[lane]
            self._packer.closed(lane)
            await self._encode_anew([*pack.blocks, *(one for one, _ in found)], error)
            return True
        pack.blocks += [one for one, _ in found]
        self._packer.added(lane, pack.writer.size_bytes)
        return True

    async def _read(self, batch: Sequence[Unsent]) -> list[tuple[Unsent, Buffer]]:
        """Those of them that are still there; large ones several at once, for each is a visit to a thread."""
        bytes_of: dict[int, Buffer | None] = {}

        async def read(one: Unsent) -> None:
            bytes_of[one.block] = await self._ledger.read(one.block)

        async with trio.open_nursery() as nursery:
            for one in batch:
                if one.size_bytes >= LARGE_BYTES:
                    nursery.start_soon(read, one)
                else:
                    await read(one)
        return [(one, data) for one in batch if (data := bytes_of[one.block]) is not None]

    async def _close(self, lane: Lane, nursery: trio.Nursery) -> None:
        pack = self._open.pop(lane)
        self._packer.closed(lane)
        self._sending[lane] += 1
        try:
            closed, blocks = await trio.to_thread.run_sync(_closed, pack, limiter=self._thread)
        except EncodingFailed as error:
            self._sending[lane] -= 1
            await self._encode_anew(pack.blocks, error)
            return
        nursery.start_soon(self._send, lane, closed, blocks)

    async def _encode_anew(self, blocks: Sequence[Unsent], error: EncodingFailed) -> None:
        log.error("%s; what was in that pack is encoded anew. Have this machine's memory checked.", error)
        key, good = self._keys().block_key, list[Unsent]()
        for one in blocks:
            data = await self._ledger.read(one.block)
            if data is None:
                continue
            if await trio.to_thread.run_sync(block_id, key, data, limiter=self._thread) == one.block_id:
                good.append(one)
            else:  # it would fail for ever, and everything with it
                log.error("block %d is not what its id says; it is not sent", one.block)
                self._ledger.cannot_be_sent(one.block)
        self._ledger.give_back(good)
        self.wake()

    # --- sending ---

    async def _send(self, lane: Lane, pack: Pack, blocks: Sequence[tuple[Unsent, Entry]]) -> None:
        self._sending_bytes += len(pack.body)
        try:
            number = await self._ledger.begin(pack.pack_id, pack.generation, self._fence, len(pack.body))
            await self._put(str(PackName(self._fence, pack.pack_id)), pack.body, lane)
            await self._ledger.stored(number, blocks)
            self._packs += 1
            self._packed_bytes += len(pack.body)
            self._blocks += len(blocks)
            self._plain_bytes += sum(one.size_bytes for one, _ in blocks)
        finally:
            self._sending[lane] -= 1
            self._sending_bytes -= len(pack.body)
            if not self._sending[Lane.FRESH]:
                self._fresh_sent.unpark_all()
        self.stored([one for one, _ in blocks])
        self.wake()

    async def _put(self, name: str, body: Buffer, lane: Lane) -> None:
        wait = FIRST_WAIT_S
        while True:
            try:
                await self._store.put(name, body, pace=self._paces[lane])
            except StoreError as error:
                if self.trouble is None or str(self.trouble) != str(error):
                    log.warning("%s", error)
                if self.trouble is None:
                    self._trouble_since = trio.current_time()
                self.trouble = error
                await trio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
            else:
                self.trouble = None
                return


class _Pace:
    """Counts the pieces that go."""

    def __init__(self) -> None:
        self.pieces = 0

    def is_free(self) -> bool:
        self.pieces += 1
        return True

    async def __call__(self, size_bytes: int) -> None:
        self.pieces += 1


class _BulkPace(_Pace):
    """Lets a small pack have the line for itself while it is on its way: with a share of a slow line, people would save
    more than it takes, and their work would wait as long as a copy does. And gives way to who asks for something here:
    on a fast line, sending takes processors.
    """

    def __init__(self, has_line: Callable[[], bool], sent: trio.lowlevel.ParkingLot) -> None:
        super().__init__()
        self._has_line = has_line
        self._sent = sent
        self._meter = Meter()

    def is_free(self) -> bool:
        self.pieces += 1
        return self._has_line() and not self._meter.is_busy(time.monotonic())

    async def __call__(self, size_bytes: int) -> None:
        self.pieces += 1
        if self._meter.is_busy(time.monotonic()):
            await trio.sleep(PIECE_REST_S)
        with trio.move_on_after(YIELD_S):
            while not self._has_line():
                await self._sent.park()


def _add(writer: PackWriter, blocks: Sequence[tuple[Unsent, Buffer]]) -> None:
    for one, data in blocks:
        writer.add(one.block_id, data)


def _closed(pack: _Open) -> tuple[Pack, list[tuple[Unsent, Entry]]]:
    closed = pack.writer.close()
    entries = closed.by_id()
    return closed, [(one, entries[one.block_id]) for one in pack.blocks]
