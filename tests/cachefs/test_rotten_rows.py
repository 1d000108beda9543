"""A flipped bit under the rows: in the database, in SQLite's log, in the intent log. It is noticed, or it is harmless.

Each test makes one state, and for many places of one file: a copy of the state, one bit turned over, a start, and a
look at every row. What is allowed: all rows as they were; or an error; or, where the last seconds of a log are hit, a
line in the core's log that says so.
"""

import logging
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.bare_cache import bare_cache, put, said, say
from kit.damage import flip_bit

from cachefs.cut import CutPolicy
from cachefs.database import Database
from cachefs.errors import CacheError, DatabaseDamaged, RowsDamaged, WrongVersion
from cachefs.recovery import close

NEVER = CutPolicy(period_s=1e9, max_rows=10**9, max_bytes=1 << 60)
PLACES = 60
PAGE = 4096


def places(path: Path, seed: int = 1) -> Iterator[tuple[int, int]]:
    """Bytes and bits of a file: its first ones, its last one, and others by chance."""
    size, dice = path.stat().st_size, random.Random(seed)
    for byte in [*range(0, 100, 7), 16, 20, 28, size - 1, *(dice.randrange(size) for _ in range(PLACES))]:
        yield byte, dice.randrange(8)


async def look(state: Path) -> dict[str, object]:
    """Start, and read every row of every table."""
    async with bare_cache(state, policy=NEVER, is_running=False) as cache:
        rows = {}
        for (table,) in cache.database.rows("SELECT name FROM sqlite_schema WHERE type = 'table'"):
            if table not in ("local_counters", "segments"):  # which the start itself changes
                rows[table] = sorted(cache.database.rows(f"SELECT * FROM {table}"), key=repr)
        return {**rows, "said": said(cache)}


async def fill(cache: object, rounds: int) -> None:
    """Some blocks and rows, and a cut, several times."""
    for number in range(rounds):
        put(cache, bytes(5000))  # type: ignore[arg-type]
        for row in range(40):
            say(cache, f"{number}-{row}", random.Random(row).randbytes(60))  # type: ignore[arg-type]
        await cache.cuts.cut()  # type: ignore[attr-defined]


@pytest.mark.timeout(180)
async def test_no_flip_in_the_database_is_served(tmp_path: Path) -> None:
    made = tmp_path / "made"
    async with bare_cache(made, policy=NEVER, is_running=False) as cache:
        await fill(cache, 3)
        await close(cache)
    Database.open(made / "drive.db").close()  # moves SQLite's log into the database
    database = made / "drive.db"
    assert not (made / "drive.db-wal").exists()
    shutil.copytree(made, tmp_path / "sound")
    shall = await look(tmp_path / "sound")
    noticed = 0
    for byte, bit in places(database):
        state = tmp_path / f"{byte}-{bit}"
        shutil.copytree(made, state)
        flip_bit(state / "drive.db", byte, bit)
        try:
            assert await look(state) == shall, f"byte {byte}, bit {bit}"
        except* (CacheError, FileNotFoundError):
            noticed += 1
        shutil.rmtree(state, ignore_errors=True)  # SQLite may be removing its log: a failed start leaves a connection
    assert noticed > PLACES // 2


@pytest.mark.timeout(180)
async def test_no_flip_in_the_log_of_sqlite_takes_back_what_was_durable(tmp_path: Path) -> None:
    made = tmp_path / "made"
    async with bare_cache(made, policy=NEVER, is_running=False) as cache:
        await fill(cache, 4)
        say(cache, "later", 1)
        cache.cuts.log()
    assert (made / "drive.db-wal").stat().st_size > 4 * PAGE
    shutil.copytree(made, tmp_path / "sound")
    shall = await look(tmp_path / "sound")
    noticed = 0
    for byte, bit in places(made / "drive.db-wal"):
        state = tmp_path / f"{byte}-{bit}"
        shutil.copytree(made, state)
        flip_bit(state / "drive.db-wal", byte, bit)
        (state / "drive.db-shm").unlink(missing_ok=True)
        try:
            assert await look(state) == shall, f"byte {byte}, bit {bit}"
        except* CacheError:
            noticed += 1
        shutil.rmtree(state, ignore_errors=True)  # SQLite may be removing its log: a failed start leaves a connection
    assert noticed > PLACES // 2


@pytest.mark.timeout(180)
async def test_a_flip_in_the_intent_log_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, expected_log: Callable[[str], None]
) -> None:
    expected_log("log is damaged at byte")
    caplog.set_level(logging.INFO)
    made = tmp_path / "made"
    async with bare_cache(made, policy=NEVER, is_running=False) as cache:
        await fill(cache, 1)
        for number in range(30):
            say(cache, f"later {number}", "words" * 5)
            cache.cuts.log()
        cut = cache.cuts.number
    shutil.copytree(made, tmp_path / "sound")
    shall = await look(tmp_path / "sound")
    for byte, bit in places(made / "intents" / f"{cut}.log"):
        state = tmp_path / f"{byte}-{bit}"
        shutil.copytree(made, state)
        flip_bit(state / "intents" / f"{cut}.log", byte, bit)
        caplog.clear()
        try:
            found = await look(state)
        except WrongVersion:  # refused, nothing was changed
            continue
        assert set(found["said"].items()) <= set(shall["said"].items())  # type: ignore[attr-defined]
        if found != shall:
            told = [record for record in caplog.records if record.name == "cachefs.intent_log"]
            assert told, f"byte {byte}, bit {bit}"
            assert told[0].levelno in (logging.ERROR, logging.INFO)
        shutil.rmtree(state, ignore_errors=True)  # SQLite may be removing its log: a failed start leaves a connection


def test_a_damaged_page_ends_the_writer_and_only_the_query_of_a_reader(tmp_path: Path) -> None:
    from cachefs.database import rows_of

    database = Database.create(tmp_path / "drive.db", ["CREATE TABLE things (name TEXT PRIMARY KEY, value)"])
    database.begin()
    for number in range(2000):
        database.write("INSERT INTO things VALUES (?, ?)", (str(number), "words" * 20))
    database.commit()
    database.checkpoint()
    database.close()
    flip_bit(tmp_path / "drive.db", 40 * PAGE + 2000)
    database = Database.open(tmp_path / "drive.db")
    reader = database.reader()
    with pytest.raises(DatabaseDamaged, match="a page is not what was written"):
        rows_of(reader, "SELECT * FROM things")
    assert rows_of(reader, "SELECT count(*) FROM sqlite_schema") == [(2,)]
    with pytest.raises(RowsDamaged, match="a page is not what was written"):
        database.rows("SELECT * FROM things")
    with pytest.raises(RowsDamaged):
        database.write("DELETE FROM things")
    reader.close()
    database.close()
