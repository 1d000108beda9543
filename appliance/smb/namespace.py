"""smbd's own view of the machine: one in which the drive's people have accounts, and nothing else is different.

glibc finds the accounts by libnss-extrausers, in a folder of the system that belongs to nobody in particular. Here that
folder, and the file that says where accounts are looked for, are covered in a mount namespace that only smbd and its
children live in. So no file of the system is changed, and all of it is gone when the last of them is.

The same fact tells which processes are ours, however they call themselves: those to whom our folder is that folder.
"""

import contextlib
import ctypes
import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import ApplianceError

EXTRA_USERS = Path("/var/lib/extrausers")
SWITCH = Path("/etc/nsswitch.conf")
_DATABASES = ("passwd", "group", "shadow")
_CLONE_NEWNS = 0x20000
_MS_BIND, _MS_REC, _MS_SLAVE = 0x1000, 0x4000, 0x80000
_PR_SET_PDEATHSIG = 1
_SETTLE = 20


class NoNamespace(ApplianceError):
    """smbd's view of the machine cannot be made."""


def with_extra_users(text: str) -> str:
    """nsswitch.conf with `extrausers` behind what each kind of account is looked for in today. Pure."""
    lines, seen = [], set()
    for line in text.splitlines():
        database = line.partition(":")[0].strip()
        if database in _DATABASES:
            seen.add(database)
            if "extrausers" not in line.split("#")[0].split():
                line = f"{line.partition('#')[0].rstrip()} extrausers"
        lines.append(line)
    lines += [f"{database}: files extrausers" for database in _DATABASES if database not in seen]
    return "\n".join(lines) + "\n"


def enter(names: Path, switch: Path) -> None:
    """Move this process into a mount namespace of its own, in which `names` is EXTRA_USERS and `switch` SWITCH.

    What is mounted or unmounted outside later is seen here, not the other way round. Raises NoNamespace.
    """
    for place, package in ((EXTRA_USERS, "libnss-extrausers"), (SWITCH, "libc-bin")):
        if not place.exists():
            raise NoNamespace(f"{place} is missing on this machine; install the package {package}.")
    libc = ctypes.CDLL(None, use_errno=True)
    _must(libc.unshare(_CLONE_NEWNS), "unshare")
    _must(libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None), "mount --make-rslave /")
    _must(libc.mount(os.fsencode(names), os.fsencode(EXTRA_USERS), None, _MS_BIND, None), f"mount {EXTRA_USERS}")
    _must(libc.mount(os.fsencode(switch), os.fsencode(SWITCH), None, _MS_BIND, None), f"mount {SWITCH}")


def first_closed(path: Path) -> Path | None:
    """The uppermost folder above `path` that users of no group of its own cannot pass; None when there is none."""
    return next((folder for folder in reversed(path.parents) if not folder.stat().st_mode & stat.S_IXOTH), None)


def die_with(parent: int) -> None:
    """Let the kernel tell this process to end when process `parent` does, also after an exec. Raises NoNamespace."""
    _must(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        raise NoNamespace("the supervisor has ended.")


def _must(result: int, what: str) -> None:
    if result != 0:
        raise NoNamespace(f"{what}: {os.strerror(ctypes.get_errno())}; smbd needs root and its rights.")


def inhabitants(names: Path) -> Iterator[int]:
    """The processes that live in a namespace made over the folder `names`."""
    own = _namespace_of("self")
    try:
        ours = _identity(names)
    except OSError:
        return
    for entry in os.listdir("/proc"):
        if entry.isdigit() and _namespace_of(entry) not in (own, None):
            with contextlib.suppress(OSError):
                if _identity(f"/proc/{entry}/root{EXTRA_USERS}") == ours:
                    yield int(entry)


def end_inhabitants(names: Path) -> int:
    """Kill all of them; returns how many there were. They may have children meanwhile, so it looks again."""
    ended = 0
    for _ in range(_SETTLE):
        found = list(inhabitants(names))
        if not found:
            break
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            ended += 1
    return ended


def _namespace_of(process: str) -> str | None:
    try:
        return os.readlink(f"/proc/{process}/ns/mnt")
    except OSError:  # ended, or a zombie, which lives nowhere
        return None


def _identity(path: Path | str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino
