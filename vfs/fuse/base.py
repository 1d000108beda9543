"""What all operation families share: the drive, open handles, who asks, and where an inode number leads.

A number leads to the live tree (view 0), to a past tree, or to a door (a virtual folder or a symlink in one).
"""

import os
from dataclasses import dataclass

import pyfuse3

from cloud_tier.clock import Clock
from vfs.actors import Caller
from vfs.doors import Door
from vfs.drive import Drive
from vfs.errors import ReadOnly, Stale
from vfs.extents import Piece
from vfs.fuse.attributes import PAST_TIMEOUT_S, attributes_of, door_attributes
from vfs.handles import Handles
from vfs.ids import FILE_MASK, FIRST_VIEW, LINKS_VIEW, ROOT, VIEW_SHIFT
from vfs.inodes import Inode
from vfs.past import Entry
from vfs.shares import Access


@dataclass(slots=True)
class OpenFile:
    """A file somebody has open. Of a past one, `view` is set and `windows` holds the extents that were asked for.

    `is_roots`: opened by root, whose writes leave the set-user-id bit alone.
    """

    inode: Inode
    is_writable: bool
    actor_id: int
    view: int = 0
    is_roots: bool = False
    is_barrier: bool = False  # opened by the flusher: its fsync only brings bytes to the core
    windows: dict[int, list[Piece]] | None = None


@dataclass(slots=True)
class OpenFolder:
    """A folder somebody reads. A live one is read from the rows at each question; others once, at a rewind."""

    ino: int
    past: list[tuple[Entry, Inode]] | None = None
    door: list[Door] | None = None


class Base:
    """State of the adapter. The families are mixed into one class over it."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.open_files: Handles[OpenFile] = Handles()
        self.open_folders: Handles[OpenFolder] = Handles()
        self.flusher_pid: int | None = None  # while it collects
        self.read_only_reason: str | None = None

    @property
    def clock(self) -> Clock:
        return self.drive.clock

    def caller(self, ctx: pyfuse3.RequestContext) -> Caller:
        """On whose behalf the request runs."""
        return Caller(ctx.uid, ctx.gid, self.drive.actors.behind(ctx.uid, ctx.pid))

    async def enter(self, ino: int, uid: int, *, is_removal: bool = False) -> None:
        """Before `uid` changes a live inode: room for its rows, the gate open.

        Raises ReadOnly for the past, NoAccess for whoever may only read in a share, NoSpace.
        """
        if ino >> VIEW_SHIFT:
            raise ReadOnly("the past cannot be changed")
        if self.read_only_reason is not None:
            raise ReadOnly(self.read_only_reason)
        self.drive.files.admit_rows(is_removal=is_removal)
        self.drive.cuts.bound_pending()
        gate = self.drive.cuts.gate
        if gate.is_closed:
            await gate.wait_open()
        self.drive.areas.require(uid, ino, Access.WRITE)

    def is_companion(self, thread: int) -> bool:
        """Whether a request comes from the companion, at work for `Mount.collect`. The kernel names threads."""
        return self.flusher_pid is not None and os.path.exists(f"/proc/{self.flusher_pid}/task/{thread}")

    def inode(self, ino: int) -> Inode:
        """The inode behind a number of the live tree or of a past one. Raises Stale."""
        view = ino >> VIEW_SHIFT
        if not view:
            return self.drive.inodes.get(ino)
        inode = self.drive.past.inode(ino & FILE_MASK, self.drive.doors.epoch_of(view))
        if inode is None:
            raise Stale("the file is gone")
        return inode

    def is_door(self, ino: int) -> bool:
        """Whether the number is of a virtual folder or a symlink in one."""
        return 0 < ino >> VIEW_SHIFT < FIRST_VIEW

    def attributes(self, ino: int) -> pyfuse3.EntryAttributes:
        """The attributes behind any number. Raises Stale."""
        view = ino >> VIEW_SHIFT
        if not view:
            return attributes_of(self.drive.inodes.get(ino))
        if view >= FIRST_VIEW:
            return attributes_of(self.inode(ino), view, PAST_TIMEOUT_S)
        root = self.drive.inodes.get(ROOT)
        newest = self.drive.snapshots.newest()
        changed_ns = newest.created_ns if newest is not None else root.btime_ns
        return door_attributes(ino, is_link=view == LINKS_VIEW, uid=root.uid, gid=root.gid, changed_ns=changed_ns)
