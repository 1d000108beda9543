"""Numbers that name things of the file system.

An inode number as the kernel sees it is (view number << 40) | file number, below 2^63. The live tree is view 0; each
place where a past tree can be seen is a view of its own, so no folder ever has two places (T13). Views below
`FIRST_VIEW` are not of past trees: they number the virtual folders themselves.
"""

from typing import NewType

Ino = NewType("Ino", int)  # as the kernel sees it
Epoch = NewType("Epoch", int)

NEVER = 1 << 62  # later than any epoch
VIEW_SHIFT = 40
FILE_MASK = (1 << VIEW_SHIFT) - 1

ROOT = Ino(1)
WORKSHOP = Ino(2)  # hidden: restores are built here
ATTIC = Ino(3)  # hidden: detached trees wait here to be reaped
FIRST_FILE = 16  # first file number given to a user's file

SNAPSHOTS_VIEW = 1  # `.snapshots` of folder f is (1 << 40) | f
PREVIOUS_VIEW = 2  # `.previous` of the root
LINKS_VIEW = 3  # symlinks inside the virtual `.snapshots` of a folder that is no anchor
FIRST_VIEW = 16


def view_of(ino: int) -> int:
    """The view that an inode number belongs to."""
    return ino >> VIEW_SHIFT


def in_view(view: int, file: int) -> Ino:
    """The inode number of a file in a view."""
    return Ino(view << VIEW_SHIFT | file & FILE_MASK)
