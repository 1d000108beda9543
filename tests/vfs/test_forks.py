"""What was true in an epoch is found by its forks: all of it, and at a cost that other epochs do not raise."""

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.still_drive import StillDrive

from cachefs.database import Database
from vfs.forks import LEVELS, fork_of, forks
from vfs.ids import NEVER, ROOT
from vfs.past import children_as_of, entries_as_of, pieces_as_of
from vfs.state import schemas

FOLDER = 99  # no inode of that number is needed
epochs = st.one_of(st.integers(1, 40), st.integers(1, (1 << LEVELS) - 1))


@given(epochs, epochs, epochs)
def test_a_row_is_found_in_every_epoch_in_which_it_was_true(one: int, other: int, epoch: int) -> None:
    since, last = sorted((one, other))
    if since <= epoch <= last:
        assert fork_of(since, last + 1) in forks(epoch)


@given(epochs)
def test_an_epoch_has_few_forks_and_each_once(epoch: int) -> None:
    found = forks(epoch)
    assert len(found) == len(set(found)) <= LEVELS + 1


def test_an_epoch_that_is_later_than_any_past_row_has_none() -> None:
    assert forks(NEVER - 1) == []


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """The tables alone, for rows that no drive made."""
    database = Database.create(tmp_path / "rows.db", schemas())
    database.begin()
    yield database
    database.close()


def test_database_and_code_agree_on_the_fork(database: Database) -> None:
    ranges = [(since, until) for since in range(1, 70) for until in range(since + 1, 71)]
    ranges += [(1, 1 << 31), (1, 1 << 32), (3 << 30, (1 << 32) - 5), ((1 << 31) - 1, (1 << 31) + 1)]
    add_names(database, [(b"%d-%d" % (since, until), since, until) for since, until in ranges])
    rows = database.rows("SELECT since, until, fork FROM dentries_history")
    assert len(rows) == len(ranges)
    assert [row for row in rows if row[2] != fork_of(row[0], row[1])] == []


def add_names(database: Database, rows: list[tuple[bytes, int, int]]) -> None:
    for number, (name, since, until) in enumerate(rows):
        database.write(
            "INSERT INTO dentries_history VALUES (?, ?, ?, ?, 0, ?, ?, 0)", (FOLDER, name, until, since, ROOT, number)
        )


def cost_of(database: Database, question: Callable[..., Any], *arguments: Any) -> int:
    """How many steps of SQLite's machine it takes to answer, in tens."""
    count = 0

    def one_more() -> bool:
        nonlocal count
        count += 1
        return False

    connection = database.connection
    connection.set_progress_handler(one_more, 10)
    question(database.rows, *arguments)
    connection.set_progress_handler(None)
    return count


def let_time_pass(database: Database) -> None:
    """3,000 epochs: ten names and two extents are changed in each, and ten names come and go."""
    database.write("UPDATE clock SET epoch = 3001, newest_kept = 3000")
    for epoch in range(2, 3000):
        names = [b"stays %d" % number for number in range(10)] + [b"%d: %d" % (epoch, number) for number in range(10)]
        add_names(database, [(name, epoch, epoch + 1) for name in names])
        for start in (0, 4096):
            database.write("INSERT INTO extents_history VALUES (5, ?, ?, ?, 4096, 1, 0)", (start, epoch + 1, epoch))


def test_time_that_passed_does_not_make_old_folders_and_files_dear(database: Database) -> None:
    add_names(database, [(b"stays %d" % number, 1, 2) for number in range(10)])
    database.write("UPDATE clock SET epoch = 3, newest_kept = 2")
    before = cost_of(database, children_as_of, FOLDER, 1), cost_of(database, pieces_as_of, 5, 1, 0, NEVER)
    let_time_pass(database)
    for epoch in (1, 2, 1024, 1500, 2047, 2999):
        after = cost_of(database, children_as_of, FOLDER, epoch), cost_of(database, pieces_as_of, 5, epoch, 0, NEVER)
        assert after[0] < 2 * before[0] + 300, (epoch, before, after)
        assert after[1] < before[1] + 150, (epoch, before, after)


def test_deleting_one_snapshot_of_many_looks_at_few_rows(still: StillDrive) -> None:
    for number in range(50):
        still.drive.namespace.create(ROOT, b"%d" % number, stat.S_IFREG | 0o644, still.caller)
    snapshots = []
    for round_number in range(60):
        still.drive.namespace.rename(
            ROOT, b"%d" % (round_number % 50), ROOT, b"moved %d" % round_number, 0, still.caller
        )
        still.drive.namespace.create(ROOT, b"%d" % (round_number % 50), stat.S_IFREG | 0o644, still.caller)
        snapshots.append(still.snap())

    def ask(query: Callable[..., Any]) -> None:
        still.reap()

    still.reap()
    idle = cost_of(still.drive.database, ask)
    still.drive.snapshots.delete(snapshots[30].name)
    assert cost_of(still.drive.database, ask) < idle + 400
    still.assert_sound()


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """(thing, since, until): states of a few names or places, of one thing never two in an epoch."""
    rows = []
    for thing in range(draw(st.integers(1, 6))):
        bounds = sorted(draw(st.sets(st.integers(1, 140), max_size=12)))
        kept = draw(st.lists(st.booleans(), min_size=len(bounds), max_size=len(bounds)))
        rows += [
            (thing, since, until) for since, until, is_kept in zip(bounds, bounds[1:], kept, strict=False) if is_kept
        ]
    return rows


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_exactly_the_states_of_an_epoch_are_found(database: Database, rows: list[tuple[int, int, int]]) -> None:
    """By names and by places, in every epoch, as brute force finds them."""
    write = database.write
    with database.operation:
        for table in ("dentries_history", "extents_history"):
            write(f"DELETE FROM {table}")
        write("UPDATE clock SET epoch = 150, newest_kept = 149")
        for thing, since, until in rows:
            write(
                "INSERT INTO dentries_history VALUES (9, ?, ?, ?, 0, ?, ?, 0)",
                (b"%d" % thing, until, since, since, thing),
            )
            write("INSERT INTO extents_history VALUES (9, ?, ?, ?, 10, ?, 0)", (10 * thing, until, since, since))
    for epoch in range(1, 145):
        then = sorted((thing, since) for thing, since, until in rows if since <= epoch < until)
        assert [(entry.cookie, entry.ino) for entry in entries_as_of(database.rows, 9, epoch)] == then
        assert [(p.start // 10, p.block) for p in pieces_as_of(database.rows, 9, epoch, 0, NEVER)] == then
