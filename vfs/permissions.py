"""Who may read and change what, by owner, group and others: the kernel's rule, for requests that do not pass it.

Pure: given what a path leads to, it answers as `default_permissions` would for a process of that user. Nobody but root
is above it.
"""

from collections.abc import Collection, Sequence

from vfs.inodes import Inode

READ, WRITE, SEARCH = 4, 2, 1


def may(inode: Inode, uid: int, gids: Collection[int], wanted: int) -> bool:
    """Whether somebody may do all of `wanted` (a sum of READ, WRITE and SEARCH) to it."""
    if uid == 0:
        return True
    if inode.uid == uid:
        bits = inode.mode >> 6
    elif inode.gid in gids:
        bits = inode.mode >> 3
    else:
        bits = inode.mode
    return bits & wanted == wanted


def may_reach(way: Sequence[Inode], uid: int, gids: Collection[int], wanted: int) -> bool:
    """Whether somebody comes to the end of a way from the root, through all its folders, and may do that there."""
    *above, last = way
    return all(may(folder, uid, gids, SEARCH) for folder in above) and may(last, uid, gids, wanted)
