"""What the kernel has mounted, asked and changed without touching what is mounted.

Owns every look at mountinfo, the FUSE connection behind a mount, and the removal of a mount whose core is dead or
hung. Promises never to block on a hung file system: a `stat` of a mount whose server holds the answer back cannot
even be killed, so the mount point itself is never resolved, and the one question that must touch it (`probe`) is
asked by a child process with a deadline. Refuses to remove a mount that answers.

The order in `remove_mount` matters (T14): abort first, which wakes every process that waits for the dead core, then
detach. Detaching first would hide the connection while its waiters stay stuck until a reboot.
"""

import contextlib
import ctypes
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from appliance.errors import MountPointUnusable

FS_SUBTYPE = "hybrid-drive"
FS_TYPE = f"fuse.{FS_SUBTYPE}"
MOUNTINFO = Path("/proc/self/mountinfo")
FUSE_CONNECTIONS = Path("/sys/fs/fuse/connections")
MOST_REQUESTS = 1024

_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8

# statvfs and not stat: the kernel remembers attributes, and would answer for a core that is dead.
_PROBE = "import os,sys\ntry: os.statvfs(sys.argv[1])\nexcept OSError as e: sys.exit(e.errno)"

Answer = Literal["alive", "dead", "hung"]


@dataclass(frozen=True)
class MountEntry:
    """One line of mountinfo. `minor` is the number of the FUSE connection when `fs_type` begins with "fuse"."""

    mount_id: int
    major: int
    minor: int
    mount_point: Path
    fs_type: str
    source: str

    @property
    def is_fuse(self) -> bool:
        return self.fs_type == "fuse" or self.fs_type.startswith("fuse.")

    @property
    def is_ours(self) -> bool:
        return self.fs_type == FS_TYPE


def parse_mountinfo(text: bytes) -> list[MountEntry]:
    """Mountinfo's lines in its order (a later one covers an earlier one at the same place); names may hold any byte."""
    entries = []
    for line in text.splitlines():
        left, _, right = line.partition(b" - ")
        fields, tail = left.split(b" "), right.split(b" ")
        if len(fields) < 6 or len(tail) < 2:
            continue
        major, _, minor = fields[2].partition(b":")
        entries.append(
            MountEntry(
                mount_id=int(fields[0]),
                major=int(major),
                minor=int(minor),
                mount_point=Path(os.fsdecode(_unescape(fields[4]))),
                fs_type=os.fsdecode(_unescape(tail[0])),
                source=os.fsdecode(_unescape(tail[1])),
            )
        )
    return entries


def read_mounts() -> list[MountEntry]:
    """All mounts this process can see."""
    return parse_mountinfo(MOUNTINFO.read_bytes())


def find_mount(path: Path) -> MountEntry | None:
    """The mount whose mount point is exactly `path` (the top one if several are stacked), or None."""
    entries = {entry.mount_point: entry for entry in read_mounts()}
    for candidate in _names_of(path):
        if candidate in entries:
            return entries[candidate]
    return None


def probe(path: Path, deadline_s: float = 3.0) -> Answer:
    """Whether what is mounted at `path` answers. Asked by a child, which is left behind if the mount holds it."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _PROBE, str(path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        code = child.wait(deadline_s)
    except subprocess.TimeoutExpired:
        child.kill()
        # It may stay in the kernel until the mount is aborted; somebody has to reap it then.
        threading.Thread(target=child.wait, daemon=True, name="reap a mount's probe").start()
        return "hung"
    return "dead" if code in (errno.ENOTCONN, errno.ECONNABORTED) else "alive"


def prepare_mount_point(path: Path, state: Path) -> Path:
    """Makes `path` ready to be mounted on and returns it resolved: an empty directory, or what a dead core left there.

    That stays until `clean_stale`, right before the new mount: programs get an error meanwhile, and nobody takes an
    empty folder for a drive from which all was deleted, or fills it. Raises MountPointUnusable when `path` is in use,
    not empty, or would lie over the drive's own `state`.
    """
    stale = _stale(path)
    try:
        if stale is not None:
            place = stale.mount_point
        else:
            path.mkdir(parents=True, exist_ok=True)
            place = path.resolve(strict=True)
            if next(place.iterdir(), None) is not None:
                raise MountPointUnusable(path, "the directory is not empty, and a mount would hide what is in it")
    except OSError as error:
        raise MountPointUnusable(path, error.strerror or str(error)) from error
    if state.resolve().is_relative_to(place):
        raise MountPointUnusable(path, f"the drive's own state {state} lies under it")
    return place


def clean_stale(path: Path) -> int:
    """Removes mounts at `path` that a dead core left; returns how many.

    Raises MountPointUnusable when something that answers, hangs, or is not FUSE is mounted there: that is somebody's.
    """
    removed = 0
    while (entry := _stale(path)) is not None:
        _remove(entry)
        removed += 1
    return removed


def _stale(path: Path) -> MountEntry | None:
    """What a dead core left at `path`. Raises MountPointUnusable."""
    entry = find_mount(path)
    if entry is None:
        return None
    if not entry.is_fuse:
        raise MountPointUnusable(path, f"a file system of type {entry.fs_type} is mounted there")
    answer = probe(entry.mount_point)
    if answer == "alive":
        raise MountPointUnusable(path, f"{entry.source} ({entry.fs_type}) is mounted there and in use")
    if answer == "hung":
        raise MountPointUnusable(path, f"{entry.source} ({entry.fs_type}) is mounted there and does not answer")
    return entry


def free_callers(path: Path) -> bool:
    """Ends our own mount's connection: whoever waits on it gets an error, and everybody after him, until it is cleaned
    away. For a core that is dead or hung and comes back. Returns whether there was one.
    """
    entry = find_mount(path)
    return entry is not None and entry.is_ours and _abort(entry)


def remove_mount(path: Path) -> bool:
    """Aborts and detaches our own mount at `path` whatever its state; for a supervisor whose core is dead or hung.

    Returns whether there was one. A mount of another kind is left alone. Raises OSError when the kernel refuses.
    """
    found = False
    while (entry := find_mount(path)) is not None and entry.is_ours:
        _abort(entry)
        _remove(entry)
        found = True
    return found


def set_read_ahead(path: Path, kib: int) -> bool:
    """Sets the kernel's read-ahead for the mount at `path`, in KiB; returns False where this user may not."""
    entry = find_mount(path)
    if entry is None:
        return False
    try:
        Path(f"/sys/class/bdi/{entry.major}:{entry.minor}/read_ahead_kb").write_text(str(kib))
    except OSError:
        return False
    return True


def allow_many_requests(path: Path) -> bool:
    """Let the kernel hand out many writes and read-aheads at once, not twelve: writes that wait for room would hold up
    everybody's reads. Returns False where this user may not.
    """
    entry = find_mount(path)
    if entry is None:
        return False
    connection = _connection(entry)
    try:
        for limit in ("max_background", "congestion_threshold"):
            (connection / limit).write_text(str(MOST_REQUESTS))
    except OSError:
        return False
    return True


def _abort(entry: MountEntry) -> bool:
    try:
        (_connection(entry) / "abort").write_text("1")
    except OSError:
        return False
    return True


def _connection(entry: MountEntry) -> Path:
    """The folder in which the kernel shows the FUSE connection.

    Containers and minimal machines have the directory above it but not the file system; as root we may supply it.
    """
    connection = FUSE_CONNECTIONS / str(entry.minor)
    if not connection.exists():
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mount(b"fusectl", os.fsencode(FUSE_CONNECTIONS), b"fusectl", 0, None)
    return connection


def _remove(entry: MountEntry) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(entry.mount_point), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOENT):
        return  # somebody was quicker
    with contextlib.suppress(FileNotFoundError):
        command = ["fusermount3", "-u", "-z", str(entry.mount_point)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
        if done.returncode == 0:
            return
    raise OSError(number, os.strerror(number), str(entry.mount_point))


def _names_of(path: Path) -> Iterator[Path]:
    """The names under which `path` may stand in mountinfo; the first without touching `path` itself."""
    absolute = Path(os.path.abspath(path))
    yield Path(os.path.realpath(absolute.parent)) / absolute.name
    yield Path(os.path.realpath(absolute))


def _unescape(field: bytes) -> bytes:
    """Undoes mountinfo's octal escapes for space, tab, newline and backslash."""
    parts = field.split(b"\\")
    return parts[0] + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts[1:])
