"""Waiting for a job with a bar that moves; what `restore` and `undo-restore` share.

The job belongs to the core and goes on when the command is interrupted; the bar only watches.
"""

import sys
import time

from appliance.commands.output import printable
from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem, Job, Problem

_LONGEST_PAUSE_S = 0.5


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
