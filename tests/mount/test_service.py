"""A served drive as the service manager sees it: ready once it serves, watched, and told when it stops."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit.mounted import MountedDrive, await_true

WATCH_S = 0.6
STOPS_WITHIN_S = 20.0


def test_the_service_manager_hears_of_a_start_a_return_and_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, told = str(tmp_path / "notify"), list[str]()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.setblocking(False)

        def has_heard(what: str, times: int = 1) -> bool:
            try:
                while True:
                    told.append(manager.recv(4096).decode())
            except BlockingIOError:
                return sum(what in one for one in told) >= times

        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCH_S * 1e6)))
        drive = MountedDrive.make(supervised=True)
        try:
            await_true(lambda: has_heard("READY=1"), 30, "READY=1")
            assert os.path.ismount(drive.mount), "ready means that files can be saved"
            await_true(lambda: has_heard("WATCHDOG=1", 3), 30, "a watch that is kept")
            os.kill(drive.core_pid(), signal.SIGKILL)
            await_true(lambda: has_heard("The drive is back"), 30, "a status when the core is back")
            drive.stop()
            assert has_heard("STOPPING=1")
        finally:
            drive.clear_away()


def test_a_namespace_that_has_the_mount_too_does_not_keep_the_drive_from_stopping() -> None:
    drive = MountedDrive.make(supervised=True)
    elsewhere = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sleep", "600"])
    try:
        await_true(lambda: _mount_space(elsewhere.pid) != _mount_space(os.getpid()), 10, "a mount namespace of its own")
        began = time.monotonic()
        drive.stop()
        assert time.monotonic() - began < STOPS_WITHIN_S
        assert not os.path.ismount(drive.mount)
        assert sorted(path.name for path in (drive.state / "run").iterdir()) == ["core.lock"]
    finally:
        elsewhere.kill()
        elsewhere.wait()
        drive.clear_away()


def _mount_space(process: int) -> str:
    return os.readlink(f"/proc/{process}/ns/mnt")


WRITES = """
import sys, time
file = open(sys.argv[1], 'wb', buffering=0)
file.write(b'x' * 100000)
print('written', flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("where", ["here", "in another mount namespace"])
def test_a_stop_keeps_what_a_program_has_written_and_not_closed(where: str) -> None:
    drive = MountedDrive.make()
    view = [] if where == "here" else ["unshare", "--mount", "--propagation", "private"]
    command = [*view, sys.executable, "-c", WRITES, str(drive.mount / "file")]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "written\n"
            try:
                drive.stop()
            finally:
                program.kill()
        drive.start()
        assert (drive.mount / "file").stat().st_size == 100_000
    finally:
        drive.clear_away()
