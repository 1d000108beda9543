"""A mounted drive at work over a store that fails one request in ten: nothing wrong, nothing lost, soon back to work.

A round: a new drive, its store a real S3 server behind a proxy that follows a seeded plan (`kit.breaks`); somebody at
work (`faults.office`) writes, overwrites, lets everything go cold and reads it again; then the store heals. Within
`BACK_S` everything must be flushed and cold bytes be there; after that every file is read cold, and once more after a
restart, and the drive is checked by fsck. Asked for as well is that each kind of fault was met, by uploads and by
fetches: a round goes on past its time until that is so, and fails if that takes too long.

    python tests/faults/fault_rounds.py [--seconds N] [--seeds N] [--first SEED] [--rate SHARE]

Lies that stay (`kit.breaks.AT_REST`: an upload acknowledged and not kept, or rotten) are not among them: no request
shows them. `run_round(whats=…)` takes them for whoever can find them, by reading all that is stored.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.office import Office, WrongBytes
from kit.breaks import PASSING, Break
from kit.fault_line import FaultLine, Report, fault_line
from kit.mounted import CommandFailed, DriveFailed, MountedDrive, await_true
from kit.s3_servers import BUCKET, S3Server, credentials, rclone

from appliance.control.protocol import ControlProblem

BACK_S = 30.0
TWICE_WRONG = "hybrid-drive scrub tells which files need it"
"""What the drive rightly says of a pack when it was lied to about it two times in a row."""
LONGER_S = 600.0  # than asked for, until everything was met
KINDS = ("PUT", "GET")


@dataclass(frozen=True)
class Round:
    """What came of it."""

    seconds: float
    back_s: float
    done: Counter[str]
    report: Report
    wrong: list[str]

    def __str__(self) -> str:
        steps = ", ".join(f"{count} {name}" for name, count in sorted(self.done.items()))
        asked = ", ".join(f"{self.report.requests.get(kind, 0)} {kind}" for kind in KINDS)
        state = "nothing wrong or lost" if not self.wrong else f"{len(self.wrong)} WRONG"
        return (
            f"{self.seconds:.0f} s: {steps}; {asked}, {self.report.total_hits()} of them broken;"
            f" back in {self.back_s:.1f} s; {state}"
        )


def run_round(
    server: S3Server,
    seed: int,
    seconds: float,
    rate: float = 0.1,
    whats: Collection[Break] = PASSING,
    longer_s: float = LONGER_S,
    hang_s: float = 30.0,
) -> Round:
    """One drive, one seed."""
    with fault_line(server.endpoint, seed, hang_s) as line, _drive(line.endpoint, f"seed-{seed}") as drive:
        office = Office(drive, seed)
        back_s = 0.0
        begun = time.monotonic()
        try:
            _work(office, line, seconds, longer_s, rate, whats)
            worked_s = time.monotonic() - begun
            line.heal()
            healed_at = time.monotonic()
            await_true(lambda: office.flush(BACK_S) and _is_there(office), 2 * BACK_S, "all is sent, cold bytes come")
            back_s = time.monotonic() - healed_at
            wrong = [] if back_s <= BACK_S else [f"back only after {back_s:.1f} s"]
            wrong += _look_at_all(drive, office)
        except (WrongBytes, DriveFailed, CommandFailed, ControlProblem, OSError) as error:
            worked_s = time.monotonic() - begun
            wrong = [f"{type(error).__name__}: {error}\n{drive.log_tail()}"]
        report = line.report()
        for kind in KINDS:
            if missed := report.missed.get(kind):
                wrong.append(f"no {kind} met {', '.join(missed)}: about that, nothing is proven")
        wrong += [line for line in drive.complaints() if TWICE_WRONG not in line]
        return Round(worked_s, back_s, office.done, report, wrong)


def _work(
    office: Office, line: FaultLine, seconds: float, longer_s: float, rate: float, whats: Collection[Break]
) -> None:
    line.scatter(rate, whats)
    end = time.monotonic() + seconds
    while time.monotonic() < end or (time.monotonic() < end + longer_s and _misses(line.report())):
        for _ in range(10):
            office.step()


def _misses(report: Report) -> bool:
    return any(report.requests.get(kind, 0) == 0 or report.missed.get(kind) for kind in KINDS)


def _is_there(office: Office) -> bool:
    name = max(office.files, key=lambda name: len(office.files[name]))
    office.drop()
    office.forget(name)
    return office.look_at(name)


def _look_at_all(drive: MountedDrive, office: Office) -> list[str]:
    """Every file, cold, and again after a restart; then what fsck says of the drive at rest."""
    refused = []
    for life in ("", " after a restart"):
        if life:
            drive.remount()
        office.drop()
        for name in sorted(office.files):
            office.forget(name)
            if not office.look_at(name):
                refused.append(f"{name} cannot be read{life}")
        if sorted(office.files) != sorted(set(os.listdir(drive.mount)) - {"Previous Versions"}):
            refused.append(f"the names are not those that were left{life}")
    drive.stop()
    found = [f"fsck: {finding}" for finding in drive.cli("fsck")["findings"]]
    return refused + found


@contextmanager
def _drive(endpoint: str, prefix: str) -> Iterator[MountedDrive]:
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        Path(place).chmod(0o755)
        drive = MountedDrive(Path(place) / "state", Path(place) / "drive")
        drive.run_command("init", "--store", f"s3://{BUCKET}/{prefix}?endpoint={endpoint}", as_json=False)
        try:
            drive.start()
            yield drive
        finally:
            drive.clear_away(keep_state=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600.0, help="of work, for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--rate", type=float, default=0.1, help="share of the requests that meet something")
    parser.add_argument("--hang-s", type=float, default=30.0, help="how long requests hang; less for a short watch")
    chosen = parser.parse_args()
    is_sound = True
    with credentials(), tempfile.TemporaryDirectory(prefix="store-") as place, rclone(Path(place)) as server:
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            outcome = run_round(server, seed, chosen.seconds, chosen.rate, hang_s=chosen.hang_s)
            print(f"seed {seed}, {outcome}", flush=True)
            for kind, whats in sorted(outcome.report.hits.items()):
                print(f"  {kind}: {', '.join(f'{count} {what}' for what, count in sorted(whats.items()))}", flush=True)
            for wrong in outcome.wrong:
                print(f"  {wrong}", flush=True)
            is_sound = is_sound and not outcome.wrong
    print("nothing wrong, nothing lost" if is_sound else "NOT SOUND")
    return 0 if is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
