"""Snapshots: name the epoch, advance it. O(1), whatever the drive holds.

Deleting is the long half and is left to `vfs/pruning.py`: a deleted snapshot is gone for users at once.

Names are the UTC second of the freeze, `%Y-%m-%dT%H-%M-%SZ`, with `_label` behind it if there is one. A second is used
once in a drive's life; who asks twice within one waits for the next. After the clock was set back, names go on from the
last one all the same, so that they stay in order; `created_ns` is what the clock said, which is what retention judges.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import trio

from cachefs.counters import Counters
from cachefs.database import Database
from cloud_tier.clock import Clock
from vfs.epochs import Epochs
from vfs.errors import InvalidArgument, NotFound, Refused
from vfs.ids import Epoch

NAME_FORMAT = "%Y-%m-%dT%H-%M-%SZ"
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

    def __init__(self, database: Database, counters: Counters, epochs: Epochs, clock: Clock) -> None:
        self._database = database
        self._counters = counters
        self._epochs = epochs
        self._clock = clock
        self._by_name: dict[str, Snapshot] = {}
        self._by_number: dict[int, Snapshot] = {}
        self._in_use: list[int] = []
        self._creating = trio.Lock()

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
        async with self._creating:
            await self._wait_for_fresh_second()
            return await self._create_now(label, is_held)

    async def _create_now(self, label: str | None, is_held: bool) -> Snapshot:
        made: list[Snapshot] = []

        def record(epoch: Epoch) -> None:
            now = self._clock.now_ns()
            second = self._fresh_second(now)
            name = datetime.fromtimestamp(second, UTC).strftime(NAME_FORMAT) + (f"_{label}" if label else "")
            number = self._counters.next("snapshot")
            self._counters.raise_to("snapshot_second", second)
            self._counters.flush()
            self._database.write(
                "INSERT INTO snapshots VALUES (?, ?, 'snapshot', 'kept', ?, ?, ?, ?)",
                (number, epoch, name, label, now, int(is_held)),
            )
            made.append(Snapshot(number, epoch, name, label, now, is_held))

        await self._epochs.advance(record)
        self._remember(made[0])
        return made[0]

    async def _wait_for_fresh_second(self) -> None:
        used = self._counters.last("snapshot_second")
        now = self._clock.now_ns()
        while used - MOST_WAITED_S < now // 10**9 <= used:
            await trio.sleep(((used + 1) * 10**9 - now) / 10**9)
            now = self._clock.now_ns()

    def _fresh_second(self, now_ns: int) -> int:
        """Now; or, after somebody has set the clock back, the second after the last one used: time goes on in names."""
        return max(now_ns // 10**9, self._counters.last("snapshot_second") + 1)

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
        self._epochs.give_up(snapshot.epoch)
        del self._by_name[name], self._by_number[snapshot.number]
        return snapshot
