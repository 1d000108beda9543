"""The epoch: an integer that counts the states history can tell apart.

Advancing costs the same whatever the drive holds: what is in memory is written out, the counter goes up, and from then
on the first change to an older row leaves a copy behind (the triggers of `schema.sql`). Running writes must have
drained first (T5), so the epoch advances behind the gate; also behind that of a cut that is syncing the last bytes,
because what the rows of the advance name was written before, and so is synced.
"""

from collections.abc import Callable

from cachefs.counters import Counters
from cachefs.cut import Cuts
from cachefs.database import Database
from vfs.ids import Epoch


class Epochs:
    """The current epoch, and the newest one that is kept."""

    def __init__(self, database: Database, cuts: Cuts) -> None:
        self.current = Epoch(1)
        self.newest_kept = Epoch(0)
        # Bytes older than this are never changed in place. It does not go back when a kept epoch is given up: a crash
        # may bring the epoch's row back, but not bytes that were overwritten.
        self.newest_frozen = Epoch(0)
        self.beginners: list[Callable[[], None]] = []  # called when a new epoch has begun
        self.is_needed: Callable[[int], bool] = lambda epoch: False  # by the store: see `cloud_epochs`
        self._database = database
        self._cuts = cuts
        self._advanced_in_cut = 0

    def load(self) -> None:
        """Read where time stands."""
        self.current, self.newest_kept = self._database.row("SELECT epoch, newest_kept FROM clock")
        self.newest_frozen = self.newest_kept

    async def advance(self, record: Callable[[Epoch], None]) -> Epoch:
        """End the current epoch and return it. `record` writes the row that keeps it, in the same operation."""
        return await self._cuts.gate.while_still(lambda: self._advance_now(record))

    def _advance_now(self, record: Callable[[Epoch], None]) -> Epoch:
        self._cuts.flush_rows()
        ended = self.current
        with self._database.operation:
            record(ended)
            self._write(Epoch(ended + 1), ended)
        self.current, self.newest_kept, self.newest_frozen = Epoch(ended + 1), ended, ended
        self._advanced_in_cut = self._cuts.number
        for begin in self.beginners:
            begin()
        self._cuts.log()
        return ended

    def keep_unnamed(self, counters: Counters, kind: str, now_ns: int) -> Callable[[Epoch], None]:
        """What `advance` records of an epoch that is kept for a purpose of ours, an 'actor' or 'cloud' one."""

        def record(epoch: Epoch) -> None:
            number = counters.next("snapshot")
            counters.flush()
            self._database.write(
                "INSERT INTO snapshots VALUES (?, ?, ?, 'kept', NULL, NULL, ?, 0)", (number, epoch, kind, now_ns)
            )

        return record

    def give_up(self, epoch: Epoch) -> None:
        """Who kept the epoch has no use for it any more. One that the store needs goes on as a 'cloud' one, without a
        name; the rows of any other are removed in steps (`pruning`).
        """
        fate = "kind = 'cloud'" if self.is_needed(epoch) else "state = 'deleting'"
        with self._database.operation:
            self._database.write(f"UPDATE snapshots SET {fate}, name = NULL, is_held = 0 WHERE epoch = ?", (epoch,))
            self._forget_kept()

    def _forget_kept(self) -> None:
        """Find the newest kept epoch that is left. In the caller's operation."""
        newest = self._database.row("SELECT max(epoch) FROM snapshots WHERE state = 'kept'")[0] or 0
        self._write(self.current, newest)
        self.newest_kept = Epoch(newest)

    def _write(self, epoch: int, newest_kept: int) -> None:
        self._database.write("UPDATE clock SET epoch = ?, newest_kept = ? WHERE id = 1", (epoch, newest_kept))

    async def wait_visible(self) -> None:
        """Return once readers of the database see every kept epoch: a cut was made since the last advance."""
        while self._cuts.number <= self._advanced_in_cut:
            await self._cuts.wait_cut()
