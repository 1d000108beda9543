"""SQLite on the drive, in each of its journal modes: a transaction that was committed is there, whole.

One table is a ring: transaction n inserts row n and removes an older one, so each changes many pages and the database
stays small. The observer writes n down after the commit has returned.

DELETE mode runs with synchronous=EXTRA. With FULL, SQLite itself does not sync the folder after it removed the
journal, and says that the last transaction may be rolled back after a power loss; on ext4 it would be as well.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from crash.kill_ledger import Fact, Ledger, content
from crash.power_program import Program

MODES = ("delete", "truncate", "persist", "wal")
RING = 300


class SqliteProgram(Program):
    """One database in one journal mode; it lives through all rounds."""

    def __init__(self, mode: str) -> None:
        self.name = f"sqlite-{mode}"
        self._mode = mode
        self._sure = 0

    def _open(self, place: Path) -> sqlite3.Connection:
        database = sqlite3.connect(place / "ring.sqlite", isolation_level=None, timeout=10)
        found = database.execute(f"PRAGMA journal_mode={self._mode}").fetchone()[0]
        assert found == self._mode, f"SQLite works in {found} mode"
        database.execute(f"PRAGMA synchronous={'EXTRA' if self._mode == 'delete' else 'FULL'}")
        return database

    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        database = self._open(place)
        database.execute("CREATE TABLE IF NOT EXISTS ring (n INTEGER PRIMARY KEY, body BLOB, size INTEGER)")
        database.execute("CREATE INDEX IF NOT EXISTS by_size ON ring (size, n)")
        number = database.execute("SELECT coalesce(max(n), 0) FROM ring").fetchone()[0]
        while True:
            number += 1
            size = rng.choice([10, 500, 5000, 12_000])
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO ring VALUES (?, ?, ?)", (number, _body(number, size), size))
            database.execute("DELETE FROM ring WHERE n <= ?", (number - RING,))
            ledger.write("begin", number=number)
            database.execute("COMMIT")
            ledger.write("synced", number=number)

    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        self._sure = max([self._sure, *(fact["number"] for fact in facts if fact["kind"] == "synced")])
        begun = max([self._sure, *(fact["number"] for fact in facts if fact["kind"] == "begin")])
        if not (place / "ring.sqlite").exists():
            return [f"no database; {self._sure} transactions were committed"] if self._sure else []
        try:
            database = self._open(place)
            try:
                return self._look(database, begun)
            finally:
                database.close()
        except sqlite3.Error as error:
            return [f"the database cannot be read: {error}"]

    def _look(self, database: sqlite3.Connection, begun: int) -> list[str]:
        health = [row[0] for row in database.execute("PRAGMA integrity_check")]
        if health != ["ok"]:
            return [f"integrity_check: {'; '.join(health[:3])}"]
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'ring'").fetchone():
            return [f"no table; {self._sure} transactions were committed"] if self._sure else []
        rows = database.execute("SELECT n, body, size FROM ring ORDER BY n").fetchall()
        last = rows[-1][0] if rows else 0
        losses = []
        if not self._sure <= last <= begun:
            losses.append(f"transaction {last} is the last; {self._sure} were committed and {begun} begun")
        if [row[0] for row in rows] != list(range(max(1, last - RING + 1), last + 1)):
            losses.append(f"rows are missing before {last}")
        losses += [f"row {number} has another body" for number, body, size in rows if body != _body(number, size)]
        self._sure = max(self._sure, last)
        return losses


def _body(number: int, size: int) -> bytes:
    return content(f"row:{number}", size)
