"""Log lines: one format, one file per process that rotates, and what is serious also on stderr.

A line is `2026-03-01T12:00:00.123Z WARNING vfs.files: text`, in UTC like the names of snapshots. The file takes
everything from the configured level up; stderr only warnings and worse, because a person watches it beside the
program's own words. Names of files may stand in a line, contents and keys never.
"""

import logging
import logging.handlers
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROTATE_AT_BYTES = 8 * 2**20
_KEPT = 5
# Libraries whose info lines say what ours say already.
_QUIET = ("httpx", "httpcore", "hypercorn.error", "asyncio")


class _Lines(logging.Formatter):
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.converter = time.gmtime


class _Sentences(_Lines):
    """For eyes: the traceback stays in the file."""

    def format(self, record: logging.LogRecord) -> str:
        bare = logging.makeLogRecord(record.__dict__ | {"exc_info": None, "exc_text": None, "stack_info": None})
        return super().format(bare)


TOLD = {"is_told": True}
"""`extra` of a line whose words reach the person on stderr by another way."""


@contextmanager
def logging_to(file: Path, level: str) -> Iterator[None]:
    """Logs to `file` (its directory is made) and stderr while the context lasts. `level` as in the configuration."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = logging.handlers.RotatingFileHandler(
        file, maxBytes=_ROTATE_AT_BYTES, backupCount=_KEPT, encoding="utf-8", errors="backslashreplace"
    )
    serious = logging.StreamHandler(sys.stderr)
    serious.setLevel(logging.WARNING)
    serious.addFilter(lambda record: not getattr(record, "is_told", False))
    root = logging.getLogger()
    before = root.level
    lines.setFormatter(_Lines())
    serious.setFormatter(_Sentences())
    for handler in (lines, serious):
        root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.setLevel(before)
        for handler in (lines, serious):
            root.removeHandler(handler)
            handler.close()


def serious_lines(file: Path, since: str) -> list[str]:
    """The warnings and errors in `file` from the instant `since` (as a line begins) on; [] when there is no file."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        instant, _, rest = line.partition(" ")
        if rest.startswith(("WARNING ", "ERROR ", "CRITICAL ")) and instant >= since:
            found.append(line)
    return found
