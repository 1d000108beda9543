"""A drive that leaves one care out: `careless.py STAND-IN CARE -m MODULE …` runs a module of the product without it.

Stands in for the interpreter, so that every process that the product starts leaves the same care out. The controls of
`test_controls.py`: whoever looks at such a drive must find something.
"""

import errno
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[2]))


def no_attributes() -> None:
    import pyfuse3

    from vfs.fuse.operations import DriveOperations

    async def refuse(*_: object) -> bytes:
        raise pyfuse3.FUSEError(errno.EOPNOTSUPP)

    DriveOperations.getxattr = DriveOperations.setxattr = refuse  # type: ignore[assignment]


def no_room() -> None:
    from vfs.drive import Drive

    Drive.space = lambda self: (0, 0)  # type: ignore[method-assign]


def closed_door() -> None:
    from vfs.fuse import attributes, base

    honest = attributes.door_attributes

    def closed(*words: object, **keys: object) -> object:
        shown = honest(*words, **keys)  # type: ignore[arg-type]
        shown.st_mode &= ~0o077
        return shown

    base.door_attributes = closed  # type: ignore[attr-defined, assignment]


def local_time() -> None:
    from appliance.smb import config_text

    honest = config_text._common
    config_text._common = lambda door, name: [
        line.replace("localtime = no", "localtime = yes") for line in honest(door, name)
    ]


def nothing() -> None:
    """The control of the controls."""


CARES: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (no_attributes, no_room, closed_door, local_time, nothing)
}


def interpreter(care: str, folder: Path) -> Path:
    """A program, made in `folder`, that runs as Python does, without that care."""
    path = folder / f"python-without-{care}"
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{HERE}' \"$0\" {care} \"$@\"\n")
    path.chmod(0o755)
    return path


def main() -> None:
    stand_in, care, *words = sys.argv[1:]
    if words[0] != "-m":  # a script on its own, which has nothing of the product to leave out
        os.execv(sys.executable, [sys.executable, *words])
    module, sys.argv = words[1], words[1:]
    sys.executable = stand_in
    CARES[care]()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
