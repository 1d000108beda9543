"""Who makes changes. Every live and history row carries an actor's number; 0 means unknown, or several."""

from typing import NamedTuple

from cachefs.counters import Counters
from cachefs.database import Database

SEVERAL = 0


class Caller(NamedTuple):
    """On whose behalf an operation runs."""

    uid: int
    gid: int
    actor_id: int


class Actors:
    """The table of actors. Doors will register who stands behind a process; until then an actor is a local user."""

    def __init__(self, database: Database, counters: Counters) -> None:
        self._database = database
        self._counters = counters
        self._ids: dict[tuple[str, int, str], int] = {}

    def load(self) -> None:
        """Read the table."""
        self._ids = {
            (kind, user, device): actor for actor, kind, user, device in self._database.rows("SELECT * FROM actors")
        }

    def local(self, uid: int) -> int:
        """The actor that stands for a user of this machine."""
        key = ("local", uid, "")
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
