"""Kernel calls that Python does not offer, and small words for what most cases need.

Owns the ctypes declarations (renameat2, linkat, utimensat, directory streams) so that the cases read as stories.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOREPLACE = 1
EXCHANGE = 2
AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
CLOCK_REALTIME_COARSE = 5

_libc = ctypes.CDLL(None, use_errno=True)
_libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
_libc.linkat.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


@contextmanager
def refused(*codes: int) -> Iterator[None]:
    """The block must fail with one of these errnos."""
    names = " or ".join(errno.errorcode[code] for code in codes)
    try:
        yield
    except OSError as problem:
        if problem.errno in codes:
            return
        seen = errno.errorcode.get(problem.errno or 0)
        raise AssertionError(f"{seen} instead of {names}") from problem
    raise AssertionError(f"succeeded, but {names} is promised")


def _checked(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def rename2(source: Path, target: Path, flags: int) -> None:
    """renameat2 with NOREPLACE or EXCHANGE."""
    _checked(_libc.renameat2(AT_FDCWD, os.fsencode(source), AT_FDCWD, os.fsencode(target), flags))


def link_open_file(fd: int, target: Path) -> None:
    """Gives an open file a name through /proc/self/fd."""
    source = f"/proc/self/fd/{fd}".encode()
    _checked(_libc.linkat(AT_FDCWD, source, AT_FDCWD, os.fsencode(target), AT_SYMLINK_FOLLOW))


def set_times_raw(path: Path, accessed: int, modified: int) -> None:
    """utimensat with UTIME_NOW or UTIME_OMIT in the nanosecond fields."""
    times = (_Timespec * 2)(_Timespec(0, accessed), _Timespec(0, modified))
    _checked(_libc.utimensat(AT_FDCWD, os.fsencode(path), times, 0))


def write_file(path: Path, content: bytes = b"", mode: int = 0o644) -> Path:
    """Creates or replaces a file with exactly this mode."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(content)
    os.chmod(path, mode)
    return path


def pass_tick(stamp_ns: int) -> None:
    """Returns once the clock the kernel stamps files with is past `stamp_ns`, at most some milliseconds later."""
    end = time.monotonic() + 5
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= stamp_ns:
        assert time.monotonic() < end, "a time stamp lies in the future"


class Stream:
    """A directory stream with the positions that os.scandir hides: tell, seek, rewind."""

    class _Entry(ctypes.Structure):
        _fields_ = (
            ("d_ino", ctypes.c_uint64),
            ("d_off", ctypes.c_int64),
            ("d_reclen", ctypes.c_ushort),
            ("d_type", ctypes.c_ubyte),
            ("d_name", ctypes.c_char * 256),
        )

    def __init__(self, path: Path) -> None:
        _libc.opendir.restype = ctypes.c_void_p
        _libc.readdir.restype = ctypes.POINTER(self._Entry)
        _libc.telldir.restype = ctypes.c_long
        self._stream = ctypes.c_void_p(_libc.opendir(os.fsencode(path)))
        assert self._stream, f"opendir refused {path}"

    def next(self) -> tuple[bytes, int] | None:
        """(name, inode number) of the next entry, None at the end."""
        ctypes.set_errno(0)
        entry = _libc.readdir(self._stream)
        if not entry:
            code = ctypes.get_errno()
            if code:
                raise OSError(code, os.strerror(code))
            return None
        return entry.contents.d_name, entry.contents.d_ino

    def rest(self) -> list[bytes]:
        """Names from here to the end, without . and .."""
        names = []
        while (entry := self.next()) is not None:
            names.append(entry[0])
        return [name for name in names if name not in (b".", b"..")]

    def tell(self) -> int:
        return int(_libc.telldir(self._stream))

    def seek(self, position: int) -> None:
        _libc.seekdir(self._stream, ctypes.c_long(position))

    def rewind(self) -> None:
        _libc.rewinddir(self._stream)

    def close(self) -> None:
        _libc.closedir(self._stream)
