"""What is kept before a newer program changes the tables of a drive: the way back to the program before.

    STATE/before-format-N/drive.db, intents/    as they were when format N came

Complete when it has its name. It leads back as long as the drive has not been worked with: bytes are not copied. Kept
until the next format comes. One that is there already is looked at: damaged, or from before the drive went back to the
older program and was worked with, it leads nowhere, and another is made. Without room for it nothing is changed, and
the drive does not start.
"""

import os
import shutil
from pathlib import Path

from cachefs.database import FORMAT_VERSION, Database
from cachefs.database_copy import copy_database, is_copy_of
from cachefs.errors import NoRoomToUpgrade

SPARE_BYTES = 64 << 20
_PREFIX = "before-format-"


def keep_before_upgrade(database: Database, state: Path) -> Path:
    """Copy rows and intents of a drive that nobody serves. Returns the folder. Blocks on the disk.

    Raises NoRoomToUpgrade, StorageBroken, OSError.
    """
    kept = state / f"{_PREFIX}{FORMAT_VERSION}"
    if _leads_back(kept, database, state):  # the step after it was cut off
        return kept
    unfinished = kept.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    _require_room(database, state)
    unfinished.mkdir(mode=0o700)
    copy_database(database, unfinished / database.path.name)
    shutil.copytree(state / "intents", unfinished / "intents")
    for path in (*unfinished.rglob("*"), unfinished):
        _sync(path)
    shutil.rmtree(kept, ignore_errors=True)
    unfinished.rename(kept)
    _sync(state)
    for older in state.glob(f"{_PREFIX}*"):
        if older != kept:
            shutil.rmtree(older)
    return kept


def _leads_back(kept: Path, database: Database, state: Path) -> bool:
    if not kept.exists() or not is_copy_of(database, kept / database.path.name):
        return False
    return _contents(kept / "intents") == _contents(state / "intents")


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def _require_room(database: Database, state: Path) -> None:
    intents = sum(path.stat().st_size for path in (state / "intents").iterdir())
    wal = database.wal_path.stat().st_size if database.wal_path.exists() else 0
    needed = database.path.stat().st_size + wal + intents + SPARE_BYTES
    disk = os.statvfs(state)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise NoRoomToUpgrade(free, needed)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
