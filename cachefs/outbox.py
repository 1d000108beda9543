"""The outbox: what each cut changed, as log entries on this disk until the store has them.

The intent log of a cut holds every statement that the next cut commits; so nothing is recorded twice. When a cut is
durable, the log that it has made needless is rewritten here as a `LogEntry`: without the bytes it carried, and without
statements on tables of this machine (T7). Only then is it removed.

    outbox/NNNNNNNNNNNN.log      the entry of cut N, not known to be in the store
    outbox/NNNNNNNNNNNN.sent     one that the store has, among many small objects that are to become one; or the newest,
                                 because the next one names its digest

    died                                               left, and done at the next start
    between COMMIT and this                            the intent log, ended: rewritten then
    while an entry was written                         half an entry, removed; the intent log is still there
    before the first cut of a life (`end`)             an entry of a cut that never happened: removed

A position is the number of a cut. Entries are a chain by digest. Where it breaks (a power loss took the end of an
intent log and not the commit, a damaged entry, cuts made without a store) it begins anew with an *origin*, and only a
checkpoint at that position or later leads to what comes after.
"""

import logging
import re
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from cachefs.database import FORMAT_VERSION, Statement
from cachefs.disk import Disk
from cachefs.intent_log import IntentLog, runs_of
from cloud_tier.clock import Clock
from cloud_tier.errors import LogDamaged
from cloud_tier.log_entry import LogEntry

log = logging.getLogger(__name__)

LOCAL_TABLES = frozenset({"local_counters", "residency", "segments", "free_queue", "shared_pages", "unsent"})
"""Tables of this layer that are of this machine alone."""
MOST_BYTES = 256 << 20
"""So much may wait. A store that is away for longer gets a checkpoint instead."""

_TARGET = re.compile(r"\s*(?:INSERT(?: OR \w+)? INTO|UPDATE(?: OR \w+)?|DELETE FROM)\s+(\w+)")


def table_of(sql: str) -> str:
    """The table that a changing statement changes. Raises ValueError when it is not one."""
    found = _TARGET.match(sql)
    if found is None:
        raise ValueError(f"not a statement that changes a table: {sql}")
    return found[1]


class Outbox:
    """The folder `outbox`. Calls that block on the disk are for threads, any of them at any time."""

    def __init__(self, disk: Disk, state: Path, clock: Clock, local_tables: Collection[str] = LOCAL_TABLES) -> None:
        self.origin = 0
        """Where the chain begins, as far as it can be seen here: what the store has before it leads nowhere."""
        self.position = 0  # of the newest entry
        self.digests: dict[int, bytes] = {}  # by position, since the start or the origin
        self.waiting: dict[int, tuple[int, int]] = {}
        """Entries that the store may not have: position → (made, in ns; bytes), oldest first."""
        self.kept: dict[int, int] = {}
        """Entries that the store has and that are still here: position → bytes, oldest first."""
        self._disk = disk
        self._directory = state / "outbox"
        self._intents = state / "intents"
        self._clock = clock
        self._local_tables = local_tables
        self._is_troubled = False
        self._turn = threading.RLock()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of what the store may not have."""
        return sum(size for _, size in list(self.waiting.values()))

    def load(self, cut: int) -> None:
        """Find what is here, at a start, when cut `cut` is the last. Raises OSError."""
        if not self._directory.exists():
            self._disk.make_folder(self._directory)
            self._disk.sync_directory(self._directory.parent)
        for path in sorted((*self._directory.glob("*.log"), *self._directory.glob("*.sent"))):
            position = int(path.stem)
            entry = self._read(path) if position <= cut else None
            if entry is None:
                self._disk.unlink(path)
                continue
            if entry.is_origin:
                self.origin, self.digests = position, {}
            self.position = position
            self.digests[position] = entry.digest
            if entry.is_origin:
                continue
            if path.suffix == ".log":
                self.waiting[position] = (entry.made_ns, len(entry.body))
            else:
                self.kept[position] = len(entry.body)
        self.gather(cut)
        newest = self._read(self._path(cut))
        if newest is None or self.position != cut or newest.schema != FORMAT_VERSION:
            self._begin_anew(cut)

    def end(self, intents: IntentLog | None, position: int, statements: Sequence[Statement]) -> None:
        """Before cut `position` is committed: these are the last statements of it. Raises OSError.

        The first cut of a life has no log of its own: what was run again, as far as it was believed, is among them.
        """
        if intents is None:
            self._put(position, statements)
        else:
            intents.append(statements, is_end=True)

    def _put(self, position: int, statements: Sequence[Statement]) -> None:
        wanted = [(sql, values) for sql, values in statements if table_of(sql) not in self._local_tables]
        entry = LogEntry.make(position, self._clock.now_ns(), FORMAT_VERSION, self._last(), wanted)
        try:
            self._write(entry)
        except OSError as error:
            self._complain(error)
            self.position = -1  # breaks the chain, and no more

    def gather(self, cut: int) -> None:
        """Rewrite the intent logs of cuts before `cut` as entries, and remove them. Blocks on the disk."""
        with self._turn:
            for path in sorted(self._intents.glob("*.log"), key=lambda path: int(path.stem)):
                if (position := int(path.stem) + 1) > cut:
                    break
                try:
                    if position > self.position:
                        self._take(path, position)
                    self._disk.unlink(path)
                except OSError as error:
                    self._complain(error)
                    return
            if self.waiting_bytes > MOST_BYTES:
                self.abandon()

    def _take(self, path: Path, position: int) -> None:
        found = runs_of(path, position - 1)
        if found is None or position != self.position + 1:
            self._begin_anew(position)
            return
        texts, runs = found
        local = {number for number, sql in enumerate(texts) if table_of(sql) in self._local_tables}
        wanted = [run for run in runs if run[0] not in local]
        made_ns = self._clock.now_ns()
        self._write(LogEntry.of_runs(position, made_ns, FORMAT_VERSION, self._last(), texts, wanted))

    def entry(self, position: int) -> LogEntry:
        """One that is here. Raises OSError, LogDamaged."""
        path = self._path(position)
        return LogEntry.parse((path if position in self.waiting else path.with_suffix(".sent")).read_bytes())

    def sent(self, position: int) -> None:
        """The store has all entries up to this one. They stay until `forget`. Blocks on the disk. Raises OSError."""
        with self._turn:
            for waiting in [one for one in self.waiting if one <= position]:
                path = self._path(waiting)
                self._disk.rename(path, path.with_suffix(".sent"))
                self.kept[waiting] = self.waiting.pop(waiting)[1]
                self.digests.pop(waiting - 1000, None)

    def forget(self, position: int) -> None:
        """Entries that were sent need not stay up to this one; the newest does. Blocks on the disk. Raises OSError."""
        with self._turn:
            for kept in [one for one in self.kept if one <= position]:
                if kept != self.position:
                    with suppress(FileNotFoundError):  # an origin took its place
                        self._disk.unlink(self._path(kept).with_suffix(".sent"))
                    del self.kept[kept]

    def abandon(self) -> None:
        """Give up what waits: a checkpoint is to say it all. Blocks on the disk. Raises OSError."""
        with self._turn:
            for position in list(self.waiting):
                if position != self.position:
                    with suppress(FileNotFoundError):
                        self._disk.unlink(self._path(position))
                    del self.waiting[position]
            self._begin_anew(self.position)

    def _last(self) -> bytes:
        return self.digests.get(self.position, bytes(32))

    def _begin_anew(self, position: int) -> None:
        entry = LogEntry.origin(position, self._clock.now_ns(), FORMAT_VERSION)
        self.origin, self.digests = position, {}
        try:
            self._write(entry)
        except OSError as error:
            self._complain(error)
            self.position, self.digests[position] = position, entry.digest
        self.waiting.pop(position, None)

    def _write(self, entry: LogEntry) -> None:
        path = self._path(entry.position)
        for stale in (path, path.with_suffix(".sent")):
            with suppress(FileNotFoundError):
                self._disk.unlink(stale)
        fd = self._disk.open(path, create=True)
        try:
            self._disk.pwrite(fd, entry.body, 0)
            self._disk.sync(fd)
        finally:
            self._disk.close(fd)
        self._disk.sync_directory(self._directory)
        self.digests[entry.position] = entry.digest
        self.waiting[entry.position] = (entry.made_ns, len(entry.body))
        self.position = entry.position
        self._is_troubled = False

    def _read(self, path: Path) -> LogEntry | None:
        for named in (path, path.with_suffix(".sent")):
            try:
                return LogEntry.parse(named.read_bytes())
            except (OSError, LogDamaged):
                continue
        return None

    def _path(self, position: int) -> Path:
        return self._directory / f"{position:012}.log"

    def _complain(self, error: OSError) -> None:
        if self._is_troubled:  # said
            return
        self._is_troubled = True
        log.warning("what changed could not be made ready for the store, and will be later: %s", error)
