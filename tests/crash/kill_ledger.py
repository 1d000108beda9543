"""What a writer was told, written down outside the drive.

A ledger is a file of JSON lines, one process appends to it, each line by one write. It lies on another file system
and needs no fsync: only the core is killed, never the machine. A line is written after the call it speaks of
returned, so whatever it says, the drive has promised; `begin` lines say what was about to be tried, and promise
nothing. Contents are made from a key, so that a fact is short and every byte can be made again by the one who
verifies.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STREAM_BLOCK = 4096
HEADER_BYTES = 20

Fact = dict[str, Any]


def content(key: str, size: int) -> bytes:
    """`size` bytes that only this key has."""
    return hashlib.shake_128(key.encode()).digest(size)


def stream(key: str, start: int, size: int) -> bytes:
    """Bytes start to start + size of the endless stream of this key; no block of it is zeros."""
    first, last = start // STREAM_BLOCK, (start + size) // STREAM_BLOCK
    whole = b"".join(content(f"{key}:{block}", STREAM_BLOCK) for block in range(first, last + 1))
    return whole[start - first * STREAM_BLOCK :][:size]


def document(key: str, version: int, size: int) -> bytes:
    """A document that says which version it is and how long."""
    return f"{version:010d}{size:010d}".encode() + content(f"{key}:{version}", size)


def version_of(key: str, raw: bytes) -> int | None:
    """The version that these bytes are, complete and unmixed; None if they are none."""
    header = raw[:HEADER_BYTES]
    if len(header) < HEADER_BYTES or not header.isdigit():
        return None
    version, size = int(header[:10]), int(header[10:])
    return version if raw == document(key, version, size) else None


class Ledger:
    """The ledger of one writer. `at` in every line is CLOCK_MONOTONIC, which all processes share."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def write(self, kind: str, **words: Any) -> None:
        line = json.dumps({"kind": kind, "at": time.monotonic(), **words}) + "\n"
        os.write(self._handle, line.encode())

    def whole(self, paths: list[str], key: str, size: int, how: str) -> None:
        """One of these paths holds exactly this content, acknowledged by `how`; nobody changes it later."""
        self.write("whole", paths=paths, key=key, size=size, checksum=zlib.crc32(content(key, size)), how=how)

    def prefix(self, path: str, key: str, size: int, how: str) -> None:
        """The file begins with so many bytes of the stream of `key`."""
        self.write("prefix", path=path, key=key, size=size, how=how)


def read_facts(path: Path) -> Iterator[Fact]:
    """The lines of a ledger, in order; a last line that its writer's death cut off is left out."""
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)
