"""A file system nobody could get wrong: inodes are objects, folders are dicts, a snapshot is a deep copy.

Owns the meaning that the drive is compared with: which call is refused with which error, who counts as changed and
when, what every kept state shows. Knows nothing of blocks, extents, epochs or crashes; a crash is a return to `copy()`
of the moment that was acknowledged. Checks come before changes, so a refusal changes nothing.
"""

import copy
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cloud_tier.clock import Clock
from vfs.actors import Caller
from vfs.errors import (
    AttributeTooLarge,
    Exists,
    InvalidArgument,
    IsAFolder,
    NameTooLong,
    NoAttribute,
    NotAFolder,
    NotEmpty,
    NotFound,
    NotPermitted,
    NotSupported,
)

PAGE_BYTES = 4096
NOREPLACE, EXCHANGE = 1, 2
NOBODY = Caller(0, 0, 0)  # what the drive tidies away by itself


class SparseBytes:
    """The bytes of a file of any size: pages that were written, holes between them."""

    def __init__(self) -> None:
        self.size = 0
        self.pages: dict[int, bytes] = {}

    def write(self, offset: int, data: bytes) -> None:
        for number in range(offset // PAGE_BYTES, -(-(offset + len(data)) // PAGE_BYTES)):
            page = bytearray(self.pages.get(number, bytes(PAGE_BYTES)))
            start = number * PAGE_BYTES
            low, high = max(offset, start), min(offset + len(data), start + PAGE_BYTES)
            page[low - start : high - start] = data[low - offset : high - offset]
            self.pages[number] = bytes(page)
        self.size = max(self.size, offset + len(data))

    def truncate(self, size: int) -> None:
        edge, kept = divmod(size, PAGE_BYTES)
        self.pages = {number: page for number, page in self.pages.items() if number <= edge}
        if edge in self.pages:
            self.pages[edge] = self.pages[edge][:kept].ljust(PAGE_BYTES, b"\0")
        self.size = size

    def read(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first, last = offset // PAGE_BYTES, (end - 1) // PAGE_BYTES
        joined = b"".join(self.pages.get(number, bytes(PAGE_BYTES)) for number in range(first, last + 1))
        return joined[offset - first * PAGE_BYTES : end - first * PAGE_BYTES]

    def __deepcopy__(self, memo: object) -> "SparseBytes":
        twin = SparseBytes()
        twin.size, twin.pages = self.size, dict(self.pages)
        return twin


@dataclass(eq=False)
class ModelInode:
    """One inode. `names` is of a folder: name -> (place in listings, inode)."""

    mode: int
    uid: int
    gid: int
    actor_id: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int
    target: bytes | None = None
    rdev: int = 0
    data: SparseBytes = field(default_factory=SparseBytes)
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    names: dict[bytes, tuple[int, "ModelInode"]] = field(default_factory=dict)
    next_place: int = 0
    links: int = 0

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    def listed(self) -> list[tuple[bytes, "ModelInode"]]:
        """The entries in the order of listings."""
        return [(name, inode) for name, (_, inode) in sorted(self.names.items(), key=lambda item: item[1][0])]


class Seen(NamedTuple):
    """All that can be seen of one path but its bytes. `first_path`: the first path that leads to the same inode."""

    mode: int
    owner: tuple[int, int, int]  # uid, gid, actor
    nlink: int
    size: int
    times: tuple[int, int, int, int]
    rdev: int
    target: bytes | None
    xattrs: tuple[tuple[bytes, bytes], ...]
    names: tuple[bytes, ...]
    first_path: bytes


def walk(root: ModelInode, path: bytes = b"") -> Iterator[tuple[bytes, ModelInode]]:
    """Every path below and including `root`, folders before what is in them, in the order of listings."""
    yield path, root
    for name, inode in root.listed():
        yield from walk(inode, path + b"/" + name)


def seen(root: ModelInode) -> dict[bytes, Seen]:
    """A whole tree as it can be seen."""
    first: dict[int, bytes] = {}
    found = {}
    for path, inode in walk(root):
        subfolders = sum(child.is_folder for _, child in inode.listed())
        found[path] = Seen(
            inode.mode,
            (inode.uid, inode.gid, inode.actor_id),
            2 + subfolders if inode.is_folder else inode.links,
            len(inode.target) if inode.target is not None else inode.data.size,
            (inode.atime_ns, inode.mtime_ns, inode.ctime_ns, inode.btime_ns),
            inode.rdev,
            inode.target,
            tuple(sorted(inode.xattrs.items())),
            tuple(name for name, _ in inode.listed()),
            first.setdefault(id(inode), path),
        )
    return found


@dataclass
class ModelSnapshot:
    """A kept state."""

    root: ModelInode
    is_held: bool


class ModelFs:
    """One tree and its kept states. Every call takes and returns inodes; errors are those of the drive."""

    def __init__(self, clock: Clock, root: ModelInode) -> None:
        self._clock = clock
        self.root = root
        self.snapshots: dict[str, ModelSnapshot] = {}

    def copy(self) -> "ModelFs":
        """Everything as it is now, for good."""
        twin = ModelFs(self._clock, copy.deepcopy(self.root))
        twin.snapshots = {name: ModelSnapshot(kept.root, kept.is_held) for name, kept in self.snapshots.items()}
        return twin

    def changed(self, inode: ModelInode, caller: Caller, *, contents: bool = False) -> None:
        """The inode was changed: ctime now; mtime too if its bytes or entries were."""
        inode.ctime_ns = now = self._clock.now_ns()
        if contents:
            inode.mtime_ns = now
        inode.actor_id = caller.actor_id

    # --- names ---

    def create(
        self, folder: ModelInode, name: bytes, mode: int, caller: Caller, *, rdev: int = 0, target: bytes | None = None
    ) -> ModelInode:
        _check(self.root, folder, name)
        if name in folder.names:
            raise Exists
        gid = folder.gid if folder.mode & stat.S_ISGID else caller.gid
        if folder.mode & stat.S_ISGID and stat.S_ISDIR(mode):
            mode |= stat.S_ISGID
        now = self._clock.now_ns()
        inode = ModelInode(mode, caller.uid, gid, caller.actor_id, now, now, now, now, target, rdev)
        self._add(folder, name, inode, caller)
        return inode

    def link(self, inode: ModelInode, folder: ModelInode, name: bytes, caller: Caller) -> None:
        _check(self.root, folder, name)
        if inode.is_folder:
            raise NotPermitted
        if not inode.links:
            raise NotFound
        if name in folder.names:
            raise Exists
        self._add(folder, name, inode, caller)
        self.changed(inode, caller)

    def unlink(self, folder: ModelInode, name: bytes, caller: Caller) -> None:
        if _existing(self.root, folder, name).is_folder:
            raise IsAFolder
        self._remove(folder, name, caller)

    def rmdir(self, folder: ModelInode, name: bytes, caller: Caller) -> None:
        inode = _existing(self.root, folder, name)
        if not inode.is_folder:
            raise NotAFolder
        if inode.names:
            raise NotEmpty
        self._remove(folder, name, caller)

    def rename(
        self, folder: ModelInode, name: bytes, to: ModelInode, to_name: bytes, flags: int, caller: Caller
    ) -> None:
        _check(self.root, folder, name)
        _check(self.root, to, to_name)
        inode = _existing(self.root, folder, name)
        _, other = to.names.get(to_name, (0, None))
        if flags == EXCHANGE:
            self._exchange(folder, name, inode, to, to_name, other, caller)
            return
        if other is not None and flags == NOREPLACE:
            raise Exists
        if other is inode:
            return
        if other is not None and other.is_folder and not inode.is_folder:
            raise IsAFolder
        if other is not None and other.names:
            raise NotEmpty
        if other is not None and inode.is_folder and not other.is_folder:
            raise NotAFolder
        if any(below is to for _, below in walk(inode)):
            raise InvalidArgument
        place = to.names[to_name][0] if other is not None else folder.names[name][0] if folder is to else None
        del folder.names[name]
        if other is not None:
            other.links -= 1
            self.changed(other, caller)
        if place is None:
            place = to.next_place
            to.next_place += 1
        to.names[to_name] = (place, inode)
        self.changed(inode, caller)
        self.changed(folder, caller, contents=True)
        self.changed(to, caller, contents=True)

    def _exchange(
        self,
        folder: ModelInode,
        name: bytes,
        inode: ModelInode,
        to: ModelInode,
        to_name: bytes,
        other: ModelInode | None,
        caller: Caller,
    ) -> None:
        if other is None:
            raise NotFound
        if any(below is to for _, below in walk(inode)) or any(below is folder for _, below in walk(other)):
            raise InvalidArgument
        if other is inode:
            return
        folder.names[name] = (folder.names[name][0], other)
        to.names[to_name] = (to.names[to_name][0], inode)
        for moved in (inode, other):
            self.changed(moved, caller)
        for parent in (folder, to):
            self.changed(parent, caller, contents=True)

    def _add(self, folder: ModelInode, name: bytes, inode: ModelInode, caller: Caller) -> None:
        folder.names[name] = (folder.next_place, inode)
        folder.next_place += 1
        inode.links += 1
        self.changed(folder, caller, contents=True)

    def _remove(self, folder: ModelInode, name: bytes, caller: Caller) -> None:
        _, inode = folder.names.pop(name)
        inode.links -= 1
        self.changed(inode, caller)
        self.changed(folder, caller, contents=True)

    # --- bytes and attributes ---

    def write(self, inode: ModelInode, offset: int, data: bytes, caller: Caller) -> None:
        if data:
            inode.data.write(offset, data)
            self.changed(inode, caller, contents=True)

    def truncate(self, inode: ModelInode, size: int, caller: Caller) -> None:
        inode.data.truncate(size)
        self.changed(inode, caller, contents=True)

    def set_xattr(self, inode: ModelInode, name: bytes, value: bytes, caller: Caller) -> None:
        _check_attribute(name)
        if len(value) > 64 << 10:
            raise AttributeTooLarge
        inode.xattrs[name] = value
        self.changed(inode, caller)

    def remove_xattr(self, inode: ModelInode, name: bytes, caller: Caller) -> None:
        _check_attribute(name)
        if name not in inode.xattrs:
            raise NoAttribute
        del inode.xattrs[name]
        self.changed(inode, caller)

    # --- kept states ---

    def snapshot(self, name: str, *, is_held: bool = False) -> None:
        self.snapshots[name] = ModelSnapshot(copy.deepcopy(self.root), is_held)

    def restore(self, path: list[bytes], name: str, caller: Caller) -> None:
        """Bring one path back; everything brought back is a new inode, what was there is taken apart."""
        then = past = self.snapshots[name].root
        for step in path:
            past = _existing(then, past, step)
        new = self._brought_back(past, caller)
        if not path:
            self._replace_root(new, caller)
            return
        folder = self.root
        for step in path[:-1]:
            if not folder.is_folder:
                raise NotFound  # whatever was below what is a file now
            folder = _existing(self.root, folder, step)
        _check(self.root, folder, path[-1])
        place, old = folder.names.get(path[-1], (-1, None))
        if old is not None and old.is_file and new.is_file:
            for parent, other, at in [
                (p, n, a) for _, p in walk(self.root) for n, (a, i) in p.names.items() if i is old
            ]:
                parent.names[other] = (at, new)
                new.links += 1
                old.links -= 1
                self.changed(parent, caller, contents=True)
            self.changed(old, caller)
        else:
            if old is not None and (old.is_folder or new.is_folder):
                self._take_apart(folder, path[-1])
                place = -1
            elif old is not None:
                old.links -= 1
                self.changed(old, caller)
            if place < 0:
                place, folder.next_place = folder.next_place, folder.next_place + 1
            folder.names[path[-1]] = (place, new)
            new.links = 1
        self.changed(folder, caller, contents=True)

    def _brought_back(self, past: ModelInode, caller: Caller) -> ModelInode:
        new = copy.deepcopy(past)
        for _, inode in walk(new):
            inode.links = 0
        for _, inode in walk(new):
            inode.ctime_ns, inode.actor_id = self._clock.now_ns(), caller.actor_id
            for _, below in inode.listed():
                below.links += 1
        return new

    def _take_apart(self, folder: ModelInode, name: bytes) -> None:
        _, old = folder.names.pop(name)
        for _, inode in walk(old):
            for _, below in inode.listed():
                below.links -= 1
                self.changed(below, NOBODY)
        old.links -= 1
        self.changed(old, NOBODY)
        self.changed(folder, NOBODY, contents=True)

    def _replace_root(self, new: ModelInode, caller: Caller) -> None:
        root = self.root
        for name in list(root.names):
            self._take_apart(root, name)
        for name, inode in new.listed():
            root.names[name] = (root.next_place, inode)
            root.next_place += 1
            self.changed(root, caller, contents=True)
        root.mode, root.uid, root.gid, root.xattrs = new.mode, new.uid, new.gid, new.xattrs
        root.actor_id = caller.actor_id


def _check(root: ModelInode, folder: ModelInode, name: bytes) -> None:
    if not folder.is_folder:
        raise NotAFolder
    if folder is not root and not folder.links:
        raise NotFound
    if len(name) > 255:
        raise NameTooLong
    if name == b".snapshots" or (name == b".previous" and folder is root):
        raise NotPermitted
    if name in (b"", b".", b".."):
        raise InvalidArgument


def _check_attribute(name: bytes) -> None:
    if not name.startswith((b"user.", b"security.", b"trusted.")):
        raise NotSupported


def _existing(root: ModelInode, folder: ModelInode, name: bytes) -> ModelInode:
    _check(root, folder, name)
    if name not in folder.names:
        raise NotFound
    return folder.names[name][1]
