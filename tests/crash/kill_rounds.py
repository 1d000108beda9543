"""Kill the core with -9 while everybody writes; the drive must come back by itself with every acknowledged byte.

A round: writers of every kind start in a folder of their own; after a random time the core dies; the supervisor must
have the drive back within `BACK_S` seconds without help; every ledger is judged; the drive is stopped and checked by
fsck. Rounds share one drive, so that each begins with what the last crash left. A round shorter than the age that
protects unacknowledged bytes says nothing about them: every third one is long enough. A run in which some kind of
promise was never put to the test fails: it has proven nothing.

    python tests/crash/kill_rounds.py [--rounds N] [--seed N] [--on DIR]

`--on DIR` kills only the writers, on a plain directory: nothing may be lost there, or the suite is wrong.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash.kill_ledger import read_facts
from crash.kill_verdict import AGE_S, judge
from crash.kill_writers import KINDS
from kit.mounted import CommandFailed, DriveFailed, MountedDrive, await_true

BACK_S = 5.0
SHORT_S = (0.5, 4.0)
LONG_S = (AGE_S + 2.5, AGE_S + 5.0)
WRITERS = Path(__file__).with_name("kill_writers.py")
PROMISES = ("close", "fsync", "age")


class Round(NamedTuple):
    """One round's outcome; a healthy one has no losses."""

    lived_s: float
    back_s: float
    judged: Counter[str]
    losses: list[str]


class Crew:
    """The writers of one round, in `place`, with their ledgers outside the drive."""

    def __init__(self, place: Path, ledgers: Path, seed: int, kinds: Sequence[str]) -> None:
        self.place = place
        self.ledgers = ledgers
        self.kinds = kinds
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._seed = seed

    def start(self) -> None:
        for kind in self.kinds:
            (self.place / kind).mkdir(parents=True)
            words = ["--dir", str(self.place / kind), "--ledger", str(self.ledger(kind)), "--seed", str(self._seed)]
            with self.complaint(kind).open("wb") as complaint:
                self._processes[kind] = subprocess.Popen([sys.executable, str(WRITERS), kind, *words], stderr=complaint)
        await_true(lambda: all(self.ledger(kind).exists() for kind in self.kinds), 20, "every writer has begun")

    def ledger(self, kind: str) -> Path:
        return self.ledgers / f"{kind}.jsonl"

    def complaint(self, kind: str) -> Path:
        return self.ledgers / f"{kind}.stderr"

    def ended_early(self) -> list[str]:
        """Writers that are no longer at work, with what they said."""
        ended = [kind for kind, process in self._processes.items() if process.poll() is not None]
        return [f"writer {kind} ended before the core: {self.complaint(kind).read_text()[-2000:]}" for kind in ended]

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait(30)

    def judge(self, killed_at: float) -> tuple[list[str], Counter[str]]:
        losses: list[str] = []
        judged: Counter[str] = Counter()
        for kind in self.kinds:
            verdict = judge(kind, list(read_facts(self.ledger(kind))), self.place / kind, killed_at)
            losses += verdict.losses
            judged += verdict.judged
        return losses, judged


def run_round(
    drive: MountedDrive | None, root: Path, seed: int, *, is_long: bool, kinds: Sequence[str] = tuple(KINDS)
) -> Round:
    """One round below `root`; without a drive only the writers are killed."""
    rng = random.Random(seed)
    lived_s = rng.uniform(*(LONG_S if is_long else SHORT_S))
    with tempfile.TemporaryDirectory(prefix="ledgers-") as ledgers:
        crew = Crew(root / f"round-{seed}", Path(ledgers), seed, kinds)
        try:
            crew.start()
            threading.Event().wait(lived_s)
            losses = crew.ended_early()
            killed_at = time.monotonic()
            dead = drive.kill() if drive else None
        finally:
            crew.kill()
        back_s = 0.0
        if drive is not None:
            try:
                drive.await_serving(30, unlike=dead)
            except DriveFailed as failure:
                return Round(lived_s, 30.0, Counter(), [f"the drive did not come back: {failure}"])
            back_s = time.monotonic() - killed_at
            if back_s > BACK_S:
                losses.append(f"the drive was away for {back_s:.1f} s, more than {BACK_S:g} s")
        found, judged = crew.judge(killed_at)
        losses += found
    if not losses:
        shutil.rmtree(crew.place)
    if drive is not None:
        losses += check_offline(drive)
    return Round(lived_s, back_s, judged, losses)


def check_offline(drive: MountedDrive) -> list[str]:
    """Stops the drive, runs fsck, starts it again; returns what fsck found."""
    drive.stop()
    try:
        report = drive.cli("fsck")
        found = [f"fsck: {finding}" for finding in report["findings"]]
    except CommandFailed as failure:
        found = [f"fsck: {failure}"]
    drive.start()
    return found


def run_rounds(drive: MountedDrive | None, root: Path, seeds: Sequence[int]) -> list[str]:
    """Runs a round a seed, the last and every third before it long; prints each; returns all that was wrong."""
    wrong: list[str] = []
    judged: Counter[str] = Counter()
    for number, seed in enumerate(seeds):
        outcome = run_round(drive, root, seed, is_long=(len(seeds) - number) % 3 == 1)
        judged += outcome.judged
        wrong += [f"seed {seed}: {loss}" for loss in outcome.losses]
        facts = ", ".join(f"{count} by {how}" for how, count in sorted(outcome.judged.items()))
        print(
            f"round {number + 1}, seed {seed}: killed after {outcome.lived_s:.1f} s, back in {outcome.back_s:.1f} s, "
            f"facts: {facts or 'none'}; {'nothing lost' if not outcome.losses else f'{len(outcome.losses)} WRONG'}",
            flush=True,
        )
        for loss in outcome.losses:
            print(f"  {loss}", flush=True)
    return wrong + [
        f"no fact acknowledged by {promise}: nothing is proven" for promise in PROMISES if not judged[promise]
    ]


@contextmanager
def supervised_drive() -> Iterator[MountedDrive]:
    """A fresh drive under `serve`, which is the one who brings a killed core back."""
    drive = MountedDrive.make(supervised=True)
    try:
        yield drive
        drive.stop()
    finally:
        drive.clear_away()


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the core while everybody writes; look for every promise.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30), help="of the first round")
    parser.add_argument("--on", type=Path, help="a plain directory: only the writers are killed")
    chosen = parser.parse_args()
    seeds = range(chosen.seed, chosen.seed + chosen.rounds)
    if chosen.on is not None:
        with tempfile.TemporaryDirectory(prefix="kill-", dir=chosen.on) as place:
            wrong = run_rounds(None, Path(place), seeds)
    else:
        with supervised_drive() as drive:
            wrong = run_rounds(drive, drive.mount, seeds)
    print(f"{chosen.rounds} rounds, {'nothing lost' if not wrong else f'{len(wrong)} WRONG'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
