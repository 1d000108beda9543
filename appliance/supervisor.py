"""Keeps a child process alive: starts it, asks it how it is, and starts it again when it died or hangs.

Owns the child's process and what it leaves behind. Promises:
- a child that ends is started again after a pause that doubles (0.1 s to 5 s) and begins anew after 60 s of service;
- a child that holds its connections but does not answer three times is ended: its mount is aborted *before* it is
  killed (T14), because who waits in the kernel for the child's answer can be freed in no other way;
- when the supervisor stops, it leaves no process, no mount and no socket; when it is killed, the child sees that and
  stops by itself (`mount --die-with-parent`);
- what works `beside` a child (a door that serves the core's mount) begins when the child answers and has ended before
  the child is stopped, or started again.
Refuses to start again what cannot get better by itself: some exit codes end the supervisor with the same code.

What a child *is* comes in as a `Child`, so that this file knows neither FUSE nor HTTP and its tests need neither.
"""

import logging
import os
import signal
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import trio

from appliance.exit_codes import ExitCode

log = logging.getLogger(__name__)

Answer = Literal["answers", "silent", "absent"]
"""To "how are you": it answered; it took the question and said nothing in time; there is nobody to ask."""
Life = Literal["starting", "serving", "down"]

_NEVER_AGAIN = frozenset(
    {
        ExitCode.USAGE,
        ExitCode.NOT_FOUND,
        ExitCode.OTHER_VERSION,
        ExitCode.DAMAGED,
        ExitCode.NO_RIGHTS,
        ExitCode.LOCKED,
    }
)
# These may be a leftover of the child before, once one has served; at the first start they are an answer.
_NOT_AT_FIRST = frozenset({ExitCode.ALREADY_RUNNING, ExitCode.REFUSED, ExitCode.NO_FUSE})


@dataclass(frozen=True)
class Patience:
    """All the waiting times, in seconds."""

    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0
    well_after_s: float = 60.0
    start_look_s: float = 0.05
    """How often a starting child is asked."""
    look_s: float = 10.0
    """How often a child that serves is asked; a silent one at once again."""
    silences: int = 3
    stop_s: float = 45.0
    """How long a child may take to stop before it is killed."""


@dataclass(frozen=True)
class Child:
    """One process to keep alive. The functions block and are called in threads; they must not raise."""

    name: str
    command: Sequence[str]
    ask: Callable[[], Answer]
    """How it is; waits for an answer as long as an answer may take."""
    free: Callable[[], None]
    """Frees everything that waits for the child, and takes away what a dead or hung one leaves that another would find
    in its way. Does nothing else."""
    clear: Callable[[], None] = lambda: None
    """Takes away the rest, when no other will be started."""
    tell: Callable[[Life, int], None] = lambda life, code: None
    """Hears how it lives; with "down", the code it ended with. Does not block."""
    is_ever_refused: bool = True
    """Whether some exit codes mean that another start is in vain."""


class ChildRefused(Exception):
    """The child ended with a code that another start will not change; it has said why on stderr."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ended with {code}")
        self.code = code


class Backoff:
    """How long to wait before the next start. Pure: told how long the child ran."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._next_s = patience.first_pause_s

    def pause_after(self, ran_s: float) -> float:
        """The pause after a child that ran for `ran_s`."""
        if ran_s >= self._patience.well_after_s:
            self._next_s = self._patience.first_pause_s
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._patience.longest_pause_s)
        return pause_s


async def keep_alive(
    child: Child,
    patience: Patience,
    on_serving: Callable[[int], None],
    beside: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Runs `child` until cancelled, then stops it and cleans up.

    Calls `on_serving(starts)` whenever a new process begins to answer; from then on runs `beside`, which is cancelled
    when that process ends. Raises ChildRefused.
    """
    backoff = Backoff(patience)
    starts = 0
    has_served = False

    def note_serving() -> None:
        nonlocal has_served
        has_served = True
        child.tell("serving", 0)
        on_serving(starts)

    try:
        while True:
            starts += 1
            child.tell("starting", 0)
            await trio.to_thread.run_sync(child.free)
            began = trio.current_time()
            code = await _run_once(child, patience, note_serving, beside)
            child.tell("down", code)
            if child.is_ever_refused and (code in _NEVER_AGAIN or (code in _NOT_AT_FIRST and not has_served)):
                raise ChildRefused(code)
            pause_s = backoff.pause_after(trio.current_time() - began)
            log.warning("the %s %s; it is started again in %g s", child.name, _end_text(code), pause_s)
            await trio.sleep(pause_s)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(child.clear)


async def _run_once(
    child: Child,
    patience: Patience,
    on_serving: Callable[[], None],
    beside: Callable[[], Awaitable[None]] | None,
) -> int:
    """One life of the child; returns its exit code. When cancelled, the child is stopped first."""
    # A session of its own, because Ctrl-C in the terminal is the supervisor's to handle.
    process = subprocess.Popen(child.command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: ASYNC220
    try:
        async with trio.open_nursery() as nursery:

            def begin_beside() -> None:
                on_serving()
                if beside is not None:
                    nursery.start_soon(beside)

            nursery.start_soon(_end_if_hung, child, process, patience, begin_beside)
            await _wait(process)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _stop(child, process, patience)
    return process.returncode


async def _end_if_hung(
    child: Child, process: subprocess.Popen[bytes], patience: Patience, on_serving: Callable[[], None]
) -> None:
    """Asks for ever; kills the child when it is silent too often, or gone from its socket after it has served."""
    has_served = False
    missed = 0
    while True:
        answer = await trio.to_thread.run_sync(child.ask, abandon_on_cancel=True)
        if answer == "answers":
            missed = 0
            if not has_served:
                has_served = True
                on_serving()
        elif answer == "silent" or has_served:
            missed += 1
            log.warning("the %s did not answer (%d of %d)", child.name, missed, patience.silences)
        if missed >= patience.silences:
            log.warning("the %s hangs; it is ended", child.name)
            await _kill(child, process)
            return
        if answer != "silent":
            await trio.sleep(patience.look_s if has_served else patience.start_look_s)


async def _stop(child: Child, process: subprocess.Popen[bytes], patience: Patience) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with trio.move_on_after(patience.stop_s):
            await _wait(process)
        if process.returncode is None:
            log.warning("the %s did not stop within %g s; it is killed", child.name, patience.stop_s)
            await _kill(child, process)
            await _wait(process)
    await trio.to_thread.run_sync(child.free)


async def _kill(child: Child, process: subprocess.Popen[bytes]) -> None:
    await trio.to_thread.run_sync(child.free)
    if process.poll() is None:
        process.kill()


async def _wait(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    descriptor = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    process.wait()


def _end_text(code: int) -> str:
    return f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
