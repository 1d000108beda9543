"""Fifos, sockets and devices: kept with their kind, mode and numbers, and usable where that makes sense."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from mount.calls import refused, write_file
from mount.people import ALICE, as_user, in_child


def in_folder(folder: Path, name: str) -> str:
    """A path short enough for a socket address (108 bytes); the handle stays open for the process's life."""
    return f"/proc/self/fd/{os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}/{name}"


def test_fifo_carries_bytes_between_processes(folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo, 0o640)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    pid = os.fork()
    if pid == 0:
        try:
            with fifo.open("wb") as end:
                end.write(b"through the fifo")
        finally:
            os._exit(0)
    with fifo.open("rb") as end:
        assert end.read() == b"through the fifo"
    os.waitpid(pid, 0)


def test_fifo_without_a_reader_is_enxio(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    with refused(errno.ENXIO):
        os.open(folder / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_socket_accepts_a_connection_by_its_name(folder: Path) -> None:
    address = in_folder(folder, "socket")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        assert stat.S_ISSOCK((folder / "socket").stat().st_mode)

        def knock() -> bytes:
            with socket.socket(socket.AF_UNIX) as guest:
                guest.connect(address)
                guest.sendall(b"knock")
            return b"done"

        assert in_child(knock) == b"done"
        guest, _ = door.accept()
        with guest:
            assert guest.recv(10) == b"knock"


def test_socket_name_can_be_bound_once(folder: Path) -> None:
    address = in_folder(folder, "socket")
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(address)
        with refused(errno.EADDRINUSE):
            second.bind(address)


def test_socket_cannot_be_opened_as_a_file(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(in_folder(folder, "socket"))
    with refused(errno.ENXIO):
        os.open(folder / "socket", os.O_RDONLY)


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK], ids=["character", "block"])
@pytest.mark.parametrize("numbers", [(1, 3), (0, 0), (255, 255), (259, 65536), (4095, (1 << 20) - 1)])
def test_device_numbers_are_kept(folder: Path, kind: int, numbers: tuple[int, int]) -> None:
    device = folder / "device"
    os.mknod(device, kind | 0o640, os.makedev(*numbers))
    made = device.stat()
    assert (os.major(made.st_rdev), os.minor(made.st_rdev)) == numbers
    assert made.st_mode == kind | 0o640
    os.rename(device, folder / "renamed")
    assert (folder / "renamed").stat().st_rdev == made.st_rdev


def test_device_numbers_of_other_kinds_are_zero(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    write_file(folder / "file")
    assert {(folder / name).stat().st_rdev for name in ("fifo", "file")} == {0}


def test_mknod_makes_plain_files_too(folder: Path) -> None:
    os.mknod(folder / "file", stat.S_IFREG | 0o604)
    assert (folder / "file").stat().st_mode == stat.S_IFREG | 0o604
    (folder / "file").write_bytes(b"content")
    assert (folder / "file").read_bytes() == b"content"


def test_devices_are_made_by_root_alone(folder: Path) -> None:
    os.chmod(folder, 0o777)
    with refused(errno.EPERM):
        as_user(ALICE, lambda: os.mknod(folder / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3)))
    as_user(ALICE, lambda: os.mkfifo(folder / "fifo"))
    assert (folder / "fifo").stat().st_uid == ALICE


def test_special_files_have_no_size(folder: Path) -> None:
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "device", stat.S_IFBLK | 0o600, os.makedev(7, 7))
    assert {(folder / name).stat().st_size for name in ("fifo", "device")} == {0}
    with refused(errno.EINVAL):
        os.truncate(folder / "fifo", 0)
