"""What a lost machine left in the store, held against what the drive had promised.

The drive that comes back shows the names of one single step: none older than what was flushed, none newer than what was
begun. A file is whole, as of that step; or it is listed as behind, and then it was changed after the flush, and holds
a version that it, or what had its name, once had, or tells that bytes are lost. Snapshots from before the flush are
whole.
"""

from collections.abc import Sequence
from typing import Any

from crash.engine_verdict import Promise, live_names, wrong_past
from crash.engine_workload import Begun, Promised, State
from kit.drive_builder import DriveBuilder

from vfs.errors import VfsError
from vfs.recovering import Recovered


def stored_promise(facts: Sequence[Any]) -> Promise:
    """The steps whose states may come back from the store."""
    oldest = newest = 0
    for fact in facts:
        match fact:
            case Begun(step):
                newest = max(newest, step)
            case Promised(step, "stored"):
                oldest = max(oldest, step)
    return Promise(oldest, newest)


async def store_losses(
    built: DriveBuilder, states: Sequence[State], promise: Promise, recovered: Recovered
) -> list[str]:
    """Sentences about what is wrong; none when every promise was kept."""
    flushed = states[promise.oldest]
    candidates = states[promise.oldest : promise.newest + 1]
    try:
        names = live_names(built)
    except VfsError as error:  # a name that leads nowhere
        return [f"the tree that came back cannot be walked: {error}"]
    kept = {snapshot.name for snapshot in built.drive.snapshots.all()}
    fitting = [state for state in candidates if names == (set(state.files), state.folders) and kept == set(state.kept)]
    if not fitting:
        return [f"names or snapshots are of no step that may come back: {names}, {kept}"]
    behind = {one.path.decode(): one for one in recovered.behind}
    read = {path: await _read(built, path) for path in names[0]}
    wrong = min((_wrong_files(state, flushed, candidates, states, read, behind) for state in fitting), key=len)
    for name in kept & set(flushed.kept):
        wrong += await wrong_past(built, name, states[flushed.kept[name]])
    return wrong


async def _read(built: DriveBuilder, path: str) -> bytes | None:
    """None when bytes are lost."""
    try:
        return await built.read(path)
    except VfsError:
        return None


def _wrong_files(
    state: State,
    flushed: State,
    candidates: Sequence[State],
    states: Sequence[State],
    read: dict[str, bytes | None],
    behind: dict[str, Any],
) -> list[str]:
    wrong = []
    linked = {state.files[path] for path in behind if path in state.files}
    for path, data in read.items():
        file = state.files[path]
        if file not in linked:
            versions = [v for other in candidates if (v := other.contents.get(file)) is not None]
            if data is None or not _is_mixed(data, versions):
                wrong.append(f"{path} is not behind, and not what it was")
            continue
        if flushed.files.get(path) == file and all(c.contents.get(file) == flushed.contents[file] for c in candidates):
            wrong.append(f"{path} was flushed and not changed since, and came back as behind")
        names = [name for name, linked_to in state.files.items() if linked_to == file]  # what any of them stood for
        once = {bytes(s.contents[s.files[name]]) for s in states for name in names if name in s.files}
        once |= {bytes(s.contents[file]) for s in states if file in s.contents}
        if data is not None and data not in once:
            wrong.append(f"{path} was behind, and holds what it never held")
    return wrong


def _is_mixed(data: bytes, versions: Sequence[bytes]) -> bool:
    """Whether it is a version, or a step under way left a part of it: each byte from one of them."""
    if data in versions:
        return True
    return any(len(data) <= len(v) for v in versions) and all(
        any(at < len(v) and v[at] == byte for v in versions) for at, byte in enumerate(data)
    )
