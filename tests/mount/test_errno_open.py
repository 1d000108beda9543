"""What open, read and write refuse, and with which code."""

import errno
import os
import subprocess
from pathlib import Path

import pytest
from mount.calls import refused, write_file
from mount.people import ALICE, as_user


def test_open_of_missing_file_is_enoent(folder: Path) -> None:
    with refused(errno.ENOENT):
        os.open(folder / "missing", os.O_RDONLY)


def test_create_in_missing_directory_is_enoent(folder: Path) -> None:
    with refused(errno.ENOENT):
        os.open(folder / "missing" / "file", os.O_CREAT | os.O_WRONLY)


def test_path_through_a_file_is_enotdir(folder: Path) -> None:
    write_file(folder / "file")
    with refused(errno.ENOTDIR):
        os.open(folder / "file" / "below", os.O_CREAT | os.O_WRONLY)
    with refused(errno.ENOTDIR):
        os.stat(folder / "file" / "below")


def test_exclusive_create_over_anything_is_eexist(folder: Path) -> None:
    write_file(folder / "file")
    (folder / "directory").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    for name in ("file", "directory", "dangling"):
        with refused(errno.EEXIST):
            os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)


def test_directory_cannot_be_opened_for_writing(folder: Path) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_CREAT):
        with refused(errno.EISDIR):
            os.open(folder, flags)


def test_o_directory_on_a_file_is_enotdir(folder: Path) -> None:
    write_file(folder / "file")
    with refused(errno.ENOTDIR):
        os.open(folder / "file", os.O_RDONLY | os.O_DIRECTORY)


def test_o_nofollow_on_a_symlink_is_eloop(folder: Path) -> None:
    write_file(folder / "file")
    (folder / "link").symlink_to("file")
    with refused(errno.ELOOP):
        os.open(folder / "link", os.O_RDONLY | os.O_NOFOLLOW)


def test_create_through_dangling_symlink_makes_its_target(folder: Path) -> None:
    (folder / "link").symlink_to("target")
    os.close(os.open(folder / "link", os.O_CREAT | os.O_WRONLY, 0o600))
    assert (folder / "target").is_file()


def test_trailing_slash_makes_a_file_name_refused(folder: Path) -> None:
    write_file(folder / "file")
    with refused(errno.ENOTDIR):
        os.stat(f"{folder}/file/")
    with refused(errno.EISDIR):
        os.open(f"{folder}/new/", os.O_CREAT | os.O_WRONLY)


def test_handles_keep_to_their_access_mode(folder: Path) -> None:
    write_file(folder / "file", b"content")
    reader = os.open(folder / "file", os.O_RDONLY)
    writer = os.open(folder / "file", os.O_WRONLY)
    with refused(errno.EBADF):
        os.write(reader, b"x")
    with refused(errno.EBADF):
        os.read(writer, 1)
    with refused(errno.EINVAL):
        os.ftruncate(reader, 0)
    os.close(reader)
    os.close(writer)


def test_read_of_a_directory_handle_is_eisdir(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with refused(errno.EISDIR):
        os.read(handle, 10)
    os.close(handle)


def test_seek_before_the_start_is_einval(folder: Path) -> None:
    with open(write_file(folder / "file", b"abc"), "rb") as file, refused(errno.EINVAL):
        os.lseek(file.fileno(), -1, os.SEEK_SET)


def test_read_at_and_past_the_end_is_empty(folder: Path) -> None:
    with open(write_file(folder / "file", b"abc"), "rb") as file:
        assert os.pread(file.fileno(), 10, 3) == b""
        assert os.pread(file.fileno(), 10, 1 << 40) == b""
        assert os.pread(file.fileno(), 10, 1) == b"bc"


def test_o_trunc_empties_and_keeps_the_inode(folder: Path) -> None:
    file = write_file(folder / "file", b"old content")
    inode = file.stat().st_ino
    os.close(os.open(file, os.O_WRONLY | os.O_TRUNC))
    assert (file.stat().st_size, file.stat().st_ino) == (0, inode)


def test_creator_may_write_through_a_handle_its_mode_forbids(folder: Path) -> None:
    os.chmod(folder, 0o777)

    def create_unwritable() -> int:
        handle = os.open(folder / "locked", os.O_CREAT | os.O_WRONLY, 0o000)
        written = os.write(handle, b"once")
        os.close(handle)
        return written

    assert as_user(ALICE, create_unwritable) == 4
    with refused(errno.EACCES):
        as_user(ALICE, lambda: os.open(folder / "locked", os.O_RDONLY))


def test_running_program_cannot_be_written(folder: Path) -> None:
    program = write_file(folder / "program", Path("/bin/sleep").read_bytes(), 0o755)
    running = subprocess.Popen([program, "60"])
    try:
        with refused(errno.ETXTBSY):
            os.open(program, os.O_WRONLY)
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("length", [255, 256])
def test_a_name_has_at_most_255_bytes(folder: Path, length: int) -> None:
    name = folder / ("n" * length)
    if length <= 255:
        write_file(name, b"fits")
        assert os.listdir(folder) == [name.name]
        return
    with refused(errno.ENAMETOOLONG):
        os.open(name, os.O_CREAT | os.O_WRONLY)


def test_path_of_4096_bytes_is_enametoolong(folder: Path) -> None:
    prefix = os.fspath(folder) + "/"
    path = prefix + "./" * ((4096 - len(prefix)) // 2) + "file"
    with refused(errno.ENAMETOOLONG):
        os.stat(path)
