"""What the service manager hears, on a socket of the test's own."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from appliance.notify import PER_WATCH, Notify


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@hybrid-drive-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0" + address[1:] if address.startswith("@") else address)
        heard.setblocking(False)
        yield address, heard


def all_of(heard: socket.socket) -> list[str]:
    told = []
    while True:
        try:
            told.append(heard.recv(4096).decode())
        except BlockingIOError:
            return told


def test_the_manager_hears_that_the_drive_serves_and_that_it_stops(manager: tuple[str, socket.socket]) -> None:
    address, heard = manager
    notify = Notify({"NOTIFY_SOCKET": address})
    notify.ready("The drive serves.")
    notify.status("The core is started again.")
    notify.stopping()
    ready, status, stopping = all_of(heard)
    assert ready.splitlines() == ["READY=1", "STATUS=The drive serves."]
    assert status == "STATUS=The core is started again."
    assert "STOPPING=1" in stopping


async def test_the_watch_is_kept_often_enough(autojump_clock: MockClock, manager: tuple[str, socket.socket]) -> None:
    address, heard = manager
    notify = Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())})
    with trio.move_on_after(60):
        await notify.keep_watch()
    assert all_of(heard) == ["WATCHDOG=1"] * PER_WATCH


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "1"}])
async def test_without_a_manager_nothing_is_told(environment: dict[str, str]) -> None:
    notify = Notify(environment)
    notify.ready("")
    await notify.keep_watch()


@pytest.mark.expected_log("could not be told")
def test_a_manager_that_is_gone_stops_nothing(tmp_path: Path) -> None:
    Notify({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("")


async def test_a_watch_that_is_another_process_s_is_not_kept(manager: tuple[str, socket.socket]) -> None:
    address, heard = manager
    await Notify({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}).keep_watch()
    assert all_of(heard) == []
