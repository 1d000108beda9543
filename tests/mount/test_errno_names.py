"""What the calls that make and remove names refuse, and with which code."""

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from mount.calls import refused, write_file

MAKERS: dict[str, Callable[[Path], object]] = {
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "symlink": lambda path: os.symlink("target", path),
    "mknod": lambda path: os.mknod(path, stat.S_IFREG | 0o600),
}


@pytest.fixture(params=sorted(MAKERS))
def make(request: pytest.FixtureRequest) -> Callable[[Path], object]:
    return MAKERS[request.param]


def test_name_that_exists_is_eexist(folder: Path, make: Callable[[Path], object]) -> None:
    write_file(folder / "file")
    (folder / "directory").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    for name in ("file", "directory", "dangling"):
        with refused(errno.EEXIST):
            make(folder / name)


def test_missing_or_wrong_parent_is_told_apart(folder: Path, make: Callable[[Path], object]) -> None:
    write_file(folder / "file")
    with refused(errno.ENOENT):
        make(folder / "missing" / "name")
    with refused(errno.ENOTDIR):
        make(folder / "file" / "name")


def test_long_name_is_enametoolong(folder: Path, make: Callable[[Path], object]) -> None:
    make(folder / ("n" * 255))
    with refused(errno.ENAMETOOLONG):
        make(folder / ("n" * 256))


def test_name_in_a_removed_directory_is_enoent(folder: Path, make: Callable[[Path], object]) -> None:
    gone = folder / "gone"
    gone.mkdir()
    handle = os.open(gone, os.O_RDONLY | os.O_DIRECTORY)
    gone.rmdir()
    with refused(errno.ENOENT):
        make(Path(f"/proc/self/fd/{handle}/name"))
    os.close(handle)


def test_long_names_are_refused_by_every_call(folder: Path) -> None:
    file = write_file(folder / "file")
    long = folder / ("n" * 256)
    attempts: list[Callable[[], object]] = [
        lambda: os.rename(file, long),
        lambda: os.rename(long, file),
        lambda: os.link(file, long),
        lambda: os.unlink(long),
        lambda: os.rmdir(long),
        lambda: os.stat(long),
        lambda: os.truncate(long, 0),
        lambda: os.chmod(long, 0o600),
    ]
    for attempt in attempts:
        with refused(errno.ENAMETOOLONG):
            attempt()


def test_unlink_refuses_directories_and_rmdir_everything_else(folder: Path) -> None:
    (folder / "directory").mkdir()
    write_file(folder / "file")
    (folder / "link").symlink_to("directory")
    with refused(errno.EISDIR):
        os.unlink(folder / "directory")
    for name in ("file", "link"):
        with refused(errno.ENOTDIR):
            os.rmdir(folder / name)
    for remove in (os.unlink, os.rmdir):
        with refused(errno.ENOENT):
            remove(folder / "missing")


def test_rmdir_of_a_full_directory_is_enotempty(folder: Path) -> None:
    (folder / "full" / "inner").mkdir(parents=True)
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        os.rmdir(folder / "full")
    (folder / "full" / "inner").rmdir()
    os.rmdir(folder / "full")


def test_rmdir_of_dot_and_dotdot(folder: Path) -> None:
    (folder / "inner").mkdir()
    with refused(errno.EINVAL):
        os.rmdir(f"{folder}/inner/.")
    with refused(errno.ENOTEMPTY):
        os.rmdir(f"{folder}/inner/..")


def test_removed_names_of_every_kind_are_gone_and_free(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        home = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        door.bind(f"/proc/self/fd/{home}/socket")
        os.close(home)
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.symlink("x", folder / "link")
    for name in ("socket", "fifo", "device", "link"):
        os.unlink(folder / name)
        with refused(errno.ENOENT):
            os.lstat(folder / name)
        write_file(folder / name)
    assert sorted(os.listdir(folder)) == ["device", "fifo", "link", "socket"]


def test_hard_link_to_a_directory_is_eperm(folder: Path) -> None:
    (folder / "directory").mkdir()
    with refused(errno.EPERM):
        os.link(folder / "directory", folder / "second")


def test_link_and_rename_across_file_systems_is_exdev(folder: Path) -> None:
    file = write_file(folder / "file")
    elsewhere = Path("/proc/self/comm")
    with refused(errno.EXDEV, errno.EPERM):
        os.link(elsewhere, folder / "link")
    with refused(errno.EXDEV):
        os.rename(file, "/dev/shm/never-made-by-a-test")


def test_readlink_of_a_file_is_einval(folder: Path) -> None:
    with refused(errno.EINVAL):
        os.readlink(write_file(folder / "file"))


def test_truncate_by_path_tells_apart(folder: Path) -> None:
    file = write_file(folder / "file", b"abc")
    with refused(errno.EISDIR):
        os.truncate(folder, 0)
    with refused(errno.ENOENT):
        os.truncate(folder / "missing", 0)
    with refused(errno.EINVAL):
        os.truncate(file, -1)
    assert file.read_bytes() == b"abc"
