"""A copy of the database as of one moment, while it is being used; page checksums included.

For checkpoints, and for the copy that is kept before tables are brought to another format.
"""

from contextlib import closing
from pathlib import Path

import apsw

from cachefs.database import APPLICATION_ID, CHECKSUM_BYTES, PAGE_BYTES, Database

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
