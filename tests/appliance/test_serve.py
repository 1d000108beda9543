"""`serve` with a real core on a real mount: it comes back, and leaves nothing behind however it ends."""

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem
from appliance.lock import is_held, read_pid
from appliance.mounts import find_mount, remove_mount
from appliance.places import StatePlaces

PROGRAM = (sys.executable, "-m", "appliance")


class Served:
    """A `serve` process with its places."""

    def __init__(self, home: Path) -> None:
        self.places = StatePlaces(home / "state")
        self.mount = home / "drive"
        self.arguments = ("--state", str(self.places.state), "--mount", str(self.mount))
        self.process = subprocess.Popen(
            [*PROGRAM, "serve", *self.arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def pid(self) -> int:
        pid = read_pid(self.places)
        assert pid is not None
        return pid

    def await_serving(self, unlike: int | None = None) -> int:
        """Waits until a core other than `unlike` answers; gives its pid."""

        def answers() -> bool:
            try:
                with ControlClient(self.places.control_socket, timeout_s=5) as core:
                    return core.status().state == "serving" and self.pid() != unlike
            except (ControlProblem, AssertionError):
                return False

        await_true(answers)
        return self.pid()

    def assert_nothing_is_left(self, core: int) -> None:
        await_true(lambda: not Path(f"/proc/{core}").exists())
        assert find_mount(self.mount) is None
        assert not is_held(self.places)
        assert [each.name for each in self.places.run.iterdir()] == ["core.lock"]


def lists(folder: Path, name: str) -> bool:
    """Whether a listing shows it; False while there is no listing. An empty one would be a lie."""
    try:
        found = os.listdir(folder)
    except OSError:
        return False
    assert name in found
    return True


def await_true(claim: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < end, "waited 20 s in vain"
        time.sleep(0.02)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    try:
        yield served
    finally:
        served.process.kill()
        pid = read_pid(served.places)
        if pid is not None and is_held(served.places):
            remove_mount(served.mount)
            os.kill(pid, signal.SIGKILL)
        served.process.communicate(timeout=10)
        remove_mount(served.mount)


@pytest.mark.needs_program("fusermount3")
def test_a_killed_core_comes_back_and_a_stop_leaves_nothing(served: Served) -> None:
    first = served.await_serving()
    (served.mount / "kept.txt").write_text("kept")
    second = subprocess.run([*PROGRAM, "serve", *served.arguments], capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (6, "")
    assert str(first) in second.stderr
    os.kill(first, signal.SIGKILL)
    await_true(lambda: not lists(served.mount, "kept.txt"))
    with pytest.raises(OSError, match=r"not connected|aborted"):
        (served.mount / "into the folder below").touch()
    again = served.await_serving(unlike=first)
    assert (served.mount / "kept.txt").read_text() == "kept"
    served.process.terminate()
    out, err = served.process.communicate(timeout=30)
    assert served.process.returncode == 0
    assert f"mounted at {served.mount}" in out
    assert "ended by SIGKILL" in err
    assert "Traceback" not in err
    served.assert_nothing_is_left(again)


@pytest.mark.needs_program("fusermount3")
def test_a_killed_supervisor_takes_its_core_along(served: Served) -> None:
    core = served.await_serving()
    for folder in (served.places.state, served.places.run):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o711
    files = [each for each in served.places.state.iterdir() if each.is_file()]
    assert len(files) >= 4
    for file in files:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, f"{file} holds what is people's own"
    served.process.kill()
    await_true(lambda: find_mount(served.mount) is None)
    served.assert_nothing_is_left(core)
