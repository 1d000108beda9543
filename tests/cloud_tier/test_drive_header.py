"""The drive's header: readable by anybody, proven by the keys."""

from dataclasses import replace

import pytest
from kit.drive_keys import drive_keys

from cloud_tier.chunker import ChunkerParameters
from cloud_tier.drive_header import DriveHeader
from cloud_tier.errors import SealedError, UnknownFormat, WrongDrive

KEYS = drive_keys()
HEADER = DriveHeader(KEYS.drive_id, ChunkerParameters(), 1_800_000_000_000_000_000)
DATA = HEADER.encode(KEYS)


def test_it_is_read_without_keys_and_proven_with_them() -> None:
    assert DriveHeader.peek(DATA) == HEADER
    assert DriveHeader.decode(KEYS, DATA) == HEADER
    assert DriveHeader.decode(drive_keys(generations=3), HEADER.encode(KEYS)) == HEADER


def test_every_changed_byte_is_refused() -> None:
    for at in range(len(DATA)):
        with pytest.raises(SealedError):
            DriveHeader.decode(KEYS, DATA[:at] + bytes((DATA[at] ^ 4,)) + DATA[at + 1 :])
    for length in range(len(DATA)):
        with pytest.raises(SealedError):
            DriveHeader.decode(KEYS, DATA[:length])


def test_another_drive_and_a_newer_version_are_named() -> None:
    with pytest.raises(WrongDrive, match=KEYS.drive_id.hex()):
        DriveHeader.decode(drive_keys(2), DATA)
    with pytest.raises(UnknownFormat, match="format version 2"):
        DriveHeader.peek(DATA[:8] + b"\2\0" + b"whatever follows")


def test_other_cuts_are_another_header() -> None:
    other = replace(HEADER, chunker=ChunkerParameters(64, 256, 1024))
    assert DriveHeader.decode(KEYS, other.encode(KEYS)).chunker == ChunkerParameters(64, 256, 1024)
