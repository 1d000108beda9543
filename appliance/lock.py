"""Who has a state directory: one core, or one offline check, never two at once.

The lock is an flock on STATE/run/core.lock, because the kernel gives it back however its holder dies. `core.pid`
beside it only tells people and tools who the holder is; nothing is decided by it. The commands take the lock; what
they call below (`run_core`, `make_state`, `check_state`) may rely on it and must not take it again: a second
descriptor would wait for the first, in the same process too.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import AlreadyRunning, NoRights
from appliance.places import StatePlaces


@contextmanager
def holding(places: StatePlaces) -> Iterator[None]:
    """Holds the state directory while the context lasts, with this process's id in core.pid. Raises AlreadyRunning."""
    try:
        places.run.mkdir(parents=True, exist_ok=True, mode=0o755)
        lock = os.open(places.core_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise NoRights(f"use the state directory {places.state}") from error
    try:
        if not _take(lock):
            raise AlreadyRunning(places.state, read_pid(places))
        # By rename, so that a reader never sees half a number.
        draft = places.core_pid.with_suffix(".new")
        draft.write_text(f"{os.getpid()}\n")
        draft.rename(places.core_pid)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                places.core_pid.unlink()
    finally:
        os.close(lock)


def _take(lock: int) -> bool:
    """Tries for half a second: `is_held` elsewhere takes the lock for an instant, and a dying core gives it back."""
    for last in (False,) * 10 + (True,):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if last:
                break
            time.sleep(0.05)
        else:
            return True
    return False


def is_held(places: StatePlaces) -> bool:
    """Whether a living process holds the state directory at this moment."""
    try:
        lock = os.open(places.core_lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise NoRights(f"look into the state directory {places.state}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def read_pid(places: StatePlaces) -> int | None:
    """The process id that the holder wrote, or None."""
    try:
        return int(places.core_pid.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
