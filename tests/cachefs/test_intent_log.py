"""The intent log: whole batches come back, torn ones do not, and a mark divides what a power loss may take."""

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.bare_cache import make_database

from cachefs.carried import CarriedWrite
from cachefs.database import Database
from cachefs.disk import RealDisk
from cachefs.errors import WrongVersion
from cachefs.intent_log import BATCH, MARK, ROOM_BYTES, STATEMENT, VERSION, IntentLog, boot_id, read_records, replay

INSERT = "INSERT INTO things VALUES (?, ?)"
UPDATE = "UPDATE things SET value = ? WHERE name = ?"
DELETE = "DELETE FROM things WHERE name = ?"
UPSERT = "INSERT INTO things VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
HERE, ELSEWHERE = b"h" * 16, b"e" * 16  # boots
CUT = 7


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = make_database(tmp_path)
    database.begin()
    yield database
    database.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[IntentLog]:
    log = IntentLog(RealDisk(), tmp_path, CUT, HERE)
    yield log
    log.close()


def things(database: Database) -> dict[str, object]:
    return dict(database.rows("SELECT name, value FROM things ORDER BY name"))


def test_every_kind_of_statement_and_value_comes_back(database: Database, log: IntentLog) -> None:
    values = [None, 0, -1, 2**63 - 1, -(2**63), 1.5, "text ü", b"bytes \x00\xff", b""]
    log.append([(INSERT, (f"value {number}", value)) for number, value in enumerate(values)])
    log.append([(INSERT, ("gone", 1)), (INSERT, ("changed", 1))])
    log.append([(UPDATE, (2, "changed")), (DELETE, ("gone",)), (UPSERT, ("changed", 3)), (UPSERT, ("new", 4))])
    assert replay(database, log.path, CUT, HERE)[0] == len(values) + 6
    expected = {f"value {number}": value for number, value in enumerate(values)}
    assert things(database) == expected | {"changed": 3, "new": 4}


def test_replayed_statements_are_pending_again(database: Database, log: IntentLog) -> None:
    """The cut after a recovery writes them out, or the next crash would lose them."""
    log.append([(INSERT, ("one", 1))])
    replay(database, log.path, CUT, HERE)
    assert [(sql, list(parameters)) for sql, parameters in database.pending] == [(INSERT, ["one", 1])]


def test_recovery_that_dies_is_repeated_with_the_same_result(database: Database, log: IntentLog) -> None:
    log.append([(INSERT, ("one", 1)), (UPDATE, (2, "one"))])
    replay(database, log.path, CUT, HERE)
    first = things(database)
    database.connection.execute("ROLLBACK")
    database.begin()
    replay(database, log.path, CUT, HERE)
    assert things(database) == first == {"one": 2}


@pytest.mark.parametrize("cut_off", range(1, 60, 7))
def test_torn_tail_costs_its_batch_and_no_other(database: Database, log: IntentLog, cut_off: int) -> None:
    log.append([(INSERT, ("whole", 1))])
    whole = log.length
    log.append([(INSERT, ("torn", "x" * 100))])
    with log.path.open("r+b") as file:
        file.truncate(max(whole, log.length - cut_off))
    replay(database, log.path, CUT, HERE)
    assert things(database) == {"whole": 1}


@pytest.mark.expected_log("is damaged at byte")
@pytest.mark.parametrize("back", [1, 20, 50])
def test_flipped_bit_ends_what_is_believed(database: Database, log: IntentLog, back: int) -> None:
    log.append([(INSERT, ("whole", 1))])
    log.append([(INSERT, ("damaged", "x" * 100))])
    damaged = log.length - back
    log.append([(INSERT, ("behind", 1))])
    data = bytearray(log.path.read_bytes())
    data[damaged] ^= 1
    log.path.write_bytes(data)
    replay(database, log.path, CUT, HERE)
    assert things(database) == {"whole": 1}


@pytest.mark.expected_log("is damaged at byte")
def test_batch_of_another_log_does_not_fit_into_the_chain(database: Database, log: IntentLog, tmp_path: Path) -> None:
    """After a power loss a file may hold pieces of an older one; each record is chained to all before it."""
    log.append([(INSERT, ("one", 1))])
    other = IntentLog(RealDisk(), tmp_path, CUT + 1, HERE)
    other.append([(INSERT, ("uno", 1))])
    end, start = log.length, other.length
    log.append([(INSERT, ("two", 2))])
    other.append([(INSERT, ("due", 2))])
    data, foreign = log.path.read_bytes(), other.path.read_bytes()
    log.path.write_bytes(data[:end] + foreign[start:])
    replay(database, log.path, CUT, HERE)
    assert things(database) == {"one": 1}
    other.close()


@pytest.mark.expected_log("is damaged at byte")
def test_log_of_another_cut_is_not_believed(database: Database, log: IntentLog) -> None:
    log.append([(INSERT, ("one", 1))])
    assert replay(database, log.path, CUT + 1, HERE) == (0, [])
    assert replay(database, log.path.with_name("none.log"), CUT, HERE) == (0, [])
    assert things(database) == {}


@pytest.mark.parametrize("length", [0, 1, 35, 36])
def test_log_with_a_torn_header_is_empty(database: Database, log: IntentLog, length: int) -> None:
    log.append([(INSERT, ("one", 1))])
    log.path.write_bytes(log.path.read_bytes()[:length])
    assert replay(database, log.path, CUT, HERE) == (0, [])


def test_after_a_power_loss_only_marked_batches_count(database: Database, log: IntentLog) -> None:
    log.append([(INSERT, ("synced", 1))])
    measured = log.length
    log.append([(INSERT, ("during the sync", 1))])
    log.mark(measured)
    log.append([(INSERT, ("after the sync", 1))])
    replay(database, log.path, CUT, ELSEWHERE)
    assert things(database) == {"synced": 1}


def test_after_the_death_of_the_core_every_batch_counts(database: Database, log: IntentLog) -> None:
    log.append([(INSERT, ("synced", 1))])
    measured = log.length
    log.append([(INSERT, ("during the sync", 1))])
    log.mark(measured)
    log.append([(INSERT, ("after the sync", 1))])
    replay(database, log.path, CUT, HERE)
    assert list(things(database)) == ["after the sync", "during the sync", "synced"]


def test_power_loss_before_the_first_mark_leaves_nothing(database: Database, log: IntentLog) -> None:
    log.append([(INSERT, ("one", 1))])
    assert replay(database, log.path, CUT, ELSEWHERE) == (0, [])


def test_last_of_several_marks_counts(database: Database, log: IntentLog) -> None:
    for number in range(3):
        log.append([(INSERT, (f"row {number}", 1))])
        log.mark(log.length)
    replay(database, log.path, CUT, ELSEWHERE)
    assert len(things(database)) == 3


def test_batch_that_is_only_partly_before_the_mark_is_left_out(database: Database, log: IntentLog) -> None:
    log.append([(INSERT, ("one", 1))])
    log.mark(log.length - 1)
    assert replay(database, log.path, CUT, ELSEWHERE) == (0, [])


def test_bytes_before_the_mark_are_written_again_after_a_power_loss(database: Database, log: IntentLog) -> None:
    carried = [CarriedWrite(1, 8192, b"first"), CarriedWrite(2, 0, b"second")]
    log.append([(INSERT, ("synced", 1))], carried, is_marked=True)
    log.append([(INSERT, ("closed", 1))], [CarriedWrite(1, 0, b"unmarked")])
    assert replay(database, log.path, CUT, ELSEWHERE) == (1, carried)


def test_bytes_that_a_sync_of_the_segments_covered_are_not_written_again(database: Database, log: IntentLog) -> None:
    """They may have been changed in place since, by bytes too many to be carried: the old ones would win."""
    log.append([(INSERT, ("one", 1))], [CarriedWrite(1, 0, b"old")], is_marked=True)
    log.mark(log.length)
    log.append([(INSERT, ("two", 1))], [CarriedWrite(1, 4096, b"new")], is_marked=True)
    assert replay(database, log.path, CUT, ELSEWHERE) == (2, [CarriedWrite(1, 4096, b"new")])


def test_bytes_are_left_where_they_lie_when_only_the_core_died(database: Database, log: IntentLog) -> None:
    """The page cache holds them, and perhaps newer ones."""
    log.append([(INSERT, ("one", 1))], [CarriedWrite(1, 0, b"old")], is_marked=True)
    assert replay(database, log.path, CUT, HERE) == (1, [])


def test_log_of_another_version_is_refused_and_not_passed_over(database: Database, log: IntentLog) -> None:
    """A program that was updated after a crash would lose what the one before had acknowledged."""
    log.append([(INSERT, ("one", 1))])
    with log.path.open("r+b") as file:
        file.seek(8)
        file.write((VERSION - 1).to_bytes(4, "little"))
    with pytest.raises(WrongVersion) as caught:
        replay(database, log.path, CUT, HERE)
    assert (caught.value.found, caught.value.known) == (VERSION - 1, VERSION)


def test_statement_text_is_written_once(log: IntentLog) -> None:
    for number in range(3):
        log.append([(INSERT, (f"row {number}", 1))])
    log.mark(log.length)
    _, records = read_records(log.path.read_bytes(), CUT)
    assert [record.kind for record in records] == [STATEMENT, BATCH, BATCH, BATCH, MARK]


def test_empty_batch_leaves_no_record(log: IntentLog) -> None:
    before = log.length
    log.append([])
    assert log.length == before
    assert not any(log.path.read_bytes()[before:])


def test_file_is_as_documented(log: IntentLog) -> None:
    """Frozen on disk: header, and a first record whose checksum is chained to the header's."""
    log.append([("X", (1,))])
    data = log.path.read_bytes()
    assert data[:36] == b"HDintent" + b"\x02\0\0\0" + b"\x07" + bytes(7) + HERE
    body = b"\0\0\0\0X"
    checksum = zlib.crc32(body, zlib.crc32(b"\x03", zlib.crc32(data[:36])))
    assert data[36:50] == b"\x05\0\0\0" + checksum.to_bytes(4, "little") + b"\x03" + body
    assert data[54 + 4 : 59] == b"\x01"
    assert data[59:63] == b"\x91\x92\x00\x01"
    assert len(data) == ROOM_BYTES
    assert not any(data[63:])


def test_room_is_made_ahead_again_so_that_few_syncs_change_the_files_size(log: IntentLog) -> None:
    sizes = []
    for number in range(300):
        log.append([(INSERT, (number, b"x" * 5000))], is_marked=True)
        sizes.append(log.path.stat().st_size)
        assert sizes[-1] >= log.length
    assert len(set(sizes)) <= 1 + 300 * 5100 // ROOM_BYTES


def test_batches_behind_made_room_come_back(database: Database, log: IntentLog) -> None:
    for number in range(150):
        log.append([(INSERT, (f"{number}", b"x" * 5000))], is_marked=True)
    assert log.length > 2 * ROOM_BYTES
    assert replay(database, log.path, CUT, ELSEWHERE)[0] == 150


def test_log_is_never_written_over(tmp_path: Path, log: IntentLog) -> None:
    with pytest.raises(FileExistsError):
        IntentLog(RealDisk(), tmp_path, CUT, HERE)


def test_boot_id_is_the_machines() -> None:
    assert len(boot_id()) == 16
    assert boot_id() == boot_id() != bytes(16)
