"""Programs that keep plain files: mailboxes, documents saved by rename, a file that stays open, and files only closed.

Between them stand two of the storage traps: a replaced document's bytes are freed while the cut that forgets them is
not durable yet (T4), and documents are saved while another program is nearly always inside an fsync (T1).
"""

from __future__ import annotations

import itertools
import mmap
import os
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

from crash.kill_ledger import HEADER_BYTES, Fact, Ledger, content, document, stream, version_of
from crash.kill_writers import put, sync_directory
from crash.power_program import Program

PAGE = 4096


class Mailbox(Program):
    """Appends letters of up to `largest` bytes and syncs after each. When it is long, a new one is begun."""

    def __init__(self, name: str, largest: int, longest: int) -> None:
        self.name = name
        self._largest = largest
        self._longest = longest
        self._file, self._sure = 0, 0

    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        size = self._sure
        for file in itertools.count(self._file):
            path = place / f"{file}.mbox"
            handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            os.ftruncate(handle, size)
            while size < self._longest:
                letter = stream(f"{self.name}:{file}", size, rng.randint(1, self._largest))
                size += os.write(handle, letter)
                os.fsync(handle)
                ledger.write("synced", file=file, size=size)
            os.close(handle)
            path.with_name(f"{file - 1}.mbox").unlink(missing_ok=True)
            size = 0

    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        for fact in facts:
            if fact["kind"] == "synced":
                self._file, self._sure = fact["file"], fact["size"]
        path = place / f"{self._file}.mbox"
        if not path.exists():
            return [f"{path.name} is not there; {self._sure} bytes were synced"] if self._sure else []
        raw = path.read_bytes()
        good = stream(f"{self.name}:{self._file}", 0, max(len(raw), self._sure))
        right = _right_bytes(raw, good)
        losses = []
        if right < self._sure:
            losses.append(f"{path.name}: {self._sure} bytes were synced, but from {right} on it is wrong or missing")
        if any(one not in (0, two) for one, two in zip(raw[right:], good[right:], strict=False)):
            losses.append(f"{path.name}: behind {right} are bytes that nobody wrote")
        self._sure = right
        return losses


def _right_bytes(raw: bytes, good: bytes) -> int:
    """How many bytes of `raw` are right, from the start."""
    for low in range(0, len(raw), PAGE):
        if raw[low : low + PAGE] != good[low : low + PAGE]:
            pairs = enumerate(zip(raw[low:], good[low:], strict=False), low)
            return next((place for place, (one, two) in pairs if one != two), len(good))
    return len(raw)


class Documents(Program):
    """Saves documents as office programs do: write beside, (sync,) close, rename over. Now and then syncs the folder.

    Without a sync a document may be old, but it is one whole version, never empty, never zeros.
    """

    def __init__(self, name: str, *, sync: bool) -> None:
        self.name = name
        self._sync = sync
        self._versions: dict[str, int] = {}

    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        versions = dict(self._versions)
        while True:
            name = f"document-{rng.randrange(4)}"
            versions[name] = version = versions.get(name, 0) + 1
            raw = document(f"{self.name}:{name}", version, rng.choice([10, 3000, 20_000, 70_000, 300_000]))
            ledger.write("begin", name=name, version=version)
            put(place / f"{name}.tmp", raw, sync=self._sync, flags=os.O_CREAT | os.O_TRUNC)
            os.rename(place / f"{name}.tmp", place / name)
            if rng.random() < (0.5 if self._sync else 0.02):
                sync_directory(place)
                ledger.write("synced", versions=versions)

    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        begun = dict(self._versions)
        for fact in facts:
            if fact["kind"] == "begin":
                begun[fact["name"]] = fact["version"]
            elif fact["kind"] == "synced":
                self._versions |= fact["versions"]
        losses = []
        for name in begun:
            sure, path = self._versions.get(name, 0), place / name
            raw = path.read_bytes() if path.exists() else None
            version = 0 if raw is None else version_of(f"{self.name}:{name}", raw)
            if version is None:
                zeros = "all zeros" if raw and not any(raw) else "no zeros"
                losses.append(f"{name}: {len(raw or b'')} bytes, {zeros}, of no version; {sure} was synced")
            elif not sure <= version <= begun[name]:
                losses.append(f"{name}: version {version}, but {sure} was synced and {begun[name]} begun")
            self._versions[name] = max(version or 0, sure)
        return losses


class Pages(Program):
    """Keeps one file open for its whole life, changes whole pages of it by write or through a map, and syncs them."""

    name = "pages"
    _count = 96

    def __init__(self) -> None:
        self._versions = [0] * self._count

    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        versions = list(self._versions)
        handle = os.open(place / "pages", os.O_CREAT | os.O_RDWR, 0o600)
        os.ftruncate(handle, self._count * PAGE)
        with mmap.mmap(handle, self._count * PAGE) as window:
            while True:
                changed = {}
                for number in rng.sample(range(self._count), rng.randint(1, 6)):
                    versions[number] += 1
                    changed[number] = versions[number]
                ledger.write("begin", pages=list(changed.items()))
                for number, version in changed.items():
                    raw = _page(number, version)
                    if rng.random() < 0.5:
                        os.pwrite(handle, raw, number * PAGE)
                    else:
                        window[number * PAGE : (number + 1) * PAGE] = raw
                if rng.random() < 0.3:
                    window.flush()
                    os.fsync(handle) if rng.random() < 0.5 else os.fdatasync(handle)
                    ledger.write("synced", versions=versions)

    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        begun = list(self._versions)
        for fact in facts:
            if fact["kind"] == "begin":
                for number, version in fact["pages"]:
                    begun[number] = version
            elif fact["kind"] == "synced":
                self._versions = fact["versions"]
        path, losses = place / "pages", []
        raw = path.read_bytes() if path.exists() else b""
        for number in range(self._count):
            page, sure = raw[number * PAGE : (number + 1) * PAGE], self._versions[number]
            version = 0 if not any(page) else version_of(f"page:{number}", page)
            if version is None or not sure <= version <= begun[number]:
                losses.append(f"page {number}: version {version}, but {sure} was synced and {begun[number]} begun")
            self._versions[number] = max(version or 0, sure)
        return losses


def _page(number: int, version: int) -> bytes:
    return document(f"page:{number}", version, PAGE - HEADER_BYTES)


class Closed(Program):
    """Creates, writes and closes, nothing more. That survives the death of the core; a power loss takes the last 5 s.

    A young file may be missing or short, but no byte of it is another's. Once it is old, or was seen after a start, it
    stays as it is.
    """

    name = "closed"

    def __init__(self) -> None:
        self._last = 0
        self._seen: dict[str, int] = {}

    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        old = sorted(self._seen)
        for number in itertools.count(self._last + 1):
            if len(old) > 60:
                victim = old.pop(rng.randrange(len(old)))
                ledger.write("gone", name=victim)
                (place / victim).unlink()
            size = rng.choice([0, 1, 100, 4096, 5000, 60_000, 200_000])
            ledger.write("begin", number=number, size=size)
            put(place / f"file-{number}", content(f"closed:{number}", size))
            ledger.write("closed", number=number)

    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        sizes = {f"file-{fact['number']}": fact["size"] for fact in facts if fact["kind"] == "begin"}
        self._last = max((fact["number"] for fact in facts if fact["kind"] == "begin"), default=self._last)
        losses = []
        for fact in facts:
            if fact["kind"] == "settled":
                name = f"file-{fact['number']}"
                self._seen[name] = zlib.crc32(content(f"closed:{fact['number']}", sizes[name]))
        for fact in facts:
            if fact["kind"] == "gone":
                self._seen.pop(fact["name"], None)  # may be there, or gone
        for name, checksum in self._seen.items():
            path = place / name
            if not path.exists() or zlib.crc32(path.read_bytes()) != checksum:
                losses.append(f"{name} was durable, by its age or by a start since, and is gone or another now")
        for path in place.iterdir():
            raw = path.read_bytes()
            if path.name in sizes:
                good = content(f"closed:{path.name.split('-')[1]}", sizes[path.name])
                if len(raw) > len(good) or any(one not in (0, two) for one, two in zip(raw, good, strict=False)):
                    losses.append(f"{path.name}: bytes that nobody wrote there")
            self._seen[path.name] = zlib.crc32(raw)
        return losses
