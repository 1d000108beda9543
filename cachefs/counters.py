"""Numbers that are handed out once: inodes, contents, blocks, segments, cuts.

They live in memory and are rows like any other: a number that a row names was written, with its counter, in the same
batch. Numbers that are needed all the time are set aside in leases, whose end is what the row says: a row a lease, not
a row a file; what a crash leaves of a lease is never used. Tallies are written at a cut; after a crash whoever keeps
one counts anew. Nothing is ever AUTOINCREMENT, because SQLite keeps that in a table of its own that no changeset
carries (T7).
"""

from cachefs.database import Database

LEASED = frozenset({"ino", "content", "block", "free"})
LEASE = 256


class Counters:
    """The rows of one counters table (`counters` for the drive, `local_counters` for this machine)."""

    def __init__(self, database: Database, table: str) -> None:
        self._database = database
        self._select = f"SELECT name, value FROM {table}"
        self._upsert = f"INSERT INTO {table} VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        self._values: dict[str, int] = {}
        self._leases: dict[str, int] = {}
        self._dirty: set[str] = set()
        self._changed_tallies: set[str] = set()
        self.reload()

    def reload(self) -> None:
        """Read the rows anew, after statements were replayed behind this object's back."""
        self._values = dict(self._database.rows(self._select))
        self._leases = {name: self._values.get(name, 0) for name in LEASED}
        self._dirty.clear()
        self._changed_tallies.clear()

    def next(self, name: str) -> int:
        """The next number of `name`; the first is 1."""
        value = self._values.get(name, 0) + 1
        self._values[name] = value
        if name not in self._leases:
            self._dirty.add(name)
        elif value > self._leases[name]:
            self._leases[name] = value + LEASE
            self._dirty.add(name)
        return value

    def last(self, name: str) -> int:
        """The last number handed out, 0 when there was none."""
        return self._values.get(name, 0)

    def raise_to(self, name: str, value: int) -> None:
        """Make `value` the last number handed out. Never goes back."""
        if value > self._values.get(name, 0):
            self._values[name] = value
            if name in self._leases:
                self._leases[name] = value + LEASE
            self._dirty.add(name)

    def add(self, name: str, change: int) -> None:
        """Count up or down: a tally instead of numbers to hand out."""
        self._values[name] = self._values.get(name, 0) + change
        self._changed_tallies.add(name)

    def flush(self) -> None:
        """Write what changed, but for tallies."""
        for name in self._dirty:
            self._database.write(self._upsert, (name, self._leases.get(name, self._values[name])))
        self._dirty.clear()

    def flush_tallies(self) -> None:
        """Write the tallies that changed."""
        for name in self._changed_tallies:
            self._database.write(self._upsert, (name, self._values[name]))
        self._changed_tallies.clear()
