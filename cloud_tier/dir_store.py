"""A store in a folder: a USB disk, a NAS path, or just another disk of this machine.

Promises that an object is there whole or not at all, and for good once `put` returns: it is written under `.drafts`,
synced, given its name, and its folder is synced; so is every folder above it that this process has not yet synced.
Drafts that a crash left are removed when the store is opened; they are never listed.

Promises that a disk that is not mounted is noticed. A store carries a mark with a number of its own, and every call
looks at it first, through the folder it then works in: nothing is ever written into the empty mount point, no object is
reported missing because its disk is unplugged, and another disk in the same place is refused.

Leaves the disk some room, since the drive's own state may lie on it, and a drive that cannot write a name any more
cannot be tidied up either: objects are refused as by a full disk while only the reserve is left (`reserve`, at most a
quarter of the disk), small ones while half of that is.

Refuses to create-only where the disk has no hard links (FAT, exFAT): giving a name only if it is free needs one. What
else lies in the folder, by whomever, is left alone and not listed.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import trio

from cloud_tier.blocking_store import BlockingStore
from cloud_tier.errors import (
    ObjectExists,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreMisconfigured,
    StoreUnavailable,
)
from cloud_tier.object_store import (
    PAGE_OBJECTS,
    PIECE_BYTES,
    Buffer,
    ObjectInfo,
    Pace,
    Page,
    cut_range,
    is_name,
    wait_in_thread,
)
from cloud_tier.reserve import reserve_bytes

MARK = ".hybrid-drive-store"
DRAFTS = ".drafts"
THREADS = 16

SMALL_BYTES = 1 << 20

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class DirStore(BlockingStore):
    """An `ObjectStore` in the folder `root`, made by `open_dir_store`. `sync` is `os.fsync`, or a test's."""

    def __init__(self, root: Path, mark: bytes, sync: Callable[[int], None]) -> None:
        super().__init__(THREADS, PAGE_OBJECTS)
        self._root = root
        self._mark = mark
        self._sync = sync
        self._durable_folders: set[str] = set()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    def _put(self, name: str, body: Buffer, if_absent: bool, pace: Pace | None) -> None:
        with self._mounted() as root:
            self._require_room(root, memoryview(body).nbytes)
            target = self._make_folder(root, name) / name.rpartition("/")[2]
            with _draft(root) as (draft, fd):
                _write(fd, memoryview(body).cast("B"), pace)
                self._sync(fd)
                if if_absent:
                    _link(draft, target, name)
                else:
                    os.rename(draft, target)
            self._sync_folder(target.parent)

    def _require_room(self, root: Path, size_bytes: int) -> None:
        disk = os.statvfs(root)
        size = disk.f_blocks * disk.f_frsize
        spare = min(reserve_bytes(size), size // 4)
        if disk.f_bavail * disk.f_frsize - size_bytes < (spare if size_bytes >= SMALL_BYTES else spare // 2):
            raise StoreFull(f"the disk under {self._root} is full but for {spare >> 20} MiB that are left free")

    def _get(self, name: str, start: int, length: int | None, pace: Pace | None) -> bytes:
        with self._mounted() as root, _missing(name), _opened(root / name, os.O_RDONLY) as fd:
            start, end = cut_range(name, _size(os.fstat(fd), name), start, length)
            at, parts = start, []
            while at < end:
                piece_bytes = min(PIECE_BYTES, end - at) if pace else end - at
                if pace:
                    wait_in_thread(pace, piece_bytes)
                parts.append(os.pread(fd, piece_bytes, at))
                if not parts[-1]:
                    raise StoreUnavailable(f"{name} became shorter while it was read")
                at += len(parts[-1])
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def _size(self, name: str) -> int:
        with self._mounted() as root, _missing(name):
            return _size(os.stat(root / name), name)

    def _delete(self, names: Sequence[str]) -> None:
        touched = set()
        with self._mounted() as root:
            for name in names:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    os.unlink(root / name)
                    touched.add((root / name).parent)
            for folder in touched:
                self._sync_folder(folder)

    def _list_page(self, prefix: str, after: str) -> Page:
        with self._mounted() as root:
            found = list(itertools.islice(_walk(root, "", prefix, after), PAGE_OBJECTS + 1))
        return Page(found[:PAGE_OBJECTS], len(found) <= PAGE_OBJECTS)

    @contextlib.contextmanager
    def _mounted(self) -> Iterator[Path]:
        """The root by a path that leads to this very folder, whatever is mounted over it meanwhile."""
        with _translated(), _opened(self._root, os.O_RDONLY | os.O_DIRECTORY) as fd:
            root = Path(f"/proc/self/fd/{fd}")
            if read_mark(root) != self._mark:
                raise StoreMisconfigured(f"{self._root} holds another store than before")
            yield root

    def _make_folder(self, root: Path, name: str) -> Path:
        folder = root
        for word in name.split("/")[:-1]:
            parent, folder = folder, folder / word
            key = str(folder.relative_to(root))
            if key not in self._durable_folders:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder)
                self._sync_folder(parent)  # also when it was there: whether its name was ever synced, nobody knows
                self._durable_folders.add(key)
        return folder

    def _sync_folder(self, folder: Path) -> None:
        with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as fd:
            self._sync(fd)


async def open_dir_store(root: Path, *, create: bool = False, sync: Callable[[int], None] = os.fsync) -> DirStore:
    """Open the store in the folder `root`; with `create` make one there, if there is none, in an empty or new folder.

    Raises StoreUnavailable when the folder or its mark is missing, StoreMisconfigured when `create` finds other things.
    """
    return await trio.to_thread.run_sync(_open, root, create, sync)


def _open(root: Path, create: bool, sync: Callable[[int], None]) -> DirStore:
    with _translated():
        if create:
            _create(root, sync)
        with _opened(root, os.O_RDONLY | os.O_DIRECTORY) as fd:
            mark = read_mark(Path(f"/proc/self/fd/{fd}"))
        for draft in (root / DRAFTS).iterdir():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), _opened(draft, os.O_RDONLY) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # whoever still writes it holds the lock
                os.unlink(draft)
    return DirStore(root, mark, sync)


def _create(root: Path, sync: Callable[[int], None]) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(root, 0o700)
    names = set(os.listdir(root))
    if MARK in names:
        return
    if names - {DRAFTS, "lost+found"}:
        raise StoreMisconfigured(f"{root} is not empty and holds no store; name an empty or a new folder")
    with contextlib.suppress(FileExistsError):
        os.mkdir(root / DRAFTS, 0o700)
    with _draft(root) as (draft, fd):
        _write(fd, memoryview(f"hybrid-drive store 1 {secrets.token_hex(16)}\n".encode()), None)
        sync(fd)
        os.rename(draft, root / MARK)
    for folder in (root, root.parent):
        with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as fd:
            sync(fd)


def read_mark(root: Path) -> bytes:
    """The mark of the store in this folder. Raises StoreUnavailable."""
    try:
        return (root / MARK).read_bytes()
    except FileNotFoundError:
        raise StoreUnavailable(f"no store is found in {root.resolve()}; its disk seems not to be mounted") from None


@contextlib.contextmanager
def _draft(root: Path) -> Iterator[tuple[Path, int]]:
    """A new file, locked while it is open, that is gone at the end unless it was given another name."""
    path = root / DRAFTS / secrets.token_hex(16)
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fd:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield path, fd
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _write(fd: int, body: memoryview, pace: Pace | None) -> None:
    at = 0
    while at < len(body):
        piece = body[at : at + PIECE_BYTES] if pace else body[at:]
        if pace:
            wait_in_thread(pace, len(piece))
        at += os.write(fd, piece)


def _link(draft: Path, target: Path, name: str) -> None:
    try:
        os.link(draft, target)
    except FileExistsError:
        raise ObjectExists(name) from None
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise StoreMisconfigured("this disk has no hard links, so it cannot create-only") from error
        raise


def _walk(folder: Path, path: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
    """Objects by name. A folder sorts as the names in it do, with the slash: "a-b" before "a/b"."""
    with os.scandir(folder) as entries:
        words = sorted((entry.name + "/" * entry.is_dir(follow_symlinks=False), entry) for entry in entries)
    for word, entry in words:
        name = path + word
        if not is_name(name.rstrip("/")):
            continue
        if word.endswith("/"):
            is_wanted = name.startswith(prefix) or prefix.startswith(name)
            if is_wanted and (name > after or after.startswith(name)):
                yield from _walk(folder / entry.name, name, prefix, after)
        elif name.startswith(prefix) and name > after and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(FileNotFoundError):  # deleted since
                yield ObjectInfo(name, entry.stat(follow_symlinks=False).st_size)


def _size(found: os.stat_result, name: str) -> int:
    if not stat.S_ISREG(found.st_mode):
        raise ObjectMissing(name)
    return found.st_size


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _missing(name: str) -> Iterator[None]:
    """A file that is not there is a missing object: the store's mark was seen in the same folder."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise ObjectMissing(name) from None


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """OSError becomes a StoreError."""
    try:
        yield
    except OSError as error:
        kind: type[StoreError] = StoreUnavailable
        if error.errno in _FULL:
            kind = StoreFull
        elif error.errno in _DENIED:
            kind = StoreDenied
        raise kind(str(error)) from error
