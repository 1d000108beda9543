"""A log entry: what one cut of the database changed, as the statements that did it. Pure: bytes in, bytes out.

    magic "HDchange" | version u16 | schema u16 | position u64 | made u64 ns | before 32 | inside … | digest 32

`position` is the number of the cut, `schema` the format version of the tables, `before` the digest of the entry one
position earlier, `digest` the BLAKE3 of everything in front of it: so entries are a chain, and whoever has the last
digest knows all that led there. `inside` is `codec.encode` of a msgpack array: the texts of the statements, then one
array for each time one ran: the number of its text and its values. Statements carry all their values, so running them
again on the tables as of the position before gives the tables as of this one (as the intent log relies on, too).

An *origin* begins a chain: `before` is zeros, and all it says is a random number, so that nothing continues it by
chance. It stands for the tables as they were at its position; only a checkpoint leads there.

An entry is the same bytes in the outbox of the machine and in the store.
"""

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
from blake3 import blake3

from cloud_tier.codec import Undecodable, decode, encode
from cloud_tier.errors import LogDamaged
from cloud_tier.object_store import Buffer

Statement = tuple[str, Sequence[Any]]

MAGIC = b"HDchange"
VERSION = 1
DIGEST_BYTES = 32
MOST_BYTES = 1 << 30
"""Of an entry's statements; a cut is made long before."""

_NOBODY = bytes(DIGEST_BYTES)
_HEADER = struct.Struct("<8sHHQQ32s")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry, parsed as far as its header; `body` is all of it."""

    position: int
    made_ns: int
    schema: int
    before: bytes
    digest: bytes
    body: bytes

    @classmethod
    def make(
        cls, position: int, made_ns: int, schema: int, before: bytes, statements: Iterable[Statement]
    ) -> "LogEntry":
        """The entry of a cut."""
        numbers: dict[str, int] = {}
        runs = [[numbers.setdefault(sql, len(numbers)), *values] for sql, values in statements]
        return cls.of_runs(position, made_ns, schema, before, list(numbers), runs)

    @classmethod
    def origin(cls, position: int, made_ns: int, schema: int) -> "LogEntry":
        """The beginning of a chain."""
        return cls.of_runs(position, made_ns, schema, _NOBODY, ["-- origin"], [[0, os.urandom(32)]])

    @property
    def is_origin(self) -> bool:
        """Whether a chain begins here."""
        return self.before == _NOBODY

    @classmethod
    def of_runs(
        cls, position: int, made_ns: int, schema: int, before: bytes, texts: list[str], runs: list[list[Any]]
    ) -> "LogEntry":
        """The same, of statements whose texts were numbered already."""
        head = _HEADER.pack(MAGIC, VERSION, schema, position, made_ns, before)
        body = head + encode(msgpack.packb([texts, runs]))
        digest = blake3(body).digest()
        return cls(position, made_ns, schema, before, digest, body + digest)

    @classmethod
    def parse(cls, body: Buffer) -> "LogEntry":
        """From its bytes, checked against their digest. Raises LogDamaged."""
        if len(body) < _HEADER.size + DIGEST_BYTES:
            raise LogDamaged("an entry of the log is cut off")
        magic, version, schema, position, made_ns, before = _HEADER.unpack_from(body)
        digest = bytes(body[-DIGEST_BYTES:])
        if magic != MAGIC or blake3(memoryview(body)[:-DIGEST_BYTES]).digest() != digest:
            raise LogDamaged("an entry of the log is not what was written")
        if version != VERSION:
            raise LogDamaged(f"an entry of the log has format version {version}; this program knows {VERSION}")
        return cls(position, made_ns, schema, before, digest, bytes(body))

    def statements(self) -> list[Statement]:
        """What to run, in this order. Raises LogDamaged."""
        try:
            inside = decode(self.body[_HEADER.size : -DIGEST_BYTES], MOST_BYTES)
            texts, runs = msgpack.unpackb(inside, raw=False, strict_map_key=False)
            return [(texts[number], values) for number, *values in runs]
        except (Undecodable, ValueError, TypeError, IndexError) as error:
            raise LogDamaged(f"entry {self.position} of the log cannot be read: {error}") from error
