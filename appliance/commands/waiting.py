"""Waiting for a job or a task with a bar that moves; what `restore`, `undo-restore`, `flush` and `cache warm` share.

The work belongs to the core and goes on when the command is interrupted; the bar only watches.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from appliance.commands.output import printable
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem, Job, Problem, Task
from appliance.figures import size_text

_LONGEST_PAUSE_S = 0.5
_GOES_ON = "The core goes on; `hybrid-drive status` shows how far it is."
_RATE_OVER_S = 30.0  # packs end at once, so that a rate over less jumps


def wait_for(core: ControlClient, job: Job) -> Job:
    """Polls until the job is finished and returns it; raises ControlProblem when it failed."""
    if job.state == "building" and sys.stderr.isatty():
        job = _watch(core, job)
    pause_s = 0.01
    while job.state == "building":
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        job = core.job(job.id)
    if job.state == "failed":
        message = f"Job {job.id} failed: {job.error or 'the core gave no reason'}. The live tree is as it was."
        raise ControlProblem(Problem(code="unexpected", message=message))
    return job


def _watch(core: ControlClient, job: Job) -> Job:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(escape(f"{job.kind} {printable(job.path) or 'the drive'}"), total=job.total or None)
        while job.state == "building":
            time.sleep(0.1)
            job = core.job(job.id)
            progress.update(bar, completed=job.done, total=job.total or None)
    return job


@dataclass(frozen=True)
class Patience:
    """How long to wait, None for ever, and whether to say nothing meanwhile."""

    timeout_s: float | None
    is_silent: bool


def wait_for_task(core: ControlClient, task: Task, patience: Patience) -> Task:
    """Polls until the task is done and returns it; says once why it does not get on.

    Raises ControlProblem when it failed, when the core was started anew, or when patience ends.
    """
    begun_s, pause_s, told = time.monotonic(), 0.01, None
    created = task.created
    with _shown(task, patience) as bar, _left_running(patience):
        while task.state == "running":
            if task.trouble is not None and task.trouble != told and not patience.is_silent:
                told = task.trouble
                bar.say(f"{told} Waiting for it; Ctrl-C ends only the waiting.")
            if patience.timeout_s is not None and time.monotonic() - begun_s >= patience.timeout_s:
                raise _impatient(task, patience, patience.timeout_s)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            task = core.task(task.id)
            if task.created != created:
                raise ControlProblem(Problem(code="not_running", message="The core was started anew; begin again."))
            bar.show(task)
    if task.error is not None:
        raise ControlProblem(task.error)
    return task


def speed_text(task: Task, verb: str) -> str:
    """` 1.5 GiB sent in 12 s, 128 MiB/s.`; nothing if there was nothing to do."""
    if not task.done_bytes or task.finished is None:
        return ""
    seconds = max(0.1, (task.finished - task.created).total_seconds())
    return f" {size_text(task.done_bytes)} {verb} in {seconds:.1f} s, {size_text(task.done_bytes / seconds)}/s."


def _impatient(task: Task, patience: Patience, timeout_s: float) -> ControlProblem:
    left = size_text(max(0, task.total_bytes - task.done_bytes))
    message = f"Not done within {timeout_s:g} s: {left} wait. {_GOES_ON}"
    if task.trouble is not None:
        if patience.is_silent:  # else it was said
            message = f"{message} {task.trouble}"
        return ControlProblem(Problem(code="offline", message=message))
    return ControlProblem(Problem(code="unanswered", message=message))


@contextmanager
def _left_running(patience: Patience) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        if not patience.is_silent:
            print(_GOES_ON, file=sys.stderr)
        raise


class _Bar(Protocol):
    def show(self, task: Task) -> None: ...

    def say(self, sentence: str) -> None: ...


class _NoBar:
    def show(self, task: Task) -> None:
        """There is nobody to look."""

    def say(self, sentence: str) -> None:
        print(sentence, file=sys.stderr)


@contextmanager
def _shown(task: Task, patience: Patience) -> Iterator[_Bar]:
    if task.state != "running" or patience.is_silent or not sys.stderr.isatty():
        yield _NoBar()
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, speed_estimate_period=_RATE_OVER_S
    ) as progress:
        name = escape(f"{task.kind} {printable(task.path or '')}".strip())
        row = progress.add_task(name, total=task.total_bytes or None)

        class Bar:
            def show(self, task: Task) -> None:
                progress.update(row, completed=task.done_bytes, total=task.total_bytes or None)

            def say(self, sentence: str) -> None:
                console.print(escape(sentence))

        yield Bar()
