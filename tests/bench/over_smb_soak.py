"""25 people at work over SMB: each saves, reads, lists, renames, replaces, looks into the past, and pauses.

Each has a session of his own, five in a process. What is read must be what was saved; any refusal is an error.
"""

import datetime
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from smb.office import PASSWORD, SHARE, Office, opened
from smb.wire import Share, connected
from smbprotocol.exceptions import SMBException

PROCESSES, PEOPLE = 5, 5
MOST_PAUSE_S = 0.2
FILES = 12


class Person:
    """Somebody with a folder of his own, who knows what he has saved."""

    def __init__(self, port: int, number: int, until: float) -> None:
        self._port = port
        self._until = until
        self._dice = random.Random(number)
        self._folder = f"person {number}"
        self._saved: dict[str, bytes] = {}
        self.done: Counter[str] = Counter()
        self.slowest_s: dict[str, float] = {}
        self.errors: list[str] = []

    def work(self) -> None:
        with connected(self._port, SHARE, self._dice.choice(("alice", "carol")), PASSWORD) as share:
            share.make_folder(self._folder)
            while time.time() < self._until:
                deed = self._dice.choices(("save", "read", "list", "replace", "rename", "past"), (4, 4, 2, 2, 1, 1))[0]
                begun = time.perf_counter()
                try:
                    getattr(self, f"_{deed}")(share)
                except Exception as error:
                    self.errors.append(f"{deed}: {type(error).__name__}: {error}")
                self.slowest_s[deed] = max(self.slowest_s.get(deed, 0.0), time.perf_counter() - begun)
                self.done[deed] += 1
                time.sleep(self._dice.random() * MOST_PAUSE_S)

    def _path(self, name: str) -> str:
        return f"{self._folder}\\{name}"

    def _any(self) -> str | None:
        return self._dice.choice(sorted(self._saved)) if self._saved else None

    def _data(self) -> bytes:
        return self._dice.randbytes(self._dice.choice((200, 8_000, 60_000, 400_000)))

    def _save(self, share: Share) -> None:
        name, data = f"file {self._dice.randrange(FILES)}.docx", self._data()
        share.write(self._path(name), data)
        self._saved[name] = data

    def _read(self, share: Share) -> None:
        name = self._any()
        if name is not None and share.read(self._path(name)) != self._saved[name]:
            raise AssertionError(f"{name} is not what was saved")

    def _list(self, share: Share) -> None:
        if not set(self._saved) <= share.names(self._folder):
            raise AssertionError("a name is missing")

    def _replace(self, share: Share) -> None:
        name, data = self._any(), self._data()
        if name is not None:
            share.write(self._path("~temporary"), data)
            share.rename(self._path("~temporary"), self._path(name))
            self._saved[name] = data

    def _rename(self, share: Share) -> None:
        name = self._any()
        if name is not None:
            share.rename(self._path(name), self._path(f"{name}.old"))
            self._saved[f"{name}.old"] = self._saved.pop(name)
            share.remove(self._path(f"{name}.old"))
            del self._saved[f"{name}.old"]

    def _past(self, share: Share) -> None:
        tokens = share.snapshots(self._folder)
        if not tokens:
            return
        token = self._dice.choice(tokens)
        try:
            share.names("", at=token)
        except SMBException:
            # Thinning took it in between, or it is from before there was the share; one that stays must open.
            if token == tokens[0] and token in share.snapshots(self._folder):
                raise


def be_people(port: int, first: int, seconds: float) -> int:
    """In a process of its own: so many people; prints what they did as one line each."""
    until = time.time() + seconds
    people = [Person(port, first + number, until) for number in range(PEOPLE)]
    threads = [threading.Thread(target=person.work) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for person in people:
        print(sum(person.done.values()), max(person.slowest_s.values(), default=0.0), len(person.errors), flush=True)
        for error in person.errors[:3]:
            print(error, file=sys.stderr)
    return 0


def soak(seconds: int) -> tuple[str, bool]:
    """Lets them work, with a snapshot every ten seconds; what came of it as a sentence, and whether all was well."""
    with opened() as office:
        helpers = [
            subprocess.Popen(
                [sys.executable, __file__, str(office.port), str(number * PEOPLE), str(seconds)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(PROCESSES)
        ]
        _snapshots_meanwhile(office, helpers)
        lines = [line.split() for helper in helpers for line in helper.communicate()[0].splitlines()]
        complaints = office.drive.complaints()
        left = office.drive.cli("fsck")["findings"]
    deeds, errors = sum(int(line[0]) for line in lines), sum(int(line[2]) for line in lines)
    slowest = [float(line[1]) for line in lines]
    is_well = len(lines) == PROCESSES * PEOPLE and not errors and not complaints and not left
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores: {len(lines)} clients"
        f" for {seconds:,} s, {deeds:,} deeds, {errors} errors, {len(complaints)} complaints of the drive,"
        f" {len(left)} findings of fsck; the slowest deed of a client took {statistics.median(slowest):.2f} s (median),"
        f" {max(slowest, default=0):.2f} s (worst)."
    ), is_well


def _snapshots_meanwhile(office: Office, helpers: list[subprocess.Popen[str]]) -> None:
    while any(helper.poll() is None for helper in helpers):
        office.snapshot()
        for helper in helpers:
            try:
                helper.wait(10 / len(helpers))
            except subprocess.TimeoutExpired:
                continue


if __name__ == "__main__":
    sys.exit(be_people(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
