"""What the store has: packs, where each SEALED block is in them, and what waits to be sent. The uploader's ledger.

    unsent      sealed, in no pack                         `take` hands it out, `give_back` if it did not work
    sending     a row of `packs`, durable before the put   nothing is ever in the store that nobody knows of
    stored      its blocks stand in the catalog            once the store says that it is durable

    doomed      no block is in it any more                 nothing leads there again; `cloud_tier.gc` deletes it later

What was being sent when the core died may be in the store or not; its bytes are gone here, and blocks are encoded anew
under another id (T8). Such a pack is doomed at the next start: no block was ever said to be in it.

A doom is for ever: no row of the catalog ever leads into a doomed pack (I9). So whoever records blocks of a pack, in
several turns, keeps it from being doomed meanwhile.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import trio

from cachefs.blocks import Blocks
from cachefs.counters import Counters
from cachefs.database import Database
from cachefs.errors import UnknownBlock
from cloud_tier.block_id import BlockId
from cloud_tier.keys import Generation
from cloud_tier.ledger import StoredPack, Unsent
from cloud_tier.object_store import Buffer
from cloud_tier.pack import Entry, PackId
from cloud_tier.packer import Lane

STEP_BLOCKS = 128  # in one turn of the loop
SENDING, STORED, DOOMED = 1, 2, 3  # packs.state; on disk: do not change


class Location(NamedTuple):
    """Where a block is in the store; `offset` and `length` of its record in the pack, `start` in its plaintext."""

    pack: int
    offset: int
    length: int
    start: int


class Catalog:
    """The tables `unsent`, `packs` and `catalog`. `Cache` gives `read`, which checks the bytes."""

    def __init__(self, database: Database, blocks: Blocks, counters: Counters) -> None:
        self.read_block: Callable[[int], Awaitable[Buffer | None]]
        self.wait_synced: Callable[[], Awaitable[None]]
        self.next_position: Callable[[], int]
        """The log position of what is changed now: the number of the next cut."""
        self.unsent_bytes = 0
        """Plain bytes of what waits or is on its way."""
        self.unreadable: set[int] = set()
        """Blocks that no pack has and whose bytes are damaged here."""
        self.recorded: set[int] = set()
        """Packs whose blocks are being recorded."""
        self.when_unsent: Callable[[], None] = lambda: None
        """Called when there is something to send."""
        self._unsent: dict[int, int] = {}  # block: its bytes
        self._database = database
        self._blocks = blocks
        self._counters = counters
        self._queues: dict[Lane, deque[int]] = {lane: deque() for lane in Lane}

    def load(self) -> None:
        """Read what waits, and doom what was on its way. Once, at start."""
        rows = self._database.rows("SELECT block, length, lane FROM unsent JOIN blocks USING (block) ORDER BY block")
        for block, length, lane in rows:
            self.sealed(block, length, Lane(lane))
        self._database.write(
            "UPDATE packs SET state = ?1, doomed_at = ?2 WHERE state = ?3 OR (state = ?1 AND doomed_at IS NULL)",
            (DOOMED, self.next_position(), SENDING),
        )

    # --- the ledger of the uploader ---

    def sealed(self, block: int, size_bytes: int, lane: Lane) -> None:
        """A block was sealed and waits to be sent."""
        self._queues[lane].append(block)
        self._unsent[block] = size_bytes
        self.unsent_bytes += size_bytes
        self.when_unsent()

    def not_unsent(self, block: int) -> None:
        """The block was stored, or has died, or cannot be sent."""
        self.unsent_bytes -= self._unsent.pop(block, 0)
        self.unreadable.discard(block)

    def unsent(self) -> Iterable[int]:
        """All blocks that wait or are on their way, in the order in which they were sealed."""
        return self._unsent

    @property
    def unsent_blocks(self) -> int:
        """How many wait or are on their way."""
        return len(self._unsent)

    def is_unsent(self, block: int) -> bool:
        """Whether the block waits or is on its way."""
        return block in self._unsent

    @property
    def waiting(self) -> int:
        """Blocks that were not handed out yet; some may have died."""
        return sum(map(len, self._queues.values()))

    def take(self, lane: Lane, most_bytes: int) -> list[Unsent]:
        """Some blocks of a lane to be sent next; each is handed out once."""
        taken: list[Unsent] = []
        size, queue = 0, self._queues[lane]
        while queue and size < most_bytes and len(taken) < STEP_BLOCKS:
            number = queue.popleft()
            if number not in self._unsent:
                continue
            block = self._blocks.get(number)
            assert block.block_id is not None
            taken.append(Unsent(number, BlockId(block.block_id), block.length, lane))
            size += block.length
        return taken

    def give_back(self, unsent: Sequence[Unsent]) -> None:
        """These were not sent."""
        for one in reversed(unsent):
            self._queues[one.lane].appendleft(one.block)

    async def read(self, block: int) -> Buffer | None:
        """The bytes of an unsent block; None if it is gone, or damaged: then it is not asked for again in this life."""
        data = await self.read_block(block)
        if data is None:
            self.cannot_be_sent(block)
        return data

    def cannot_be_sent(self, block: int) -> None:
        """It is gone, or damaged: in this life, it is not asked for again."""
        self.not_unsent(block)
        with suppress(UnknownBlock):
            self._blocks.get(block)
            self.unreadable.add(block)

    async def begin(self, pack_id: PackId, generation: Generation, fence: int, size_bytes: int) -> int:
        """A pack is about to be sent: returns its number once that is durable. Raises StorageBroken."""
        pack = self._counters.next("pack")
        with self._database.operation:
            row = (pack, pack_id, generation, fence, size_bytes, SENDING)
            self._database.write("INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, NULL)", row)
        await self.wait_synced()
        return pack

    async def stored(self, pack: int, blocks: Sequence[tuple[Unsent, Entry]]) -> None:
        """The pack is durable in the store, compared with what was sent. Its blocks need not stay here any more."""
        write = self._database.write
        with self.recording(pack):
            for begin in range(0, len(blocks), STEP_BLOCKS):
                with self._database.operation:
                    for one, entry in blocks[begin : begin + STEP_BLOCKS]:
                        if self._is_alive(one):
                            write("DELETE FROM unsent WHERE block = ?", (one.block,))
                            row = (one.block, pack, entry.offset, entry.length, entry.start)
                            write("INSERT INTO catalog VALUES (?, ?, ?, ?, ?)", row)
                        self.not_unsent(one.block)
                await trio.lowlevel.checkpoint()

    @contextmanager
    def recording(self, pack: int) -> Iterator[None]:
        """Inside, blocks of a pack that is durable in the store are recorded, and it is not doomed."""
        self._database.write("UPDATE packs SET state = ? WHERE pack = ?", (STORED, pack))
        self.recorded.add(pack)
        try:
            yield
        finally:
            self.recorded.discard(pack)

    def _is_alive(self, one: Unsent) -> bool:
        try:
            return self._blocks.get(one.block).block_id == one.block_id
        except UnknownBlock:
            return False

    # --- for whoever fetches ---

    def find(self, block: int) -> Location | None:
        """Where the block is in the store; None if no pack has it."""
        row = self._database.row("SELECT pack, offset, length, start FROM catalog WHERE block = ?", (block,))
        return None if row is None else Location(*row)

    def pack(self, pack: int) -> StoredPack:
        """How to open a pack that the catalog names."""
        row = self._database.row("SELECT pack_id, generation, fence FROM packs WHERE pack = ?", (pack,))
        return StoredPack(PackId(row[0]), Generation(row[1]), row[2])

    def neighbours(self, pack: int, offset: int) -> list[tuple[int, int, int, bytes]]:
        """The blocks of one record that are still needed: number, start, length, id."""
        return self._database.rows(
            "SELECT block, start, blocks.length, block_id FROM catalog JOIN blocks USING (block)"
            " WHERE pack = ? AND catalog.offset = ? ORDER BY start",
            (pack, offset),
        )
