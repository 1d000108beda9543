"""A copy of the database as of one moment, while it is being used; page checksums included.

For checkpoints, and for the copy that is kept before tables are brought to another format.
"""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import apsw

from cachefs.database import APPLICATION_ID, CHECKSUM_BYTES, PAGE_BYTES, Database
from cloud_tier.errors import CheckpointDamaged

COPY_PAGES = 2000
_CUT = "SELECT value FROM local_counters WHERE name = 'cut'"


def copy_database(database: Database, path: Path) -> int:
    """Write what the last cut committed to a new file; returns the number of that cut. Nothing is synced.

    Raises StorageBroken, apsw.Error.
    """
    with closing(database.reader()) as source, closing(apsw.Connection(str(path))) as copy:
        # A page from the write-ahead log has no checksum yet; it gets one here, but only in a file whose first page
        # is known to ask for it, and backup writes that one last.
        copy.reserve_bytes(None, CHECKSUM_BYTES)
        copy.pragma("page_size", PAGE_BYTES)
        copy.pragma("application_id", APPLICATION_ID)
        with source:  # one moment, however long it takes
            cut: int = source.execute(_CUT).get
            with copy.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(COPY_PAGES)
    return cut


def leave_out(path: Path, tables: Iterable[str]) -> None:
    """Take all rows of these tables out of a copy. Raises apsw.Error."""
    with closing(apsw.Connection(str(path))) as copy:
        copy.pragma("journal_mode", "off")
        copy.pragma("synchronous", "off")
        copy.pragma("secure_delete", True)  # what is left out shall not travel in free pages
        with copy:
            for table in sorted(tables):
                copy.execute(f"DELETE FROM {table}")


def check_copy(path: Path) -> None:
    """Read it as a new machine will: every page by its checksum. Raises CheckpointDamaged, apsw.Error."""
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as copy:
        said = [row[0] for row in copy.execute("PRAGMA quick_check")]
    if said != ["ok"]:
        raise CheckpointDamaged(f"the copy of the database is not sound ({said[0]})")


def remove_copy(path: Path) -> None:
    """With what SQLite may have left beside it. For a thread: a large file goes slowly."""
    for leftover in path.parent.glob(path.name + "*"):
        leftover.unlink()


def is_copy_of(database: Database, path: Path) -> bool:
    """Whether `path` is a whole copy of what the last cut committed. Reads all of it, changes nothing."""
    try:
        flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        # Immutable: or the copy would get a write-ahead log of its own.
        with closing(apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)) as copy:
            said = [row[0] for row in copy.execute("PRAGMA quick_check")]
            cut = copy.execute(_CUT).get
    except apsw.Error:
        return False
    return said == ["ok"] and (cut,) == database.row(_CUT)
