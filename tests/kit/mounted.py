"""The product as real processes: a drive that is made, mounted, stopped and killed from outside.

Owns the life of one `appliance mount` or `appliance serve` process for a test. Promises that a start returns only
when the kernel lists the mount, that a failed start, stop or command raises with the end of the process's log in the
message, and that `clear_away` leaves neither a process nor a mount behind, whatever state the drive was in. Refuses
to import anything of the product: these tests see what a user sees. Every wait polls a condition under a deadline,
because nothing here owns the clock of another process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 60.0
COMMAND_DEADLINE_S = 120.0

_COMPLAINT = re.compile(r"Traceback \(most recent call last\)|\b(ERROR|CRITICAL)\b|Exception ignored in")


class DriveFailed(AssertionError):
    """The product did not start, stop or unmount as promised; the message carries the end of its log."""


class CommandFailed(AssertionError):
    """A command of the product ended with a code other than 0: `code`, and what it printed."""

    def __init__(self, arguments: Sequence[str], code: int, stderr: str, stdout: str = "") -> None:
        said = f"{stderr.strip() or 'no message'} {stdout.strip()}"
        super().__init__(f"`{' '.join(arguments)}` ended with {code}: {said}")
        self.code = code
        self.stderr = stderr
        self.stdout = stdout


def await_true(claim: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Polls `claim` until it holds; raises DriveFailed naming `what` after `deadline_s` seconds."""
    end = time.monotonic() + deadline_s
    while not claim():
        if time.monotonic() > end:
            raise DriveFailed(f"not within {deadline_s:g} s: {what}")
        time.sleep(0.01)


def mounted_device(mount: Path) -> int | None:
    """Minor number of the topmost mount at `mount`, read from mountinfo so that a hung mount is never touched."""
    minor = None
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        fields = line.split(" ")
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        if place == os.fspath(mount):
            minor = int(fields[2].split(":")[1])
    return minor


class MountedDrive:
    """One drive: its state directory, its mount point, and the process that serves it."""

    def __init__(self, state: Path, mount: Path, *, supervised: bool = False) -> None:
        self.state = state
        self.mount = mount
        self.supervised = supervised
        self.console = state.with_name(state.name + ".console.log")
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls, *, supervised: bool = False) -> MountedDrive:
        """A new drive in a temporary place that other users may pass through, started."""
        home = Path(tempfile.mkdtemp(prefix="hybrid-drive-"))
        home.chmod(0o755)
        drive = cls(home / "state", home / "drive", supervised=supervised)
        try:
            drive.run_command("init", as_json=False)
            drive.start()
        except BaseException:
            drive.clear_away()
            raise
        return drive

    def start(self) -> None:
        """Starts the process and waits until the kernel lists the mount and its root answers."""
        if mounted_device(self.mount) is None:
            self.mount.mkdir(parents=True, exist_ok=True)
        before = self._serving_pid()
        verb = "serve" if self.supervised else "mount"
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                [*self._program(), verb, "--state", str(self.state), "--mount", str(self.mount)],
                cwd=REPOSITORY,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self.await_serving(START_DEADLINE_S, unlike=before)

    def await_serving(self, deadline_s: float, *, unlike: int | None = None) -> float:
        """Waits until a core other than process `unlike` serves the mount; returns the seconds it took."""
        begun = time.monotonic()

        def serves() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise DriveFailed(f"the process ended early.\n{self.log_tail()}")
            pid = self._serving_pid()
            if pid is None or pid == unlike:
                return False
            try:
                os.statvfs(self.mount)
            except OSError:
                return False
            return mounted_device(self.mount) is not None  # after it: a dead mount does not answer, a bare folder does

        try:
            await_true(serves, deadline_s, f"a mount that answers at {self.mount}")
        except DriveFailed as failure:
            raise DriveFailed(f"{failure}\n{self.log_tail()}") from None
        return time.monotonic() - begun

    def stop(self) -> None:
        """SIGTERM, as systemd would: the process must end with 0 and leave no mount."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            tail = self.log_tail()
            self.clear_away(keep_state=True)
            raise DriveFailed(f"no end {STOP_DEADLINE_S:g} s after SIGTERM.\n{tail}") from None
        self._process = None
        if code != 0:
            raise DriveFailed(f"ended with {code} after SIGTERM.\n{self.log_tail()}")
        if mounted_device(self.mount) is not None:
            raise DriveFailed(f"ended, but {self.mount} is still mounted.\n{self.log_tail()}")

    def kill(self) -> int:
        """kill -9 of the core; returns its pid. The mount is left as the death left it."""
        pid = self.core_pid()
        os.kill(pid, signal.SIGKILL)
        if self._process is not None and not self.supervised:
            self._process.wait(STOP_DEADLINE_S)
            self._process = None
        return pid

    def remount(self) -> None:
        """Stops if it runs, then starts again: what was written must be there by itself."""
        self.stop()
        self.start()

    def cli(self, *arguments: str) -> Any:
        """Runs one command with `--json` and returns what it printed, parsed; raises CommandFailed."""
        return self.run_command(*arguments)

    def run_command(self, *arguments: str, as_json: bool = True) -> Any:
        words = [*arguments, "--state", str(self.state), *(["--json"] if as_json else [])]
        ended = subprocess.run(
            [*self._program(), *words],
            cwd=REPOSITORY,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=COMMAND_DEADLINE_S,
            check=False,
        )
        if ended.returncode != 0:
            failure = CommandFailed(words, ended.returncode, ended.stderr, ended.stdout)
            if self._process is not None and self._process.poll() is not None:
                # A command that finds nobody does not say why; the log of the core that ended does.
                failure.add_note(f"the drive's own process ended with {self._process.returncode}.\n{self.log_tail()}")
            raise failure
        return json.loads(ended.stdout) if as_json and ended.stdout.strip() else None

    def core_pid(self) -> int:
        """Pid of the core as the product wrote it down."""
        return int((self.state / "run" / "core.pid").read_text().split()[0])

    def log(self) -> str:
        """Everything the processes of this drive have logged or printed so far."""
        sources = [self.console, *sorted((self.state / "log").glob("*.log*"))]
        return "".join(source.read_text("utf-8", "replace") for source in sources if source.exists())

    def log_tail(self, lines: int = 60) -> str:
        return "--- end of the drive's log ---\n" + "\n".join(self.log().splitlines()[-lines:])

    def complaints(self) -> list[str]:
        """Log lines that must not be there: tracebacks and errors."""
        return [line for line in self.log().splitlines() if _COMPLAINT.search(line)]

    def abort_connection(self) -> None:
        """Makes every waiting call on the mount fail at once; the only way out of a hung core."""
        minor = mounted_device(self.mount)
        abort = Path(f"/sys/fs/fuse/connections/{minor}/abort")
        if minor is not None and abort.exists():
            abort.write_text("1")

    def clear_away(self, *, keep_state: bool = False) -> None:
        """Ends what is left of this drive by force: process group, connection, mount and (unless kept) its files."""
        if self._process is not None and self._process.poll() is None:
            self.abort_connection()
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(STOP_DEADLINE_S)
        self._process = None
        while mounted_device(self.mount) is not None:
            self.abort_connection()
            # A dying core takes its mount along, at a moment of its own choosing.
            ended = subprocess.run(["umount", "-l", str(self.mount)], check=False, capture_output=True)
            if ended.returncode and mounted_device(self.mount) is not None:
                raise AssertionError(f"{self.mount} stays mounted: {ended.stderr.decode()}")
        if not keep_state:
            shutil.rmtree(self.state.parent, ignore_errors=True)

    def _serving_pid(self) -> int | None:
        try:
            pid = self.core_pid()
            os.kill(pid, 0)
        except (OSError, ValueError, IndexError):
            return None
        return pid

    def _program(self) -> list[str]:
        """How `hybrid-drive` is called; tests put something of their own around it."""
        return [sys.executable, "-m", "appliance"]

    @staticmethod
    def _environment() -> dict[str, str]:
        # No snapshot that the test did not make: a minute may end in the middle of it.
        return os.environ | {
            "HYBRID_DRIVE_PASSPHRASE": "only for tests",
            "HYBRID_DRIVE_SNAPSHOTS_SCHEDULED": "false",
            "PYTHONUNBUFFERED": "1",
        }
