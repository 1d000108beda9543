"""The companion process that makes the kernel hand over what it holds dirty.

With the writeback cache, bytes of a file that stays open reach the core only after 30 s (T12). The companion calls
syncfs on the mount every few seconds; and on command, before a snapshot, it fsyncs each file that the core names as
open for writing, because syncfs starts the writing but does not wait for it. It is a process of its own: the core must
never touch its own mount, and may abandon a companion that hangs.

It reads one JSON line a command from stdin, {"id": n, "paths": [...]} (paths below the mount, as latin-1 text for
bytes), and answers {"id": n, "synced": count}. It ends at the end of stdin.
"""

import ctypes
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import trio

PERIOD_S = 5.0
DEADLINE_S = 10.0


class Flusher:
    """The core's side. `run` must be running."""

    def __init__(self, mount: Path, period_s: float = PERIOD_S) -> None:
        self.pid: int | None = None
        self._mount = mount
        self._period_s = period_s
        self._process: trio.Process | None = None
        self._waiting: dict[int, trio.Event] = {}
        self._last = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a companion running until cancelled."""
        first = True
        while True:
            command = [sys.executable, "-m", __name__, str(self._mount), str(self._period_s)]
            self._process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.pid = self._process.pid
            if first:
                task_status.started()
                first = False
            try:
                await self._read_answers(self._process)
            finally:
                self._process.kill()
                with trio.CancelScope(shield=True), trio.move_on_after(2):
                    await self._process.wait()
            await trio.sleep(1)

    async def _read_answers(self, process: trio.Process) -> None:
        assert process.stdout is not None
        buffer = b""
        async for chunk in process.stdout:
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                event = self._waiting.pop(json.loads(line)["id"], None)
                if event is not None:
                    event.set()

    async def flush(self, paths: Iterable[bytes], deadline_s: float = DEADLINE_S) -> bool:
        """Bring everything written to these files so far to the core. False when the deadline passed first."""
        process = self._process
        if process is None or process.stdin is None:
            return False
        self._last += 1
        event = self._waiting[self._last] = trio.Event()
        command = {"id": self._last, "paths": [path.decode("latin-1") for path in paths]}
        with trio.move_on_after(deadline_s) as scope:
            try:
                await process.stdin.send_all(json.dumps(command).encode() + b"\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return False
            await event.wait()
        self._waiting.pop(command["id"], None)  # type: ignore[call-overload]
        return not scope.cancelled_caught


def main(mount: str, period_s: float) -> None:
    """The companion itself."""
    libc = ctypes.CDLL(None, use_errno=True)
    threads = ThreadPoolExecutor(4)
    commands = b""
    while True:
        ready, _, _ = select.select([0], [], [], period_s)
        if not ready:
            sync_all(libc, mount)
            continue
        chunk = os.read(0, 1 << 20)
        if not chunk:
            return
        *lines, commands = (commands + chunk).split(b"\n")
        for line in lines:
            command = json.loads(line)
            paths = [os.path.join(os.fsencode(mount), path.encode("latin-1")) for path in command["paths"]]
            synced = sum(threads.map(sync_one, paths))
            os.write(1, json.dumps({"id": command["id"], "synced": synced}).encode() + b"\n")


def sync_all(libc: ctypes.CDLL, mount: str) -> None:
    """syncfs(2) on the mount; the folder is open only meanwhile, so that it can be unmounted."""
    try:
        fd = os.open(mount, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        libc.syncfs(fd)
    finally:
        os.close(fd)


def sync_one(path: bytes) -> bool:
    """fsync one file, if it is still there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        os.fsync(fd)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
