"""Running log entries on a copy of the tables that they were made from."""

import apsw

from cachefs.database import Database
from cloud_tier.errors import LogDamaged
from cloud_tier.log_entry import LogEntry

LONG_WAL_BYTES = 64 << 20


def run_entry(database: Database, entry: LogEntry) -> None:
    """All statements of an entry, committed, or none. Blocks on the disk. Raises LogDamaged, StorageBroken."""
    statements = entry.statements()
    database.begin()
    try:
        for sql, values in statements:
            database.write(sql, values)
    except apsw.Error as error:
        database.connection.execute("ROLLBACK")
        database.pending.clear()
        raise LogDamaged(f"entry {entry.position} does not fit what came before it ({error})") from error
    database.commit()
    if database.wal_path.stat().st_size > LONG_WAL_BYTES:
        database.checkpoint()
