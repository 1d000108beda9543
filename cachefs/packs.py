"""The rows of packs, for whoever tidies the store up: which are dead, doomed, small or sparse.

Looking is done by a read-only connection in a thread, some packs at a time, so it sees the last cut and holds nobody
up, and needs no memory for packs that it passes. What is changed is looked at once more before, in the same turn: a
pack is doomed only if no row of the catalog leads into it at that moment, and nobody is about to write one (I9).

The time of a doom is not kept, only its log position. That a grace has passed is known from two *marks* in
`local_counters`, a position and when it was reached: when the newer is as old as the grace, it becomes the older one.
They are this machine's, so after a recovery the grace begins anew.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import apsw
import trio

from cachefs.catalog import DOOMED, SENDING, STORED, Catalog
from cachefs.counters import Counters
from cachefs.database import Database, Parameters, rows_of
from cloud_tier.block_id import BlockId
from cloud_tier.gc import Doomed
from cloud_tier.keys import Generation
from cloud_tier.ledger import StoredPack
from cloud_tier.object_names import PackName
from cloud_tier.object_store import Buffer
from cloud_tier.pack import ALONE_BYTES, GROUP_BYTES, Entry, PackId
from cloud_tier.repack import Living, Moved, Surveyed

T = TypeVar("T")

FOUND_PACKS = 500  # looked for in one visit to the thread
STEP_ROWS = 100  # changed in one turn of the loop
SURVEYED_PACKS = 50  # their rows in the catalog are counted
WAITED, MARK, MARK_S = "gc waited", "gc mark", "gc mark s"  # local counters

_DEAD = (
    "SELECT pack FROM packs WHERE pack > ? AND state = ? AND NOT EXISTS"
    " (SELECT 1 FROM catalog WHERE catalog.pack = packs.pack) ORDER BY pack LIMIT ?"
)
_DOOMED = "SELECT pack, fence, pack_id FROM packs WHERE pack > ? AND state = ? AND doomed_at < ? ORDER BY pack LIMIT ?"
_STORED = "SELECT pack, size_bytes FROM packs WHERE pack > ? AND state = ? ORDER BY pack LIMIT ?"
_BYTES = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM packs WHERE state = ?"
# Of a record with several blocks only those count that are needed. How long its plaintext is nobody has written down:
# but for the last of a pack, at least GROUP_BYTES.
_LIVE = (
    "SELECT coalesce(sum(live), 0.0) FROM (SELECT CASE WHEN max(blocks.length) >= ?2 THEN catalog.length ELSE"
    " catalog.length * min(1.0, sum(blocks.length) * 1.0 / max(?3, max(start + blocks.length))) END AS live"
    " FROM catalog JOIN blocks USING (block) WHERE pack = ?1 GROUP BY catalog.offset)"
)
_HOLDS = "SELECT 1 FROM catalog WHERE pack = ? LIMIT 1"
_DOOM = "UPDATE packs SET state = ?, doomed_at = ? WHERE pack = ? AND state = ? RETURNING pack"
_MOVE = "UPDATE catalog SET pack = ?, offset = ?, length = ?, start = ? WHERE block = ? AND pack = ?"
_LIVING = (
    "SELECT block, block_id, catalog.offset, catalog.length, start, blocks.length, residency.block IS NOT NULL"
    " FROM catalog JOIN blocks USING (block) LEFT JOIN residency USING (block) WHERE pack = ?"
    " ORDER BY catalog.offset, start"
)
_SET = "INSERT INTO local_counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


class Packs:
    """A `cloud_tier.gc.PackLedger`, and a `cloud_tier.repack.RepackLedger`."""

    def __init__(
        self, database: Database, catalog: Catalog, local_counters: Counters, bound_pending: Callable[[], None]
    ) -> None:
        self._bound_pending = bound_pending
        self._database = database
        self._catalog = catalog
        self._local_counters = local_counters
        self._thread = trio.CapacityLimiter(1)

    async def dead(self, after: int) -> list[int]:
        rows = await self._look(_DEAD, (after, STORED, FOUND_PACKS))
        return [pack for (pack,) in rows]

    def doom(self, packs: Sequence[int]) -> int:
        doomed = 0
        with self._database.operation:
            for pack in packs:
                is_dead = pack not in self._catalog.recorded and not self._database.row(_HOLDS, (pack,))
                doomed += is_dead and self._doom(pack, STORED)
        return doomed

    def _doom(self, pack: int, state: int) -> bool:
        values = (DOOMED, self._catalog.next_position(), pack, state)
        return bool(self._database.write_returning(_DOOM, values))

    def waited(self, now_ns: int, grace_s: float) -> int:
        rows = "SELECT name, value FROM local_counters WHERE name IN (?, ?, ?)"
        marks: dict[str, int] = dict(self._database.rows(rows, (WAITED, MARK, MARK_S)))
        now_s, waited = now_ns // 10**9, marks.get(WAITED, 0)
        is_first = MARK not in marks or now_s < marks[MARK_S]  # or the clock was put back
        if is_first or now_s - marks[MARK_S] >= grace_s:
            if not is_first:
                waited = marks[MARK]
            values = {WAITED: waited, MARK: self._local_counters.last("cut"), MARK_S: now_s}
            with self._database.operation:
                for name, value in values.items():
                    self._database.write(_SET, (name, value))
        return waited

    async def doomed(self, after: int, before: int, most: int) -> list[Doomed]:
        rows = await self._look(_DOOMED, (after, DOOMED, before, most))
        return [Doomed(pack, PackName(fence, PackId(pack_id))) for pack, fence, pack_id in rows]

    async def deleted(self, packs: Sequence[int]) -> None:
        for begin in range(0, len(packs), STEP_ROWS):
            with self._database.operation:
                for pack in packs[begin : begin + STEP_ROWS]:
                    self._database.write("DELETE FROM packs WHERE pack = ? AND state = ?", (pack, DOOMED))
            await self._rest()

    # --- the ledger of the repacker ---

    async def survey(self, after: int) -> list[Surveyed]:
        """Some packs behind number `after` that are in the store, in order; empty when there are no more."""

        def look(reader: apsw.Connection) -> list[Surveyed]:
            return [
                Surveyed(pack, size, int(rows_of(reader, _LIVE, (pack, ALONE_BYTES, float(GROUP_BYTES)))[0][0]))
                for pack, size in rows_of(reader, _STORED, (after, STORED, SURVEYED_PACKS))
            ]

        return await self._study(look)

    async def stored(self, after: int) -> list[int]:
        """Some packs behind number `after` that are in the store, in order; empty when there are no more."""
        return [pack for pack, _ in await self._look(_STORED, (after, STORED, SURVEYED_PACKS))]

    async def stored_bytes(self) -> int:
        """Of all packs that are in the store."""
        return int((await self._look(_BYTES, (STORED,)))[0][1])

    async def waiting(self) -> tuple[int, int]:
        """How many packs are doomed and still there, and their bytes."""
        packs, size_bytes = (await self._look(_BYTES, (DOOMED,)))[0]
        return packs, size_bytes

    async def living(self, pack: int) -> list[Living]:
        """The blocks of a pack that are needed, in the order in which they lie there."""

        def look(reader: apsw.Connection) -> list[Living]:  # of tiny files, tens of thousands lie in one pack
            rows = rows_of(reader, _LIVING, (pack,))
            return [Living(block, Entry(BlockId(id_), *place), bool(is_held)) for block, id_, *place, is_held in rows]

        return await self._study(look)

    def pack(self, pack: int) -> StoredPack:
        """How to open a pack."""
        return self._catalog.pack(pack)

    async def read(self, block: int) -> Buffer | None:
        """The bytes of a block if this machine holds them; they may be damaged."""
        return await self._catalog.read_block(block)

    async def begin(self, pack_id: PackId, generation: Generation, fence: int, size_bytes: int) -> int:
        """Announce a pack, durably. Returns its number. Raises StorageBroken."""
        return await self._catalog.begin(pack_id, generation, fence, size_bytes)

    async def moved(self, pack: int, moves: Sequence[Moved]) -> None:
        """The pack is durable in the store and holds these blocks of others, which are doomed if that was all."""
        with self._catalog.recording(pack):
            for begin in range(0, len(moves), STEP_ROWS):
                some = moves[begin : begin + STEP_ROWS]
                with self._database.operation:
                    for one in some:  # one that has died since it was read has no row
                        _, offset, length, start, _ = one.entry
                        self._database.write(_MOVE, (pack, offset, length, start, one.block, one.source))
                    self.doom(sorted({one.source for one in some}))
                await self._rest()

    def abandon(self, pack: int) -> None:
        """The pack could not be sent, and what it was to hold is still where it was."""
        with self._database.operation:
            self._doom(pack, SENDING)

    async def _rest(self) -> None:
        self._bound_pending()
        await trio.lowlevel.checkpoint()

    async def _look(self, sql: str, parameters: Parameters) -> list[Any]:
        return await self._study(lambda reader: rows_of(reader, sql, parameters))

    async def _study(self, look: Callable[[apsw.Connection], list[T]]) -> list[T]:
        def study() -> list[T]:
            reader = self._database.reader()
            try:
                return look(reader)
            finally:
                reader.close()

        return await trio.to_thread.run_sync(study, limiter=self._thread)
