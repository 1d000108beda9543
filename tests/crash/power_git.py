"""git on the drive: a commit that returned, with git told to sync, is there, and `git fsck` finds nothing.

git syncs files but not the folders of its renames, so a commit counts as acknowledged once the folders of .git were
synced after it. A lock file that the dead git left is removed before the next round, as git asks its user to do; that
is git's, on any disk. A repository lives a few rounds, then it is deleted and a new one begins.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from crash.kill_ledger import Fact, Ledger, content
from crash.kill_writers import sync_directory
from crash.power_program import Program

LONGEST = 150  # commits of one repository
DEADLINE_S = 60.0
_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Power",
    "GIT_AUTHOR_EMAIL": "power@example.org",
    "GIT_COMMITTER_NAME": "Power",
    "GIT_COMMITTER_EMAIL": "power@example.org",
}
_SYNCING = ("-c", "core.fsync=all", "-c", "core.fsyncMethod=fsync", "-c", "gc.auto=0", "-c", "maintenance.auto=false")


def git(place: Path, *words: str) -> str:
    """Run git in `place`; its output. Raises CalledProcessError."""
    ended = subprocess.run(
        ["git", *_SYNCING, *words],
        cwd=place,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return ended.stdout


class GitProgram(Program):
    """Commits for as long as it lives."""

    name = "git"

    def __init__(self) -> None:
        self._sure = 0
        self._repository = 0
        self._is_there = False  # the repository was seen, or promised

    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        repository = place / f"repository-{self._repository}"
        number = self._sure
        if not self._is_there:
            shutil.rmtree(repository, ignore_errors=True)
            git(place, "init", "-q", "-b", "main", repository.name)
        else:
            for lock in (repository / ".git").rglob("*.lock"):
                lock.unlink()
            if number:
                git(repository, "reset", "-q", "--hard")
        while True:
            number += 1
            name = f"file-{rng.randrange(30)}"
            (repository / name).write_bytes(content(f"git:{number}", rng.choice([10, 3000, 30_000])))
            git(repository, "add", name)
            ledger.write("begin", number=number)
            git(repository, "commit", "-q", "-m", f"commit {number}")
            for folder in (".git", ".git/refs/heads", ".git/objects", *_fans(repository, name)):
                sync_directory(repository / folder)
            ledger.write("synced", number=number)

    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        self._sure = max([self._sure, *(fact["number"] for fact in facts if fact["kind"] == "synced")])
        begun = max([self._sure, *(fact["number"] for fact in facts if fact["kind"] == "begin")])
        self._is_there = self._is_there or self._sure > 0
        if not self._is_there:
            return []
        repository, losses = place / f"repository-{self._repository}", list[str]()
        try:
            git(repository, "fsck", "--full", "--strict", "--no-dangling")
            subjects = git(repository, "log", "--format=%s", "main").split("\n")[:-1]
            if not self._sure <= len(subjects) <= begun:
                losses.append(f"{len(subjects)} commits; {self._sure} were acknowledged and {begun} begun")
            if subjects != [f"commit {number}" for number in range(len(subjects), 0, -1)]:
                losses.append("the history is not the one that was made")
            self._sure = max(self._sure, len(subjects))
        except subprocess.CalledProcessError as error:
            losses.append(f"{' '.join(error.cmd[-4:])} said: {error.stderr.strip()[-600:]}")
        if self._sure > LONGEST and not losses:
            shutil.rmtree(repository)
            self._sure, self._is_there = 0, False
            self._repository += 1
        return losses


def _fans(repository: Path, name: str) -> set[str]:
    """The folders in which the newest commit's own objects lie."""
    objects = git(repository, "rev-parse", "HEAD", "HEAD^{tree}", f"HEAD:{name}").split()
    return {f".git/objects/{each[:2]}" for each in objects}
