"""A restore appears at once or not at all, also when the core is killed in the middle of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from kit.mounted import MountedDrive
from mount.calls import write_file
from mount.snapshots import snap
from mount.twin_machine import tree

from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem, Job

pytestmark = [pytest.mark.needs_product, pytest.mark.timeout(120)]

FILES = 2000


def plant(folder: Path) -> None:
    for number in range(FILES):
        if number % 400 == 0:
            (folder / f"{number // 400}").mkdir(parents=True)
        write_file(folder / f"{number // 400}" / f"{number}", b"%d" % number)


def kill_when(drive: MountedDrive, job: Job, core: ControlClient, done: int) -> None:
    """kill -9 as soon as the job has built `done` entries, or is no longer building."""
    while job.state == "building" and job.done < done:
        job = core.job(job.id)
    drive.kill()


@pytest.mark.parametrize("done", [1, FILES // 2, FILES + 6])
def test_killed_restore_changed_nothing_or_everything(own_drive: MountedDrive, done: int) -> None:
    folder = own_drive.mount / "folder"
    plant(folder)
    good = tree(folder)
    name = snap(own_drive)
    for number in range(0, FILES, 7):
        (folder / f"{number // 400}" / f"{number}").unlink()
    write_file(folder / "new", b"new")
    spoiled = tree(folder)
    with contextlib.suppress(ControlProblem), ControlClient(own_drive.state / "run" / "control.sock") as core:
        kill_when(own_drive, core.start_restore("folder", name), core, done)
    own_drive.start()
    (job,) = own_drive.cli("jobs")
    assert job["state"] in ("done", "failed")
    assert tree(folder) == (good if job["state"] == "done" else spoiled)
    assert job["state"] == "done" or "nothing was changed" in job["error"]
    again = own_drive.cli("restore", "folder", "--at", name)
    assert again["state"] == "done"
    assert tree(folder) == good
    own_drive.stop()
    assert own_drive.cli("fsck")["findings"] == []
    own_drive.start()
    assert os.listdir(own_drive.mount / "folder")
