"""Who is measured: the drive, the null file system, and a plain folder on the disk that both stand on.

A subject is a context: inside it, `place` is a folder to work in; afterwards neither its process nor its mount is left,
whatever happened. Peers are in `peers`.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kit.mounted import MountedDrive, await_true, mounted_device

READ_AHEAD_KIB = 1024  # what the drive's core sets for its own mount
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 60.0
SPIN = """
import os, sys
core, parent = map(int, sys.argv[1:])
os.sched_setaffinity(0, [core])
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


class Subject:
    """One file system under test. `snapshot` is what keeps its present state, where there is such a thing."""

    def __init__(self, name: str, place: Path, snapshot: Callable[[], object] | None = None) -> None:
        self.name = name
        self.place = place
        self.snapshot = snapshot


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder on the disk, removed afterwards."""
    home = Path(tempfile.mkdtemp(prefix="hybrid-drive-bench-"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def disk() -> Iterator[Subject]:
    """A plain folder."""
    with scratch() as home:
        yield Subject("disk", home)


def new_drive(is_polling: bool) -> MountedDrive:
    """A new drive that looks out for requests or sleeps at once, started."""
    home = Path(tempfile.mkdtemp(prefix="hybrid-drive-bench-"))
    home.chmod(0o755)
    made = MountedDrive(home / "state", home / "drive")
    made.run_command("init", as_json=False)
    config = made.state / "config.toml"
    config.write_text(config.read_text().replace("polling = true ", f"polling = {str(is_polling).lower()} "))
    made.start()
    return made


@contextmanager
def drive(is_polling: bool = True) -> Iterator[Subject]:
    """A new drive, its core a process as in real life."""
    made = new_drive(is_polling)
    names = iter(range(1_000_000))
    try:
        yield Subject("drive", made.mount, lambda: made.cli("snapshot", "create", f"bench-{next(names)}"))
    finally:
        with suppress(AssertionError):  # it is judged elsewhere how a drive stops; here it only has to be gone
            made.stop()
        made.clear_away()


@contextmanager
def null(is_polling: bool = True) -> Iterator[Subject]:
    """The null file system, with the drive's read-ahead."""
    with scratch() as home:
        place = home / "null"
        program = [sys.executable, str(Path(__file__).with_name("null_fs.py")), str(place)]
        program += [] if is_polling else ["--sleepy"]
        with mounted(program, place):
            device = mounted_device(place)
            Path(f"/sys/class/bdi/0:{device}/read_ahead_kb").write_text(str(READ_AHEAD_KIB))
            yield Subject("null", place)


@contextmanager
def mounted(program: list[str], place: Path, *, unmount: list[str] | None = None) -> Iterator[None]:
    """Runs a program that serves a mount at `place` for as long as it is mounted."""
    place.mkdir()
    process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def serves() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{program[0]} ended with {process.returncode}")
        return mounted_device(place) is not None

    try:
        await_true(serves, START_DEADLINE_S, f"{program[0]} mounted at {place}")
        yield
    finally:
        if mounted_device(place) is not None:
            subprocess.run(unmount or ["umount", str(place)], check=False, timeout=STOP_DEADLINE_S)
        if mounted_device(place) is not None:
            subprocess.run(["umount", "-l", str(place)], check=False)
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that should end by itself now; if it does not, make it."""
    for last_word in (process.terminate, process.kill):
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            last_word()
        else:
            return
    process.wait()


@contextmanager
def awake_cores() -> Iterator[None]:
    """Keeps every core from going to sleep: waking a virtual one costs more than the request that is measured.

    The kernel is asked for no latency at all (Documentation/power/pm_qos_interface.rst), so that an idle core polls.
    Where it has no way to do that, spinners keep the cores busy, the nicest processes there are, one a core; then a
    process that has just slept for the disk may wait for a time slice of theirs.
    """
    driver = Path("/sys/devices/system/cpu/cpuidle/current_driver")
    if driver.exists() and driver.read_text().strip() != "none":
        with Path("/dev/cpu_dma_latency").open("wb", buffering=0) as wish:
            wish.write(struct.pack("i", 0))
            yield
        return
    spinners = [
        subprocess.Popen(["nice", "-n", "19", sys.executable, "-c", SPIN, str(core), str(os.getpid())])
        for core in sorted(os.sched_getaffinity(0))
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
        for spinner in spinners:
            spinner.wait()
