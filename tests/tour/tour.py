"""The README's five-minute tour, run line by line as a newcomer would, from a fresh clone.

Clones the repository (what is committed, not what lies around) into an empty folder, starts the drive with the README's
first command, runs every line of the second block in one shell, and compares what is printed with the comment behind
the line where that quotes a file's contents. Then Ctrl-C: nothing may be left mounted or running.

    python tests/tour/tour.py [--in-place]

`--in-place` uses this checkout and its `.venv` instead of a clone, with a state of its own.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
START_DEADLINE_S = 600.0  # a fresh clone installs everything first
LINE_DEADLINE_S = 120.0


class TourFailed(Exception):
    """A line of the tour did not do what the README says."""


def blocks(readme: str) -> list[list[str]]:
    """The lines of each code block of the tour's section."""
    section = readme.split("## Five-minute tour", 1)[1].split("\n## ", 1)[0]
    return [block.strip().splitlines() for block in re.findall(r"```\n(.*?)```", section, re.DOTALL)]


def expected(line: str) -> str | None:
    """What the line must print: the comment behind a `cat`."""
    command, _, comment = line.partition(" #")
    return comment.strip() if command.strip().startswith("cat ") else None


def clone(place: Path) -> Path:
    """A fresh clone of what is committed."""
    home = place / "hybrid-drive"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(home)], check=True)
    return home


def serve(home: Path, command: str) -> subprocess.Popen[bytes]:
    """Start the drive by the README's command and wait until it is mounted."""
    process = subprocess.Popen(command, shell=True, cwd=home, start_new_session=True, stdin=subprocess.DEVNULL)
    deadline = time.monotonic() + START_DEADLINE_S
    while not os.path.ismount(home / "drive") or not (home / ".drive" / "run" / "control.sock").exists():
        if process.poll() is not None:
            raise TourFailed(f"`{command}` ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise TourFailed(f"`{command}` did not mount the drive within {START_DEADLINE_S:g} s")
        time.sleep(0.1)
    return process


def walk(home: Path, lines: list[str]) -> None:
    """Run the lines one after another; each must succeed and print what its comment says."""
    prelude = "shopt -s expand_aliases\nset -euo pipefail\n"
    aliases = [line for line in lines if line.startswith("alias ")]
    for line in lines:
        if not line.strip() or line.startswith("alias "):
            continue
        print(f"$ {line}", flush=True)
        script = prelude + "\n".join([*aliases, line]) + "\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=home, capture_output=True, text=True, timeout=LINE_DEADLINE_S, check=False
        )
        print(done.stdout, end="", flush=True)
        if done.returncode != 0:
            raise TourFailed(f"`{line}` ended with {done.returncode}: {done.stderr.strip()}")
        wanted = expected(line)
        if wanted is not None and done.stdout.strip() != wanted:
            raise TourFailed(f"`{line}` printed {done.stdout.strip()!r}, the README says {wanted!r}")


def stop(home: Path, process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, and look whether anything is left."""
    os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    if os.path.ismount(home / "drive"):
        raise TourFailed("the drive is still mounted after Ctrl-C")
    left = list((home / ".drive" / "run").glob("*.sock"))
    if left:
        raise TourFailed(f"left behind after Ctrl-C: {left}")


def main() -> int:
    options = argparse.ArgumentParser(description="Run the README's tour.")
    options.add_argument("--in-place", action="store_true")
    in_place = options.parse_args().in_place
    place = Path(tempfile.mkdtemp(prefix="hybrid-drive-tour-"))
    try:
        home = clone(place)
        if in_place:
            (home / ".venv").symlink_to(REPOSITORY / ".venv")
        (first, second) = blocks((home / "README.md").read_text())[:2]
        process = serve(home, first[0] if not in_place else ".venv/bin/hybrid-drive serve")
        try:
            walk(home, second)
        finally:
            stop(home, process)
        print("the tour: all lines did what the README says")
        return 0
    except TourFailed as failure:
        print(f"the tour failed: {failure}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
