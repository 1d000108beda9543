"""Small words for tests of the past: take a snapshot, find its folder, try everything that would change something."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from kit.mounted import MountedDrive

DOOR = ".snapshots"


def snap(drive: MountedDrive, *label: str) -> str:
    """Takes a snapshot through the command line and returns its folder's name."""
    made = drive.cli("snapshot", "create", *label)
    return str(made["name"])


def past(drive: MountedDrive, name: str, live: Path) -> Path:
    """Where the root's door shows what `live` was in this snapshot."""
    return drive.mount / DOOR / name / live.relative_to(drive.mount)


def names_known(drive: MountedDrive) -> list[str]:
    return [each["name"] for each in drive.cli("snapshot", "list")]


def changes(victim: Path, home: Path, live_file: Path) -> dict[str, Callable[[], object]]:
    """Every way to change a file `victim`, its folder `home`, or to move things between them and a live file."""

    def open_with(flags: int, path: Path = victim) -> Callable[[], None]:
        return lambda: os.close(os.open(path, flags, 0o600))

    return {
        "open for writing": open_with(os.O_WRONLY),
        "open for both": open_with(os.O_RDWR),
        "open and truncate": open_with(os.O_RDONLY | os.O_TRUNC),
        "open to append": open_with(os.O_WRONLY | os.O_APPEND),
        "create": open_with(os.O_CREAT | os.O_WRONLY, home / "new"),
        "truncate": lambda: os.truncate(victim, 0),
        "chmod": lambda: os.chmod(victim, 0o777),
        "chmod the folder": lambda: os.chmod(home, 0o777),
        "chown": lambda: os.chown(victim, 5, 5),
        "utimens": lambda: os.utime(victim, ns=(1, 1)),
        "setxattr": lambda: os.setxattr(victim, "user.new", b"x"),
        "removexattr": lambda: os.removexattr(victim, "user.note"),
        "unlink": lambda: os.unlink(victim),
        "mkdir": lambda: os.mkdir(home / "new"),
        "rmdir": lambda: os.rmdir(home / "empty"),
        "mkfifo": lambda: os.mkfifo(home / "new"),
        "symlink": lambda: os.symlink("x", home / "new"),
        "link within": lambda: os.link(victim, home / "new"),
        "link into the past": lambda: os.link(live_file, home / "new"),
        "link out of the past": lambda: os.link(victim, live_file.with_name("linked")),
        "rename within": lambda: os.rename(victim, home / "new"),
        "rename over": lambda: os.rename(live_file, victim),
        "rename into the past": lambda: os.rename(live_file, home / "new"),
        "rename out of the past": lambda: os.rename(victim, live_file.with_name("moved")),
    }


def refusal_of(act: Callable[[], object]) -> str:
    """The errno's name with which `act` is refused, or `done`."""
    try:
        act()
    except OSError as problem:
        return errno.errorcode.get(problem.errno or 0, str(problem.errno))
    return "done"
