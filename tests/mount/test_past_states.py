"""What a snapshot holds: every state exactly as it was, whatever happens to the drive afterwards."""

import mmap
import os
from pathlib import Path

import pytest
from kit.mounted import MountedDrive
from mount.calls import EXCHANGE, rename2, write_file
from mount.snapshots import past, snap
from mount.twin_machine import tree

pytestmark = pytest.mark.needs_product


def test_every_kept_state_stays_equal_whatever_follows(drive: MountedDrive, folder: Path) -> None:
    def begin() -> None:
        (folder / "a" / "b").mkdir(parents=True)
        for number in range(20):
            write_file(folder / f"file-{number}", bytes([number]) * (number * 3000))
        write_file(folder / "a" / "big", os.urandom(3 << 20))

    def edit_in_place() -> None:
        with (folder / "a" / "big").open("r+b") as file:
            for offset in (0, 4095, 1 << 20, (3 << 20) - 5):
                os.pwrite(file.fileno(), b"edited", offset)
        os.truncate(folder / "file-9", 100)
        os.truncate(folder / "file-8", 100_000)

    def replace_and_delete() -> None:
        os.rename(write_file(folder / "new", b"replaced"), folder / "file-3")
        for number in (4, 5, 6):
            (folder / f"file-{number}").unlink()
        write_file(folder / "file-4", b"another under the old name")

    def move_and_link() -> None:
        os.rename(folder / "a", folder / "moved")
        os.link(folder / "file-1", folder / "moved" / "linked")
        os.symlink("file-1", folder / "link")
        rename2(folder / "file-10", folder / "moved" / "b", EXCHANGE)
        os.chmod(folder / "file-2", 0o4700)
        os.setxattr(folder / "file-2", "user.note", b"x" * 1000)

    def empty() -> None:
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    kept = []
    for step in (begin, edit_in_place, replace_and_delete, move_and_link, empty, begin):
        step()
        kept.append((snap(drive), tree(folder)))
        for name, expected in kept:
            assert tree(past(drive, name, folder)) == expected, (step.__name__, name)
    drive.remount()
    for name, expected in kept:
        assert tree(past(drive, name, folder)) == expected, name
    dropped = [kept.pop(1), kept.pop(2)]
    for name, _ in dropped:
        drive.cli("snapshot", "delete", name)
    for name, expected in kept:
        assert tree(past(drive, name, folder)) == expected, name


def test_bytes_of_a_file_still_open_are_held_without_fsync(drive: MountedDrive, folder: Path) -> None:
    with (folder / "open").open("wb", buffering=0) as file:
        file.write(b"w" * 300_000)
        first = snap(drive)
        file.write(b"more")
        second = snap(drive)
        file.write(b"not held by any")
    assert past(drive, first, folder / "open").read_bytes() == b"w" * 300_000
    assert past(drive, second, folder / "open").read_bytes() == b"w" * 300_000 + b"more"


def test_store_through_a_map_is_held_without_msync(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "mapped", b"." * 10_000)
    with file.open("r+b") as handle, mmap.mmap(handle.fileno(), 0) as window:
        window[5000:5006] = b"stored"
        name = snap(drive)
        window[5000:5006] = b"later!"
        assert past(drive, name, file).read_bytes()[4999:5007] == b".stored."
    assert file.read_bytes()[4999:5007] == b".later!."


def test_past_file_kept_open_reads_the_same_while_the_live_one_changes(drive: MountedDrive, folder: Path) -> None:
    content = os.urandom(2 << 20)
    file = write_file(folder / "file", content)
    name = snap(drive)
    with past(drive, name, file).open("rb", buffering=0) as held:
        for turn in range(5):
            with file.open("r+b") as live:
                os.pwrite(live.fileno(), bytes([turn]) * 100_000, turn * 300_000)
                os.fsync(live.fileno())
            os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert os.pread(held.fileno(), len(content), 0) == content
        file.unlink()
        assert os.pread(held.fileno(), len(content), 0) == content


def test_past_can_be_mapped_and_run(drive: MountedDrive, folder: Path) -> None:
    program = write_file(folder / "program", Path("/bin/true").read_bytes(), 0o755)
    name = snap(drive)
    program.unlink()
    assert os.spawnv(os.P_WAIT, past(drive, name, program), ["program"]) == 0
    with past(drive, name, program).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as window:
        assert window[:4] == b"\x7fELF"


def test_holes_of_the_past_are_zeros_and_cost_nothing(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "sparse")
    os.truncate(file, 1 << 40)
    name = snap(drive)
    with file.open("r+b") as live:
        os.pwrite(live.fileno(), b"x" * 4096, 1 << 39)
    with past(drive, name, file).open("rb") as was:
        assert os.fstat(was.fileno()).st_size == 1 << 40
        assert os.pread(was.fileno(), 4096, 1 << 39) == bytes(4096)


def test_versions_are_distinct_contents_newest_first(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"1")
    first = snap(drive)
    same = snap(drive)
    file.write_bytes(b"22")
    second = snap(drive)
    file.write_bytes(b"333")
    known = drive.cli("versions", str(file))
    assert [each["size_bytes"] for each in known] == [3, 2, 1]
    assert [each["is_live"] for each in known] == [True, False, False]
    assert known[0]["snapshot"] is None
    assert known[1]["snapshot"] == second
    assert known[2]["snapshot"] in (first, same)
    assert drive.cli("versions", os.fspath(file.relative_to(drive.mount))) == known


def test_versions_of_an_unchanged_file_are_one(drive: MountedDrive, folder: Path) -> None:
    file = write_file(folder / "file", b"content")
    for _ in range(2):
        snap(drive)
        os.chmod(file, 0o600)
    assert len(drive.cli("versions", str(file))) == 1


def test_snapshot_sees_all_or_nothing_of_each_rename(drive: MountedDrive, folder: Path) -> None:
    """A document replaced without pause is in every snapshot one whole version."""
    document = write_file(folder / "document", b"0" * 50_000)
    stop_reader, stop_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.set_blocking(stop_reader, False)
            os.close(stop_writer)
            turn = 0
            while True:
                turn += 1
                os.rename(write_file(folder / "new", str(turn % 10).encode() * 50_000), document)
                try:
                    if os.read(stop_reader, 1) == b"":
                        break
                except BlockingIOError:
                    continue
        finally:
            os._exit(0)
    os.close(stop_reader)
    try:
        taken = [snap(drive) for _ in range(3)]
    finally:
        os.close(stop_writer)
        os.waitpid(pid, 0)
    for name in taken:
        content = past(drive, name, document).read_bytes()
        assert content == content[:1] * 50_000
