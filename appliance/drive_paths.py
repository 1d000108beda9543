"""PATH: how a person names something on the drive, as the path the core wants."""

import os
from pathlib import Path

from appliance.control.protocol import ControlProblem, Problem


def drive_path(named: str, mount: str) -> str:
    """`named` (relative to the drive's root, or absolute inside the mount) relative to the root; "" is the root.

    An absolute path may reach the mount through symlinks. Symlinks on the drive itself are not followed: the path names
    the link. Raises ControlProblem (`usage`) for a path outside the drive.
    """
    if not named.startswith("/"):
        return _normal(named, named)
    root = os.path.realpath(mount)
    path = Path(os.path.normpath(named))
    for ancestor in (path, *path.parents):
        if os.path.realpath(ancestor) == root:
            return _normal(str(path.relative_to(ancestor)), named)
    raise _outside(named, f"it does not lie in {mount}, where the drive is mounted")


def _normal(relative: str, named: str) -> str:
    parts = [part for part in relative.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _outside(named, "`..` is not used in a path on the drive")
    return "/".join(parts)


def _outside(named: str, why: str) -> ControlProblem:
    message = f"{named!r} names nothing on the drive: {why}. Give a path relative to the drive's root."
    return ControlProblem(Problem(code="usage", message=message))
