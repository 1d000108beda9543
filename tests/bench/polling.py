"""What it brings that the core looks out for the next request, on a machine with nothing else to do.

Two drives take turns, one with `[mount] polling = true`, one without; no core is kept awake, because that waking one
takes long is what polling is against. Then both are left alone, and what their cores used is counted. Ends with 1 when
polling brings less than twice the files made or three times the attributes asked for, or when an idle core is at work.

    python tests/bench/polling.py [--write]
"""

import argparse
import datetime
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import subjects, workloads
from bench.page import write_section
from kit.mounted import MountedDrive

ROUNDS = 5
SIZES = workloads.Sizes(files=1_000, folders=10)
IDLE_S = 10.0
REST_S = 20.0  # before it: what was removed is tidied up, what was written is sealed
MOST_IDLE_SHARE = 0.01  # of a core: the companion looks for dirty files every five seconds
FLOORS = {"create": 2.0, "stat": 3.0}


def used_s(made: MountedDrive) -> float:
    """Seconds of processor time that the drive's core has used."""
    fields = Path(f"/proc/{made.core_pid()}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def turn(made: MountedDrive, number: int) -> dict[str, float]:
    """Files made and attributes asked for a second, in a new folder."""
    place = made.mount / f"round-{number}"
    place.mkdir()
    measured: dict[str, Callable[[Path, workloads.Sizes], float]] = {"create": workloads.create, "stat": workloads.stat}
    found = {name: work(place, SIZES) for name, work in measured.items()}
    shutil.rmtree(place)
    workloads.settle(made.mount)
    return found


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    chosen = options.parse_args()
    with ExitStack() as stack:
        drives = {is_polling: subjects.new_drive(is_polling) for is_polling in (True, False)}
        for made in drives.values():
            stack.callback(made.clear_away)
        rounds = [{with_: turn(made, number) for with_, made in drives.items()} for number in range(ROUNDS)]
        time.sleep(REST_S)
        before = {with_: used_s(made) for with_, made in drives.items()}
        time.sleep(IDLE_S)
        idle = {with_: (used_s(made) - before[with_]) / IDLE_S for with_, made in drives.items()}
    lines = ["| | polling | without | ratio (range) | floor |", "|---|---:|---:|---|---:|"]
    is_met = idle[True] <= MOST_IDLE_SHARE
    for name, floor in FLOORS.items():
        ratios = [found[True][name] / found[False][name] for found in rounds]
        ratio = statistics.median(ratios)
        is_met = is_met and ratio >= floor
        figures = [statistics.median(found[with_][name] for found in rounds) for with_ in (True, False)]
        lines.append(
            f"| {name} /s | {figures[0]:,.0f} | {figures[1]:,.0f} | {ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
            f" {'≥' if ratio >= floor else '**<**'} | {floor:g} |"
        )
    lines.append(f"| idle, share of a core | {idle[True]:.1%} | {idle[False]:.1%} | | ≤ {MOST_IDLE_SHARE:.0%} |")
    said = (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores left to sleep, load"
        f" {os.getloadavg()[0]:.1f} at the end, {SIZES.files:,} files, medians of {ROUNDS} rounds."
    )
    text = "\n".join([said, "", *lines])
    print(text)
    if chosen.write:
        write_section("polling", text)
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(main())
