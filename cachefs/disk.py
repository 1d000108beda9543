"""The few calls by which the drive touches files of its own, behind one seam.

The tests put a disk in its place that forgets whatever was not synced, or that fails at the nth call. SQLite's own
files go through apsw, not through here, except for the sync of its write-ahead log.
"""

import ctypes
import errno
import os
from pathlib import Path
from typing import Protocol

FALLOC_FL_KEEP_SIZE = 1
READ_AHEAD_BYTES = 128 << 10
FALLOC_FL_PUNCH_HOLE = 2
SYNC_FILE_RANGE_WRITE = 2

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]


class Disk(Protocol):
    """Files of the state directory. Every call raises OSError as the kernel gives it."""

    def open(self, path: Path, *, create: bool) -> int:
        """Open for reading and writing; with `create` the file must not exist yet. Returns a descriptor."""
        ...

    def close(self, fd: int) -> None: ...

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        """Write all of `data` at `offset`."""
        ...

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        """Read up to `length` bytes; may block on the disk."""
        ...

    def read_cached(self, fd: int, buffer: bytearray, offset: int) -> int:
        """Fill `buffer` from the page cache only; returns the count, -1 when the disk would have to be asked."""
        ...

    def will_read(self, fd: int, offset: int, length: int) -> None:
        """Let the disk bring the range into the page cache, and do not wait for it."""
        ...

    def will_sync(self, fd: int, offset: int, length: int) -> None:
        """Let the disk begin to write the range, and do not wait for it. No promise: `sync` is still to come."""
        ...

    def sync(self, fd: int) -> None:
        """Return when all data of the file, and its size, would survive a power loss."""
        ...

    def sync_directory(self, path: Path) -> None:
        """Return when names made or removed in the directory would survive a power loss."""
        ...

    def punch(self, fd: int, offset: int, length: int) -> None:
        """Give the range back to the disk; it reads as zeros afterwards."""
        ...

    def truncate(self, fd: int, length: int) -> None: ...

    def unlink(self, path: Path) -> None: ...

    def rename(self, path: Path, new: Path) -> None:
        """Give the file another name in its directory, in place of whatever has that name."""
        ...

    def make_folder(self, path: Path) -> None:
        """Make one folder, for nobody but us. Raises FileExistsError."""
        ...


class RealDisk:
    """The machine's disk."""

    def open(self, path: Path, *, create: bool) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return os.open(path, flags, 0o600)

    close = staticmethod(os.close)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        done = os.pwrite(fd, data, offset)
        while done < len(data):  # a short write is legal; a full disk shows at the next turn
            done += os.pwrite(fd, memoryview(data)[done:], offset + done)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        return os.pread(fd, length, offset)

    def read_cached(self, fd: int, buffer: bytearray, offset: int) -> int:
        try:
            return os.preadv(fd, (buffer,), offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return -1
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a file system without RWF_NOWAIT: every read goes to a thread
                return -1
            raise

    def will_read(self, fd: int, offset: int, length: int) -> None:
        for piece in range(offset, offset + length, READ_AHEAD_BYTES):  # the kernel heeds no more of one call
            os.posix_fadvise(fd, piece, min(READ_AHEAD_BYTES, offset + length - piece), os.POSIX_FADV_WILLNEED)

    def will_sync(self, fd: int, offset: int, length: int) -> None:
        # An error stays with the descriptor until `sync` tells it; a file system without the call just does without.
        _libc.sync_file_range(fd, offset, length, SYNC_FILE_RANGE_WRITE)

    sync = staticmethod(os.fdatasync)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def punch(self, fd: int, offset: int, length: int) -> None:
        if _libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) != 0:
            code = ctypes.get_errno()
            if code != errno.EOPNOTSUPP:  # a disk that cannot punch keeps the space until the segment is unlinked
                raise OSError(code, os.strerror(code))

    truncate = staticmethod(os.ftruncate)
    unlink = staticmethod(os.unlink)
    rename = staticmethod(os.rename)

    def make_folder(self, path: Path) -> None:
        os.mkdir(path, 0o700)
