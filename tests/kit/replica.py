"""A second database that is brought on by log entries alone, and compared with the drive's own.

replica = Replica(state, tmp_path / "replica.db")       # as of the last cut
…
await built.cut()
replica.follow(built.drive.cuts.outbox)
assert replica.differences(state) == []
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from cloud_tier.keys import DriveKeys
from cloud_tier.log_entry import LogEntry
from cloud_tier.log_object import open_entries
from cloud_tier.object_names import LOG
from cloud_tier.object_store import ObjectStore, list_objects
from vfs.state import DATABASE, LOCAL_TABLES

READ_ONLY = apsw.SQLITE_OPEN_READONLY


def tables_of(connection: apsw.Connection) -> list[str]:
    """The tables that travel."""
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return sorted(name for (name,) in rows if name not in LOCAL_TABLES)


def rows_of(connection: apsw.Connection, table: str) -> list[Any]:
    """All rows of a table."""
    return sorted(connection.execute(f"SELECT * FROM {table}"), key=repr)


async def entries_in(store: ObjectStore, keys: DriveKeys) -> list[LogEntry]:
    """All entries that the store has, by position."""
    found = [
        entry async for info in list_objects(store, LOG) for entry in open_entries(keys, await store.get(info.name))
    ]
    return sorted(found, key=lambda entry: entry.position)


class Replica:
    """`position` is the cut that it stands at."""

    def __init__(self, state: Path, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        source = apsw.Connection(str(state / DATABASE), flags=READ_ONLY)
        with self._connection.backup("main", source, "main") as copying:
            copying.step()
        source.close()
        self.position = self._connection.execute("SELECT value FROM local_counters WHERE name = 'cut'").get
        for table in LOCAL_TABLES:
            self._connection.execute(f"DELETE FROM {table}")
        self._digest: bytes | None = None

    def follow(self, entries: Sequence[LogEntry]) -> int:
        """Run those that come after `position`. Returns how many statements."""
        count = 0
        with self._connection:
            for entry in entries:
                if entry.position <= self.position:
                    continue
                assert entry.position == self.position + 1, "an entry is missing"
                assert self._digest is None or entry.before == self._digest, "the chain is broken"
                for sql, values in entry.statements():
                    self._connection.execute(sql, values)
                    count += 1
                self.position, self._digest = entry.position, entry.digest
        return count

    def differences(self, state: Path) -> list[str]:
        """Tables that are not as those of the drive's last cut."""
        source = apsw.Connection(str(state / DATABASE), flags=READ_ONLY)
        try:
            assert source.execute("SELECT value FROM local_counters WHERE name = 'cut'").get == self.position
            for table in LOCAL_TABLES:
                assert not rows_of(self._connection, table), f"{table} has travelled"
            return [table for table in tables_of(source) if rows_of(source, table) != rows_of(self._connection, table)]
        finally:
            source.close()

    def close(self) -> None:
        self._connection.close()
