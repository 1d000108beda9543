"""A Unix socket's name, whatever its length.

The kernel takes 107 bytes for a socket's name and a state directory may lie deeper. A long name is reached through an
open descriptor of its directory: /proc/self/fd/N/control.sock. Both ends use this, so that neither has a limit of its
own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST_BYTES = 107


@contextmanager
def reachable_name(path: Path) -> Iterator[str]:
    """A name for `path` that bind and connect accept while the context lasts. OSError if its directory is missing."""
    if len(os.fsencode(path)) <= _LONGEST_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
