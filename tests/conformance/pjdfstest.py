"""pjdfstest, the usual POSIX conformance suite, on a fresh mounted drive: no failure is excused.

Promises an exit code that can be trusted: 0 only if every test file ran to its end and nothing failed; 1 at any
failure, 2 if it could not run. There is no list of known failures. The suite itself is not ours and not in a package
registry: `PJDFSTEST_DIR` names a checkout that was built before (`autoreconf -ifs && ./configure && make`), and `prove`
(Perl) runs it.

    PJDFSTEST_DIR=/path/to/pjdfstest python tests/conformance/pjdfstest.py [--on DIR] [FOLDER...]

`--on DIR` runs it on any directory instead of a drive, for a baseline; FOLDER narrows it (`rename`, `link/00.t`).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit.mounted import MountedDrive

COULD_NOT_RUN = 2
PER_RUN_DEADLINE_S = 3600.0


class CannotRun(Exception):
    """Something the suite needs is not here; the message is one sentence that says what to do."""


def find_suite() -> Path:
    """The built checkout that PJDFSTEST_DIR names; raises CannotRun."""
    named = os.environ.get("PJDFSTEST_DIR")
    if not named:
        raise CannotRun("PJDFSTEST_DIR is not set: let it name a checkout of pjdfstest that has been built.")
    suite = Path(named).resolve()
    if not os.access(suite / "pjdfstest", os.X_OK) or not (suite / "tests").is_dir():
        raise CannotRun(f"{suite} holds no built pjdfstest: run autoreconf -ifs && ./configure && make there.")
    if shutil.which("prove") is None:
        raise CannotRun("The program prove is missing: install perl.")
    if os.geteuid() != 0:
        raise CannotRun("pjdfstest must be run as root: it acts as several users.")
    return suite


@contextmanager
def place_to_test(on: Path | None) -> Iterator[Path]:
    """A directory of its own: on a fresh drive, or below `on`."""
    if on is not None:
        own = Path(tempfile.mkdtemp(prefix="pjdfstest-", dir=on))
        own.chmod(0o755)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)
        return
    if not os.path.exists("/dev/fuse"):
        raise CannotRun("/dev/fuse is missing: no drive can be mounted here.")
    drive = MountedDrive.make()
    try:
        own = drive.mount / "pjdfstest"
        own.mkdir()
        yield own
        drive.stop()
        complaints = drive.complaints()
        if complaints:
            raise AssertionError("the core complained:\n" + "\n".join(complaints[:40]))
    finally:
        drive.clear_away()


def run_suite(suite: Path, place: Path, folders: Sequence[str]) -> int:
    """Runs prove and prints the count of failures; returns 0 or 1."""
    chosen = [str(suite / "tests" / folder) for folder in folders or ["."]]
    begun = time.monotonic()
    ended = subprocess.run(
        ["prove", "--recurse", "--timer", "--nocolor", *chosen],
        cwd=place,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=PER_RUN_DEADLINE_S,
        check=False,
    )
    failed_lines = re.findall(r"^ +Failed tests?: +.*$|^ +Failed \d+/\d+ subtests.*$", ended.stdout, re.MULTILINE)
    counts = [int(count) for count in re.findall(r"Wstat: \d+.*?Tests: \d+ Failed: (\d+)\)", ended.stdout)]
    broken = re.findall(r"^(.*\(Wstat: .*)$", ended.stdout, re.MULTILINE)
    print("\n".join([*ended.stdout.splitlines()[-3:], *ended.stderr.splitlines()[-20:], *broken, *failed_lines]))
    files_run = re.search(r"Files=(\d+), Tests=(\d+)", ended.stdout)
    if files_run is None or files_run[1] == "0":
        print("pjdfstest: no test file ran")
        return COULD_NOT_RUN
    print(
        f"pjdfstest: {sum(counts)} failures in {sum(count > 0 for count in counts)} files, "
        f"{files_run[2]} tests in {files_run[1]} files, {time.monotonic() - begun:.0f} s"
    )
    return 0 if ended.returncode == 0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Run pjdfstest on a fresh drive; any failure is a failure.")
    parser.add_argument("--on", type=Path, help="an existing directory to test instead of a drive")
    parser.add_argument("folders", nargs="*", help="folders or files below pjdfstest's tests/")
    chosen = parser.parse_args()
    try:
        suite = find_suite()
        with place_to_test(chosen.on) as place:
            return run_suite(suite, place, chosen.folders)
    except CannotRun as reason:
        print(reason, file=sys.stderr)
        return COULD_NOT_RUN
    except AssertionError as failure:
        print(failure, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
