"""Contents: the extents under inodes, loaded by window, written at the flush, given up in one step.

Windows live in one LRU with a byte budget; a window with unwritten rows stays. The rows of the database are exact as of
the last flush, and every advance of the epoch flushes first, so past states are always in the database.

A block dies when its last extent is gone, live or history. Nobody counts: blocks that lost a piece are remembered, and
asked for after the rows were written, in the same transaction.
"""

import json
from collections import OrderedDict
from collections.abc import Iterable

from cachefs.blocks import Blocks
from cachefs.counters import Counters
from cachefs.database import Database
from vfs.epochs import Epochs
from vfs.extents import WINDOW_BYTES, Piece, Window

WINDOWS_BYTES = 40 << 20
WINDOW_COST_BYTES = 1400  # of an empty window
EXTENT_COST_BYTES = 32
SMALL_CONTENT = 16  # extents; given up at once instead of by the reaper
STEP_ROWS = 100  # a few milliseconds, where each row also frees a block

_UPSERT = (
    "INSERT INTO extents VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (content, start) DO UPDATE SET"
    " since = excluded.since, length = excluded.length, block = excluded.block, offset = excluded.offset"
)
_DELETE = "DELETE FROM extents WHERE content = ? AND start = ?"
_DELETE_ENDED = "DELETE FROM extents WHERE content IN (SELECT value FROM json_each(?))"
_USED = (
    "SELECT EXISTS (SELECT 1 FROM extents WHERE block = ?1) OR EXISTS (SELECT 1 FROM extents_history WHERE block = ?1)"
)

Key = tuple[int, int]  # content, window index


class Contents:
    """All contents of the drive."""

    def __init__(self, database: Database, blocks: Blocks, counters: Counters, epochs: Epochs) -> None:
        self._database = database
        self._blocks = blocks
        self._counters = counters
        self._epochs = epochs
        self._windows: OrderedDict[Key, Window] = OrderedDict()
        self._loaded: dict[int, set[int]] = {}  # window indexes of each content in `_windows`
        self._cost = 0
        self._dirty: dict[Key, Window] = {}
        self._fresh: set[int] = set()  # contents that have no rows yet
        self._released: set[int] = set()
        self._ended: list[int] = []  # contents whose rows all go at the next flush
        self._replaced = 0  # since the last flush
        # How far `remove_gone_step` is with a content, for an epoch. Lost at a start, and no harm.
        self._gone_places: dict[tuple[int, int], int] = {}

    def create(self) -> int:
        """A new, empty content."""
        content = self._counters.next("content")
        self._fresh.add(content)
        return content

    def window(self, content: int, position: int) -> Window:
        """The window that holds byte `position`. Valid until the next await."""
        key = (content, position // WINDOW_BYTES)
        window = self._windows.get(key)
        if window is None:
            window = self._load(key)
        else:
            self._windows.move_to_end(key)
        return window

    def _load(self, key: Key) -> Window:
        content, index = key
        window = Window()
        if content not in self._fresh:
            for row in self._database.rows(
                "SELECT start, length, block, offset FROM extents WHERE content = ? AND start >= ? AND start < ?"
                " ORDER BY start",
                (content, index * WINDOW_BYTES, (index + 1) * WINDOW_BYTES),
            ):
                window.append(*row)
        self._windows[key] = window
        self._loaded.setdefault(content, set()).add(index)
        self._cost += WINDOW_COST_BYTES + EXTENT_COST_BYTES * len(window.starts)
        if self._cost > WINDOWS_BYTES:
            self._shrink()
        return window

    def _shrink(self) -> None:
        goal = WINDOWS_BYTES * 7 // 8  # many at once, or each further window would walk all of them
        for key in list(self._windows)[:-1]:  # the last is the one that somebody is about to use
            if self._cost <= goal:
                break
            if key not in self._dirty:
                window = self._windows.pop(key)
                self._cost -= WINDOW_COST_BYTES + EXTENT_COST_BYTES * len(window.starts)
                indexes = self._loaded[key[0]]
                indexes.discard(key[1])
                if not indexes:
                    del self._loaded[key[0]]

    def forget_windows(self, contents: Iterable[int]) -> None:
        """The rows of these contents were changed behind their windows, none of which had unwritten ones."""
        for content in contents:
            for index in self._loaded.pop(content, ()):
                window = self._windows.pop((content, index))
                self._cost -= WINDOW_COST_BYTES + EXTENT_COST_BYTES * len(window.starts)

    def pieces(self, content: int, low: int, high: int) -> list[Piece]:
        """What covers [low, high) of the content, in order."""
        found: list[Piece] = []
        while low < high:
            line = min(high, (low // WINDOW_BYTES + 1) * WINDOW_BYTES)
            found += self.window(content, low).pieces(low, line)
            low = line
        return found

    def replace(self, content: int, low: int, high: int, block: int = 0, offset: int = 0) -> int:
        """Let [low, high), inside one window, be bytes of `block` (0: a hole). Returns how much more is covered."""
        window = self.window(content, low)
        before = len(window.starts)
        gained, lost = window.replace(low, high, block, offset)
        self._released.update(lost)
        self._replaced += 1
        self._cost += EXTENT_COST_BYTES * (len(window.starts) - before)
        if window.touched:
            self._dirty[content, low // WINDOW_BYTES] = window
        return gained

    def step_down(self, content: int, size: int) -> int:
        """The size to cut the content off at on the way to `size`, so that few extents go at once."""
        self.flush()
        row = self._database.row(
            "SELECT start FROM extents WHERE content = ? AND start > ? ORDER BY start DESC LIMIT 1 OFFSET ?",
            (content, size, STEP_ROWS),
        )
        return row[0] if row is not None else size

    def cut_off(self, content: int, size: int) -> int:
        """Remove all from byte `size` on. Returns how many bytes less are covered."""
        self.flush()
        lost = 0
        row = self._database.row(
            "SELECT start + length FROM extents WHERE content = ? ORDER BY start DESC LIMIT 1", (content,)
        )
        end = row[0] if row is not None else 0
        while size < end:
            start = self._database.row(
                "SELECT min(start) FROM extents WHERE content = ? AND start + length > ? AND start >= ?",
                (content, size, size // WINDOW_BYTES * WINDOW_BYTES),
            )[0]
            if start is None:
                break
            size = max(size, start)
            line = (size // WINDOW_BYTES + 1) * WINDOW_BYTES
            lost -= self.replace(content, size, line)
            size = line
        return lost

    def give_up(self, content: int) -> None:
        """No live inode has the content any more. O(1): a large one is left to the reaper."""
        for index in self._loaded.pop(content, ()):
            window = self._windows.pop((content, index))
            self._cost -= WINDOW_COST_BYTES + EXTENT_COST_BYTES * len(window.starts)
            self._dirty.pop((content, index), None)
            for start in window.touched:
                piece = window.row(start)
                if piece is not None:
                    self._released.add(piece.block)
        if content in self._fresh:
            self._fresh.discard(content)
            return
        rows = self._database.rows(
            "SELECT start, since, block FROM extents WHERE content = ? LIMIT ?", (content, SMALL_CONTENT + 1)
        )
        if len(rows) > SMALL_CONTENT:
            self._database.write("INSERT INTO gone_contents VALUES (?, ?, 0)", (content, self._epochs.current))
            return
        kept = self._epochs.newest_kept
        if all(since > kept for _, since, _ in rows):
            self._ended.append(content)
            blocks = {block for _, _, block in rows}
            self._released |= blocks
            self._drop_own(blocks)
            return
        with self._database.operation:
            self._remove(content, [(start, block) for start, since, block in rows if since > kept])
            self._database.write("INSERT INTO gone_contents VALUES (?, ?, 1)", (content, self._epochs.current))

    def _drop_own(self, blocks: Iterable[int]) -> None:
        """Blocks of a content that has no extents any more: what nobody else could see (I2) is dead for certain."""
        for number in blocks:
            if self._blocks.get(number).is_writable(self._epochs.newest_frozen):
                self._released.discard(number)
                self._blocks.drop(number)

    def _remove(self, content: int, rows: Iterable[tuple[int, int]]) -> None:
        for start, block in rows:
            self._database.write(_DELETE, (content, start))
            self._released.add(block)

    def release(self, blocks: Iterable[int]) -> None:
        """Extents of these blocks were removed from the database; ask at the next flush whether they still live."""
        self._released.update(blocks)

    def sift_step(self) -> bool:
        """Remove a few extents of given-up contents that no kept epoch sees. True while there is more to do."""
        row = self._database.row("SELECT content, gone FROM gone_contents WHERE is_sifted = 0 LIMIT 1")
        if row is None:
            return False
        content, gone = row
        # An epoch that was kept after the content was given up does not see it.
        kept = (
            self._database.row("SELECT max(epoch) FROM snapshots WHERE state = 'kept' AND epoch < ?", (gone,))[0] or 0
        )
        if not self.remove_gone_step(content, kept):
            self._database.write("UPDATE gone_contents SET is_sifted = 1 WHERE content = ?", (content,))
        self.flush()
        return True

    def remove_gone_step(self, content: int, seen_until: int) -> bool:
        """Look at a few extents of a content that is gone; remove those that were made after epoch `seen_until`.

        True while there are more.
        """
        place = self._gone_places.pop((content, seen_until), -1)
        rows = self._database.rows(
            "SELECT start, block, since FROM extents WHERE content = ? AND start > ? ORDER BY start LIMIT ?",
            (content, place, STEP_ROWS),
        )
        self._remove(content, [(start, block) for start, block, since in rows if since > seen_until])
        if len(rows) == STEP_ROWS:
            self._gone_places[content, seen_until] = rows[-1][0]
            return True
        if self._database.row("SELECT 1 FROM extents WHERE content = ? LIMIT 1", (content,)) is None:
            self._database.write("DELETE FROM gone_contents WHERE content = ?", (content,))
        return False

    def unwritten(self) -> int:
        """How many changes wait for the next flush; each is a row or a few."""
        return self._replaced + len(self._released) + len(self._ended)

    def flush(self) -> None:
        """Write the rows that changed; then free the blocks that nothing points at any more."""
        epoch, write = self._epochs.current, self._database.write
        for (content, _), window in self._dirty.items():
            for start in window.touched:
                piece = window.row(start)
                if piece is None:
                    write(_DELETE, (content, start))
                else:
                    write(_UPSERT, (content, start, epoch, piece.length, piece.block, piece.offset))
            window.touched.clear()
            self._fresh.discard(content)
        self._dirty.clear()
        self._replaced = 0
        if self._ended:
            write(_DELETE_ENDED, (json.dumps(self._ended),))
            self._ended.clear()
        if self._released:
            self._free_unused()

    def _free_unused(self) -> None:
        released, self._released = self._released, set()
        for block in released:
            if not self._database.row(_USED, (block,))[0]:
                self._blocks.drop(block)
