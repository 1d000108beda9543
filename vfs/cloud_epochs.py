"""Epochs kept for the store: the newest complete version of a file stays until what replaces it has been sent (T6).

The log that goes to the store is ahead of the bytes: it says what a file holds now, while the bytes of that are still
on their way. If the machine is lost then, recovery needs the version before, whole, and that is history. So whoever is
about to change a file that the store has, or to put another in its place, keeps an epoch first, unless a kept one shows
that version already; at most every `LEAST_S` seconds, for a version that was the newest for so short a time is no loss
that anybody meant to prevent.

A file is *behind* from its first change until all its blocks are in packs; `behind` names the epoch that it can be
brought back from. A file may also leave its name to another: an editor puts the old one aside or removes it, and saves
the new one under the name. So a name is remembered for a while, with the epoch that shows what it led to.

An epoch that is needed here is not given up by whoever kept it: a snapshot that people delete, or an actor's epoch that
expires, goes on as one of ours. After a start nobody remembers who needs what: until everything that was unsent then
has been sent, all epochs from before count as needed.
"""

from collections.abc import Callable
from itertools import islice

from cachefs.counters import Counters
from cachefs.database import Database
from cloud_tier.clock import Clock
from vfs.epochs import Epochs
from vfs.errors import VfsError
from vfs.ids import Epoch
from vfs.inodes import Inode, Inodes

LEAST_S = 10.0
YOUNG_S = 60.0  # so long a file counts as behind in any case, and a name that a file has left is remembered
MOST_LEFT = 1000
MOST_EPOCHS = 64  # beyond, a version is kept only if a kept epoch shows it anyway
STEP_FILES = 100  # looked at in one turn of the loop
STEP_EXTENTS = 1000  # of one file

_UNSENT = (
    "SELECT e.start, c.block FROM extents e LEFT JOIN catalog c USING (block) WHERE e.content = ? AND e.start >= ?"
    " ORDER BY e.start LIMIT ?"
)
_NAMED = "SELECT ino FROM dentries WHERE parent = ? AND name = ?"


class CloudEpochs:
    """Who is behind, and what is kept for them."""

    def __init__(
        self,
        database: Database,
        counters: Counters,
        epochs: Epochs,
        inodes: Inodes,
        clock: Clock,
        is_resting: Callable[[int], bool],
        is_all_sent: Callable[[], bool],
    ) -> None:
        """`is_resting`: whether a content was written and is not sealed; `is_all_sent`: whether nothing is unsent."""
        self.behind: dict[int, int] = {}
        """File → the epoch that shows its newest complete version. Of a new file there is none, and it is not here."""
        self._database = database
        self._counters = counters
        self._epochs = epochs
        self._inodes = inodes
        self._clock = clock
        self._is_resting = is_resting
        self._is_all_sent = is_all_sent
        self._epochs.is_needed = self._is_needed
        self._kept: set[int] = set()
        self._before = 0  # epochs below were begun by an earlier life, and are needed as long as this is not 0
        self._since_s: dict[int, float] = {}  # of each in `behind`: when it was changed last, as far as was asked
        self._left: dict[tuple[int, bytes], tuple[int, float]] = {}  # names that files have left: epoch, when
        self._places: dict[int, int] = {}  # content → how far it is known to be in the store
        self._last_s = float("-inf")

    def load(self) -> None:
        """Read what an earlier life has kept."""
        rows = self._database.rows("SELECT epoch FROM snapshots WHERE kind = 'cloud' AND state = 'kept'")
        self._kept = {epoch for (epoch,) in rows}
        self._before = self._epochs.current

    # --- before a change ---

    def must_look(self, inode: Inode) -> bool:
        """Whether `before_content` has to be awaited before what this file holds is changed."""
        return inode.content is not None and not self._is_resting(inode.content)

    async def before_content(self, inode: Inode) -> None:
        """Somebody is about to change what this file holds."""
        if self._is_complete(inode):
            self._hold(inode.ino, await self._preserve(inode))

    async def before_replacing(self, parent: int, name: bytes, to_parent: int, to_name: bytes) -> None:
        """A file is about to get another's name."""
        moved = self._file_named(parent, name)
        replaced = self._file_named(to_parent, to_name)
        if moved is None or moved is replaced:
            return
        await self._remember(parent, name, moved)
        # The first is so of most renames, which are not to pay for the second.
        if (replaced is None and (to_parent, to_name) not in self._left) or self._is_complete(moved):
            return
        if replaced is not None:
            self._hold(moved.ino, await self._base(replaced))
        else:
            self.named(to_parent, to_name, moved)

    async def before_removing(self, parent: int, name: bytes) -> None:
        """A name is about to be removed."""
        # Whoever removes thousands is not to pay for each of them.
        if len(self._left) < MOST_LEFT and (file := self._file_named(parent, name)) is not None:
            await self._remember(parent, name, file)

    def named(self, parent: int, name: bytes, inode: Inode) -> None:
        """A new file has got the name, or one that the store does not have whole."""
        if self._left and inode.is_file and (left := self._left.pop((parent, name), None)) is not None:
            self._hold(inode.ino, left[0])

    async def _remember(self, parent: int, name: bytes, inode: Inode) -> None:
        """The file is about to leave the name. Of many at once, only so many are remembered."""
        if len(self._left) < MOST_LEFT and (base := await self._base(inode)):
            self._left[parent, name] = (base, self._clock.monotonic_s())

    async def _base(self, inode: Inode) -> int:
        """The epoch that shows the newest complete version of the file, kept now if need be; 0 when there is none."""
        return await self._preserve(inode) if self._is_complete(inode) else self.behind.get(inode.ino, 0)

    def _file_named(self, parent: int, name: bytes) -> Inode | None:
        row = self._database.row(_NAMED, (parent, name))
        inode = self._inodes.get(row[0]) if row is not None else None
        return inode if inode is not None and inode.is_file and inode.content is not None else None

    def _hold(self, ino: int, base: int) -> None:
        if base:
            self.behind[ino] = max(base, self.behind.get(ino, 0))
            self._since_s[ino] = self._clock.monotonic_s()

    def _is_complete(self, inode: Inode) -> bool:
        """Whether there is something in it, and the store has all of it, as far as a quick look tells: of a file of
        very many extents, whether it is not known to be behind.
        """
        if inode.content is None or not inode.size or self._is_resting(inode.content):
            return False
        is_sent, place = self._is_sent(inode.content, 0, STEP_EXTENTS)
        return is_sent and (place is None or inode.ino not in self.behind)

    async def _preserve(self, inode: Inode) -> int:
        """The epoch that shows this version; kept now, if need be."""
        if inode.is_dirty or inode.since > self._epochs.newest_kept:
            await self._keep()
        return self._epochs.newest_kept

    async def _keep(self) -> None:
        if self._clock.monotonic_s() - self._last_s < LEAST_S or len(self._kept) >= MOST_EPOCHS:
            return
        self._last_s = self._clock.monotonic_s()
        record = self._epochs.keep_unnamed(self._counters, "cloud", self._clock.now_ns())
        self._kept.add(await self._epochs.advance(record))

    # --- afterwards, in steps ---

    def settle_step(self) -> bool:
        """Look at some files that are behind, and give up what nobody needs any more. True when something went."""
        if self._before and self._is_all_sent():
            self._before = 0
        now_s = self._clock.monotonic_s()
        for ino in list(islice(self.behind, STEP_FILES)):
            base = self.behind.pop(ino)
            # The bytes of a change may still be in the kernel, or on their way to a segment: rows do not tell.
            if now_s - self._since_s[ino] < YOUNG_S or self._is_behind(ino):
                self.behind[ino] = base  # at the end: the next step looks at others
            else:
                del self._since_s[ino]
        for name in [name for name, (_, left_s) in self._left.items() if now_s - left_s >= YOUNG_S]:
            del self._left[name]
        return self._give_up()

    def _is_behind(self, ino: int) -> bool:
        try:
            inode = self._inodes.get(ino)
        except VfsError:
            return False
        content = inode.content
        if content is None or not inode.nlink:
            return False
        if self._is_resting(content):
            self._places.pop(content, None)
            return True
        is_sent, place = self._is_sent(content, self._places.pop(content, 0), STEP_EXTENTS)
        if is_sent and place is None:
            return False
        if place is not None:
            self._places[content] = place
        return True

    def _is_sent(self, content: int, place: int, most: int) -> tuple[bool, int | None]:
        """Whether all of some extents from `place` on are in packs; and from where to look on, None at the end."""
        rows = self._database.rows(_UNSENT, (content, place, most))
        for start, stored in rows:
            if stored is None:
                return False, start
        return True, rows[-1][0] + 1 if len(rows) == most else None

    def _is_needed(self, epoch: int) -> bool:
        """Asked when somebody else gives the epoch up, which is ours from then on if the answer is yes."""
        # What is known to be needed is never refused; what only may be, as long as there is room for it.
        is_needed = epoch in self._needed() or (epoch < self._before and len(self._kept) < MOST_EPOCHS)
        if is_needed:
            self._kept.add(epoch)
        return is_needed

    def _needed(self) -> set[int]:
        return {*self.behind.values(), *(base for base, _ in self._left.values())}

    def _give_up(self) -> bool:
        needless = {epoch for epoch in self._kept if epoch >= self._before} - self._needed()
        if not needless:
            return False
        epoch = min(needless)
        self._kept.discard(epoch)
        self._epochs.give_up(Epoch(epoch))
        return True
