"""A copy of the database as of one moment, while it is being used; page checksums included.

For checkpoints, and for the copy that is kept before tables are brought to another format.
"""

from contextlib import closing
from pathlib import Path

import apsw

from cachefs.database import APPLICATION_ID, CHECKSUM_BYTES, PAGE_BYTES, Database

COPY_PAGES = 2000


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
            cut: int = source.execute("SELECT value FROM local_counters WHERE name = 'cut'").get
            with copy.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(COPY_PAGES)
    return cut
