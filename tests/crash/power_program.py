"""What a program is in the tests of power loss: it works on the drive until it dies, and it is judged afterwards.

A program works in a process of its own, forked from the one that judges, so the two share what is known of earlier
rounds. It writes into a ledger *outside* of the drive: `begin` before it tries something, an acknowledgement after
the call that promises it has returned. The ledger's process may die at any line; a line that is there is true.

The judge holds what a restarted drive shows against the ledger. What it shows becomes the base of the next round: a
drive that serves again has made durable what it brought back, so it must be there after the next power loss as well.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from crash.kill_ledger import Fact, Ledger, read_facts

DEATHS = (OSError, sqlite3.Error, subprocess.CalledProcessError, subprocess.TimeoutExpired)
"""How a program notices that the drive is gone; what it was about to do was never acknowledged."""


class Program(ABC):
    """One program with a folder of its own on the drive."""

    name: str

    @abstractmethod
    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        """Work in `place`, which exists, until a call fails. Runs in a process of its own."""

    @abstractmethod
    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        """What of the acknowledged is not there, or is there and cannot be; one sentence each."""


class Death(NamedTuple):
    """How a round ended, in CLOCK_MONOTONIC: the programs' drive was gone `at` a moment, and what was closed before
    `settled` is durable: by its age, or because a core has started since.
    """

    at: float
    settled: float

    def meaning(self, fact: Fact) -> str:
        """The kind of a fact, seen from the end.

        What was acknowledged too late never was: SQLite, for one, calls a transaction committed when the folder that it
        wants to sync cannot be opened any more.
        """
        kind = str(fact["kind"])
        if kind == "synced" and fact["at"] > self.at:
            return "too late"
        return "settled" if kind == "closed" and fact["at"] < self.settled else kind


def acknowledged(facts: Sequence[Fact]) -> int:
    """How many lines of a ledger speak of something that must survive."""
    return sum(fact["kind"] in ("synced", "settled") for fact in facts)


class AtWork:
    """A program's process, and its ledger."""

    def __init__(self, program: Program, place: Path, ledger: Path, rng: random.Random) -> None:
        self.program = program
        self._place = place
        self._ledger = ledger
        self._seed = rng.random()
        self._pid = os.fork()
        if self._pid == 0:
            self._live()

    def _live(self) -> NoReturn:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            ledger = Ledger(self._ledger)
            try:
                self.program.work(self._place, ledger, random.Random(self._seed))
            except DEATHS as death:
                ledger.write("death", words=str(death)[-500:])
        except BaseException as error:  # a program that is wrong itself must not pass for one that died
            Ledger(self._ledger).write("mistake", words=repr(error))
        finally:
            os._exit(0)

    def facts(self, death: Death) -> list[Fact]:
        """The ledger, as far as it says something after this death."""
        facts = list(read_facts(self._ledger)) if self._ledger.exists() else []
        return [fact | {"kind": death.meaning(fact)} for fact in facts]

    def end(self) -> None:
        """Kill it, and wait; a process that waits for the drive ends once the drive is gone."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
