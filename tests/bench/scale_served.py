"""A drive that was built beforehand, served by a core as in real life, and watched from outside.

What the core holds is its resident memory; how long it was away is counted by itself; how long others wait is asked by
a process that looks for names that nobody has.
"""

import json
import os
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from bench.scale_table import Line
from kit.mounted import STOP_DEADLINE_S, MountedDrive, await_true

from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem

PROBER = Path(__file__).with_name("prober.py")
LISTENS_S = 60.0
PRUNES_S = 240.0
SETTLES_S = 120.0


class Served:
    """One served drive. `root` is its mount, `control` its control interface."""

    def __init__(self, state: Path, mount: Path) -> None:
        self.drive = MountedDrive(state, mount)
        self.root = mount
        self.control = ControlClient(state / "run" / "control.sock", timeout_s=LISTENS_S)

    def __enter__(self) -> Self:
        began = time.perf_counter()
        self.drive.start()
        self.started_s = time.perf_counter() - began
        await_true(self._is_listening, LISTENS_S, "a control interface that answers")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(AssertionError):
            self.drive.stop()
        self.drive.clear_away(keep_state=True)

    def _is_listening(self) -> bool:
        try:
            self.control.status()
        except ControlProblem:
            return False
        return True

    def catch_up(self) -> None:
        """Wait until the store has all of it, the first checkpoint too."""
        task = self.control.flush()
        await_true(lambda: self.control.task(task.id).state != "running", SETTLES_S, "a drive that is all sent")

    def kill_and_restart(self) -> float:
        """kill -9, and how long until a new core serves."""
        os.kill(self.drive.core_pid(), signal.SIGKILL)
        process = self.drive._process
        assert process is not None
        process.wait(STOP_DEADLINE_S)
        self.drive.clear_away(keep_state=True)
        began = time.perf_counter()
        self.drive.start()
        return time.perf_counter() - began

    def resident_mib(self) -> float:
        """Memory of the core."""
        status = Path(f"/proc/{self.drive.core_pid()}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @contextmanager
    def most_resident_mib(self) -> Iterator[list[float]]:
        """A list that holds, after the block, the most memory of the core during it."""
        place = Path(f"/proc/{self.drive.core_pid()}")
        (place / "clear_refs").write_text("5")  # the kernel's count of the peak begins anew
        most: list[float] = []
        yield most
        most.append(int((place / "status").read_text().split("VmHWM:")[1].split()[0]) / 1024)

    def slow_turns(self) -> int:
        """How often the loop was away for more than 20 ms, by its own count."""
        return self.control.status().slow_turns

    def slow_turns_since(self, before: int, during: str) -> Line:
        """A line about the turns since the count `before`. On a machine with other work the loop is away without having
        anything to do, so the line is judged by the turns in which it was at work for so long.
        """
        counted = self.slow_turns()
        worked = [
            int(ms) for ms in re.findall(r"the loop was away for \d+ ms, (\d+) ms of it at work", self.drive.log())
        ]
        long = [ms for ms in worked[len(worked) - (counted - before) :] if ms > 20] if counted > before else []
        told = f"{counted - before} away for so long, at work for at most {max(long, default=20)} ms of it"
        return Line(f"turns of the loop with over 20 ms of work: {during}", len(long), "", 0, told)

    def settle(self) -> None:
        """Wait until a cut holds everything and the reaper has nothing to do that shows in the rows."""
        await_true(lambda: self.control.status().uncommitted_rows == 0, LISTENS_S, "a drive at rest")


def await_pruned(state: Path) -> None:
    """Wait until nothing is left of any snapshot, as the last cut tells. All of them must have been deleted."""

    def is_done() -> bool:
        with sqlite3.connect(f"file:{state / 'drive.db'}?mode=ro", uri=True) as database:
            left = database.execute("SELECT (SELECT count(*) FROM snapshots), (SELECT count(*) FROM gone_contents)")
            return bool(left.fetchone() == (0, 0))

    await_true(is_done, PRUNES_S, "all deleted snapshots taken apart")


def timed_ms(call: Any, *arguments: Any) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call(*arguments)
    return (time.perf_counter() - began) * 1000


@contextmanager
def probed(place: Path, took_ms: list[float]) -> Iterator[None]:
    """Meanwhile a process asks for a name that is not there (`prober`); how long each took is noted at the end."""
    prober = subprocess.Popen([sys.executable, PROBER, place], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        told, _ = prober.communicate()
        took_ms.extend(json.loads(told))


def percentile(values: list[float], share: float) -> float:
    """The value that so large a share lies below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    return statistics.median(values)
