"""The same calls on two trees, and no difference a program could see: the drive beside a plain directory.

Owns the Hypothesis machine and the way a call's outcome is compared: its result, or its errno; then the attributes that
must agree. Left out is what two file systems may rightly choose: inode and device numbers, block counts, access times,
directory sizes, and the order of listings. Times are compared only after they were set.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from mount.calls import EXCHANGE, NOREPLACE, rename2

NAMES = ("a", "b", "Größe")
names = st.sampled_from(NAMES)
sizes = st.one_of(st.integers(0, 20), st.sampled_from([4095, 4096, 4097, 65_536, 131_073]))
contents = st.tuples(sizes, st.integers(1, 255)).map(lambda pair: bytes([pair[1]]) * pair[0])
modes = st.sampled_from([0o644, 0o600, 0o755, 0o4711, 0o2750, 0o000])
attribute_names = st.sampled_from(["user.one", "user.two", "trusted.three", "bad"])
moments = st.integers(1 - 2**31, 2**33).flatmap(lambda s: st.integers(0, 999_999_999).map(lambda ns: s * 10**9 + ns))

known = st.tuples(st.just("known"), st.integers(0, 40))
below = st.tuples(st.just("below"), st.integers(0, 40), names)
paths = st.one_of(known, below, st.tuples(st.just("free"), st.lists(names, min_size=1, max_size=3).map("/".join)))

Spot = tuple[Any, ...]
Outcome = tuple[str, object]
Call = Callable[[Path], object]


def outcome(call: Call, root: Path) -> Outcome:
    try:
        return "value", call(root)
    except OSError as problem:
        return "errno", errno.errorcode.get(problem.errno or 0, problem.errno)


def seen(path: Path) -> tuple[object, ...]:
    """What a program sees of one name, as far as two file systems must agree."""
    now = path.lstat()
    common = (stat.S_IFMT(now.st_mode), stat.S_IMODE(now.st_mode), now.st_uid, now.st_gid, now.st_nlink)
    if stat.S_ISLNK(now.st_mode):
        return (*common, os.readlink(path))
    attributes = tuple(sorted((name, os.getxattr(path, name)) for name in os.listxattr(path)))
    if stat.S_ISREG(now.st_mode):
        return (*common, attributes, now.st_size, path.read_bytes())
    return (*common, attributes)


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Every name below root with what is seen of it, and which names are one inode."""
    found: dict[str, tuple[object, ...]] = {}
    first_name: dict[int, str] = {}
    for home, directories, files in os.walk(root):
        directories.sort()
        for name in sorted([*directories, *files]):
            path = Path(home, name)
            place = str(path.relative_to(root))
            same_as = first_name.setdefault(path.lstat().st_ino, place)
            found[place] = (*seen(path), same_as)
    return found


class TwinMachine(RuleBasedStateMachine):
    """Each run works in a fresh pair of directories below the two parents; `twins` makes a machine that knows them."""

    drive_parent: Path
    plain_parent: Path
    numbers = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        number = next(self.numbers)
        self.roots = [self.drive_parent / f"run-{number}", self.plain_parent / f"run-{number}"]
        self.handles: dict[str, list[int]] = {}
        self.known: list[str] = []

    @initialize()
    def plant_a_tree(self) -> None:
        for root in self.roots:
            (root / "a" / "b").mkdir(parents=True)
            (root / "b").write_bytes(b"content")
            os.link(root / "b", root / "a" / "a")
            (root / "a" / "Größe").symlink_to("../b")

    def teardown(self) -> None:
        for pair in self.handles.values():
            for handle in pair:
                os.close(handle)
        for root in self.roots:
            shutil.rmtree(root, ignore_errors=True)

    def both(self, call: Call) -> Outcome:
        """Does the call on the drive and on the plain directory; the outcomes must be one."""
        on_drive, plain = (outcome(call, root) for root in self.roots)
        assert on_drive == plain, f"the drive answers {on_drive!r}, a plain directory {plain!r}"
        return plain

    def at(self, spot: Spot) -> str:
        """The path a spot means now: a name that is there, one below a directory that is there, or any."""
        if spot[0] == "known":
            return self.known[spot[1] % len(self.known)] if self.known else "a"
        if spot[0] == "below":
            homes = ["", *(path + "/" for path in self.known if (self.roots[1] / path).is_dir())]
            return homes[spot[1] % len(homes)] + str(spot[2])
        return str(spot[1])

    @rule(path=paths, content=contents, mode=modes)
    def write_whole(self, path: Spot, content: bytes, mode: int) -> None:
        def call(root: Path) -> int:
            handle = os.open(root / self.at(path), os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK, mode)
            try:
                return os.write(handle, content)
            finally:
                os.close(handle)

        self.both(call)

    @rule(path=paths, content=contents, offset=sizes, flags=st.sampled_from([0, os.O_APPEND, os.O_EXCL | os.O_CREAT]))
    def write_part(self, path: Spot, content: bytes, offset: int, flags: int) -> None:
        def call(root: Path) -> int:
            handle = os.open(root / self.at(path), os.O_RDWR | os.O_NONBLOCK | flags)
            try:
                return os.pwrite(handle, content, offset)
            finally:
                os.close(handle)

        self.both(call)

    @rule(path=paths, offset=sizes, value=st.integers(0, 255))
    def store_through_map(self, path: Spot, offset: int, value: int) -> None:
        def call(root: Path) -> object:
            handle = os.open(root / self.at(path), os.O_RDWR | os.O_NONBLOCK)
            try:
                size = os.fstat(handle).st_size
                if size == 0:
                    return "empty"
                with mmap.mmap(handle, size) as window:
                    window[offset % size] = value
                    return window[: offset % size + 1]
            finally:
                os.close(handle)

        self.both(call)

    @rule(path=paths, size=sizes)
    def truncate(self, path: Spot, size: int) -> None:
        self.both(lambda root: os.truncate(root / self.at(path), size))

    @rule(source=paths, goal=paths, flags=st.sampled_from([0, 0, 0, NOREPLACE, EXCHANGE]))
    def rename(self, source: Spot, goal: Spot, flags: int) -> None:
        self.both(lambda root: rename2(root / self.at(source), root / self.at(goal), flags))

    @rule(source=known, goal=below)
    def move(self, source: Spot, goal: Spot) -> None:
        self.both(lambda root: os.rename(root / self.at(source), root / self.at(goal)))

    @rule(source=known, goal=below)
    def give_another_name(self, source: Spot, goal: Spot) -> None:
        self.both(lambda root: os.link(root / self.at(source), root / self.at(goal), follow_symlinks=False))

    @rule(source=paths, goal=paths)
    def link(self, source: Spot, goal: Spot) -> None:
        self.both(lambda root: os.link(root / self.at(source), root / self.at(goal), follow_symlinks=False))

    @rule(path=paths, goal=paths)
    def symlink(self, path: Spot, goal: Spot) -> None:
        self.both(lambda root: os.symlink(self.at(goal), root / self.at(path)))

    @rule(path=paths)
    def unlink(self, path: Spot) -> None:
        self.both(lambda root: os.unlink(root / self.at(path)))

    @rule(path=paths, mode=modes)
    def mkdir(self, path: Spot, mode: int) -> None:
        self.both(lambda root: os.mkdir(root / self.at(path), mode))

    @rule(path=paths)
    def mkfifo(self, path: Spot) -> None:
        self.both(lambda root: os.mkfifo(root / self.at(path)))

    @rule(path=paths)
    def rmdir(self, path: Spot) -> None:
        self.both(lambda root: os.rmdir(root / self.at(path)))

    @rule(path=paths, mode=modes)
    def chmod(self, path: Spot, mode: int) -> None:
        self.both(lambda root: os.chmod(root / self.at(path), mode))

    @rule(path=paths, uid=st.sampled_from([-1, 0, 65533]), gid=st.sampled_from([-1, 0, 65534]))
    def chown(self, path: Spot, uid: int, gid: int) -> None:
        self.both(lambda root: os.lchown(root / self.at(path), uid, gid))

    @rule(path=paths, accessed=moments, modified=moments, follow=st.booleans())
    def set_times(self, path: Spot, accessed: int, modified: int, follow: bool) -> None:
        def call(root: Path) -> tuple[int, int]:
            chosen = root / self.at(path)
            os.utime(chosen, ns=(accessed, modified), follow_symlinks=follow)
            now = os.stat(chosen, follow_symlinks=follow)
            return now.st_atime_ns, now.st_mtime_ns

        self.both(call)

    @rule(path=paths, name=attribute_names, value=st.binary(max_size=50), flags=st.sampled_from([0, 1, 2]))
    def set_attribute(self, path: Spot, name: str, value: bytes, flags: int) -> None:
        self.both(lambda root: os.setxattr(root / self.at(path), name, value, flags))

    @rule(path=paths, name=attribute_names)
    def remove_attribute(self, path: Spot, name: str) -> None:
        self.both(lambda root: os.removexattr(root / self.at(path), name))

    @rule(path=paths)
    def list_names(self, path: Spot) -> None:
        self.both(lambda root: sorted(os.listdir(root / self.at(path))))

    @rule(path=paths, create=st.booleans())
    def hold_open(self, path: Spot, create: bool) -> None:
        if len(self.handles) == 3:
            self.let_go()
        opened: list[int] = []

        def call(root: Path) -> str:
            opened.append(
                os.open(root / self.at(path), os.O_RDWR | os.O_NONBLOCK | (os.O_CREAT if create else 0), 0o640)
            )
            return "open"

        if self.both(call)[0] == "value":
            self.handles[f"#{next(self.numbers)}"] = opened

    @rule(content=contents, offset=sizes, cut=st.none() | sizes)
    def use_held(self, content: bytes, offset: int, cut: int | None) -> None:
        for one, two in self.handles.values():
            answers = []
            for handle in (one, two):
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    continue
                os.pwrite(handle, content, offset)
                if cut is not None:
                    os.ftruncate(handle, cut)
                now = os.fstat(handle)
                answers.append((now.st_size, now.st_nlink, os.pread(handle, 300_000, 0)))
            assert len(set(answers)) <= 1, "a held file differs"

    @rule(sync=st.booleans())
    def let_go(self, sync: bool = False) -> None:
        if self.handles:
            for handle in self.handles.pop(next(iter(self.handles))):
                if sync:
                    os.fsync(handle)
                os.close(handle)

    @invariant()
    def trees_are_the_same(self) -> None:
        on_drive, plain = (tree(root) for root in self.roots)
        assert on_drive == plain
        self.known = sorted(plain)


def twins(drive: Path, plain: Path) -> type[RuleBasedStateMachine]:
    """A machine that works below these two directories."""

    class Twins(TwinMachine):
        drive_parent = drive
        plain_parent = plain

    return Twins
