"""Snapshots and restores while everybody works: a snapshot that was answered, and then synced, shows its moment.

One folder is changed by this program alone, so that its state at the moment of a snapshot is known to the byte. An
fsync of some file follows the answer; from there on the snapshot must survive. One that was answered only may be gone,
but if it is there, it shows its moment too.

Then a file is restored and written to at once, in the same epoch: the snapshot, the restored file and what comes of it
share blocks (T5). A restore is done or not begun.
"""

from __future__ import annotations

import itertools
import os
import random
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from crash.kill_ledger import Fact, Ledger, content
from crash.kill_writers import put
from crash.power_program import Program

from appliance.control.client import ControlClient
from appliance.control.protocol import ControlProblem

PAGE = 4096
FILES = 8
KEPT = 5  # snapshots; older ones are deleted
RESTORE_DEADLINE_S = 10.0

Seen = list[int] | None
"""A file as the ledger tells it: its size, then a checksum of each page. None: there is no such file."""
Tree = dict[str, list[int]]


def seen(raw: bytes) -> list[int]:
    return [len(raw), *(zlib.crc32(raw[low : low + PAGE]) for low in range(0, len(raw), PAGE))]


def tree_of(folder: Path) -> Tree:
    """What a folder of plain files shows; unfinished ones of `put` left out."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return {name: seen((folder / name).read_bytes()) for name in names if not name.endswith(".tmp")}


class SnapshotProgram(Program):
    """Changes a folder, takes snapshots, restores, deletes old snapshots."""

    name = "snapshots"

    def __init__(self, state: Path, mount: Path) -> None:
        self._client = ControlClient(state / "run" / "control.sock")
        self._mount = mount
        self._tree: Tree = {}
        self._moments: dict[str, Tree] = {}  # by label
        self._kept: dict[str, str] = {}  # label by name of a snapshot that must be there
        self._last = 0

    # --- at work ---

    def work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        try:
            self._work(place, ledger, rng)
        except ControlProblem as problem:
            ledger.write("death", words=str(problem))

    def _work(self, place: Path, ledger: Ledger, rng: random.Random) -> None:
        tree, kept = place / "tree", list(self._kept)
        tree.mkdir(exist_ok=True)
        turn = 0
        for number in itertools.count(self._last + 1):
            for _ in range(rng.randint(1, 5)):
                turn += 1
                self._change(tree, ledger, rng, f"{number}:{turn}")
            label = f"moment-{number}"
            ledger.write("asking", number=number, label=label, tree=self._tree)
            name = self._client.create_snapshot(label).name
            self._sync(place, ledger, kept=name, label=label)
            kept.append(name)
            if self._tree and rng.random() < 0.5:
                self._restore(tree, ledger, rng, kept[-2:][0])
            self._forget_old(ledger, kept)

    def _sync(self, place: Path, ledger: Ledger, **words: str) -> None:
        # Everything the core was told before an fsync, by anybody, is acknowledged by it.
        put(place / "synced", b"x", sync=True, flags=os.O_CREAT)
        ledger.write("synced", tree=self._tree, **words)

    def _change(self, tree: Path, ledger: Ledger, rng: random.Random, key: str) -> None:
        name = f"file-{rng.randrange(FILES)}"
        path, old = tree / name, self._tree.get(name)
        if old is not None and rng.random() < 0.15:
            self._begin(ledger, name, None)
            path.unlink()
        elif old is not None and old[0] >= PAGE and rng.random() < 0.5:
            self._overwrite(path, ledger, rng, key)
        else:
            raw = content(key, rng.choice([10, 3000, 9000, 40_000]))
            self._begin(ledger, name, seen(raw))
            put(tree / f"{name}.tmp", raw, flags=os.O_CREAT | os.O_TRUNC)
            os.rename(tree / f"{name}.tmp", path)

    def _overwrite(self, path: Path, ledger: Ledger, rng: random.Random, key: str) -> None:
        raw = bytearray(path.read_bytes())
        low = rng.randrange(len(raw) // PAGE) * PAGE
        raw[low : low + PAGE] = content(key, PAGE)
        self._begin(ledger, path.name, seen(bytes(raw)))
        handle = os.open(path, os.O_WRONLY)
        os.pwrite(handle, raw[low : low + PAGE], low)
        os.close(handle)

    def _begin(self, ledger: Ledger, name: str, now: Seen) -> None:
        ledger.write("begin", name=name, now=now)
        if now is None:
            del self._tree[name]
        else:
            self._tree[name] = now

    def _restore(self, tree: Path, ledger: Ledger, rng: random.Random, snapshot: str) -> None:
        past = tree_of(self._mount / ".snapshots" / snapshot / tree.relative_to(self._mount))
        if not past:
            return
        name = rng.choice(sorted(past))
        self._begin(ledger, name, past[name])
        job = self._client.start_restore(str((tree / name).relative_to(self._mount)), snapshot)
        deadline = time.monotonic() + RESTORE_DEADLINE_S
        while job.state == "building":
            if time.monotonic() > deadline:
                raise TimeoutError(f"no end of the restore of {name}")
            job = self._client.job(job.id)
        assert job.state == "done", f"the restore of {name} from {snapshot} ended as {job.state}: {job.error}"
        ledger.write("restored", name=name)
        if past[name][0] >= PAGE:
            self._overwrite(tree / name, ledger, rng, f"after {job.id}")
        self._sync(tree.parent, ledger)

    def _forget_old(self, ledger: Ledger, kept: list[str]) -> None:
        for snapshot in self._client.list_snapshots():
            is_ours = snapshot.name in kept
            if is_ours and kept.index(snapshot.name) >= len(kept) - KEPT:
                continue
            ledger.write("dropping", name=snapshot.name)
            if snapshot.held:
                self._client.hold(snapshot.name, False)
            self._client.delete_snapshot(snapshot.name)

    # --- judged ---

    def judge(self, place: Path, facts: Sequence[Fact]) -> list[str]:
        possible: dict[str, list[Seen]] = {name: [now] for name, now in self._tree.items()}
        for fact in facts:
            match fact["kind"]:
                case "asking":
                    self._last = fact["number"]
                    self._moments[fact["label"]] = fact["tree"]
                case "synced":
                    possible = {name: [now] for name, now in fact["tree"].items()}
                    if "kept" in fact:
                        self._kept[fact["kept"]] = fact["label"]
                case "begin":
                    possible.setdefault(fact["name"], [None]).append(fact["now"])
                case "dropping":
                    self._kept.pop(fact["name"], None)
        self._tree = tree_of(place / "tree")
        losses = [
            f"tree/{name} is {self._tree.get(name)}, and may be {possible.get(name)}"
            for name in sorted({*possible, *self._tree})
            if not _is_one_of(self._tree.get(name), possible.get(name, [None]))
        ]
        return losses + self._judge_snapshots(place)

    def _judge_snapshots(self, place: Path) -> list[str]:
        found = {snapshot.name: snapshot.label for snapshot in self._client.list_snapshots()}
        losses = [f"snapshot {name} was synced and is gone" for name in self._kept if name not in found]
        for name, label in found.items():
            if label not in self._moments:
                continue
            shown = tree_of(self._mount / ".snapshots" / name / (place / "tree").relative_to(self._mount))
            moment = self._moments[label]
            if shown != moment:
                wrong = sorted(key for key in {*shown, *moment} if shown.get(key) != moment.get(key))
                losses.append(f"snapshot {name} shows another moment: {', '.join(wrong)}")
        self._kept = {name: label for name, label in found.items() if label in self._moments}
        self._moments = {label: self._moments[label] for label in self._kept.values()}
        return losses


def _is_one_of(now: Seen, possible: Sequence[Seen]) -> bool:
    """Whether a file is as one of its states, or a mixture by pages of those of its size."""
    if now in possible:
        return True
    if now is None:
        return False
    states = [state for state in possible if state is not None and state[0] == now[0]]
    return all(any(state[at] == one for state in states) for at, one in enumerate(now)) and bool(states)
