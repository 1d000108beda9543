"""Small files and folders of the state directory that must outlive a power loss: layout, configuration, keys.

Owns one promise: after a power loss at any moment such a file is the old one, the new one, or not there; never empty,
never half. Without it, a drive made seconds before the lights went out had an empty `layout`, and was refused as one of
another version. What means something only while a process lives (pids, sockets, locks) is written plainly.
"""

from pathlib import Path

from cachefs.disk import Disk


def write_durably(disk: Disk, path: Path, text: str | bytes) -> None:
    """Make `path`, for its owner alone, hold `text`, now and after a power loss. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    if draft.exists():
        disk.unlink(draft)
    fd = disk.open(draft, create=True)
    try:
        disk.pwrite(fd, text.encode() if isinstance(text, str) else text, 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(draft, path)
    disk.sync_directory(path.parent)


def make_folder_durably(disk: Disk, path: Path) -> None:
    """Make the folder `path` and those above it, as far as they are missing. Raises OSError.

    Whether one that is there is durable, nobody knows: the name of `path` itself is synced in any case.
    """
    if not path.parent.exists():
        make_folder_durably(disk, path.parent)
    if not path.exists():
        disk.make_folder(path)
    disk.sync_directory(path.parent)
