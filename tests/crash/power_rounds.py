"""Cut the power while real programs work; the drive must come back by itself with all that was acknowledged.

A round: SQLite in four journal modes, git, mailboxes, documents, an open file, snapshots and restores work at once; at
a random moment the disk below the drive stops (see `power_machine`); power comes back, the drive is started as ever;
every program is judged, and fsck looks. All rounds share one drive, which grows old: each begins with what the last
power loss left. Every fourth round the core dies first and starts again, right before the power goes: what it brought
back was never synced by the one who wrote it. Every tenth round is long, so that what was only closed grows old enough
to be safe. A run in which some program was never told yes fails: it has proven nothing.

    python tests/crash/power_rounds.py [--rounds N] [--seed N] [--careless file-fsync|directory-fsync]

`--careless` is the negative control: the drive does not sync, and something must be lost.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash.kill_ledger import Fact
from crash.kill_verdict import AGE_S
from crash.power_files import Closed, Documents, Mailbox, Pages
from crash.power_git import GitProgram
from crash.power_machine import CannotRun, Machine
from crash.power_program import AtWork, Death, Program, acknowledged
from crash.power_snapshots import SnapshotProgram
from crash.power_sqlite import MODES, SqliteProgram
from kit.mounted import CommandFailed, DriveFailed

LIVES_S = (0.8, 4.0)
LONG_S = (AGE_S + 1.5, AGE_S + 3.0)
LONG_EVERY = 10  # rounds
CORE_DIES_EVERY = 4
OFFLINE_EVERY = 10  # rounds; the check of a stopped drive wakes it as a start does, and costs two starts
ENOUGH_ROUNDS = 10
CANNOT_RUN = 2
NEVER_TOLD_YES = ("closed",)


class Round(NamedTuple):
    """One round's outcome; a healthy one has no losses."""

    lived_s: float
    back_s: float
    told: Counter[str]
    losses: list[str]


def programs(machine: Machine) -> list[Program]:
    """Everybody who works on the drive."""
    return [
        *(SqliteProgram(mode) for mode in MODES),
        GitProgram(),
        SnapshotProgram(machine.drive.state, machine.drive.mount),
        Mailbox("mailbox", largest=9000, longest=1 << 20),
        Mailbox("big-letters", largest=1 << 20, longest=12 << 20),
        Documents("saves", sync=True),
        Documents("saves-without-sync", sync=False),
        Pages(),
        Closed(),
    ]


class Run:
    """Rounds on one machine, with one crew of programs."""

    def __init__(self, machine: Machine, seed: int) -> None:
        self.told: Counter[str] = Counter()
        self.rounds = 0
        self._machine = machine
        self._rng = random.Random(seed)
        self._programs = programs(machine)
        for program in self._programs:
            (machine.drive.mount / program.name).mkdir()

    def round(self) -> Round:
        """One round."""
        self.rounds += 1
        machine, crew = self._machine, list[AtWork]()
        is_long, loses_core = self.rounds % LONG_EVERY == 0, self.rounds % CORE_DIES_EVERY == 3
        lived_s = self._rng.uniform(*(LONG_S if is_long else LIVES_S))
        try:
            for program in self._programs:
                ledger = machine.home / f"{self.rounds}-{program.name}.jsonl"
                crew.append(AtWork(program, machine.drive.mount / program.name, ledger, self._rng))
            threading.Event().wait(lived_s)
            early = machine.drive.is_dead()
            if loses_core:
                died_at = machine.lose_core()
                machine.cut_power()
                death = Death(died_at, died_at)
            else:
                cut_at = machine.cut_power()
                death = Death(cut_at, cut_at - AGE_S)
        finally:
            for each in crew:
                each.end()
        ledgers = [(each.program, each.facts(death)) for each in crew]
        told = Counter({program.name: acknowledged(facts) for program, facts in ledgers})
        self.told += told
        try:
            back_s = machine.start_again()
        except DriveFailed as failure:
            return Round(lived_s, 0.0, told, [f"the drive did not come back: {failure}"])
        losses = ["the core ended before the power went"] if early else []
        losses += self._judge(ledgers)
        losses += self._check()
        return Round(lived_s, back_s, told, losses)

    def _judge(self, ledgers: list[tuple[Program, list[Fact]]]) -> list[str]:
        losses = []
        for program, facts in ledgers:
            name = program.name
            losses += [f"{name} made a mistake: {fact['words']}" for fact in facts if fact["kind"] == "mistake"]
            try:
                losses += [f"{name}: {loss}" for loss in program.judge(self._machine.drive.mount / name, facts)]
            except Exception as error:  # a drive that answers nonsense must not end the run without a word
                losses.append(f"{name} cannot be judged: {error!r}")
        return losses

    def _check(self) -> list[str]:
        drive = self._machine.drive
        is_offline = self.rounds % OFFLINE_EVERY == 0
        try:
            if is_offline:
                drive.stop()
            found = [f"fsck: {finding}" for finding in drive.cli("fsck")["findings"]]
            if is_offline:
                drive.start()
        except (CommandFailed, DriveFailed) as failure:
            found = [f"fsck: {failure}"]
        return [*found, *(f"the log says: {line}" for line in drive.complaints())]

    def never_told_yes(self) -> list[str]:
        """Programs that were never acknowledged anything; a few rounds may be too short for the slowest."""
        if self.rounds < ENOUGH_ROUNDS:
            return []
        names = [program.name for program in self._programs if program.name not in NEVER_TOLD_YES]
        return [f"{name} was never told yes: nothing is proven" for name in names if not self.told[name]]


def run_rounds(rounds: int, seed: int, careless: str | None = None, *, stop_at_loss: bool = False) -> list[str]:
    """So many rounds on a machine of their own; prints each; returns all that was wrong."""
    machine = Machine(careless)
    slowest_s, wrong = 0.0, list[str]()
    try:
        run = Run(machine, seed)
        while run.rounds < rounds and not (stop_at_loss and wrong):
            begun = time.monotonic()
            outcome = run.round()
            slowest_s = max(slowest_s, outcome.back_s)
            wrong += [f"round {run.rounds}: {loss}" for loss in outcome.losses]
            told = ", ".join(f"{name} {count}" for name, count in outcome.told.items() if name not in NEVER_TOLD_YES)
            print(
                f"round {run.rounds}: power lost after {outcome.lived_s:.1f} s, serving after {outcome.back_s:.1f} s, "
                f"{time.monotonic() - begun:.1f} s in all; acknowledged: {told}; "
                f"{'nothing lost' if not outcome.losses else f'{len(outcome.losses)} WRONG'}",
                flush=True,
            )
            for loss in outcome.losses[:20]:
                print(f"  {loss}", flush=True)
            if machine.drive.is_dead():
                break
        if not wrong:
            wrong += run.never_told_yes()
        told_all = ", ".join(f"{name} {count}" for name, count in sorted(run.told.items()) if count)
        print(
            f"seed {seed}: {run.rounds} rounds, {run.told.total()} acknowledged ({told_all}), slowest start "
            f"{slowest_s:.1f} s, {'nothing lost' if not wrong else f'{len(wrong)} WRONG'}",
            flush=True,
        )
    finally:
        machine.close()
    return wrong


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    parser = argparse.ArgumentParser(description="Cut the power while real programs work; look for every promise.")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--careless", choices=("file-fsync", "directory-fsync"), help="syncs that do nothing")
    chosen = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    try:
        return 1 if run_rounds(chosen.rounds, chosen.seed, chosen.careless) else 0
    except CannotRun as reason:
        print(reason, file=sys.stderr)
        return CANNOT_RUN
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
