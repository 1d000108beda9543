"""Epochs kept for undo by actor: so that one actor's damage never hides another's work (T11).

Within one epoch rows change in place. If B overwrites what A changed in the same epoch, A's work would be lost to
history, and undoing B would undo A. So before an actor changes contents or a name that another actor changed in this
epoch, the epoch advances and is kept without a name; at most every `LEAST_S` seconds, for `KEPT_S` seconds. Changes of
folders' times never count, or every shared folder would make an epoch per operation.

Nor do they go because a clock leapt: whoever runs the drive knows whether it is believed, and until he says so nothing
goes. An epoch that lies in the future counts as made when the next one was, one before its predecessors as they were.

Most of the time one actor is at work; then `writers` has one member and this costs a comparison.
"""

from typing import TYPE_CHECKING

import trio

from cachefs.counters import Counters
from cachefs.database import Database
from cloud_tier.clock import Clock
from vfs.actors import SEVERAL
from vfs.epochs import Epochs
from vfs.ids import Epoch
from vfs.inodes import Inode, Inodes

if TYPE_CHECKING:
    from collections.abc import Callable

LEAST_S = 10.0
KEPT_S = 48 * 3600
DOUBT_S = 900.0  # then a clock that was not believed is asked for again

_OLDEST = "SELECT epoch, created_ns FROM snapshots WHERE kind = 'actor' AND state = 'kept' ORDER BY epoch LIMIT 1"
_BEFORE = "SELECT max(created_ns) FROM snapshots WHERE epoch <= ? AND created_ns <= ?"
_AFTER = "SELECT created_ns FROM snapshots WHERE epoch > ? AND created_ns <= ? ORDER BY epoch LIMIT 1"


class UndoEpochs:
    """Watches who changes what, and keeps an epoch where two actors meet."""

    def __init__(self, database: Database, counters: Counters, epochs: Epochs, inodes: Inodes, clock: Clock) -> None:
        self.is_clock_believed: Callable[[], bool] = lambda: False
        """Asked, behind an open gate, before an epoch goes because of what the clock says."""
        self._database = database
        self._counters = counters
        self._epochs = epochs
        self._inodes = inodes
        self._clock = clock
        self._last_s = self._ask_again_s = float("-inf")
        self._advancing = trio.Lock()

    async def before_content(self, inode: Inode, actor_id: int) -> None:
        """The actor is about to change what the file holds, or to remove it."""
        if len(self._inodes.writers) > 1 and self._is_anothers(inode, actor_id):
            await self._keep()

    async def before_name(self, parent: int, name: bytes, actor_id: int) -> None:
        """The actor is about to remove a name or to let it stand for something else."""
        if len(self._inodes.writers) < 2:
            return
        row = self._database.row(
            "SELECT since, actor_id, ino FROM dentries WHERE parent = ? AND name = ?", (parent, name)
        )
        if row is None:
            return
        since, by, ino = row
        if (since == self._epochs.current and by not in (actor_id, SEVERAL)) or self._is_anothers(
            self._inodes.get(ino), actor_id
        ):
            await self._keep()

    def _is_anothers(self, inode: Inode, actor_id: int) -> bool:
        is_of_this_epoch = inode.is_dirty or inode.since == self._epochs.current
        return is_of_this_epoch and inode.is_file and inode.actor_id not in (actor_id, SEVERAL)

    async def _keep(self) -> None:
        if self._clock.monotonic_s() - self._last_s < LEAST_S:
            return
        self._last_s = self._clock.monotonic_s()
        async with self._advancing:
            await self._epochs.advance(self._epochs.keep_unnamed(self._counters, "actor", self._clock.now_ns()))

    def expire_step(self) -> bool:
        """Let the oldest epoch go if it has been kept long enough. True when one went."""
        row = self._database.row(_OLDEST)
        now_ns = self._clock.now_ns()
        if row is None or not self._is_over(row[0], row[1], now_ns) or self._clock.monotonic_s() < self._ask_again_s:
            return False
        if not self.is_clock_believed():
            self._ask_again_s = self._clock.monotonic_s() + DOUBT_S
            return False
        self._epochs.give_up(Epoch(row[0]))
        return True

    def _is_over(self, epoch: int, created_ns: int, now_ns: int) -> bool:
        is_near = 0 <= now_ns - created_ns < KEPT_S * 10**9  # what all but the last steps of an epoch's life ask
        if is_near:
            return False
        row = self._database.row(_BEFORE if created_ns <= now_ns else _AFTER, (epoch, now_ns))
        return row is not None and now_ns - row[0] >= KEPT_S * 10**9
