"""Row ⇄ attributes as the kernel wants them."""

import stat

import pyfuse3

from vfs.ids import in_view
from vfs.inodes import Inode

LIVE_TIMEOUT_S = 300.0  # only the kernel and explicit invalidation change what the kernel has cached
PAST_TIMEOUT_S = 300.0  # the past does not change
DOOR_TIMEOUT_S = 1.0  # snapshots come and go behind the kernel's back
MISSING_TIMEOUT_S = 30.0


PRIVILEGES = stat.S_ISUID | stat.S_ISGID


def without_privileges(mode: int) -> int:
    """The mode of a file after somebody without rights to such bits has changed it: as the kernel would clear them."""
    return mode & ~(PRIVILEGES if mode & stat.S_IXGRP else stat.S_ISUID)


def attributes_of(inode: Inode, view: int = 0, timeout_s: float = LIVE_TIMEOUT_S) -> pyfuse3.EntryAttributes:
    """The attributes of an inode, seen in a view."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = in_view(view, inode.ino) if view else inode.ino
    entry.st_mode = inode.mode
    entry.st_nlink = inode.nlink
    entry.st_uid = inode.uid
    entry.st_gid = inode.gid
    entry.st_rdev = inode.rdev
    entry.st_size = inode.size
    entry.st_blocks = (inode.mapped + 511) >> 9
    entry.st_atime_ns = inode.atime_ns
    entry.st_mtime_ns = inode.mtime_ns
    entry.st_ctime_ns = inode.ctime_ns
    if timeout_s != LIVE_TIMEOUT_S:
        entry.attr_timeout = timeout_s
        entry.entry_timeout = timeout_s
    elif inode.mode & PRIVILEGES and inode.is_file:
        entry.attr_timeout = 0  # a write takes the bits away, and the kernel is not told (`handshake`)
    return entry


def door_attributes(ino: int, *, is_link: bool, uid: int, gid: int, changed_ns: int) -> pyfuse3.EntryAttributes:
    """The attributes of a virtual folder (0755, so that every share user may look), or of a symlink in one."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = ino
    entry.st_mode = (stat.S_IFLNK | 0o777) if is_link else (stat.S_IFDIR | 0o755)
    entry.st_nlink = 1 if is_link else 2
    entry.st_uid, entry.st_gid = uid, gid
    entry.st_size = 0
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = changed_ns
    entry.attr_timeout = entry.entry_timeout = DOOR_TIMEOUT_S
    return entry


def missing() -> pyfuse3.EntryAttributes:
    """`There is no such name`, for the kernel to remember."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = MISSING_TIMEOUT_S
    return entry
