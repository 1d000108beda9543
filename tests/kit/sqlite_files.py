"""SQLite's own files, seen and made to fail by a test.

`watched(name, watch)` registers a VFS over SQLite's own. Before a file of it is written, synced or removed, a plan of
faults is asked; afterwards the `watch` is told. The shared-memory index beside the WAL is left alone: it is rebuilt
after every crash.
"""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import apsw
from kit.fault_plan import FaultPlan

_SYNCED_WITH_ITS_NAME = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


class Watch(Protocol):
    """What a watched file reports. `kit.losing_disk.LosingDisk` is one."""

    def created(self, path: Path) -> None: ...
    def wrote(self, path: Path, offset: int, data: bytes) -> None: ...
    def truncated(self, path: Path, length: int) -> None: ...
    def sync_begins(self, path: Path) -> int: ...
    def sync_ended(self, path: Path, covered: int) -> None: ...
    def unlinked(self, path: Path) -> None: ...
    def directory_synced(self, path: Path) -> None: ...


@contextlib.contextmanager
def _as_sqlite_error() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise (apsw.FullError if error.errno == errno.ENOSPC else apsw.IOError)(str(error)) from error


class WatchedFile(apsw.VFSFile):
    """One open file of SQLite."""

    def __init__(self, vfs: "WatchedVfs", name: Any, flags: list[int], path: Path) -> None:
        super().__init__("", name, flags)
        self._vfs = vfs
        self._path = path
        self._is_named = not flags[0] & _SYNCED_WITH_ITS_NAME

    def xWrite(self, data: bytes, offset: int) -> None:
        with _as_sqlite_error():
            self._vfs.plan.hit("sqlite write")
        super().xWrite(data, offset)
        self._vfs.watch.wrote(self._path, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        with _as_sqlite_error():
            self._vfs.plan.hit("sqlite truncate")
        super().xTruncate(newsize)
        self._vfs.watch.truncated(self._path, newsize)

    def xSync(self, flags: int) -> None:
        with _as_sqlite_error():
            self._vfs.plan.hit("sqlite sync")
        watch = self._vfs.watch
        watch.sync_ended(self._path, watch.sync_begins(self._path))
        if not self._is_named:  # SQLite syncs the folder with the first sync of a log that it made
            self._is_named = True
            watch.directory_synced(self._path.parent)


class WatchedVfs(apsw.VFS):
    """SQLite's way to its files, with a watch and a plan of faults."""

    def __init__(self, name: str, watch: Watch, plan: FaultPlan) -> None:
        self.watch = watch
        self.plan = plan
        super().__init__(name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        if name is None:  # a temporary file: nobody misses it after a crash
            return apsw.VFSFile("", name, flags)
        path = Path(name.filename() if isinstance(name, apsw.URIFilename) else name)
        is_new = not path.exists()
        with _as_sqlite_error():
            self.plan.hit("sqlite open")
        file = WatchedFile(self, name, flags, path)
        if is_new:
            self.watch.created(path)
        return file

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with _as_sqlite_error():
            self.plan.hit("sqlite delete")
        super().xDelete(filename, syncdir)
        self.watch.unlinked(Path(filename))
        if syncdir:
            self.watch.directory_synced(Path(filename).parent)


@contextlib.contextmanager
def watched(name: str, watch: Watch, plan: FaultPlan | None = None) -> Iterator[str]:
    """Register a watched VFS for as long as the block lasts; gives its name, for `vfs=`."""
    vfs = WatchedVfs(name, watch, plan or FaultPlan())
    try:
        yield name
    finally:
        vfs.unregister()
