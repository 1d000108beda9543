"""The exit codes of `hybrid-drive`, and the words for what went wrong.

Owns the one table from a problem's code (a word that scripts, the control interface and the portal share) to the
number a shell sees. Promises that a number never changes its meaning. Several words may share a number where a script
would do the same for all of them: `exists`, `held` and `changed_since` are all "refused, nothing was changed".
"""

from enum import IntEnum
from types import MappingProxyType


class ExitCode(IntEnum):
    """What the shell sees. Numbers are an interface: do not change them."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    NOT_RUNNING = 5
    ALREADY_RUNNING = 6
    DAMAGED = 7
    OTHER_VERSION = 8
    DISK_FULL = 9
    NO_RIGHTS = 10
    NO_FUSE = 11
    FINDINGS = 12
    READ_ONLY = 13
    OFFLINE = 14
    STORE_REFUSED = 15
    LOCKED = 16


MEANINGS = MappingProxyType(
    {
        ExitCode.OK: "done",
        ExitCode.UNEXPECTED: "something nobody foresaw; the log has the details",
        ExitCode.USAGE: "the command, an argument or the configuration is wrong",
        ExitCode.NOT_FOUND: "no such path, snapshot, job or drive",
        ExitCode.REFUSED: "it exists already, is held, or changed since; nothing was changed",
        ExitCode.NOT_RUNNING: "the drive is not running",
        ExitCode.ALREADY_RUNNING: "the drive is running already",
        ExitCode.DAMAGED: "the drive's own data are damaged",
        ExitCode.OTHER_VERSION: "the drive was written by another version of the program",
        ExitCode.DISK_FULL: "the disk under the drive, or the cache's share of it, is full",
        ExitCode.NO_RIGHTS: "this user may not do that",
        ExitCode.NO_FUSE: "the kernel's FUSE or its helper program cannot be used",
        ExitCode.FINDINGS: "the check found something",
        ExitCode.READ_ONLY: "the drive is read-only at present",
        ExitCode.OFFLINE: "the cloud store cannot be reached at present",
        ExitCode.STORE_REFUSED: "the cloud store refuses, is full, or is not what it should be",
        ExitCode.LOCKED: "passphrase, kit or key file do not open the drive",
    }
)

_BY_CODE = MappingProxyType(
    {code.name.lower(): code for code in ExitCode}
    | {"exists": ExitCode.REFUSED, "held": ExitCode.REFUSED, "changed_since": ExitCode.REFUSED}
    | {"cache_full": ExitCode.DISK_FULL, "unanswered": ExitCode.UNEXPECTED}
)

PROBLEM_CODES = frozenset(_BY_CODE) - {"ok"}
"""Every word that may stand in a problem's `code`."""


def exit_code_for(code: str) -> ExitCode:
    """The exit code for a problem's code; a word this program does not know is `UNEXPECTED`."""
    return _BY_CODE.get(code, ExitCode.UNEXPECTED)
