"""What a file system refuses, and why. `vfs/fuse/errno.py` is the only place that turns these into numbers.

    VfsError
    ├── NotFound            no such name, file or snapshot
    │   └── Stale           it was there, and is gone for good (a deleted snapshot, a reaped inode)
    ├── Exists              the name is taken
    ├── NotAFolder          a folder was needed
    ├── IsAFolder           anything but a folder was needed
    ├── NotEmpty            the folder has entries
    ├── NotPermitted        nobody may do this (a reserved name, a hard link to a folder)
    ├── NoAccess            this user may not change, or see, what lies in that share
    ├── OtherArea           a file cannot move or be linked from one share or home into another, as between two disks
    ├── ReadOnly            the past cannot be changed
    ├── NameTooLong         more than 255 bytes
    ├── FileTooLarge        beyond the largest file
    ├── InvalidArgument     the call makes no sense
    ├── NoAttribute         no such extended attribute
    ├── AttributeTooLarge   the extended attributes of one file do not fit
    ├── NotSupported        this drive does not do that
    ├── BadHandle           the handle does not allow it
    ├── NoSpace             full; nothing was changed
    ├── DataLost            bytes cannot be served as good
    │   ├── Damaged         a page of a file is not what was written; the other pages are good
    │   ├── OutOfReach      the bytes lie in the cloud store, which gives no answer, or a wrong one
    │   └── Moved           the extents that were looked up are out of date: the bytes lie elsewhere
    └── Refused             a restore or undo was not done, with the reason; nothing was changed

None of them is worth a retry by itself.
"""


class VfsError(Exception):
    """Base of everything raised by vfs."""


class NotFound(VfsError):
    """No such name, file or snapshot."""


class Stale(NotFound):
    """What the number named is gone for good."""


class Exists(VfsError):
    """The name is taken."""


class NotAFolder(VfsError):
    """A folder was needed."""


class IsAFolder(VfsError):
    """Anything but a folder was needed."""


class NotEmpty(VfsError):
    """The folder has entries."""


class NotPermitted(VfsError):
    """Nobody may do this."""


class NoAccess(VfsError):
    """This user may not do that in this share."""


class OtherArea(VfsError):
    """A rename or link would lead from one share or home into another."""


class ReadOnly(VfsError):
    """The past cannot be changed; or the core has turned read-only."""


class NameTooLong(VfsError):
    """More than 255 bytes."""


class FileTooLarge(VfsError):
    """Beyond `MAX_FILE_BYTES`."""


class InvalidArgument(VfsError):
    """The call makes no sense."""


class NoAttribute(VfsError):
    """No such extended attribute."""


class AttributeTooLarge(VfsError):
    """The extended attributes of one file do not fit."""


class NotSupported(VfsError):
    """This drive does not do that."""


class BadHandle(VfsError):
    """The handle does not allow it."""


class NoSpace(VfsError):
    """No room; nothing was changed."""


class DataLost(VfsError):
    """Bytes cannot be served as good."""


class OutOfReach(DataLost):
    """The bytes lie in the cloud store, and could not be had now."""


class Moved(DataLost):
    """The extents that were looked up lead to a block that was sealed since. Those of the next cut are right."""


class Damaged(DataLost):
    """A page of a file is not what was written. `offset`: where in the file; `page`: the block, and where in it."""

    def __init__(self, message: str, offset: int, page: tuple[int, int]) -> None:
        super().__init__(message)
        self.offset = offset
        self.page = page


class Refused(VfsError):
    """A restore or undo was not done; nothing was changed."""
