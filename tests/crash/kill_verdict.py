"""What must be there after the core was killed, judged fact by fact. Pure but for reading.

Acknowledged by fsync or close: there, byte for byte. Older than `AGE_S` when the core was killed: there too,
acknowledged or not. Beyond that, a byte that was written may be there or be missing (zeros), but it is never another
byte; a document replaced by rename is one whole version, never empty, never mixed. An overwrite that was running when
the core died may have done any part of its work.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from crash.kill_ledger import Fact, content, stream, version_of

AGE_S = 10.0


class Verdict(NamedTuple):
    """What was lost, one sentence each, and how many facts of each kind were judged."""

    losses: list[str]
    judged: Counter[str]


def judge(kind: str, facts: Sequence[Fact], place: Path, killed_at: float) -> Verdict:
    """Judges the ledger of one writer that worked in `place`."""
    judged: Counter[str] = Counter()
    if kind in ("documents_synced", "documents_closed"):
        return Verdict(_document(facts, place, killed_at, judged), judged)
    if kind == "frees":
        return Verdict(_slots(facts, place, judged), judged)
    return Verdict(_files(facts, place, killed_at, judged), judged)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _files(facts: Sequence[Fact], place: Path, killed_at: float, judged: Counter[str]) -> list[str]:
    losses: list[str] = []
    prefixes: dict[str, tuple[Fact, int]] = {}
    for fact in facts:
        if fact["kind"] == "whole":
            judged[fact["how"]] += 1
            found = [raw for name in fact["paths"] if (raw := _read(place / name)) is not None]
            if not any(len(raw) == fact["size"] and zlib.crc32(raw) == fact["checksum"] for raw in found):
                losses.append(f"{place}/{' or '.join(fact['paths'])}: {_told(fact, found)}")
        elif fact["how"] != "age" or fact["at"] <= killed_at - AGE_S:
            judged[fact["how"]] += 1
            sure = prefixes.get(fact["path"], (fact, 0))[1]
            prefixes[fact["path"]] = (fact, max(sure, fact["size"]))
    for name, (fact, sure) in prefixes.items():
        raw = _read(place / name)
        expected = stream(fact["key"], 0, max(sure, len(raw or b"")))
        if raw is None or raw[:sure] != expected[:sure]:
            losses.append(
                f"{place}/{name}: {_told(fact, [] if raw is None else [raw], _first_difference(raw, expected))}"
            )
        elif any(one not in (0, two) for one, two in zip(raw[sure:], expected[sure:], strict=True)):
            losses.append(f"{place}/{name}: bytes that nobody wrote, behind the {sure} acknowledged ones")
    return losses


def _first_difference(raw: bytes | None, expected: bytes) -> int:
    pairs = enumerate(zip(raw or b"", expected, strict=False))
    return next((place for place, (one, two) in pairs if one != two), len(raw or b""))


def _told(fact: Fact, found: list[bytes], first: int | None = None) -> str:
    seen = "is not there" if not found else f"has {[len(raw) for raw in found]} bytes, {[_zeros(raw) for raw in found]}"
    where = "" if first is None else f", wrong from byte {first} on"
    return f"{fact['size']} bytes acknowledged by {fact['how']}, {seen}{where}"


def _zeros(raw: bytes) -> str:
    return "all zeros" if raw and not any(raw) else "other bytes"


def _document(facts: Sequence[Fact], place: Path, killed_at: float, judged: Counter[str]) -> list[str]:
    begun = max((fact["version"] for fact in facts if fact["kind"] == "begin"), default=0)
    if not begun:
        return []
    key = next(fact["key"] for fact in facts if fact["kind"] == "begin")
    closed, named = 0, 0
    for fact in facts:
        if fact["kind"] in ("closed", "synced"):
            judged[fact["how"]] += 1
        if fact["kind"] == "closed":
            closed = fact["version"]
        if fact["kind"] == "synced" or (fact["kind"] == "renamed" and fact["at"] <= killed_at - AGE_S):
            named = fact["version"]
    raw, beside = _read(place / "document"), _read(place / "document.tmp")
    version = 0 if raw is None else version_of(key, raw)
    if version is None:
        return [f"{place}/document: {len(raw or b'')} bytes, {_zeros(raw or b'')}, of no version; last closed {closed}"]
    newest = max(version, version_of(key, beside) or 0 if beside is not None else 0)
    losses = []
    if version < named:
        losses.append(f"{place}/document: version {version}, but {named} was there for good")
    if newest < closed:
        losses.append(f"{place}/document: newest whole version {newest}, but {closed} was closed")
    if version > begun:
        losses.append(f"{place}/document: version {version}, but only {begun} were begun")
    return losses


def _slots(facts: Sequence[Fact], place: Path, judged: Counter[str]) -> list[str]:
    """A slot is as it was last acknowledged, or as a later try wanted it; a running overwrite may be half done."""
    possible: dict[str, list[list[object] | None]] = {}
    running: dict[str, tuple[list[object] | None, list[object]]] = {}
    for fact in facts:
        slot, state = fact["slot"], fact["state"]
        states = possible.setdefault(slot, [None])
        if fact["kind"] == "done":
            judged[fact["how"]] += 1
            possible[slot] = [state]
            running.pop(slot, None)
        elif state is None:
            states.append(None)
        else:
            running[slot] = (states[-1], state)
            states.append(state)
    losses = []
    for slot, states in possible.items():
        raw = _read(place / slot)
        if any(raw == (None if state is None else content(str(state[0]), int(str(state[1])))) for state in states):
            continue
        if slot in running and raw is not None and _is_half_done(raw, *running[slot]):
            continue
        seen = "is not there" if raw is None else f"has {len(raw)} bytes, {_zeros(raw)}"
        losses.append(f"{place}/{slot}: {seen}; must be one of {states}")
    return losses


def _is_half_done(raw: bytes, old: list[object] | None, new: list[object]) -> bool:
    """Whether every byte is of the old content, of the new one, or a zero that truncate left."""
    before = b"" if old is None else content(str(old[0]), int(str(old[1])))
    after = content(str(new[0]), int(str(new[1])))
    longest = max(len(before), len(after))
    if len(raw) > longest:
        return False
    padded = zip(raw, before.ljust(longest, b"\0"), after.ljust(longest, b"\0"), strict=False)
    return all(one in (0, was, wanted) for one, was, wanted in padded)
