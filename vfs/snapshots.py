"""Snapshots: name the epoch, advance it. O(1), whatever the drive holds.

Deleting is the long half: it removes exactly the rows that no kept epoch sees any more, in steps of a few hundred, each
one operation. A snapshot that is being deleted is gone for users at once; its state is in the database, so a crash
resumes. With p the kept epoch before and n the one after, a row is seen by nobody if since > p and until <= n.

Names are the UTC second of the freeze, `%Y-%m-%dT%H-%M-%SZ`, with `_label` behind it if there is one. A second is used
once in a drive's life; who asks twice within one waits for the next.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import trio

from cachefs.counters import Counters
from cachefs.database import Database
from cloud_tier.clock import Clock
from vfs.contents import STEP_ROWS, Contents
from vfs.epochs import Epochs
from vfs.errors import InvalidArgument, NotFound, Refused
from vfs.ids import Epoch
from vfs.inodes import Inodes

NAME_FORMAT = "%Y-%m-%dT%H-%M-%SZ"
NEVER = 1 << 62  # later than any epoch
MOST_WAITED_S = 2
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Snapshot(NamedTuple):
    """A kept state with a name."""

    number: int
    epoch: Epoch
    name: str
    label: str | None
    created_ns: int
    is_held: bool

    @property
    def bare_name(self) -> str:
        """The name without its label: what smbd parses."""
        return self.name.split("_", 1)[0]


class Snapshots:
    """All snapshots, oldest first."""

    def __init__(
        self, database: Database, counters: Counters, epochs: Epochs, contents: Contents, inodes: Inodes, clock: Clock
    ) -> None:
        self._database = database
        self._counters = counters
        self._epochs = epochs
        self._contents = contents
        self._inodes = inodes
        self._clock = clock
        self._by_name: dict[str, Snapshot] = {}
        self._by_number: dict[int, Snapshot] = {}
        self._in_use: list[int] = []
        self._creating = trio.Lock()
        self._pruning: Iterator[None] | None = None
        self.work = trio.Event()  # set when a deletion waits for the reaper

    def load(self) -> None:
        """Read the table."""
        rows = self._database.rows(
            "SELECT snapshot, epoch, name, label, created_ns, is_held FROM snapshots"
            " WHERE kind = 'snapshot' AND state = 'kept' ORDER BY epoch"
        )
        for row in rows:
            number, epoch, name, label, created_ns, is_held = row
            self._remember(Snapshot(number, epoch, name, label, created_ns, bool(is_held)))

    def _remember(self, snapshot: Snapshot) -> None:
        self._by_name[snapshot.name] = snapshot
        self._by_number[snapshot.number] = snapshot

    # --- reading ---

    def all(self) -> list[Snapshot]:
        """Oldest first."""
        return list(self._by_name.values())

    def newest(self) -> Snapshot | None:
        """The last one made."""
        return next(reversed(self._by_name.values()), None)

    def __len__(self) -> int:
        return len(self._by_name)

    def get(self, name: str) -> Snapshot:
        """The snapshot of that name. Raises NotFound."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(f"there is no snapshot {name}") from None

    def by_number(self, number: int) -> Snapshot | None:
        """The snapshot of that number, None once it is deleted."""
        return self._by_number.get(number)

    def find(self, name: bytes) -> Snapshot | None:
        """The snapshot whose folder has that name."""
        return self._by_name.get(name.decode("ascii", "replace"))

    # --- making ---

    async def create(self, label: str | None = None, *, is_held: bool = False) -> Snapshot:
        """Keep the drive as it is at the moment when the epoch advances.

        Durable at the next cut. Raises InvalidArgument.
        """
        if label is not None and not _LABEL.fullmatch(label):
            raise InvalidArgument(
                "a label is 1 to 100 letters, digits, dots, dashes or underscores, a letter or digit first"
            )
        made: list[Snapshot] = []

        def record(epoch: Epoch) -> None:
            now = self._named_moment()
            name = datetime.fromtimestamp(now // 10**9, UTC).strftime(NAME_FORMAT) + (f"_{label}" if label else "")
            number = self._counters.next("snapshot")
            self._counters.raise_to("snapshot_second", now // 10**9)
            self._counters.flush()
            self._database.write(
                "INSERT INTO snapshots VALUES (?, ?, 'snapshot', 'kept', ?, ?, ?, ?)",
                (number, epoch, name, label, now, int(is_held)),
            )
            made.append(Snapshot(number, epoch, name, label, now, is_held))

        async with self._creating:
            await self._wait_for_fresh_second()
            await self._epochs.advance(record)
            self._remember(made[0])
        return made[0]

    async def _wait_for_fresh_second(self) -> None:
        used = self._counters.last("snapshot_second")
        now = self._clock.now_ns()
        while used - MOST_WAITED_S < now // 10**9 <= used:
            await trio.sleep(((used + 1) * 10**9 - now) / 10**9)
            now = self._clock.now_ns()

    def _named_moment(self) -> int:
        """Now; or, after somebody has set the clock back, the second after the last one used: time goes on in names."""
        return max(self._clock.now_ns(), (self._counters.last("snapshot_second") + 1) * 10**9)

    def hold(self, name: str, is_held: bool) -> Snapshot:
        """Promise not to delete it, or take the promise back."""
        snapshot = self.get(name)._replace(is_held=is_held)
        with self._database.operation:
            self._database.write("UPDATE snapshots SET is_held = ? WHERE snapshot = ?", (int(is_held), snapshot.number))
        self._remember(snapshot)
        return snapshot

    @contextmanager
    def using(self, snapshot: Snapshot) -> Iterator[None]:
        """While somebody works from the snapshot it cannot be deleted."""
        self._in_use.append(snapshot.number)
        try:
            yield
        finally:
            self._in_use.remove(snapshot.number)

    # --- deleting ---

    def delete(self, name: str) -> Snapshot:
        """Take the snapshot away from users; its rows go in steps. Raises NotFound, Refused when it is held."""
        snapshot = self.get(name)
        if snapshot.is_held:
            raise Refused(f"the snapshot {name} is held; release it first")
        if snapshot.number in self._in_use:
            raise Refused(f"a restore from {name} is at work; wait for it")
        with self._database.operation:
            self._database.write(
                "UPDATE snapshots SET state = 'deleting', name = NULL WHERE snapshot = ?", (snapshot.number,)
            )
            self._epochs.forget_kept()
        del self._by_name[name], self._by_number[snapshot.number]
        self.work.set()
        return snapshot

    def prune_step(self) -> bool:
        """Remove a few rows that no kept epoch sees. True while there is more to do."""
        if self._pruning is None:
            row = self._database.row("SELECT snapshot, epoch FROM snapshots WHERE state = 'deleting' LIMIT 1")
            if row is None:
                return False
            self._pruning = self._prune(*row)
        with self._database.operation:
            try:
                next(self._pruning)
            except StopIteration:
                self._pruning = None
            self._contents.flush()
        return True

    def _neighbours(self, epoch: int) -> tuple[int, int]:
        kept = [
            row[0] for row in self._database.rows("SELECT epoch FROM snapshots WHERE state = 'kept' ORDER BY epoch")
        ]
        index = bisect_left(kept, epoch)
        return (kept[index - 1] if index else 0), (kept[index] if index < len(kept) else NEVER)

    def _prune(self, number: int, epoch: int) -> Iterator[None]:
        yield from self._prune_inodes(epoch)
        yield from self._prune_dentries(epoch)
        yield from self._prune_extents(epoch)
        yield from self._prune_gone_contents(epoch)
        self._database.write("DELETE FROM views WHERE snapshot = ?", (number,))
        self._database.write("DELETE FROM snapshots WHERE snapshot = ?", (number,))

    def _prune_inodes(self, epoch: int) -> Iterator[None]:
        place = (epoch, NEVER)
        while True:
            before, after = self._neighbours(epoch)
            rows = self._database.rows(
                "SELECT until, ino, since, xattr_set FROM inodes_history WHERE (until, ino) > (?, ?) AND until <= ?"
                " ORDER BY until, ino LIMIT ?",
                (*place, after, STEP_ROWS),
            )
            for until, ino, since, xattr_set in rows:
                if since > before:
                    self._database.write("DELETE FROM inodes_history WHERE ino = ? AND until = ?", (ino, until))
                    if xattr_set is not None:
                        self._inodes.released_sets.add(xattr_set)
            if len(rows) < STEP_ROWS:
                return
            place = rows[-1][:2]
            yield

    def _prune_dentries(self, epoch: int) -> Iterator[None]:
        place = (epoch, NEVER, b"")
        while True:
            before, after = self._neighbours(epoch)
            rows = self._database.rows(
                "SELECT until, parent, name, since FROM dentries_history WHERE (until, parent, name) > (?, ?, ?) AND"
                " until <= ?"
                " ORDER BY until, parent, name LIMIT ?",
                (*place, after, STEP_ROWS),
            )
            for until, parent, name, since in rows:
                if since > before:
                    self._database.write(
                        "DELETE FROM dentries_history WHERE parent = ? AND name = ? AND until = ?",
                        (parent, name, until),
                    )
            if len(rows) < STEP_ROWS:
                return
            place = rows[-1][:3]
            yield

    def _prune_extents(self, epoch: int) -> Iterator[None]:
        place = (epoch, NEVER, 0)
        while True:
            before, after = self._neighbours(epoch)
            rows = self._database.rows(
                "SELECT until, content, start, since, block FROM extents_history WHERE (until, content, start) > (?,"
                " ?, ?) AND until <= ?"
                " ORDER BY until, content, start LIMIT ?",
                (*place, after, STEP_ROWS),
            )
            for until, content, start, since, block in rows:
                if since > before:
                    self._database.write(
                        "DELETE FROM extents_history WHERE content = ? AND start = ? AND until = ?",
                        (content, start, until),
                    )
                    self._contents.release((block,))
            if len(rows) < STEP_ROWS:
                return
            place = rows[-1][:3]
            yield

    def _prune_gone_contents(self, epoch: int) -> Iterator[None]:
        place = (epoch, NEVER)
        while True:
            before, after = self._neighbours(epoch)
            row = self._database.row(
                "SELECT gone, content FROM gone_contents WHERE (gone, content) > (?, ?) AND gone <= ? ORDER BY gone,"
                " content LIMIT 1",
                (*place, after),
            )
            if row is None:
                return
            place, content = row, row[1]
            while self._contents.remove_gone_step(content, before):
                yield
                before, after = self._neighbours(epoch)
                if row[0] > after:
                    break
            yield
