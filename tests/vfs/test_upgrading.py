"""Another format of the tables: what was before is kept first, and without room for it nothing is changed."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest
from kit.drive_builder import DriveBuilder

from cachefs.database import FORMAT_VERSION, Database
from cachefs.errors import NoRoomToUpgrade
from vfs import upgrading
from vfs.state import DATABASE, migrations, open_database

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The state directory of a drive of format 2."""
    with tarfile.open(GOLDEN / "drive-2.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "drive-2"


def as_it_is(path: Path) -> Database:
    return Database.open(path, migrations=migrations())


def rows_of(path: Path) -> tuple[int, list[tuple[object, ...]]]:
    database = as_it_is(path)
    try:
        return database.version, database.rows("SELECT name, ino FROM dentries ORDER BY 1, 2")
    finally:
        database.close()


def put_back(state: Path) -> None:
    """Go the way back: what was kept takes the place of the database."""
    kept = state / f"before-format-{FORMAT_VERSION}"
    for path in state.glob(f"{DATABASE}*"):
        path.unlink()
    shutil.copy(kept / DATABASE, state / DATABASE)


async def test_rows_and_intents_of_before_are_kept_until_the_next_format(old: Path) -> None:
    (old / "before-format-2").mkdir()
    (old / "before-format-2" / DATABASE).write_bytes(b"older")
    (old / "intents" / "0000000007.log").write_bytes(b"acknowledged")
    before = rows_of(old / DATABASE)
    database = open_database(old)
    assert database.version == FORMAT_VERSION
    database.close()
    kept = old / f"before-format-{FORMAT_VERSION}"
    assert rows_of(kept / DATABASE) == before
    assert before[0] == 2
    assert (kept / "intents" / "0000000007.log").read_bytes() == b"acknowledged"
    assert kept.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in old.glob("before-format-*")) == [kept.name]


async def test_a_drive_that_was_brought_up_holds_what_it_held(old: Path) -> None:
    async with DriveBuilder(old) as built:
        assert built.names() != []
        await built.write("new", b"1")
    async with DriveBuilder(old) as built:
        assert await built.read("new") == b"1"


def test_a_copy_that_was_cut_off_is_made_anew_and_a_whole_one_is_not_replaced(old: Path) -> None:
    kept = old / f"before-format-{FORMAT_VERSION}"
    half = kept.with_suffix(".new")
    half.mkdir()
    (half / DATABASE).write_bytes(b"half")
    open_database(old).close()
    assert rows_of(kept / DATABASE)[0] == 2
    assert not half.exists()
    database = as_it_is(old / DATABASE)
    upgrading.keep_before_upgrade(database, old)
    database.close()
    assert rows_of(kept / DATABASE)[0] == 2


def test_a_copy_that_is_not_whole_is_not_taken_for_the_way_back(old: Path) -> None:
    kept = old / f"before-format-{FORMAT_VERSION}"
    before = rows_of(old / DATABASE)
    open_database(old).close()
    good = (kept / DATABASE).read_bytes()
    for damaged in (good[: len(good) // 2], good[:9000] + b"?" + good[9001:], b""):
        put_back(old)
        (kept / DATABASE).write_bytes(damaged)
        open_database(old).close()
        assert rows_of(kept / DATABASE) == before


@pytest.mark.parametrize("is_in_database", [True, False])
def test_a_copy_from_before_the_drive_was_worked_with_is_made_anew(old: Path, is_in_database: bool) -> None:
    """The owner went back to the older program, worked with the drive, and lets the newer one have it again."""
    kept = old / f"before-format-{FORMAT_VERSION}"
    open_database(old).close()
    put_back(old)
    if is_in_database:
        database = as_it_is(old / DATABASE)
        database.begin()
        database.write("UPDATE local_counters SET value = value + 1 WHERE name = 'cut'")
        database.write("UPDATE dentries SET name = CAST(name || ' at last' AS BLOB)")
        database.commit()
        database.close()
    else:
        (old / "intents" / "0000000007.log").write_bytes(b"acknowledged")
    before = rows_of(old / DATABASE)
    open_database(old).close()
    assert rows_of(kept / DATABASE) == before
    assert sorted(path.name for path in (kept / "intents").iterdir()) == sorted(
        path.name for path in (old / "intents").iterdir()
    )


def test_without_room_for_the_copy_nothing_is_changed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "SPARE_BYTES", 1 << 60)
    with pytest.raises(NoRoomToUpgrade):
        open_database(old)
    assert rows_of(old / DATABASE)[0] == 2
    assert not list(old.glob("before-format-*"))


def test_a_drive_of_this_format_is_not_copied(tmp_path: Path, old: Path) -> None:
    open_database(old).close()
    for path in (old / f"before-format-{FORMAT_VERSION}").rglob("*"):
        os.utime(path, ns=(1, 1))
    open_database(old).close()
    assert {path.stat().st_mtime_ns for path in (old / f"before-format-{FORMAT_VERSION}").rglob("*")} == {1}
