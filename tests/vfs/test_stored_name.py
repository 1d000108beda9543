"""What smbd asks instead of reading a folder: the stored name that equals another but for case."""

import errno

import pyfuse3
import pytest
from kit.drive_builder import DriveBuilder
from kit.requests import caller

from vfs.fuse.operations import DriveOperations
from vfs.ids import ROOT, in_view

QUESTION = b"glusterfs.get_real_filename:"


async def refusal(operations: DriveOperations, ino: int, name: bytes) -> int:
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await operations.getxattr(ino, QUESTION + name, caller())
    return int(caught.value.errno)


async def test_a_folder_tells_how_a_name_is_stored_and_never_lists_the_question(running: DriveBuilder) -> None:
    await running.write("Größe.TXT", b"bytes")
    operations = DriveOperations(running.drive)
    for asked in ("größe.txt", "GRÖSSE.txt".replace("SS", "ß"), "Größe.TXT"):
        answer = await operations.getxattr(ROOT, QUESTION + asked.encode(), caller())
        assert answer == "Größe.TXT".encode() + b"\0"
    assert await refusal(operations, ROOT, b"other.txt") == errno.ENODATA
    assert await operations.listxattr(ROOT, caller()) == []


async def test_the_past_leaves_the_question_to_whoever_reads_the_folder(running: DriveBuilder) -> None:
    await running.write("File", b"bytes")
    snapshot = await running.drive.snapshots.create(None)
    operations = DriveOperations(running.drive)
    view = running.drive.doors.lookup(in_view(1, ROOT), snapshot.name.encode())
    assert await refusal(operations, view, b"file") == errno.EOPNOTSUPP
