"""How the doors live: written by the supervisor, which keeps them alive, and read by whoever wants to know.

A file, `STATE/run/doors.json`, and not a message to the core: it tells as well while the core is dead, and the doors
with it. It lives as long as the supervisor.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from appliance.control.protocol import DoorName, DoorState, DoorStatus
from cloud_tier.clock import Clock


class DoorBook:
    """The supervisor's end."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._doors: dict[DoorName, DoorStatus] = {}
        self._served: dict[DoorName, int] = {}  # how often each began to

    def teller(self, name: DoorName, why: Callable[[int], str]) -> Callable[[DoorState, int], None]:
        """What a door's `Child.tell` is: `why` turns the code it ended with into a sentence."""

        def tell(life: DoorState, code: int) -> None:
            before = self._doors.get(name)
            # A door that is tried again and again stays down, with the reason, until it serves.
            if life == "starting" and before is not None and before.state == "down":
                return
            if life == "serving":
                self._served[name] = self._served.get(name, 0) + 1
            self.enter(name, life, why(code) if life == "down" else None)

        return tell

    def enter(self, name: DoorName, state: DoorState, reason: str | None = None) -> None:
        """Write down how a door lives from now on."""
        before = self._doors.get(name)
        if before is not None and before.state == state:
            since = before.since
        else:
            since = datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC)
        restarts = max(0, self._served.get(name, 0) - 1)
        self._doors[name] = DoorStatus(name=name, state=state, since=since, restarts=restarts, reason=reason)
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps([door.model_dump(mode="json") for door in self._doors.values()]))
        draft.rename(self._file)

    def close(self) -> None:
        """Nobody keeps them alive any more."""
        self._file.unlink(missing_ok=True)


def read_doors(file: Path) -> list[DoorStatus]:
    """How the doors live; [] where nobody keeps any."""
    try:
        return [DoorStatus.model_validate(each) for each in json.loads(file.read_text())]
    except (OSError, ValueError):
        return []
