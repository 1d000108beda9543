"""Sessions of doors: known from the moment they register until their process ends, however it ends."""

import subprocess
import sys
from typing import cast

import pytest
import trio

from appliance.control.protocol import ServiceError, SessionRequest
from appliance.sessions import Sessions
from vfs.actors import Actors, Session


class KnownSessions:
    """The part of `Actors` that holds them."""

    def __init__(self) -> None:
        self.known: dict[int, Session] = {}
        self.changed = trio.Event()

    def sessions(self) -> dict[int, Session]:
        return self.known

    def register(self, process: int, session: Session) -> None:
        self.known[process] = session

    def forget(self, process: int) -> None:
        del self.known[process]
        self.changed.set()


async def test_a_session_is_forgotten_when_its_process_is_killed() -> None:
    actors = KnownSessions()
    sessions = Sessions(cast("Actors", actors))
    door = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(sessions.run)
            request = SessionRequest(pid=door.pid, kind="smb", uid=60_001, device="desk-3")
            await sessions.register(request)
            await sessions.register(request)  # one for each share that he opens
            assert actors.known == {door.pid: Session("smb", 60_001, "desk-3")}
            door.kill()
            with trio.fail_after(20):
                await actors.changed.wait()
            assert actors.known == {}
            nursery.cancel_scope.cancel()
    finally:
        door.kill()
        door.communicate()


async def test_a_process_that_has_ended_is_refused() -> None:
    actors = KnownSessions()
    door = subprocess.Popen([sys.executable, "-c", ""])
    door.wait()
    with pytest.raises(ServiceError) as caught:
        await Sessions(cast("Actors", actors)).register(SessionRequest(pid=door.pid, kind="smb", uid=1))
    assert caught.value.code == "not_found"
    assert actors.known == {}
