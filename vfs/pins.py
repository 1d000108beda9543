"""Pins: what stays on this machine by wish, though the store has it as well.

A pin is a row: the number of a file, or of a folder with all that lies in it now or later. What the pins mean in blocks
is worked out in a thread (`look`): when one changes, every `OLD_S` as long as there is one, and before anything is
evicted if that was longer ago. So a file that is made in a pinned folder, or moved there, may in its first minute still
go; whoever reads it brings it back, and it stays.

Pinned bytes make no room for writers, so at most `PINNED_SHARE` of the budget is kept; what is beyond may go as ever.
A pin follows a name to which a new file comes (programs save by rename), also by a restore; it ends with the file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import trio

from cachefs.cut import Cuts
from cachefs.database import Database, rows_of
from cachefs.evicting import Evicting
from vfs.check import path_of
from vfs.namespace import Namespace
from vfs.subtree import blocks_below

OLD_S = 60.0
PINNED_SHARE = 0.5  # of the budget


class _Found(NamedTuple):
    """What the pins mean: blocks, the bytes of the places of those that could be evicted, what is beyond the share, and
    which pinned inodes are gone.
    """

    blocks: frozenset[int]
    held_bytes: int
    beyond_bytes: int
    gone: list[int]


class Pins:
    """The table `pins`. `most_bytes` asks for the budget; `evicting` is None on a drive that evicts nothing."""

    def __init__(
        self,
        database: Database,
        cuts: Cuts,
        namespace: Namespace,
        evicting: Evicting | None,
        most_bytes: Callable[[], int],
    ) -> None:
        self.beyond_bytes = 0
        """Of pinned files, what does not fit into the share of pins."""
        self._database = database
        self._cuts = cuts
        self._namespace = namespace
        self._evicting = evicting
        self._most_bytes = most_bytes
        self._inos: set[int] = set()
        self._looked_at = float("-inf")
        self._seen_cut = -1
        self._lock = trio.Lock()
        self._thread = trio.CapacityLimiter(1)
        namespace.replaced = self._replaced
        if evicting is not None:
            evicting.look_at_pins = self.look_if_old

    def load(self) -> None:
        """Read the rows. Once, at start."""
        self._inos = {ino for (ino,) in self._database.rows("SELECT ino FROM pins")}

    def all(self) -> list[tuple[int, bytes]]:
        """Every pinned inode that has a name, and one path of it, sorted by path."""
        found = [(ino, path_of(self._database.row, ino)) for ino in self._inos]
        return sorted(((ino, path) for ino, path in found if path is not None), key=lambda one: one[1])

    def is_pinned(self, ino: int) -> bool:
        """Whether the inode itself is; not whether a folder above is."""
        return ino in self._inos

    def pin(self, ino: int) -> None:
        """Keep the file, or all in the folder. It counts from the next `look` on. In the running transaction."""
        if ino not in self._inos:
            self._database.write("INSERT INTO pins VALUES (?)", (ino,))
            self._inos.add(ino)

    def unpin(self, ino: int) -> None:
        """Take that back."""
        if ino in self._inos:
            self._database.write("DELETE FROM pins WHERE ino = ?", (ino,))
            self._inos.discard(ino)

    def _replaced(self, old: int, new: int) -> None:
        if old in self._inos:
            self.pin(new)

    @contextmanager
    def staying(self) -> Iterator[None]:
        """While whole trees are swapped: what stands at a pinned path afterwards is pinned. Without an await."""
        paths = [path for _, path in self.all()]
        yield
        for path in paths:
            ino = self._namespace.resolve(path.split(b"/") if path else [])
            if ino is not None:
                self.pin(ino)

    # --- in blocks ---

    async def run(self) -> None:
        """Keep what the pins mean up to date, for ever."""
        while True:
            await self.look_if_old()
            await trio.sleep(OLD_S)

    async def look_if_old(self) -> None:
        """`look`, if that was long ago and anything changed."""
        if self._inos and trio.current_time() >= self._looked_at + OLD_S and self._cuts.number != self._seen_cut:
            await self.look()

    async def look(self) -> None:
        """Work out anew which blocks stay, as of the last cut."""
        if self._evicting is None:
            return
        async with self._lock:
            self._seen_cut, self._looked_at = self._cuts.number, trio.current_time()
            inos, share = set(self._inos), int(PINNED_SHARE * self._most_bytes())
            found = await trio.to_thread.run_sync(self._study, inos, share, limiter=self._thread)
            self.beyond_bytes = found.beyond_bytes
            self._evicting.pin(found.blocks, found.held_bytes)
            await self._cuts.gate.wait_open()
            for ino in found.gone:
                self.unpin(ino)

    def _study(self, inos: set[int], share: int) -> _Found:
        reader = self._database.reader()
        try:
            below = blocks_below(lambda sql, parameters: rows_of(reader, sql, parameters), inos)
            alive = {ino for (ino,) in rows_of(reader, "SELECT ino FROM pins JOIN inodes USING (ino) WHERE nlink > 0")}
            known = {ino for (ino,) in rows_of(reader, "SELECT ino FROM pins")}
        finally:
            reader.close()
        kept: set[int] = set()
        size = held = beyond = 0
        for one in below:
            if size + one.size_bytes > share:
                beyond += one.size_bytes
            else:
                size += one.size_bytes
                kept.add(one.block)
                held += one.held_bytes if one.pack is not None else 0
        return _Found(frozenset(kept), held, beyond, sorted(inos & known - alive))
