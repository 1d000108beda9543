"""What a disk was told, in order; and what of it would be found after a crash at any moment.

A journal is written once, by one run of a workload. From it the directory can be rebuilt as a crash after the nth event
would have left it, so that every crash point is looked at without running the workload anew. What a crash leaves
depends on what died, and on what the disk did with writes that nobody had synced:

    everything      only the core died: the page cache is intact
    synced          power was lost, and the disk had done nothing that it was not told to finish
    freed           power was lost, and of what was not synced just the removals had happened: punches, cuts, unlinks
    some(seed)      power was lost, and any of it may have happened, page by page

A file's data and its name are synced apart, as POSIX has it: `sync` makes bytes durable, `sync_directory` names.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

PAGE_BYTES = 4096

Kind = Literal[
    "create", "write", "truncate", "punch", "sync", "unlink", "rename", "make folder", "sync directory", "fact"
]
FOLDER = 0  # the number behind the name of a folder
REMOVALS = ("truncate", "punch", "unlink")


@dataclass(frozen=True, slots=True)
class Event:
    """One call, after it returned. `file` numbers files for ever, whatever their names; facts carry what they say."""

    kind: Kind
    file: int = 0
    path: Path = Path()
    offset: int = 0
    length: int = 0
    data: bytes = b""
    source: Path = Path()  # of a rename: the name before
    fact: Any = None


Survival = Callable[[Event], bool]
"""Whether something that was not synced happened all the same."""


def everything(event: Event) -> bool:
    return True


def synced(event: Event) -> bool:
    return False


def freed(event: Event) -> bool:
    return event.kind in REMOVALS


def some(seed: int) -> Survival:
    """Each with a chance of its own, the same in every run with this seed."""
    chance = random.Random(seed)
    share = chance.choice((0.2, 0.5, 0.8))
    return lambda event: chance.random() < share


@dataclass(slots=True)
class _File:
    durable: bytearray
    pending: list[Event] = field(default_factory=list)

    def as_found(self, survives: Survival) -> bytearray:
        data = bytearray(self.durable)
        for event in self.pending:
            for page in _pages(event):
                if survives(page):
                    _apply(data, page)
        return data


class Survivors:
    """What is durable, and what is not yet, after some prefix of a journal."""

    def __init__(self, names: dict[Path, int], contents: dict[int, bytes]) -> None:
        self._names = dict(names)
        self._folders: set[Path] = set()  # those made since; the others were always there
        self._pending_names: list[Event] = []
        self._files = {number: _File(bytearray(data)) for number, data in contents.items()}

    def take(self, event: Event) -> None:
        """The next event of the journal."""
        match event.kind:
            case "create":
                self._files[event.file] = _File(bytearray())
                self._pending_names.append(event)
            case "unlink" | "rename":
                self._pending_names.append(event)
            case "make folder":
                self._folders.add(event.path)
                self._pending_names.append(event)
            case "sync directory":
                self._names = self._names_found(everything, event.path)
                self._pending_names = [other for other in self._pending_names if other.path.parent != event.path]
            case "sync":
                file = self._files[event.file]
                # `length` counts what was pending when the sync began; what came during it is not covered (T1).
                for done in file.pending[: event.length]:
                    _apply(file.durable, done)
                del file.pending[: event.length]
            case "write" | "truncate" | "punch":
                self._files[event.file].pending.append(event)
            case "fact":
                pass

    def _names_found(self, survives: Survival, folder: Path | None = None) -> dict[Path, int]:
        names = dict(self._names)
        for event in self._pending_names:
            if (folder is None or event.path.parent == folder) and survives(event):
                match event.kind:
                    case "create" | "make folder":
                        names[event.path] = event.file
                    case "rename":
                        names[event.path] = event.file
                        names.pop(event.source, None)
                    case _:
                        names.pop(event.path, None)
        return names

    def found(self, survives: Survival) -> dict[Path, bytes]:
        """Every file that the next start would find, by path."""
        names = self._names_found(survives)
        lost = self._folders - set(names)  # and with them whatever they hold
        return {
            path: bytes(self._files[number].as_found(survives))
            for path, number in names.items()
            if number != FOLDER and lost.isdisjoint(path.parents)
        }

    def found_folders(self, survives: Survival) -> list[Path]:
        """Every folder made since that the next start would find, parents first."""
        names = self._names_found(survives)
        return sorted(
            path for path, number in names.items() if number == FOLDER and self._folders & {*path.parents} <= {*names}
        )


def _pages(event: Event) -> Iterator[Event]:
    # A write reaches a disk page by page; the rest in one piece.
    if event.kind != "write":
        yield event
        return
    low = event.offset
    end = low + len(event.data)
    while low < end:
        high = min(end, (low // PAGE_BYTES + 1) * PAGE_BYTES)
        yield Event("write", event.file, offset=low, data=event.data[low - event.offset : high - event.offset])
        low = high


def _apply(data: bytearray, event: Event) -> None:
    match event.kind:
        case "write":
            if event.offset > len(data):
                data.extend(bytes(event.offset - len(data)))
            data[event.offset : event.offset + len(event.data)] = event.data
        case "truncate":
            del data[event.length :]
            data.extend(bytes(event.length - len(data)))
        case "punch":
            end = min(len(data), event.offset + event.length)
            if event.offset < end:
                data[event.offset : end] = bytes(end - event.offset)


def put(found: dict[Path, bytes], root: Path) -> None:
    """Write files, given by paths below a root, into that folder. Pages of zeros become holes."""
    for path, data in found.items():
        with (root / path).open("wb") as file:
            for low in range(0, len(data), PAGE_BYTES):
                page = data[low : low + PAGE_BYTES]
                if page.count(0) != len(page):
                    file.seek(low)
                    file.write(page)
            file.truncate(len(data))
