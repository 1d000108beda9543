"""How fast the drive is beside the null file system, the disk and, on request, its peers: in one stretch, by turns.

Keeps the cores awake, mounts everything, and lets the subjects take turns at each workload, three rounds long; prints
the medians, the drive's shares and whether each floor (`floors`) was met. Figures of different runs must not be
compared: the same program differs twofold from one hour to the next. Ends with 1 when a floor is missed, with 2 when a
peer was asked for and none is there. Wants root, a mount, and a temporary folder (TMPDIR) on a real disk.

    python tests/bench/compare.py [--quick] [--peer] [--sleepy] [--write] [--no-judge]
"""

import argparse
import datetime
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import floors, peers, subjects, workloads
from bench.page import write_section

ROUNDS = 3


class Comparison:
    """The subjects, side by side, and what was measured so far: `results[row][subject]` is one figure a round."""

    def __init__(self, taking_part: list[subjects.Subject], sizes: workloads.Sizes) -> None:
        self.subjects = taking_part
        self.sizes = sizes
        self.results: dict[str, dict[str, list[float]]] = {row.title: defaultdict(list) for row in floors.ROWS}
        self.failures: list[str] = []

    def round(self, number: int) -> None:
        """Every workload once on every subject, by turns, in a folder of its own that is removed afterwards."""
        places = {subject.name: subject.place / f"round-{number}" for subject in self.subjects}
        for place in places.values():
            place.mkdir()
        for row in floors.ROWS:
            for subject in self.subjects:
                if row.on is None or subject.name in row.on:
                    self._measure(row, subject, places[subject.name])
        for place in places.values():
            shutil.rmtree(place, ignore_errors=True)

    def _measure(self, row: floors.Row, subject: subjects.Subject, place: Path) -> None:
        try:
            if row.before is not None:
                row.before(place)
            if row.wants_snapshot and subject.snapshot is not None:
                subject.snapshot()
            gc.collect()
            figure = row.work(place, self.sizes)
            workloads.settle(place)  # what is left to do is done on its own time, not on the next one's
        except OSError as error:
            self.failures.append(f"{subject.name}: {row.title}: {error}")
            figure = 0.0
        self.results[row.title][subject.name].append(figure)
        print(f"  {row.title:42} {subject.name:8} {figure:12,.0f}", file=sys.stderr, flush=True)


def conditions(sizes: workloads.Sizes) -> str:
    """What the figures hold for, in one sentence."""
    asked = ["findmnt", "-no", "FSTYPE", "-T", workloads.DISK]
    kind = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores kept awake, disk: {kind},"
        f" load {os.getloadavg()[0]:.1f} before the run;"
        f" {sizes.files:,} small files, {sizes.random_pages:,} random pages,"
        f" streams of {sizes.stream_bytes >> 20} MiB; medians of {ROUNDS} rounds, shares with their range"
    )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--quick", action="store_true", help="smaller counts, under three minutes")
    options.add_argument("--peer", action="store_true", help="S3QL (S3QL_BIN), rclone and s3fs as well, where present")
    options.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options.add_argument("--no-judge", action="store_true", help="end with 0 even when a floor is missed")
    options.add_argument("--sleepy", action="store_true", help="drive and null wait for requests as pyfuse3 does")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sizes = workloads.QUICK if chosen.quick else workloads.Sizes()
    known, missing = peers.present() if chosen.peer else ([], [])
    said = conditions(sizes)
    null, drive = (partial(make, not chosen.sleepy) for make in (subjects.null, subjects.drive))
    makers: list[Callable[[], AbstractContextManager[subjects.Subject]]] = [null, drive, subjects.disk, *known]
    with ExitStack() as stack:
        # The disk comes after the drive: what the drive still does when its turn is over then slows no judged share's
        # other side but the disk's, and `settle` leaves little.
        everyone = [stack.enter_context(make()) for make in makers]
        stack.enter_context(subjects.awake_cores())
        comparison = Comparison(everyone, sizes)
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr, flush=True)
            comparison.round(number)
    results = comparison.results
    text = "\n\n".join([f"{said}.", floors.table(results, [subject.name for subject in everyone])])
    print(text)
    for sentence in (*missing, *comparison.failures):
        print(f"- {sentence}")
    if chosen.write:
        write_section("bench-sleepy" if chosen.sleepy else "bench", text)
    if chosen.peer and not known:
        return 2
    is_missed = any(floors.verdict(row, results) == "missed" for row in floors.ROWS)
    return int(is_missed and not chosen.no_judge)


if __name__ == "__main__":
    sys.exit(main())
