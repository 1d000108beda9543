"""Who makes changes. Every live and history row carries an actor's number; 0 means unknown, or several.

The kernel names a user and a thread. Who works on the machine itself is that user. Whoever comes in by a door works
through a process of that door, which registers before it serves: then the actor is the user at his device. A door's
process is one session; a request that it makes as root, to keep its own books, is the session's as well.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cachefs.counters import Counters
from cachefs.database import Database

SEVERAL = 0


class Caller(NamedTuple):
    """On whose behalf an operation runs."""

    uid: int
    gid: int
    actor_id: int


class Session(NamedTuple):
    """Whom a door's process serves. `kind` as in the table of actors; `device` is the name of his machine."""

    kind: str
    uid: int
    device: str


def process_of(thread: int) -> int | None:
    """The process that a thread of this machine belongs to; None when it is gone."""
    try:
        status = Path(f"/proc/{thread}/status").read_bytes()
    except OSError:
        return None
    _, _, rest = status.partition(b"\nTgid:")
    return int(rest.split(None, 1)[0]) if rest else None


class Actors:
    """The table of actors, and the sessions of doors by their processes."""

    def __init__(
        self, database: Database, counters: Counters, process_of: Callable[[int], int | None] = process_of
    ) -> None:
        self._database = database
        self._counters = counters
        self._process_of = process_of
        self._ids: dict[tuple[str, int, str], int] = {}
        self._sessions: dict[int, dict[int, Session]] = {}  # process, uid: one serves all users of a machine

    def load(self) -> None:
        """Read the table."""
        self._ids = {
            (kind, user, device): actor for actor, kind, user, device in self._database.rows("SELECT * FROM actors")
        }

    def local(self, uid: int) -> int:
        """The actor that stands for a user of this machine."""
        return self._id(("local", uid, ""))

    def behind(self, uid: int, thread: int) -> int:
        """The actor behind a request of the kernel's: the user, at the device whose session the thread belongs to."""
        sessions = self._sessions_of(thread) if self._sessions else None
        if not sessions:
            return self._id(("local", uid, ""))
        session = sessions.get(uid) or next(reversed(sessions.values()))
        return self._id((session.kind, uid or session.uid, session.device))

    def _sessions_of(self, thread: int) -> dict[int, Session] | None:
        sessions = self._sessions.get(thread)  # most of a door's requests come from its first thread
        if sessions is None:
            process = self._process_of(thread)
            sessions = self._sessions.get(process) if process is not None else None
        return sessions

    def register(self, process: int, session: Session) -> None:
        """From now on, requests of `process` are those of `session`, or of another one of that process. Whoever
        registers it forgets the process when it ends, before its number can become another's.
        """
        self._sessions.setdefault(process, {})[session.uid] = session

    def forget(self, process: int) -> None:
        """The process has ended."""
        self._sessions.pop(process, None)

    def sessions(self) -> dict[int, dict[int, Session]]:
        """All of them, by process and uid. Do not change the dicts."""
        return self._sessions

    def _id(self, key: tuple[str, int, str]) -> int:
        actor_id = self._ids.get(key)
        if actor_id is None:
            actor_id = self._counters.next("actor")
            with self._database.operation:
                self._database.write("INSERT INTO actors VALUES (?, ?, ?, ?)", (actor_id, *key))
            self._ids[key] = actor_id
        return actor_id

    def describe(self, actor_id: int) -> tuple[str, int, str]:
        """kind, uid and device of an actor; ('unknown', -1, '') for 0."""
        for key, known in self._ids.items():
            if known == actor_id:
                return key
        return ("unknown", -1, "")
