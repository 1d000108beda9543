"""Numbers that are handed out once: inodes, contents, blocks, segments, cuts.

They live in memory and are rows like any other: a number that a row names was written, with its counter, in the same
batch. Nothing is ever AUTOINCREMENT, because SQLite keeps that in a table of its own that no changeset carries (T7).
"""

from cachefs.database import Database


class Counters:
    """The rows of one counters table (`counters` for the drive, `local_counters` for this machine)."""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._select = f"SELECT name, value FROM {table}"
        self._upsert = f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        self._values: dict[str, int] = {}
        self._dirty: set[str] = set()
        self.reload()

    def reload(self) -> None:
        """Read the rows anew, after statements were replayed behind this object's back."""
        self._values = dict(self._database.rows(self._select))
        self._dirty.clear()

    def next(self, name: str) -> int:
        """The next number of `name`; the first is 1."""
        value = self._values.get(name, 0) + 1
        self._values[name] = value
        self._dirty.add(name)
        return value

    def last(self, name: str) -> int:
        """The last number handed out, 0 when there was none."""
        return self._values.get(name, 0)

    def raise_to(self, name: str, value: int) -> None:
        """Make `value` the last number handed out. Never goes back."""
        if value > self._values.get(name, 0):
            self._values[name] = value
            self._dirty.add(name)

    def add(self, name: str, change: int) -> None:
        """Count up or down: a tally instead of numbers to hand out."""
        self._values[name] = self._values.get(name, 0) + change
        self._dirty.add(name)

    def flush(self) -> None:
        """Write what changed."""
        for name in self._dirty:
            self._database.write(self._upsert, (name, self._values[name]))
        self._dirty.clear()
