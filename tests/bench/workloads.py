"""What is measured: each workload does one thing to a folder, many times, and returns how often a second.

A workload leaves the folder as the next one wants it. What must be on the disk, or out of the caches, is brought there
before the clock starts. Every loop ends at a deadline too, so that a slow peer costs seconds and not minutes: the rate
then holds for what was done.

Caches are emptied in one of two ways, and the two mean different things. Emptying the machine's page cache makes the
disk beneath a drive cold as well: the rate is the disk's as much as ours. Forgetting the pages of one file (what fio
does) leaves the disk warm: the kernel must ask again, and the rate is that of the request alone.
"""

import ctypes
import os
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

SEED = 20_240
PAGE_BYTES = 4096
FILE_BYTES = 4096
RANDOM_FILE_BYTES = 64 << 20
PIECE_BYTES = 1 << 20
PAGES, DENTRIES = "1", "2"  # as drop_caches numbers them
DISK = Path(tempfile.gettempdir())
"""Where the disk is that every subject keeps its bytes on."""

T = TypeVar("T")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Sizes:
    """How much of everything. `longest_s` ends a loop that is not done by then."""

    files: int = 5_000
    folders: int = 50
    random_pages: int = 8_192
    stream_bytes: int = 256 << 20
    sqlite_s: float = 2.0
    longest_s: float = 15.0


QUICK = Sizes(files=1_000, folders=10, random_pages=2_048, stream_bytes=64 << 20, sqlite_s=0.5, longest_s=4.0)


# --- before the clock starts ---


def settle(place: Path) -> None:
    """Bring everything written to `place` to the disk, also what a process behind a mount holds dirty there."""
    for folder in (place, DISK):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _libc.syncfs(fd)
            if folder is place:  # syncfs does not ask the process behind a FUSE mount, fsync does
                _fsync_if_possible(fd)
        finally:
            os.close(fd)


def _fsync_if_possible(fd: int) -> None:
    try:
        os.fsync(fd)
    except OSError:  # a peer that knows no fsync of folders has nothing to bring either
        return


def empty_cache(place: Path, what: str) -> None:
    """Empty the whole machine's cache of pages, or of names and inodes. Wants root."""
    settle(place)
    Path("/proc/sys/vm/drop_caches").write_text(what)


def forget_pages(path: Path) -> None:
    """Let the kernel forget the pages of one file, and nothing else."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


# --- counting ---


def rate(items: Iterable[T], step: Callable[[T], object], sizes: Sizes, at_end: Callable[[], object] = int) -> float:
    """Steps a second over `items`, up to the deadline; what `at_end` takes counts as well."""
    done, began = 0, time.perf_counter()
    deadline = began + sizes.longest_s
    for item in items:
        step(item)
        done += 1
        if done & 63 == 0 and time.perf_counter() > deadline:
            break
    at_end()
    return done / (time.perf_counter() - began)


def files_of(place: Path) -> list[str]:
    """Every small file below `place`, in an order that is neither theirs nor any folder's."""
    found = [os.path.join(top, name) for top, _, names in os.walk(place / "tree") for name in names]
    random.Random(SEED).shuffle(found)
    return found


# --- many small files ---


def create(place: Path, sizes: Sizes) -> float:
    """Open, write 4 KiB, close. The folders are there."""
    folders = [place / "tree" / f"{number:03d}" for number in range(sizes.folders)]
    for folder in folders:
        folder.mkdir(parents=True)
    data = os.urandom(FILE_BYTES)

    def step(number: int) -> None:
        fd = os.open(f"{folders[number * sizes.folders // sizes.files]}/{number:07d}", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(fd, data)
        os.close(fd)

    return rate(range(sizes.files), step, sizes)


def stat(place: Path, sizes: Sizes) -> float:
    """Attributes by name, the kernel having forgotten the names."""
    files = files_of(place)
    empty_cache(place, DENTRIES)
    return rate(files, os.lstat, sizes)


def walk(place: Path, sizes: Sizes) -> float:
    """List every folder and ask for the attributes of every entry, the kernel having forgotten the names."""
    empty_cache(place, DENTRIES)
    found, began = 0, time.perf_counter()
    for top, folders, names in os.walk(place / "tree"):
        for name in (*folders, *names):
            os.lstat(f"{top}/{name}")
            found += 1
        if time.perf_counter() - began > sizes.longest_s:
            break
    return found / (time.perf_counter() - began)


def _read_whole(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.read(fd, FILE_BYTES)
    os.close(fd)


def read_small(place: Path, sizes: Sizes) -> float:
    """Open, read 4 KiB, close; the machine's page cache is empty, the disk cold."""
    files = files_of(place)
    empty_cache(place, PAGES)
    return rate(files, _read_whole, sizes)


def read_small_warm(place: Path, sizes: Sizes) -> float:
    """The same, the disk warm: read once, then only the kernel's pages of these files were forgotten.

    Read here and not by an earlier workload: another subject's turn in between empties the cache of the whole machine.
    """
    files = files_of(place)
    for path in files:
        _read_whole(path)
        forget_pages(Path(path))
    return rate(files, _read_whole, sizes)


def rename(place: Path, sizes: Sizes) -> float:
    """Rename each file within its folder."""
    return rate(files_of(place), lambda path: os.rename(path, path + ".r"), sizes)


def delete(place: Path, sizes: Sizes) -> float:
    """Remove each file."""
    return rate(files_of(place), os.unlink, sizes)


# --- one large file ---


def plant(place: Path) -> None:
    """A file of 64 MiB for the random workloads, written in order and synced."""
    data = os.urandom(PIECE_BYTES)
    with (place / "random").open("wb") as file:
        for _ in range(RANDOM_FILE_BYTES // PIECE_BYTES):
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def random_write(place: Path, sizes: Sizes) -> float:
    """4 KiB here and there, one fsync at the end, which counts.

    Only every second page is touched: the kernel writes neighbours back together, and then they would not be random.
    """
    data = os.urandom(PAGE_BYTES)
    pages = list(range(0, RANDOM_FILE_BYTES // PAGE_BYTES, 2))
    random.Random(SEED).shuffle(pages)
    fd = os.open(place / "random", os.O_WRONLY)
    try:
        chosen = pages[: sizes.random_pages]
        return rate(chosen, lambda page: os.pwrite(fd, data, page * PAGE_BYTES), sizes, lambda: os.fsync(fd))
    finally:
        os.close(fd)


def _random_read(place: Path, sizes: Sizes) -> float:
    pages = list(range(RANDOM_FILE_BYTES // PAGE_BYTES))
    random.Random(SEED).shuffle(pages)
    fd = os.open(place / "random", os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return rate(pages[: sizes.random_pages], lambda page: os.pread(fd, PAGE_BYTES, page * PAGE_BYTES), sizes)
    finally:
        os.close(fd)


def random_read(place: Path, sizes: Sizes) -> float:
    """4 KiB here and there; the machine's page cache is empty, the disk cold."""
    empty_cache(place, PAGES)
    return _random_read(place, sizes)


def random_read_warm(place: Path, sizes: Sizes) -> float:
    """The same, the disk warm: read once (see `read_small_warm`), then only the kernel's pages were forgotten."""
    (place / "random").read_bytes()
    forget_pages(place / "random")
    return _random_read(place, sizes)


def stream_write(place: Path, sizes: Sizes) -> float:
    """MB a second of a new file, its fsync counted."""
    data = os.urandom(PIECE_BYTES)
    fd = os.open(place / "stream", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    try:
        pieces = range(sizes.stream_bytes // PIECE_BYTES)
        return rate(pieces, lambda _: os.write(fd, data), sizes, lambda: os.fsync(fd)) * PIECE_BYTES / 1e6
    finally:
        os.close(fd)


def stream_read(place: Path, sizes: Sizes) -> float:
    """MB a second of the same file; the machine's page cache is empty, the disk cold."""
    empty_cache(place, PAGES)
    fd = os.open(place / "stream", os.O_RDONLY)
    try:
        pieces = range(os.fstat(fd).st_size // PIECE_BYTES)
        return rate(pieces, lambda _: os.read(fd, PIECE_BYTES), sizes) * PIECE_BYTES / 1e6
    finally:
        os.close(fd)


# --- transactions ---


def _transactions(place: Path, sizes: Sizes, journal: str) -> float:
    path = place / f"{journal}.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute(f"PRAGMA journal_mode = {journal}")
        base.execute("PRAGMA synchronous = FULL")
        base.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, text TEXT)")
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < sizes.sqlite_s:
            base.execute("INSERT INTO t (text) VALUES (?)", (f"row {done}",))
            done += 1
        return done / (time.perf_counter() - began)


def sqlite_rollback(place: Path, sizes: Sizes) -> float:
    """Transactions of one row, synchronous FULL, rollback journal."""
    return _transactions(place, sizes, "DELETE")


def sqlite_wal(place: Path, sizes: Sizes) -> float:
    """Transactions of one row, synchronous FULL, write-ahead log."""
    return _transactions(place, sizes, "WAL")
