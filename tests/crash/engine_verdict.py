"""What a crash left of a worker's drive, held against what the drive had promised.

The recovered drive must show the state after one single step: none older than what was promised, none newer than what
was begun. Its names, links, sizes and snapshots are exactly those of that step. Its bytes are too, except where another
step since the promise wrote in place: there each byte must be one that the file had in that time. A large write goes to
the disk piece by piece, so of the step that was under way it may show a part: the file ends somewhere between its old
and its new end. Every snapshot shows its own step, byte for byte, without exception. And `vfs.check` finds nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

from crash.engine_workload import Begun, Promised, State
from kit.drive_builder import DriveBuilder

from vfs.check import check
from vfs.errors import VfsError
from vfs.ids import ROOT
from vfs.past import entries_as_of


class Promise(NamedTuple):
    """The steps whose states may be found."""

    oldest: int
    newest: int


def promise_of(facts: Sequence[Any], *, is_power_lost: bool) -> Promise:
    """What the facts written down before the crash amount to."""
    oldest = newest = 0
    for fact in facts:
        match fact:
            case Begun(step):
                newest = max(newest, step)
            case Promised(step, how) if how != "closed" or not is_power_lost:
                oldest = max(oldest, step)
    return Promise(oldest, newest)


class Found(NamedTuple):
    """The live tree of a recovered drive; `files` numbers the files by inode."""

    files: dict[str, int]
    folders: frozenset[str]
    contents: dict[int, bytes]


async def losses(built: DriveBuilder, states: Sequence[State], promise: Promise) -> list[str]:
    """Sentences about what is wrong; none when every promise was kept."""
    try:
        found = await _live_tree(built)
    except VfsError as error:
        return [f"the live tree cannot be read: {error!r}"]
    candidates = states[promise.oldest : promise.newest + 1]
    kept = {snapshot.name for snapshot in built.drive.snapshots.all()}
    wrong = ["names, links, sizes or snapshots are of no step that may be found"]
    for state in (*candidates, *_under_way(candidates, found)):
        if _shape(state.files, state.folders, state.contents) == _shape(*found) and kept == set(state.kept):
            wrong = _wrong_bytes(found, state, candidates)
            if not wrong:
                break
    if not kept <= set(states[promise.newest].kept) | {name for state in candidates for name in state.kept}:
        wrong.append("a snapshot is there that nobody made")
    for snapshot in sorted(kept):
        step = next(state.kept[snapshot] for state in reversed(states) if snapshot in state.kept)
        wrong += await wrong_past(built, snapshot, states[step])
    built.drive.cuts.log()
    findings, _ = check(built.drive.database, built.state / "segments")
    return wrong + [f"{finding.rule}: {finding.message}" for finding in findings]


def _shape(files: dict[str, int], folders: frozenset[str], contents: dict[int, bytes]) -> object:
    linked: dict[int, list[str]] = {}
    for path, file in files.items():
        linked.setdefault(file, []).append(path)
    return folders, {tuple(sorted(paths)): len(contents[file]) for file, paths in linked.items()}


def _under_way(candidates: Sequence[State], found: Found) -> Iterator[State]:
    """What may be found of steps that change the size of a file while they have written only a part of it."""
    for before, after in pairwise(candidates):
        for path, ino in found.files.items():
            file, size = after.files.get(path), len(found.contents[ino])
            if file is None or file not in before.contents or before.files.get(path) != file:
                continue
            old, new = before.contents[file], after.contents[file]
            if min(len(old), len(new)) < size < max(len(old), len(new)):
                longer = max(old, new, key=len)
                yield replace(after, contents={**after.contents, file: longer[:size]})


def live_names(built: DriveBuilder) -> tuple[set[str], frozenset[str]]:
    """Paths of all live files, and of all folders."""
    files, folders, todo = set[str](), set[str](), [""]
    while todo:
        folder = todo.pop()
        for name in built.names(folder):
            path = f"{folder}/{name}".lstrip("/")
            if built.inode(path).is_folder:
                folders.add(path)
                todo.append(path)
            else:
                files.add(path)
    return files, frozenset(folders)


async def _live_tree(built: DriveBuilder) -> Found:
    paths, folders = live_names(built)
    files = {path: int(built.inode(path).ino) for path in paths}
    contents = {ino: await built.read(path) for path, ino in files.items()}
    return Found(files, folders, contents)


def _wrong_bytes(found: Found, state: State, candidates: Sequence[State]) -> list[str]:
    wrong = []
    for path, ino in found.files.items():
        file, data = state.files[path], found.contents[ino]
        if data == state.contents[file]:
            continue
        versions = {id(v): v for other in candidates if (v := other.contents.get(file)) is not None}.values()
        bad = [
            position
            for position, (is_, shall) in enumerate(zip(data, state.contents[file], strict=True))
            if is_ != shall and not any(position < len(v) and v[position] == is_ for v in versions)
        ]
        if bad:
            wrong.append(f"{path}: {len(bad)} bytes from {bad[0]} on are of no step that may be found")
    return wrong


async def wrong_past(built: DriveBuilder, snapshot: str, state: State) -> list[str]:
    """What a snapshot shows that its step does not have, or the other way round."""
    drive = built.drive
    epoch = drive.snapshots.get(snapshot).epoch
    try:
        paths, todo = set[str](), [("", int(ROOT))]
        while todo:
            folder, ino = todo.pop()
            for _, name, child in entries_as_of(drive.database.rows, ino, epoch):
                path = f"{folder}/{name.decode()}".lstrip("/")
                inode = drive.past.inode(child, epoch)
                if inode is not None and inode.is_folder:
                    todo.append((path, child))
                if path != "Previous Versions":
                    paths.add(path)
        wrong = [] if paths == set(state.files) | state.folders else [f"{snapshot} shows other names: {paths}"]
        for path, file in state.files.items():
            if await built.read_past(snapshot, path) != state.contents[file]:
                wrong.append(f"{snapshot} shows other bytes of {path}")
    except VfsError as error:
        return [f"{snapshot} cannot be read: {error!r}"]
    return wrong
