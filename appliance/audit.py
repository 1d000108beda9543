"""The audit log: who changed what through the control interface, and who was refused, one JSON object a line.

    {"at": …, "uid": …, "user": …, "peer": …, "request": "POST /v1/users", "asked": {…}, "status": 201}

Promises a line for each request that changes something or is refused for want of rights, before it is answered;
`peer` is there when root asked for somebody else. What was asked is told by the fields in `TOLD` and no others, so
that no password, and nothing that will be invented later, gets here by being forgotten. The log is only ever appended
to; a long one is put aside as `audit.log.1`, those before move on, and the eleventh goes: an office takes years.
A disk that refuses the line does not stop the drive: the core's log says so.
"""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from cloud_tier.clock import Clock

log = logging.getLogger(__name__)

TOLD = frozenset(
    {"name", "full_name", "role", "access", "path", "at", "to", "dry_run", "force", "label", "kind", "uid", "device"}
)
MOST_TOLD = 4096  # bytes of what was asked
LONG_BYTES = 16 << 20
PUT_ASIDE = 10


class Event(NamedTuple):
    """A request that was answered. `request`: method and path as asked; `uid`: on whose behalf."""

    uid: int
    peer: int
    request: str
    asked: dict[str, Any]
    status: int


class Audit:
    """The file, and the names of people. `name_of` gives a user's name, if he is one."""

    def __init__(self, file: Path, clock: Clock, name_of: Callable[[int], str | None]) -> None:
        self._file = file
        self._clock = clock
        self._name_of = name_of

    def write(self, event: Event) -> None:
        """Append a line. Waits for no disk: it survives the death of the core, and a power loss some seconds later."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC).isoformat(timespec="milliseconds"),
            "uid": event.uid,
            "user": self._name_of(event.uid),
        }
        if event.peer != event.uid:
            line["peer"] = event.peer
        line |= {"request": event.request, "asked": event.asked, "status": event.status}
        if event.status == 403:
            line["refused"] = f"refused: uid {event.uid} {event.request}"
            log.info("refused: uid %d %s", event.uid, event.request)
        try:
            with self._file.open("a", encoding="ascii") as file:
                file.write(json.dumps(line) + "\n")
                is_long = file.tell() > LONG_BYTES
            if is_long:
                self._put_aside()
        except OSError as error:
            log.warning("the audit log cannot be written: %s", error)

    def _put_aside(self) -> None:
        names = [self._file, *(self._file.with_name(f"{self._file.name}.{n}") for n in range(1, PUT_ASIDE + 1))]
        for newer, older in reversed(list(pairwise(names))):
            if newer.exists():
                newer.replace(older)


def told(body: bytes) -> dict[str, Any]:
    """What of a request's body is told."""
    try:
        fields = json.loads(body) if len(body) <= MOST_TOLD else {}
    except ValueError:
        return {}
    return {name: value for name, value in fields.items() if name in TOLD} if isinstance(fields, dict) else {}
