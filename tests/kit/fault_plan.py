"""Failures on order: the nth call of a kind, once or for ever.

A plan counts calls by kind and raises where a fault was planned. `FaultyDisk` asks it before every call of a disk; the
watched SQLite files of `kit.sqlite_files` ask it too, under kinds that begin with "sqlite". A fault that was planned
and never hit proves nothing, so a test ends with `assert_all_hit`.
"""

import errno
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cachefs.disk import Disk

ANY = "any"  # a fault of this kind counts the calls of all kinds


@dataclass
class Fault:
    """Calls of `kind` from the `nth` on fail with `code`; `times` of them, or all (None)."""

    kind: str
    nth: int
    code: int
    times: int | None
    hits: int = 0


class FaultPlan:
    """Faults and the count of calls, shared by whatever takes part in one test."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.is_armed = True
        """Whether calls are counted, and fail."""

    def fail(self, kind: str, nth: int = 1, code: int = errno.EIO, *, times: int | None = 1) -> Fault:
        """Plan a fault: the `nth` call of `kind` from now on (the first is 1)."""
        fault = Fault(kind, self.calls[kind] + nth, code, times)
        self.faults.append(fault)
        return fault

    def hit(self, *kinds: str) -> None:
        """A call begins that is of these kinds. Raises OSError when it is to fail."""
        if not self.is_armed:
            return
        kind = kinds[-1]
        for each in (*kinds, ANY):
            self.calls[each] += 1
        for fault in self.faults:
            if fault.kind in (*kinds, ANY) and self.calls[fault.kind] >= fault.nth:
                if fault.times is not None and fault.hits >= fault.times:
                    continue
                fault.hits += 1
                raise OSError(fault.code, f"{os.strerror(fault.code)} (planned for {kind})")

    def assert_all_hit(self) -> None:
        """Every planned fault came true."""
        missed = [fault for fault in self.faults if not fault.hits]
        assert not missed, f"planned and never hit: {missed}"


class FaultyDisk:
    """A `cachefs.disk.Disk` over another one, whose calls fail by plan before they do anything.

    A write, sync, create or unlink also counts as one of its kind of file: "pwrite seg", "pwrite sum", "pwrite log".
    """

    def __init__(self, disk: Disk, plan: FaultPlan) -> None:
        self._disk = disk
        self._plan = plan
        self._suffixes: dict[int, str] = {}

    def _hit(self, kind: str, suffix: str) -> None:
        self._plan.hit(kind, f"{kind} {suffix.removeprefix('.')}")

    def open(self, path: Path, *, create: bool) -> int:
        self._hit("create" if create else "open", path.suffix)
        fd = self._disk.open(path, create=create)
        self._suffixes[fd] = path.suffix
        return fd

    def close(self, fd: int) -> None:
        self._disk.close(fd)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        self._hit("pwrite", self._suffixes[fd])
        self._disk.pwrite(fd, data, offset)

    def pread(self, fd: int, length: int, offset: int) -> bytes:
        self._plan.hit("pread")
        return self._disk.pread(fd, length, offset)

    def read_cached(self, fd: int, buffer: bytearray, offset: int) -> int:
        self._plan.hit("read_cached")
        return self._disk.read_cached(fd, buffer, offset)

    def will_read(self, fd: int, offset: int, length: int) -> None:
        self._disk.will_read(fd, offset, length)

    def will_sync(self, fd: int, offset: int, length: int) -> None:
        self._disk.will_sync(fd, offset, length)

    def sync(self, fd: int) -> None:
        self._hit("sync", self._suffixes[fd])
        self._disk.sync(fd)

    def sync_directory(self, path: Path) -> None:
        self._plan.hit("sync_directory")
        self._disk.sync_directory(path)

    def punch(self, fd: int, offset: int, length: int) -> None:
        self._plan.hit("punch")
        self._disk.punch(fd, offset, length)

    def truncate(self, fd: int, length: int) -> None:
        self._plan.hit("truncate")
        self._disk.truncate(fd, length)

    def unlink(self, path: Path) -> None:
        self._hit("unlink", path.suffix)
        self._disk.unlink(path)

    def rename(self, path: Path, new: Path) -> None:
        self._plan.hit("rename")
        self._disk.rename(path, new)

    def make_folder(self, path: Path) -> None:
        self._plan.hit("make_folder")
        self._disk.make_folder(path)
