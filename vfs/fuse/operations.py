"""The pyfuse3 class: the operation families, and nothing else."""

import pyfuse3

from vfs.fuse.attrs import AttributeOperations
from vfs.fuse.dirs import FolderOperations
from vfs.fuse.file_io import FileOperations
from vfs.fuse.names import NameOperations
from vfs.fuse.xattrs import XattrOperations


class DriveOperations(  # type: ignore[misc]
    NameOperations, AttributeOperations, FileOperations, FolderOperations, XattrOperations, pyfuse3.Operations
):
    """All handlers. What is not here answers ENOSYS, which spares the kernel asking again."""

    enable_writeback_cache = True
    supports_dot_lookup = True
    enable_acl = False
