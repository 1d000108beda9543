"""Requests of the kernel without a kernel: what a handler is given besides its arguments.

pyfuse3's own classes cannot be made by Python code, so these stand in by their attributes.
"""

from types import SimpleNamespace
from typing import Any


def caller(uid: int = 1000, gid: int = 1001, pid: int = 1) -> Any:
    """Who asks: stands in for `pyfuse3.RequestContext`."""
    return SimpleNamespace(uid=uid, gid=gid, pid=pid, umask=0o022)


def fields(*updated: str) -> Any:
    """What a setattr is to change ("size", "mode", …): stands in for `pyfuse3.SetattrFields`."""
    names = ("atime", "mtime", "ctime", "mode", "uid", "gid", "size")
    return SimpleNamespace(**{f"update_{name}": name in updated for name in names})


NO_TOKEN: Any = None
"""For a listing whose replies are caught: stands in for `pyfuse3.ReaddirToken`."""
