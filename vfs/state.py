"""The engine's part of the state directory: its layout and its making.

    drive.db, drive.db-wal, drive.db-shm    rows
    segments/NNNNNNNNNN.seg                 bytes
    intents/N.log                           what happened since cut N
    outbox/N.log, outbox/N.sent             what cut N changed, for the store
    before-format-N/                        rows and intents as they were before the tables became those of format N

The rest of the directory is the appliance's, and so is the lock that lets one process in.
"""

import stat
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from cachefs.database import FORMAT_VERSION, Database
from cachefs.disk import Disk, RealDisk
from cachefs.outbox import LOCAL_TABLES as CACHE_TABLES
from cloud_tier.clock import Clock
from vfs.ids import ATTIC, FIRST_FILE, ROOT, WORKSHOP
from vfs.names import SNAPSHOTS, fold
from vfs.upgrading import keep_before_upgrade

DATABASE = "drive.db"
LOCAL_TABLES = CACHE_TABLES | {"pins", "schedules"}
"""Tables that are of this machine alone: they never leave it, and a new machine begins them anew (T7)."""
VISIBLE_DOOR = b"Previous Versions"


def schemas() -> list[str]:
    """The tables of all layers, lowest first."""
    return [(files(package) / "schema.sql").read_text() for package in ("cachefs", "vfs")]


def migrations() -> dict[int, str]:
    """What brings the tables to a version from the one before, by version: `migrations/NNNN.sql` of all layers."""
    found: dict[int, str] = {}
    for package in ("cachefs", "vfs"):
        folder = files(package) / "migrations"
        if folder.is_dir():
            for file in folder.iterdir():
                version = int(file.name.partition(".")[0])
                found[version] = found.get(version, "") + file.read_text()
    return found


def open_database(state: Path, vfs: str | None = None) -> Database:
    """The database of a drive, brought up to date; what it was before is kept (`keep_before_upgrade`).

    Raises FileNotFoundError, DatabaseDamaged, WrongVersion, NoRoomToUpgrade, StorageBroken, OSError.
    """
    steps = migrations()
    database = Database.open(state / DATABASE, vfs=vfs, migrations=steps)
    try:
        if database.version < FORMAT_VERSION:
            keep_before_upgrade(database, state)
            database.migrate(steps)
    except BaseException:
        database.leave()
        raise
    return database


def make_state(state: Path, clock: Clock, uid: int, gid: int, disk: Disk | None = None, vfs: str | None = None) -> None:
    """Make an empty drive whose root belongs to `uid` and `gid`. Raises FileExistsError where there is one.

    The database gets its name last: a crash before leaves no half drive. Whoever made the folder `state` makes its own
    name durable.
    """
    disk = disk or RealDisk()
    if (state / DATABASE).exists():
        raise FileExistsError(state)
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_folders(state, disk)
    unfinished = state / (DATABASE + ".new")
    for leftover in state.glob(DATABASE + ".new*"):
        disk.unlink(leftover)
    database = Database.create(unfinished, schemas(), vfs=vfs)
    database.begin()
    _plant_tree(database, clock.now_ns(), uid, gid)
    database.commit()
    database.rewrite_log()
    database.close()
    disk.rename(unfinished, state / DATABASE)
    disk.sync_directory(state)


def make_folders(state: Path, disk: Disk | None = None) -> None:
    """The folders that a drive has beside its database."""
    for folder in (state / "segments", state / "intents"):
        with suppress(FileExistsError):
            (disk or RealDisk()).make_folder(folder)


def _plant_tree(database: Database, now: int, uid: int, gid: int) -> None:
    folder, link = stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
    insert = "INSERT INTO inodes VALUES (?, 1, 0, ?, ?, ?, ?, ?, 0, NULL, 0, ?, ?, ?, ?, NULL, ?, ?)"
    times = (now, now, now, now)
    database.write(insert, (ROOT, folder, uid, gid, 2, 0, *times, 4, None))
    database.write(insert, (WORKSHOP, stat.S_IFDIR | 0o700, 0, 0, 2, 0, *times, 3, None))
    database.write(insert, (ATTIC, stat.S_IFDIR | 0o700, 0, 0, 2, 0, *times, 3, None))
    database.write(insert, (FIRST_FILE, link, uid, gid, 1, len(SNAPSHOTS), *times, 0, SNAPSHOTS))
    database.write(
        "INSERT INTO dentries VALUES (?, ?, 1, 0, ?, 3, ?)", (ROOT, VISIBLE_DOOR, FIRST_FILE, fold(VISIBLE_DOOR))
    )
    database.write("INSERT INTO counters VALUES ('ino', ?)", (FIRST_FILE,))
    database.write("INSERT INTO counters VALUES ('files', 2)")  # the root and the visible door
    database.write("INSERT INTO local_counters VALUES ('cut', 0)")
