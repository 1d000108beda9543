"""The drive's one SQLite database: opening it, operations, statements that survive a crash.

One connection writes, from the core's trio thread, inside one long transaction that begins right after the last cut and
ends at the next. What an operation changes is a savepoint of it: all of it happens or nothing (T3). Every changing
statement goes through `write`, which also remembers it, so that the intent log can repeat it after a crash.

Every page of the file ends in a checksum, made and compared by SQLite's own checksum VFS: a page that is not what was
written is an error, never a row (decision 16). The VFS is the process's default from the import of this module on, so
one that a test puts in front of SQLite's files stands on top of it.

`synchronous=NORMAL` and no automatic checkpoint: COMMIT never waits for the disk on the loop (T16). The cut syncs the
write-ahead log itself, and `checkpoint` runs on a connection of its own, in a thread.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw
import apsw.sqlite_extra

from cachefs.errors import DatabaseDamaged, RowsDamaged, StorageBroken, TransactionLost, WrongVersion

log = logging.getLogger(__name__)

APPLICATION_ID = 0x48447276  # "HDrv"
FORMAT_VERSION = 3
PAGE_BYTES = 4096
CHECKSUM_BYTES = 8  # at the end of each page; on disk: do not change

Parameters = Sequence[Any]
Statement = tuple[str, Parameters]

_READ_WRITE = apsw.SQLITE_OPEN_READWRITE
_DAMAGE = (apsw.CorruptError, apsw.NotADBError)
_REFUSALS = (apsw.FullError, apsw.IOError, apsw.NoMemError, apsw.CantOpenError, *_DAMAGE)


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite read something that it cannot have written."""
    if isinstance(error, apsw.IOError):
        return bool(getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA)
    return isinstance(error, _DAMAGE)


def _check_pages() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        apsw.sqlite_extra.load(connection, "cksumvfs")


_check_pages()


class Operation:
    """`with database.operation:` one savepoint. An exception undoes its rows and forgets its statements."""

    __slots__ = ("_database", "_marks")

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._marks: list[int] = []

    def __enter__(self) -> None:
        if self._database.broken is not None:
            raise self._database.broken
        if self._database._begins_late:
            self._database.begin()
        self._database._cursor.execute("SAVEPOINT operation")
        self._marks.append(len(self._database.pending))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        database, mark = self._database, self._marks.pop()
        if kind is None:
            database._cursor.execute("RELEASE operation")
            return
        del database.pending[mark:]
        if not database.connection.in_transaction:
            raise database.refused(error) from error
        database.connection.execute("ROLLBACK TO operation")
        database.connection.execute("RELEASE operation")


def _words(error: BaseException | None) -> str:
    return "a page is not what was written" if isinstance(error, apsw.IOError) and is_damage(error) else str(error)


class Database:
    """One open database. Not safe for threads; `reader` gives a connection for another thread."""

    def __init__(self, path: Path, connection: apsw.Connection, vfs: str | None) -> None:
        self.path = path
        self.connection = connection
        self.pending: list[Statement] = []  # changing statements that the intent log does not hold yet
        self.operation = Operation(self)
        self.broken: StorageBroken | None = None
        self.when_broken: Callable[[StorageBroken], object] = lambda error: None
        self._begins_late = False
        self._vfs = vfs
        self._cursor = connection.cursor()

    @classmethod
    def create(cls, path: Path, schemas: Iterable[str], *, vfs: str | None = None) -> "Database":
        """Make a new database with the tables of `schemas`. Raises FileExistsError where there is one."""
        if path.exists():
            raise FileExistsError(path)
        connection = apsw.Connection(str(path), flags=_READ_WRITE | apsw.SQLITE_OPEN_CREATE, vfs=vfs)
        connection.reserve_bytes(None, CHECKSUM_BYTES)
        connection.pragma("page_size", PAGE_BYTES)
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", FORMAT_VERSION)
        connection.pragma("journal_mode", "wal")
        database = cls(path, connection, vfs)
        database._settle()
        with connection:
            for schema in schemas:
                for _ in connection.execute(schema):
                    pass
        return database

    @classmethod
    def open(cls, path: Path, *, vfs: str | None = None, migrations: Mapping[int, str] | None = None) -> "Database":
        """Open an existing database as it is; one of an older version only if `migrations` can bring it up to date.

        Raises DatabaseDamaged, WrongVersion, FileNotFoundError, StorageBroken.
        """
        if not path.is_file():
            raise FileNotFoundError(path)
        steps = migrations or {}
        with ExitStack() as refused:  # lets go of the files at once, and not when somebody collects garbage
            try:
                connection = apsw.Connection(str(path), flags=_READ_WRITE, vfs=vfs)
                refused.callback(connection.close, True)
                if connection.pragma("application_id") != APPLICATION_ID:
                    raise DatabaseDamaged(f"{path.name} is not the database of a Hybrid Drive")
                version = connection.pragma("user_version")
                if version > FORMAT_VERSION or not steps.keys() >= set(range(version + 1, FORMAT_VERSION + 1)):
                    raise WrongVersion(version, FORMAT_VERSION)
                if connection.reserve_bytes(None, -1) != CHECKSUM_BYTES:
                    raise DatabaseDamaged(f"the header of {path.name} says that its pages have no checksums")
                connection.pragma("journal_mode", "wal")
                database = cls(path, connection, vfs)
                database._settle()
            except apsw.Error as error:
                if not is_damage(error):
                    raise StorageBroken(f"{path.name} cannot be read: {error}") from error
                raise DatabaseDamaged(f"{path.name}: {_words(error)}") from error
            refused.pop_all()
        return database

    def _settle(self) -> None:
        self.connection.set_busy_timeout(10_000)
        for name, value in (
            ("synchronous", "normal"),
            ("wal_autocheckpoint", 0),
            ("journal_size_limit", 0),  # a log that starts anew is also short
            ("cache_size", -65536),
            ("temp_store", "memory"),
        ):
            self.connection.pragma(name, value)

    @property
    def version(self) -> int:
        """The format of its tables."""
        found: int = self.connection.pragma("user_version")
        return found

    def migrate(self, migrations: Mapping[int, str]) -> None:
        """Bring the tables up to date, version by version. Blocks on the disk."""
        version = self.version
        while version < FORMAT_VERSION:
            version += 1
            log.info("bringing %s from format version %d to %d", self.path.name, version - 1, version)
            with self.connection:  # all of a version or nothing
                for _ in self.connection.execute(migrations[version]):
                    pass
                self.connection.pragma("user_version", version)

    def reader(self) -> apsw.Connection:
        """A second, read-only connection; it sees what the last cut committed. Its user closes it.

        Raises StorageBroken, which is no harm to the writing connection.
        """
        try:
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY, vfs=self._vfs)
        except apsw.Error as error:
            raise StorageBroken(f"{self.path.name} cannot be opened for reading: {error}") from error
        connection.set_busy_timeout(10_000)
        return connection

    def begin(self) -> None:
        """Open the long transaction. Raises StorageBroken."""
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise self.refused(error) from error
        self._begins_late = False

    def begin_late(self) -> None:
        """Let the next change open the long transaction."""
        self._begins_late = True

    def commit(self) -> None:
        """Close the long transaction; what `pending` held is in the database now. Raises StorageBroken."""
        if self.broken is not None:
            raise self.broken
        if self._begins_late:
            self.begin()
        try:
            self.connection.execute("COMMIT")
        except apsw.Error as error:
            raise self.refused(error) from error
        self.pending.clear()

    def write(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one changing statement, to be repeated after a crash. Raises TransactionLost, StorageBroken."""
        if self.broken is not None:
            raise self.broken
        if self._begins_late:
            self.begin()
        try:
            self._cursor.execute(sql, parameters)
        except _REFUSALS as error:
            raise self.refused(error) from error
        self.pending.append((sql, parameters))

    def refused(self, error: BaseException | None) -> StorageBroken:
        """SQLite could not do an I/O: from now on nothing can be changed here, and `when_broken` hears of it.

        Without this, the next statement after a lost transaction would commit by itself, onto rows that are gone (T3).
        """
        if self.broken is None:
            if is_damage(error):
                self.broken = RowsDamaged(f"{self.path.name}: {_words(error)}")
            elif self.connection.in_transaction:
                self.broken = StorageBroken(f"the database refused an I/O: {error}")
            else:
                self.broken = TransactionLost(f"SQLite rolled back everything since the last cut: {error}")
            self.when_broken(self.broken)
        return self.broken

    def spill(self) -> int:
        """Move changed pages from memory to the write-ahead log, uncommitted, ahead of COMMIT; how many.

        Raises StorageBroken.
        """
        before = self._pages_written()
        try:
            self.connection.cache_flush()
        except _REFUSALS as error:
            raise self.refused(error) from error
        return self._pages_written() - before

    def _pages_written(self) -> int:
        return self.connection.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]

    def write_returning(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """`write` of a statement that ends in RETURNING; its rows."""
        self.write(sql, parameters)
        return self._cursor.fetchall()

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        """All rows of a query, as tuples. Raises StorageBroken."""
        try:
            return self.connection.execute(sql, parameters).fetchall()
        except _REFUSALS as error:
            raise self.refused(error) from error

    def row(self, sql: str, parameters: Parameters = ()) -> Any:
        """The first row, or None. Raises StorageBroken."""
        try:
            return self.connection.execute(sql, parameters).fetchone()
        except _REFUSALS as error:
            raise self.refused(error) from error

    @property
    def wal_path(self) -> Path:
        """SQLite's write-ahead log beside the database."""
        return self.path.with_name(self.path.name + "-wal")

    def checkpoint(self) -> None:
        """Move committed pages from the write-ahead log into the database. Blocks on the disk: call it in a thread.

        A full disk only postpones it. Raises StorageBroken.
        """
        try:
            connection = apsw.Connection(str(self.path), flags=_READ_WRITE, vfs=self._vfs)
            try:
                connection.pragma("synchronous", "normal")
                connection.pragma("wal_autocheckpoint", 0)
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            finally:
                connection.close()
        except apsw.BusyError:
            pass  # somebody else checkpoints; the next cut tries again
        except apsw.FullError as error:  # everything is still in the log; the next cut tries again
            log.warning("the database's log could not be shortened: %s", error)
        except apsw.Error as error:
            kind = RowsDamaged if is_damage(error) else StorageBroken
            raise kind(f"the database could not be brought up to date: {_words(error)}") from error

    def rewrite_log(self) -> None:
        """Move all of the write-ahead log into the database, syncing both, and start it anew. Before `begin`.

        For a start after a failed sync: pages that the kernel counts as written may not be on the disk. And before the
        file is given another name, which its log does not follow. Raises StorageBroken.
        """
        try:
            self.connection.pragma("synchronous", "full")
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self.connection.pragma("synchronous", "normal")
        except apsw.Error as error:
            raise self.refused(error) from error

    def leave(self) -> None:
        """Close the connection and change nothing, as the death of the core would."""
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close()

    def close(self) -> None:
        """Close the connection. An open transaction is rolled back."""
        self.connection.close()


def rows_of(reader: apsw.Connection, sql: str, parameters: Parameters = ()) -> list[Any]:
    """All rows of a query by a connection from `Database.reader`. Raises DatabaseDamaged, StorageBroken.

    Only this query is hit.
    """
    try:
        return reader.execute(sql, parameters).fetchall()
    except apsw.Error as error:
        if is_damage(error):
            raise DatabaseDamaged(f"a query of the past met a damaged database: {_words(error)}") from error
        if isinstance(error, _REFUSALS):
            raise StorageBroken(f"a query of the past could not be done: {error}") from error
        raise
