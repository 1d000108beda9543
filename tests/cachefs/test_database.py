"""The database: all of an operation or nothing, every statement remembered, no word after a lost transaction."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from kit.bare_cache import make_database
from kit.fault_plan import FaultPlan
from kit.losing_disk import LosingDisk
from kit.sqlite_files import watched

from cachefs.database import FORMAT_VERSION, Database
from cachefs.errors import DatabaseDamaged, StorageBroken, TransactionLost, WrongVersion

INSERT = "INSERT INTO things VALUES (?, ?)"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = make_database(tmp_path)
    database.begin()
    yield database
    database.close()


def names(database: Database) -> list[str]:
    return [name for (name,) in database.rows("SELECT name FROM things ORDER BY name")]


def fill_until_full(database: Database) -> None:
    """Let SQLite run into SQLITE_FULL in the middle of the long transaction."""
    database.connection.pragma("max_page_count", database.connection.pragma("page_count") + 4)
    for number in range(1000):
        database.write(INSERT, (f"filler {number:04}", bytes(4000)))


def fail_after(database: Database, name: str) -> None:
    with database.operation:
        with database.operation:
            database.write(INSERT, (name, 1))
        raise ZeroDivisionError


def test_operation_keeps_its_rows_and_statements(database: Database) -> None:
    with database.operation:
        database.write(INSERT, ("one", 1))
    assert names(database) == ["one"]
    assert database.pending == [(INSERT, ("one", 1))]


def test_failed_operation_leaves_neither_rows_nor_statements(database: Database) -> None:
    database.write(INSERT, ("before", 1))
    with pytest.raises(ZeroDivisionError):
        fail_after(database, "lost")
    assert names(database) == ["before"]
    assert database.pending == [(INSERT, ("before", 1))]


def test_inner_operation_fails_alone(database: Database) -> None:
    with database.operation:
        database.write(INSERT, ("outer", 1))
        with pytest.raises(ZeroDivisionError):
            fail_after(database, "inner")
        database.write(INSERT, ("outer again", 1))
    assert names(database) == ["outer", "outer again"]
    assert [parameters[0] for _, parameters in database.pending] == ["outer", "outer again"]


def test_outer_operation_takes_inner_ones_with_it(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.operation:
        fail_after(database, "inner")
    assert names(database) == []
    assert database.pending == []


def test_commit_forgets_what_it_holds(database: Database) -> None:
    database.write(INSERT, ("one", 1))
    database.commit()
    assert database.pending == []
    assert [row[0] for row in database.reader().execute("SELECT name FROM things")] == ["one"]


def test_full_disk_in_an_operation_is_a_lost_transaction(database: Database) -> None:
    database.write(INSERT, ("acknowledged", 1))
    with pytest.raises(TransactionLost), database.operation:
        fill_until_full(database)


def test_nothing_is_written_after_a_lost_transaction(database: Database, tmp_path: Path) -> None:
    """SQLite would commit the next statement by itself, onto rows that are gone (T3)."""
    heard: list[StorageBroken] = []
    database.when_broken = heard.append
    with pytest.raises(TransactionLost):
        fill_until_full(database)
    with pytest.raises(TransactionLost):
        database.write(INSERT, ("later", 1))
    with pytest.raises(TransactionLost), database.operation:
        pass
    with pytest.raises(TransactionLost):
        database.commit()
    database.close()
    assert names(Database.open(tmp_path / "drive.db")) == []
    assert len(heard) == 1


def test_plain_mistake_in_sql_is_no_broken_disk(database: Database) -> None:
    with pytest.raises(apsw.SQLError):
        database.rows("SELECT name FROM nowhere")
    database.write(INSERT, ("one", 1))
    with pytest.raises(apsw.ConstraintError):
        database.write(INSERT, ("one", 2))
    assert database.broken is None
    assert names(database) == ["one"]


def test_disk_that_cannot_commit_is_told_as_broken(tmp_path: Path) -> None:
    make_database(tmp_path).close()
    plan = FaultPlan()
    with watched("commit fails", LosingDisk(tmp_path), plan) as vfs:
        database = Database.open(tmp_path / "drive.db", vfs=vfs)
        database.begin()
        database.write(INSERT, ("one", 1))
        plan.fail("sqlite write")
        with pytest.raises(StorageBroken):
            database.commit()
        plan.assert_all_hit()
        database.close()


@pytest.mark.expected_log("could not be shortened")
def test_full_disk_only_postpones_a_checkpoint(database: Database, tmp_path: Path) -> None:
    database.write(INSERT, ("one", bytes(100_000)))
    database.commit()
    plan = FaultPlan()
    with watched("checkpoint full", LosingDisk(tmp_path), plan) as vfs:
        other = Database.open(tmp_path / "drive.db", vfs=vfs)
        plan.fail("sqlite write", code=28)
        other.checkpoint()
        plan.assert_all_hit()
        other.checkpoint()
        assert names(other) == ["one"]
        other.close()


def test_broken_disk_ends_a_checkpoint(database: Database, tmp_path: Path) -> None:
    database.write(INSERT, ("one", bytes(100_000)))
    database.commit()
    plan = FaultPlan()
    with watched("checkpoint broken", LosingDisk(tmp_path), plan) as vfs:
        other = Database.open(tmp_path / "drive.db", vfs=vfs)
        plan.fail("sqlite sync")
        with pytest.raises(StorageBroken):
            other.checkpoint()
        plan.assert_all_hit()
        other.close()


def test_database_is_made_once(tmp_path: Path) -> None:
    make_database(tmp_path).close()
    with pytest.raises(FileExistsError):
        make_database(tmp_path)


def test_what_cannot_be_a_drive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drive.db"
    with pytest.raises(FileNotFoundError):
        Database.open(path)
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(DatabaseDamaged):
        Database.open(path)
    path.unlink()
    apsw.Connection(str(path)).execute("CREATE TABLE foreign_table (x)")
    with pytest.raises(DatabaseDamaged):
        Database.open(path)


def test_newer_format_is_refused_by_number(tmp_path: Path) -> None:
    make_database(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "drive.db"))
    connection.pragma("user_version", 7)
    connection.close()
    with pytest.raises(WrongVersion) as caught:
        Database.open(tmp_path / "drive.db")
    assert (caught.value.found, caught.value.known) == (7, FORMAT_VERSION)


def test_a_refused_database_is_let_go_of_at_once(tmp_path: Path) -> None:
    make_database(tmp_path).close()
    connection = apsw.Connection(str(tmp_path / "drive.db"))
    connection.pragma("user_version", 7)
    connection.close()
    with pytest.raises(WrongVersion) as caught:
        Database.open(tmp_path / "drive.db")
    is_open = [link for link in Path("/proc/self/fd").iterdir() if link.resolve().parent == tmp_path]
    assert not is_open, caught  # whose traceback would hold the connection


def test_every_schema_statement_was_run(database: Database) -> None:
    """apsw stops at the first row that a script yields; the statements behind it would be missing (T25g)."""
    tables = {name for (name,) in database.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {"counters", "blocks", "residency", "segments", "free_queue", "packs", "catalog", "things"} <= tables
    assert database.row("PRAGMA journal_mode") == ("wal",)
