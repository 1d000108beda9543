"""Error → errno: the only such table. And the guard around every handler.

pyfuse3 turns only `FUSEError` into an answer; any other exception ends the whole mount, for every user. So every
handler is wrapped: an error of ours gives its errno, anything else gives EIO, a traceback in the log, and one more in
`faults`.
"""

import errno
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pyfuse3

from cachefs.errors import BytesDamaged, CacheError, StorageFull
from vfs import errors

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Awaitable[Any]])

TABLE: dict[type[Exception], int] = {
    errors.Stale: errno.ESTALE,
    errors.NotFound: errno.ENOENT,
    errors.Exists: errno.EEXIST,
    errors.NotAFolder: errno.ENOTDIR,
    errors.IsAFolder: errno.EISDIR,
    errors.NotEmpty: errno.ENOTEMPTY,
    errors.NotPermitted: errno.EPERM,
    errors.NoAccess: errno.EACCES,
    errors.OtherArea: errno.EXDEV,
    errors.ReadOnly: errno.EROFS,
    errors.NameTooLong: errno.ENAMETOOLONG,
    errors.FileTooLarge: errno.EFBIG,
    errors.InvalidArgument: errno.EINVAL,
    errors.NoAttribute: errno.ENODATA,
    errors.AttributeTooLarge: errno.E2BIG,
    errors.NotSupported: errno.EOPNOTSUPP,
    errors.BadHandle: errno.EBADF,
    errors.NoSpace: errno.ENOSPC,
    errors.DataLost: errno.EIO,
    errors.Refused: errno.EPERM,
    StorageFull: errno.ENOSPC,
    BytesDamaged: errno.EIO,
    CacheError: errno.EIO,
}


def errno_of(error: Exception) -> int:
    """The number that a program gets to see."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    return errno.EIO


class Faults:
    """How many handlers met an error that nobody foresaw. Zero, or there is a bug."""

    count = 0

    @classmethod
    def record(cls, what: str) -> None:
        """Log the exception that is being handled."""
        cls.count += 1
        log.exception("%s failed", what)


def guarded(handler: F) -> F:
    """Wrap a handler so that whatever happens, the kernel gets an answer."""

    @functools.wraps(handler)
    async def guard(*args: Any) -> Any:
        try:
            return await handler(*args)
        except pyfuse3.FUSEError:
            raise
        except errors.OutOfReach as error:  # whoever fetches has said so, once for all readers
            raise pyfuse3.FUSEError(errno_of(error)) from error
        except (errors.DataLost, CacheError) as error:
            log.error("%s: %s", handler.__name__, error)
            raise pyfuse3.FUSEError(errno_of(error)) from error
        except errors.VfsError as error:
            raise pyfuse3.FUSEError(errno_of(error)) from error
        except Exception as error:
            Faults.record(f"{handler.__name__}{args[1:3]!r}")
            raise pyfuse3.FUSEError(errno.EIO) from error

    return guard  # type: ignore[return-value]
