"""Pruning: remove exactly the rows that no kept epoch sees any more, in steps of a few hundred.

With p the kept epoch before a deleted one and n the one after, a row is seen by nobody if since > p and until <= n.
Both are asked for anew at each step, because people take and delete snapshots meanwhile. A deleted snapshot stays in
the table, in state 'deleting', until all of it is done, so a crash resumes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from cachefs.database import Database
from vfs.contents import STEP_ROWS, Contents
from vfs.forks import forks
from vfs.ids import NEVER
from vfs.inodes import Inodes


class History(NamedTuple):
    """A history table: the first column of the index that is walked, the columns behind it in the index, the key, and
    the column of what a removed row may set free.
    """

    table: str
    lead: str
    rest: tuple[str, ...]
    key: tuple[str, ...]
    frees: str

    def select(self) -> str:
        """Rows of the index behind a place of it, up to a value of its first column, in its order."""
        order = ", ".join((self.lead, *self.rest))
        marks = ", ".join("?" * (len(self.rest) + 1))
        return (
            f"SELECT {order}, since, until, {self.frees}, {', '.join(self.key)} FROM {self.table}"
            f" WHERE ({order}) > ({marks}) AND {self.lead} <= ? ORDER BY {order} LIMIT {STEP_ROWS}"
        )

    def delete(self) -> str:
        """One row."""
        return f"DELETE FROM {self.table} WHERE " + " AND ".join(f"{column} = ?" for column in self.key)

    def ranges(self, epoch: int, before: int, after: int) -> list[tuple[int, int]]:
        """Where the first column of rows lies that only `epoch` sees, given its kept neighbours: above, up to."""
        if self.lead == "until":
            return [(epoch, after)]
        return [(fork - 1, fork) for fork in forks(epoch) if before < fork < after]


INODES = History("inodes_history", "until", ("ino",), ("ino", "until"), "xattr_set")
DENTRIES = History("dentries_history", "fork", ("parent", "until", "name"), ("parent", "name", "until"), "NULL")
EXTENTS = History("extents_history", "fork", ("content", "start", "until"), ("content", "start", "until"), "block")
_LAST: dict[str, Any] = {"name": b""}  # behind every value of any other column lies NEVER


class Pruning:
    """Takes deleted snapshots, and epochs given up, apart."""

    def __init__(self, database: Database, contents: Contents, inodes: Inodes) -> None:
        self._database = database
        self._contents = contents
        self._inodes = inodes
        self._at_work: Iterator[None] | None = None

    def step(self) -> bool:
        """Remove a few rows. True while there is more to do."""
        if self._at_work is None:
            row = self._database.row("SELECT snapshot, epoch FROM snapshots WHERE state = 'deleting' LIMIT 1")
            if row is None:
                return False
            self._at_work = self._prune(*row)
        with self._database.operation:
            if next(self._at_work, "done") == "done":
                self._at_work = None
            self._contents.flush()
        return True

    def _prune(self, snapshot: int, epoch: int) -> Iterator[None]:
        for history in (INODES, DENTRIES, EXTENTS):
            yield from self._prune_history(history, epoch)
        yield from self._prune_gone_contents(epoch)
        self._database.write("DELETE FROM views WHERE snapshot = ?", (snapshot,))
        self._database.write("DELETE FROM snapshots WHERE snapshot = ?", (snapshot,))

    def _neighbours(self, epoch: int) -> tuple[int, int]:
        """The kept epochs before and after; 0 and `NEVER` where there is none."""
        before = self._database.row("SELECT max(epoch) FROM snapshots WHERE state = 'kept' AND epoch < ?", (epoch,))[0]
        after = self._database.row("SELECT min(epoch) FROM snapshots WHERE state = 'kept' AND epoch > ?", (epoch,))[0]
        return before or 0, after or NEVER

    def _prune_history(self, history: History, epoch: int) -> Iterator[None]:
        for above, up_to in history.ranges(epoch, *self._neighbours(epoch)):
            yield from self._prune_range(history, epoch, above, up_to)

    def _prune_range(self, history: History, epoch: int, above: int, up_to: int) -> Iterator[None]:
        select, delete, width = history.select(), history.delete(), len(history.rest) + 1
        place: tuple[Any, ...] = (above, *(_LAST.get(column, NEVER) for column in history.rest))
        while True:
            before, after = self._neighbours(epoch)
            rows = self._database.rows(select, (*place, up_to))
            for row in rows:
                since, until, frees, *key = row[width:]
                if since > before and until <= after:
                    self._database.write(delete, key)
                    self._set_free(history, frees)
            if len(rows) < STEP_ROWS:
                return
            place = rows[-1][:width]
            yield

    def _set_free(self, history: History, frees: int | None) -> None:
        if history is EXTENTS and frees is not None:
            self._contents.release((frees,))
        elif history is INODES and frees is not None:
            self._inodes.released_sets.add(frees)

    def _prune_gone_contents(self, epoch: int) -> Iterator[None]:
        place: tuple[int, int] = (epoch, NEVER)
        while True:
            before, after = self._neighbours(epoch)
            row = self._database.row(
                "SELECT gone, content FROM gone_contents WHERE (gone, content) > (?, ?) AND gone <= ?"
                " ORDER BY gone, content LIMIT 1",
                (*place, after),
            )
            if row is None:
                return
            place = row
            while self._contents.remove_gone_step(row[1], before):
                yield
                before, after = self._neighbours(epoch)
                if row[0] > after:
                    break
            yield
