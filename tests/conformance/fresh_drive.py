"""A fresh drive for a run of somebody else's exercises, whose log must stay silent.

Promises that a run during which the drive logged anything at WARNING or above fails with those lines, however well the
exercise itself went; that the drive is stopped in order and checked by fsck; and that nothing is left behind.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kit.mounted import DriveFailed, MountedDrive

_ALARM = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b|Traceback|Exception ignored in")


def alarms(drive: MountedDrive) -> list[str]:
    """Lines of the drive's log that nobody wants to see."""
    return [line for line in drive.log().splitlines() if _ALARM.search(line)]


@contextmanager
def silent_drive() -> Iterator[MountedDrive]:
    """A drive that must not complain. Raises DriveFailed, also for what fsck finds at the end."""
    if not os.path.exists("/dev/fuse"):
        raise DriveFailed("/dev/fuse is missing: no drive can be mounted here.")
    drive = MountedDrive.make()
    try:
        yield drive
        drive.stop()
        findings = drive.cli("fsck")["findings"]
        if findings:
            raise DriveFailed(f"fsck found: {findings}")
        if said := alarms(drive):
            raise DriveFailed("the drive complained:\n" + "\n".join(said[:40]))
    finally:
        drive.clear_away()
