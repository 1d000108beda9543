"""stress-ng's file system stressors in a folder of the drive: none fails, and the drive has nothing to say.

All stressors of the class `filesystem` that this stress-ng knows run, one after another, with `--verify`, except those
of `EXCLUDED`, each with its reason. One that is skipped by stress-ng itself fails the run: what does not run must be
excluded by name. After each, the folder must be empty again and the drive's log as it was.

    python tests/conformance/stress.py [--seconds N] [--workers N] [STRESSOR...]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.fresh_drive import alarms, silent_drive
from kit.mounted import CommandFailed, DriveFailed, MountedDrive

GRACE_S = 180.0
EXCLUDED = {
    "bind-mount": "mounts folders of the machine, none of them ours",
    "binderfs": "mounts a file system of its own",
    "eventfd": "works on no file",
    "fiemap": "asks for the place of extents on a disk (FS_IOC_FIEMAP); stress-ng skips it on FUSE",
    "io": "syncs every file system that is mounted on the machine, also those of other people",
    "ioprio": "works on the process's own priority",
    "procfs": "reads /proc",
    "verity": "needs fs-verity; stress-ng skips it on FUSE",
}


class Failed(AssertionError):
    """A stressor failed, was skipped or left something; the message says which and what it said."""


def stressors() -> list[str]:
    """Those of the class that are to run. Raises Failed if an exclusion names none."""
    asked = subprocess.run(["stress-ng", "--class", "filesystem?"], capture_output=True, text=True, check=False)
    found = re.search(r"stressors: (.+)", asked.stdout + asked.stderr)
    if found is None:
        raise Failed(f"stress-ng does not name its stressors: {asked.stderr}")
    return [name for name in found[1].split() if name not in EXCLUDED]


def run_stressor(drive: MountedDrive, name: str, seconds: float, workers: int) -> None:
    """One stressor in a folder of its own; raises Failed."""
    folder, silence = drive.mount / f"stress-{name}", len(alarms(drive))
    folder.mkdir()
    command = ["stress-ng", f"--{name}", str(workers), "--timeout", f"{seconds:g}s", "--temp-path", str(folder)]
    try:
        ended = subprocess.run(
            [*command, "--verify", "--metrics-brief"],
            cwd="/",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + GRACE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        drive.abort_connection()  # frees what hangs, so that it can be killed
        raise Failed(f"{name}: no end {GRACE_S:g} s after its time") from None
    said = ended.stdout + ended.stderr
    if ended.returncode != 0 or re.search(r"\bskipp|\bfail:", said):
        raise Failed(f"{name}: ended with {ended.returncode}:\n{said[-3000:]}")
    if new := alarms(drive)[silence:]:
        raise Failed(f"{name}: the drive complained:\n" + "\n".join(new[:20]))
    if left := [path.name for path in folder.iterdir()]:
        raise Failed(f"{name}: {left[:5]} were left, and should have been removed")
    folder.rmdir()


def stress(names: Sequence[str], seconds: float, workers: int) -> list[str]:
    """All of them on one fresh drive; what failed. Raises DriveFailed, CommandFailed."""
    failures = []
    with silent_drive() as drive:
        for name in names:
            begun = time.monotonic()
            try:
                run_stressor(drive, name, seconds, workers)
                print(f"{name}: {time.monotonic() - begun:.1f} s, fine", flush=True)
            except Failed as failure:
                print(failure, flush=True)
                failures.append(name)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description="Run stress-ng's file system stressors on a fresh drive.")
    parser.add_argument("--seconds", type=float, default=5, help="each")
    parser.add_argument("--workers", type=int, default=2, help="processes of each")
    parser.add_argument("stressors", nargs="*", help="only these")
    chosen = parser.parse_args()
    begun = time.monotonic()
    try:
        names = chosen.stressors or stressors()
        failures = stress(names, chosen.seconds, chosen.workers)
    except (Failed, DriveFailed, CommandFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    verdict = f"failed: {', '.join(failures)}" if failures else "no failure and no log line"
    print(f"stress-ng: {len(names)} stressors in {time.monotonic() - begun:.0f} s, {verdict}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
