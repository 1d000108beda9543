"""What happened since the last cut, in a file, so that a crash of the core costs nothing that was acknowledged.

SQLite commits only at a cut, seconds apart. In between, `close` and `fsync` must already be answered. So every changing
statement is also appended here, in batches; each batch leaves the database consistent. After a crash the batches are
run again on top of the last cut, as ZFS replays its intent log. Statements carry all their values (no time, no random
numbers), so running them again gives the same rows.

What may be believed after a crash depends on what died:
  * only the core: the page cache is intact, so every whole batch is there, and so are the bytes its rows name;
  * the machine (another boot id): only what lies before the last *mark*. Where the segments were synced, the mark is
    written after that, and names the length of the log at the moment when that sync began: a row that came in during
    the sync (T1: its bytes are not on disk) lies behind it. Where the bytes are few, they lie in the log themselves,
    before the mark, and are written to their segments again; a mark says from where on, because those before were
    synced since and may have been changed in place.

File `intents/<cut>.log` holds what came after cut number <cut>, little endian:
    header   8 bytes "HDintent" | u32 version = 2 | u64 cut | 16 bytes boot id
    record   u32 length | u32 crc | u8 kind | body      (length counts the body; crc = crc32 over kind and body, chained
                                                         from the record before, the header's crc first)
    kind 1   a batch: msgpack list of [statement number, value, …]
    kind 2   a mark: u64 length of the log that is durable with all bytes its rows name | u64 from where on the bytes
             of kind 4 are needed for that
    kind 3   a statement: u32 number | its text
    kind 4   bytes written to a segment: u64 segment | u64 offset | the bytes
    kind 5   nothing: all that cut <cut> + 1 commits stands before it
What lies behind the last record is zeros (room made ahead, so that a sync need not change the file's size).
"""

import logging
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from cachefs.carried import CarriedWrite
from cachefs.database import Database, Statement
from cachefs.disk import Disk
from cachefs.errors import WrongVersion

log = logging.getLogger(__name__)

MAGIC = b"HDintent"
VERSION = 2
BATCH, MARK, STATEMENT, BYTES, END = 1, 2, 3, 4, 5  # on disk: do not change
ROOM_BYTES = 256 << 10  # made ahead
_HEADER = struct.Struct("<8sIQ16s")
_RECORD = struct.Struct("<IIB")
_NUMBER = struct.Struct("<I")
_MARK = struct.Struct("<QQ")
_PLACE = struct.Struct("<QQ")

_pack = msgpack.Packer(use_bin_type=True).pack


def boot_id() -> bytes:
    """16 bytes that differ between two starts of the machine, so between two lives of the page cache."""
    return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))


def boot_of(path: Path) -> bytes:
    """The boot under which a log was begun; empty when there is no such log."""
    try:
        with path.open("rb") as file:
            return file.read(_HEADER.size)[-16:]
    except FileNotFoundError:
        return b""


class IntentLog:
    """One open log file, appended to by the core."""

    def __init__(self, disk: Disk, directory: Path, cut: int, boot: bytes) -> None:
        self.cut = cut
        self.path = directory / f"{cut}.log"
        self._disk = disk
        self._fd = disk.open(self.path, create=True)
        header = _HEADER.pack(MAGIC, VERSION, cut, boot)
        disk.pwrite(self._fd, header + bytes(ROOM_BYTES - len(header)), 0)
        self._crc = zlib.crc32(header)
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()  # a mark comes from the thread that synced, batches come from the loop
        self.length = self._bytes_from = len(header)
        self._room_end = ROOM_BYTES
        self._marked = 0
        self._durable = 0

    def append(
        self,
        statements: Iterable[Statement],
        carried: Iterable[CarriedWrite] = (),
        *,
        is_marked: bool = False,
        is_end: bool = False,
    ) -> None:
        """Append one batch. When this returns, it survives the death of the core, not that of the machine.

        `is_marked`: once `sync` returns, everything so far is durable; `carried` are the bytes for that. `is_end`: all
        of it is about to be committed, and nothing follows.
        """
        numbers = self._numbers
        batch: list[list[Any]] = []
        with self._lock:
            pieces: list[bytes] = []
            for sql, parameters in statements:
                number = numbers.get(sql)
                if number is None:
                    number = numbers[sql] = len(numbers)
                    pieces.append(self._record(STATEMENT, _NUMBER.pack(number) + sql.encode()))
                batch.append([number, *parameters])
            if batch:
                pieces.append(self._record(BATCH, _pack(batch)))
            for segment, offset, data in carried:
                pieces.append(self._record(BYTES, _PLACE.pack(segment, offset) + data))
            if is_end:
                pieces.append(self._record(END, b""))
            if is_marked:
                length = self.length + sum(map(len, pieces))
                pieces.append(self._record(MARK, _MARK.pack(length, self._bytes_from)))
            if pieces:
                self._write(b"".join(pieces))
            if is_marked:
                self._marked = self.length
                self._make_room()

    def mark(self, length: int) -> None:
        """Append a mark after a sync of all segments: all before `length` is durable once `sync` returned."""
        with self._lock:
            self._bytes_from = length
            is_last = self.length == length
            self._write(self._record(MARK, _MARK.pack(length, length)))
            if is_last:
                self._marked = self.length
            self._make_room()

    def sync(self) -> None:
        """Make the file durable. Blocks on the disk."""
        marked = self._marked
        self._disk.sync(self._fd)
        self._durable = marked

    @property
    def is_durable(self) -> bool:
        """Whether nothing was appended since a mark that is durable."""
        return self._durable == self.length

    def close(self) -> None:
        self._disk.close(self._fd)

    def _record(self, kind: int, body: bytes) -> bytes:
        self._crc = zlib.crc32(body, zlib.crc32(bytes((kind,)), self._crc))
        return _RECORD.pack(len(body), self._crc, kind) + body

    def _write(self, data: bytes) -> None:
        self._disk.pwrite(self._fd, data, self.length)
        self.length += len(data)

    def _make_room(self) -> None:
        # The sync that comes now pays for a longer file in any case; those after it then do not.
        if self.length <= self._room_end:
            return
        with suppress(OSError):  # a full disk: the log has its reserve, its room has not
            self._disk.pwrite(self._fd, bytes(ROOM_BYTES), self.length)
            self._room_end = self.length + ROOM_BYTES


class Record(NamedTuple):
    end: int
    kind: int
    body: bytes


def read_records(data: bytes, cut: int) -> tuple[bytes, list[Record]]:
    """The boot id and the sound records of a log file's bytes; stops at the first that is torn. Wrong header: none.

    Raises WrongVersion: what another version acknowledged must not be passed over.
    """
    if len(data) < _HEADER.size:
        return b"", []
    magic, version, found, boot = _HEADER.unpack_from(data)
    if magic != MAGIC or found != cut:
        return b"", []
    if version != VERSION:
        raise WrongVersion(version, VERSION)
    return boot, list(_walk(data, zlib.crc32(data[: _HEADER.size])))


def _walk(data: bytes, crc: int) -> Iterator[Record]:
    position = _HEADER.size
    while position + _RECORD.size <= len(data):
        length, expected, kind = _RECORD.unpack_from(data, position)
        start, end = position + _RECORD.size, position + _RECORD.size + length
        if end > len(data):
            return
        body = data[start:end]
        crc = zlib.crc32(body, zlib.crc32(bytes((kind,)), crc))
        if crc != expected:
            return
        yield Record(end, kind, body)
        position = end


def _tell_of_rest(path: Path, data: bytes, sound: int, *, is_other_life: bool) -> None:
    """Say what cannot be read. After a power loss, and for an append that the core did not live to finish, that is as
    it should be: nobody was promised those bytes.
    """
    data = data.rstrip(b"\0")  # room made ahead
    if len(data) <= sound or not any(data[: _HEADER.size]):
        return
    rest = len(data) - sound - _RECORD.size
    is_torn = rest < 0 or _RECORD.unpack_from(data, sound)[0] > rest
    if is_other_life or (is_torn and data.startswith(MAGIC)):
        log.info(
            "%s ends in %d bytes that cannot be read, as an interrupted write leaves", path.name, len(data) - sound
        )
        return
    log.error(
        "%s is damaged at byte %d: what was saved in the last seconds before the core ended is lost from there on (%d"
        " bytes of the log). All that was saved before is there. Look at the files that were worked on just then, and"
        " have the disk looked at.",
        path.name,
        sound,
        len(data) - sound,
    )


def runs_of(path: Path, cut: int) -> tuple[list[str], list[list[Any]]] | None:
    """What a log holds that was ended: the texts of its statements, and each run as [number of the text, value, …].

    None when its end is missing. Raises OSError, WrongVersion.
    """
    _, records = read_records(path.read_bytes(), cut)
    if not any(record.kind == END for record in records):
        return None
    texts: list[str] = []
    runs: list[list[Any]] = []
    for record in records:
        if record.kind == STATEMENT:
            texts.append(record.body[_NUMBER.size :].decode())  # numbered as they come
        elif record.kind == BATCH:
            runs += msgpack.unpackb(record.body, raw=False)
    return texts, runs


def replay(database: Database, path: Path, cut: int, boot: bytes) -> tuple[int, list[CarriedWrite]]:
    """Run again what `path` may be believed to hold after cut number `cut`.

    Returns the count of statements, and the bytes to be written to their segments, in this order. The caller makes a
    cut afterwards, before anything else. Raises WrongVersion.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0, []
    written_in, records = read_records(data, cut)
    end = bytes_from = len(data)
    _tell_of_rest(path, data, records[-1].end if records else _HEADER.size, is_other_life=written_in not in (boot, b""))
    if written_in != boot:
        marks = (_MARK.unpack(record.body) for record in records if record.kind == MARK)
        end, bytes_from = max(marks, default=(0, 0))
    carried: list[CarriedWrite] = []
    texts: dict[int, str] = {}
    count = 0
    for record in records:
        if record.kind == STATEMENT:
            texts[_NUMBER.unpack_from(record.body)[0]] = record.body[_NUMBER.size :].decode()
        elif record.kind == BATCH and record.end <= end:
            with database.operation:
                for number, *parameters in msgpack.unpackb(record.body, raw=False):
                    database.write(texts[number], parameters)
                    count += 1
        elif record.kind == BYTES and bytes_from < record.end <= end:
            segment, offset = _PLACE.unpack_from(record.body)
            carried.append(CarriedWrite(segment, offset, record.body[_PLACE.size :]))
    return count, carried
