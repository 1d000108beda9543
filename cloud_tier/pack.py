"""Packs: many blocks in one immutable object of about 16 MiB. Pure: bytes in, bytes out.

    header (64 bytes, clear) | record … | index (sealed) | trailer (12 bytes, clear)

A *record* is what can be fetched and opened by itself: one block of 64 KiB or more, or small blocks one behind the
other, up to about 512 KiB and compressed together. Files that were written together lie together, so that a folder of
small files compresses as a whole and is read back in few requests. A block's reference is (pack, offset and length of
its record, where it starts in the record's plaintext, its own length); pack and generation give the key. The index
repeats this for all blocks of the pack, for whoever has lost the catalog.

Nothing counts before it was decoded: the writer opens each record and the index again, by the code that will read them
one day, and compares the block ids, keyed BLAKE3 of what came out. So a bit that flipped in memory, a faulty processor
or a block that is not what its id says ends as `EncodingFailed`, not in the store.

The reader never returns a byte that was not proven: by the seal, and, of a block, by its id.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple, NewType

from cloud_tier.block_id import BlockId, block_id
from cloud_tier.chunker import MOST_BLOCK_BYTES
from cloud_tier.codec import Undecodable, decode, encode
from cloud_tier.errors import EncodingFailed, PackDamaged, RecordDamaged, SealedError
from cloud_tier.keys import DriveKeys, Generation
from cloud_tier.object_store import Buffer
from cloud_tier.sealed import HEADER_BYTES, TAG_BYTES, BrokenSeal, Header, Kind, Opener, Part, Sealer

ALONE_BYTES = 64 << 10
"""A block of this length or more has a record of its own."""
GROUP_BYTES = 512 << 10
"""Small blocks are collected until they have this length together."""
MOST_INDEX_BYTES = 64 << 20

_ENTRY = struct.Struct("<32sIIII")
_TRAILER = struct.Struct("<I8s")
_END = b"HDpacked"
TRAILER_BYTES = _TRAILER.size

PackId = NewType("PackId", bytes)
"""The salt of the pack's encoding, 32 bytes."""


class Entry(NamedTuple):
    """Where a block is. All in bytes; `offset` and `length` of its record in the pack, `start` in its plaintext."""

    block_id: BlockId
    offset: int
    length: int
    start: int
    plain_length: int


@dataclass(frozen=True, slots=True)
class Pack:
    """An encoded pack, whole and proven."""

    pack_id: PackId
    generation: Generation
    body: memoryview
    entries: Sequence[Entry]

    def by_id(self) -> dict[BlockId, Entry]:
        """Its entries. For a thread: of tiny files, tens of thousands lie in one pack."""
        return {entry.block_id: entry for entry in self.entries}


class PackWriter:
    """Encodes one pack. For one thread at a time; the work is done in C that lets go of the GIL."""

    def __init__(self, keys: DriveKeys) -> None:
        self._block_key = keys.block_key
        self._sealer = Sealer(keys, Kind.PACK)
        self._reader = PackReader(keys, Header.decode(self._sealer.body))
        self._entries: list[Entry] = []
        self._group: list[tuple[BlockId, bytes]] = []
        self._group_bytes = 0
        self.pack_id = PackId(self._sealer.header.salt)

    @property
    def size_bytes(self) -> int:
        """How long the pack would be if it were closed now, at most: the last small blocks are not compressed yet."""
        count = len(self._entries) + len(self._group)
        return len(self._sealer.body) + self._group_bytes + count * _ENTRY.size + 2 * TAG_BYTES + 2 + TRAILER_BYTES

    @property
    def count(self) -> int:
        """Blocks so far."""
        return len(self._entries) + len(self._group)

    def add(self, id_: BlockId, data: Buffer) -> None:
        """One more block, 1 byte to 1 MiB. Raises EncodingFailed: then the whole writer is to be thrown away."""
        if not 0 < len(data) <= MOST_BLOCK_BYTES:
            raise ValueError(f"a block has 1 to {MOST_BLOCK_BYTES} bytes, not {len(data)}")
        if len(data) >= ALONE_BYTES:
            self._write_record([id_], [len(data)], data)
            return
        self._group.append((id_, bytes(data)))
        self._group_bytes += len(data)
        if self._group_bytes >= GROUP_BYTES:
            self._write_group()

    def close(self) -> Pack:
        """The finished pack. Raises EncodingFailed."""
        self._write_group()
        if not self._entries:
            raise ValueError("a pack holds at least one block")
        _, length = self._sealer.seal(encode(b"".join(starmap(_ENTRY.pack, self._entries))), Part.INDEX)
        self._sealer.body += _TRAILER.pack(length, _END)
        body = memoryview(self._sealer.body).toreadonly()
        try:
            is_same = self._reader.index(body[-length - TRAILER_BYTES :], len(body)) == self._entries
        except SealedError as error:
            raise EncodingFailed(f"the index of a new pack does not open: {error}") from error
        if not is_same:
            raise EncodingFailed("the index of a new pack does not say what went in")
        return Pack(self.pack_id, self._sealer.header.generation, body, self._entries)

    def _write_group(self) -> None:
        if self._group:
            ids, blocks = zip(*self._group, strict=True)
            self._write_record(ids, list(map(len, blocks)), b"".join(blocks))
            self._group = []
            self._group_bytes = 0

    def _write_record(self, ids: Sequence[BlockId], lengths: Sequence[int], data: Buffer) -> None:
        offset, record_length = self._sealer.seal(encode(data))
        start, entries = 0, []
        for id_, length in zip(ids, lengths, strict=True):
            entries.append(Entry(id_, offset, record_length, start, length))
            start += length
        try:
            with memoryview(self._sealer.body) as body, body[offset:] as record:
                self._reader.blocks(entries, record)
        except RecordDamaged as error:
            raise EncodingFailed(f"what was encoded does not decode to what went in: {error}") from error
        self._entries += entries


class PackReader:
    """Opens what lies in one pack. May be used by several threads at once."""

    def __init__(self, keys: DriveKeys, header: Header) -> None:
        """Raises WrongDrive, WrongKey; PackDamaged when the header is not that of a pack."""
        if header.kind is not Kind.PACK:
            raise PackDamaged(f"this is no pack but a {header.kind.name.lower()}")
        self._name = header.salt.hex()[:16]
        self._block_key = keys.block_key
        self._opener = Opener(keys, header)

    @classmethod
    def of(cls, keys: DriveKeys, pack_id: PackId, generation: Generation) -> "PackReader":
        """For a pack that the catalog knows: nothing of it needs to be fetched first."""
        return cls(keys, Header(Kind.PACK, generation, keys.drive_id, pack_id))

    def record(self, offset: int, sealed: Buffer) -> bytes | memoryview:
        """The plaintext of the record at this offset: whole blocks, whose ids are not checked. Raises RecordDamaged."""
        try:
            return decode(self._opener.open(offset, sealed), MOST_BLOCK_BYTES)
        except (BrokenSeal, Undecodable) as error:
            raise RecordDamaged(f"the record at byte {offset} of pack {self._name} is not what was written") from error

    def blocks(self, entries: Sequence[Entry], sealed: Buffer) -> list[memoryview]:
        """The blocks that these entries of one record name, each checked by its id. Raises RecordDamaged."""
        plain = memoryview(self.record(entries[0].offset, sealed))
        return [self._checked(entry, plain[entry.start : entry.start + entry.plain_length]) for entry in entries]

    def _checked(self, entry: Entry, data: memoryview) -> memoryview:
        if len(data) != entry.plain_length or block_id(self._block_key, data) != entry.block_id:
            raise RecordDamaged(
                f"bytes {entry.start} to {entry.start + entry.plain_length} of the record at byte {entry.offset} of "
                f"pack {self._name} are not block {entry.block_id.hex()[:16]}"
            )
        return data

    def index(self, tail: Buffer, size_bytes: int) -> list[Entry]:
        """All blocks of the pack, in the order of their records.

        `tail`: the last bytes of the pack, at least `index_bytes(tail)` of them; `size_bytes`: of the whole pack.
        Raises PackDamaged.
        """
        length = index_bytes(tail)
        if len(tail) < length or size_bytes < HEADER_BYTES + length:
            raise PackDamaged(f"the index of pack {self._name} is cut off")
        sealed = memoryview(tail)[len(tail) - length : len(tail) - TRAILER_BYTES]
        try:
            plain = decode(self._opener.open(size_bytes - length, sealed, Part.INDEX), MOST_INDEX_BYTES)
            entries = [Entry(BlockId(id_), *places) for id_, *places in _ENTRY.iter_unpack(plain)]
        except (BrokenSeal, Undecodable, struct.error) as error:
            raise PackDamaged(f"the index of pack {self._name} is not what was written") from error
        end = HEADER_BYTES
        for offset, record_length in sorted({(entry.offset, entry.length) for entry in entries}):
            if offset != end:
                break
            end += record_length
        if end != size_bytes - length:
            raise PackDamaged(f"the index of pack {self._name} does not name every byte from byte {end} on")
        return entries


def index_bytes(tail: Buffer) -> int:
    """How many of the last bytes of a pack are its index and trailer, by the last 12 or more. Raises PackDamaged."""
    if len(tail) >= TRAILER_BYTES:
        length, end = _TRAILER.unpack_from(tail, len(tail) - TRAILER_BYTES)
        if end == _END:
            return int(length) + TRAILER_BYTES
    raise PackDamaged("this pack does not end as a pack does: it is cut off, or something else")
