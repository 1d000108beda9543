"""A drive whose store is an S3 server, as the measurements of the cloud use it by hand."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.mounted import MountedDrive
from kit.s3_servers import BUCKET

MIB = 1 << 20
CALM_S = 0.5  # what a drop has changed is in the log of the store by then, and the line is free


def noise(seed: int, length: int) -> bytes:
    """Incompressible bytes, the same for the same seed."""
    dice = random.Random(seed)
    return b"".join(dice.randbytes(min(MIB, length - begin)) for begin in range(0, length, MIB))


@contextmanager
def drive_on(endpoint: str, place: Path) -> Iterator[MountedDrive]:
    """A new drive with a store there, mounted."""
    place.mkdir()
    drive = MountedDrive(place / "state", place / "mount", supervised=True)
    drive.run_command("init", "--store", f"s3://{BUCKET}/{place.name}?endpoint={endpoint}", as_json=False)
    drive.start()
    try:
        yield drive
    finally:
        drive.clear_away(keep_state=True)


def flush(drive: MountedDrive) -> None:
    """Wait until all of it is in the store."""
    drive.run_command("flush", as_json=False)


def drop(drive: MountedDrive) -> None:
    """Forget all that the store has, here and in the kernel. What the store's server has in memory stays there: it is
    meant to be a machine of its own.
    """
    drive.run_command("cache", "drop", as_json=False)
    for folder, folders, files in os.walk(drive.mount):
        folders[:] = [name for name in folders if name != "Previous Versions"]
        for name in files:
            fd = os.open(Path(folder) / name, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
    time.sleep(CALM_S)


def read_at(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        return os.pread(file.fileno(), length, offset)


def read_all(path: Path) -> int:
    with path.open("rb", buffering=0) as file:
        return sum(len(piece) for piece in iter(lambda: file.read(MIB), b""))
