"""`hybrid-drive`, as it is but for one thing: it believes that its machine was started as often as it is told.

The machine under these tests never dies; only its disk does. Without another boot id the drive would rightly believe
that the page cache is still there, and bring back what no disk holds.

A careless drive is the negative control of the power-loss tests. `file-fsync`: no file is ever synced, not by the
engine and not by SQLite. `directory-fsync`: the same for directories. `careful` leaves all as it is.

    python tests/crash/power_core.py BOOT careful|file-fsync|directory-fsync COMMAND...
"""

import sys
from typing import Any

import apsw

from cachefs import disk, intent_log

SQLITES_OWN = apsw.vfs_names()[0]  # before ours is the first


class CarelessFile(apsw.VFSFile):
    """A file of SQLite that is never synced."""

    def __init__(self, name: Any, flags: list[int]) -> None:
        super().__init__(SQLITES_OWN, name, flags)

    def xSync(self, flags: int) -> None:
        pass


class CarelessVfs(apsw.VFS):
    """SQLite's way to files that are never synced, or whose removal is never synced."""

    def __init__(self, way: str) -> None:
        self._way = way
        super().__init__("careless", base=SQLITES_OWN, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return CarelessFile(name, flags) if self._way == "file-fsync" else super().xOpen(name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir and self._way != "directory-fsync")


def main() -> None:
    boot, way, *arguments = sys.argv[1:]
    # Before anybody imports the name.
    intent_log.boot_id = lambda: int(boot).to_bytes(16, "little")
    if way != "careful":
        vfs = CarelessVfs(way)
        if way == "file-fsync":
            disk.RealDisk.sync = staticmethod(lambda fd: None)  # type: ignore[assignment]
        else:
            disk.RealDisk.sync_directory = lambda self, path: None  # type: ignore[method-assign]
    from appliance.cli import main as hybrid_drive

    sys.argv = ["hybrid-drive", *arguments]
    try:
        hybrid_drive()
    finally:
        if way != "careful":
            vfs.unregister()


if __name__ == "__main__":
    main()
