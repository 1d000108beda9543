"""A million files: what they cost in rows, in memory, at the start, and at each operation beside a small drive.

Both drives are served at once and take turns, so that what else the machine does meets both. The figure of an operation
is the median of all its calls; the large drive's is judged by the small one's.
"""

import os
import random
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench import workloads
from bench.scale_built import Builder, build
from bench.scale_served import Served, await_pruned, median, percentile, probed, timed_ms
from bench.scale_table import Line

FILES, FEW = 1_000_000, 10_000
LEAVES = {FILES: 20_000, FEW: 250}  # folders of 40 files, as `Builder.office` makes them
ROUNDS = 7
FOLDERS_PER_ROUND = 10
NEW_FILES = 100_000
CHANGED_FILES = 40_000
DELETED_FILES = 100_000
DIRTY_BYTES = 1 << 30
OPERATIONS = ("list", "stat", "open and read", "create", "rename", "delete")


def measure(home: Path) -> Iterator[Line]:
    """Build both drives below `home`, unless they are there already, and measure."""
    large, small = home / "files", home / "few-files"
    for state, files in ((large, FILES), (small, FEW)):
        if not state.exists():
            began = time.perf_counter()

            async def fill(builder: Builder, files: int = files) -> None:
                await builder.office(files)

            build(state, fill)
            print(f"  built {files:,} files in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    yield from _rows(large)
    with Served(large, home / "mount") as served, Served(small, home / "small-mount") as beside:
        yield Line("1,000,000 files: mounted after", served.started_s, "s", 2)
        for one in (served, beside):
            one.catch_up()
        yield Line("memory of the core after the start", served.resident_mib(), "MiB", 300)
        yield from _operations(served, beside)
        yield from _sweeps(served)
        yield from _snapshots(served)
        yield from _tidied(served)
        yield Line("a start after kill -9", served.kill_and_restart(), "s", 2)


def _rows(state: Path) -> Iterator[Line]:
    with sqlite3.connect(f"file:{state / 'drive.db'}?mode=ro", uri=True) as database:
        sizes = dict(database.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
    split = sorted(((size / FILES, name) for name, size in sizes.items()), reverse=True)
    told = ", ".join(f"{name} {size:.0f}" for size, name in split if size >= 1)
    yield Line("database per small file", sum(sizes.values()) / FILES, "bytes", 450, told)


def _operations(served: Served, beside: Served) -> Iterator[Line]:
    took: dict[Served, dict[str, list[float]]] = {served: defaultdict(list), beside: defaultdict(list)}
    chance = random.Random(1)
    for number in range(ROUNDS):
        for one in (served, beside) if number % 2 else (beside, served):
            leaves = chance.sample(range(LEAVES[FILES if one is served else FEW]), FOLDERS_PER_ROUND)
            folders = [os.open(one.root / _path(leaf), os.O_RDONLY | os.O_DIRECTORY) for leaf in leaves]
            try:
                _round(one, folders, took[one])
            finally:
                for folder in folders:
                    os.close(folder)
    for operation in OPERATIONS:
        mine, other = median(took[served][operation]), median(took[beside][operation])
        told = f"{mine * 1000:.0f} and {other * 1000:.0f} µs"
        yield Line(f"{operation}, beside a drive of 10,000 files", mine / other, "times", 1.2, told)


def _path(leaf: int) -> str:
    return f"Abteilung {leaf // 400:03d}/Projekt {leaf // 20:04d}/Vorgang {leaf + 1:05d}"


def _round(served: Served, folders: list[int], took: dict[str, list[float]]) -> None:
    names: list[tuple[int, str]] = []
    for folder in folders:
        began = time.perf_counter()
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries]
        took["list"].append((time.perf_counter() - began) * 1000 / max(1, len(found)))
        names += [(folder, name) for name in found]
    workloads.empty_cache(served.root, workloads.DENTRIES)
    for folder, name in names:
        took["stat"].append(timed_ms(_stat, folder, name))
    for folder, name in names:
        took["open and read"].append(timed_ms(_read, folder, name))
    for folder in folders:
        for number in range(20):
            took["create"].append(timed_ms(_create, folder, f"new {number}"))
    for folder in folders:
        for number in range(20):
            took["rename"].append(timed_ms(_rename, folder, f"new {number}", f"renamed {number}"))
    for folder in folders:
        for number in range(20):
            took["delete"].append(timed_ms(_delete, folder, f"renamed {number}"))


def _stat(folder: int, name: str) -> None:
    os.stat(name, dir_fd=folder)


def _read(folder: int, name: str) -> None:
    fd = os.open(name, os.O_RDONLY, dir_fd=folder)
    os.read(fd, 4096)
    os.close(fd)


def _create(folder: int, name: str) -> None:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder)
    os.write(fd, b"new")
    os.close(fd)


def _rename(folder: int, name: str, new: str) -> None:
    os.rename(name, new, src_dir_fd=folder, dst_dir_fd=folder)


def _delete(folder: int, name: str) -> None:
    os.unlink(name, dir_fd=folder)


def _sweeps(served: Served) -> Iterator[Line]:
    turns = served.slow_turns()
    began = time.perf_counter()
    seen = sum(1 for _ in _walk(served.root))
    rate = seen / (time.perf_counter() - began)
    yield Line("walk and lstat of everything", rate, "a second")
    yield Line("memory of the core after it", served.resident_mib(), "MiB", 300)
    folder = served.root / "new"
    folder.mkdir()
    began = time.perf_counter()
    for number in range(NEW_FILES):
        os.mknod(folder / f"new file {number:06d}.txt")
    yield Line("empty files made", NEW_FILES / (time.perf_counter() - began), "a second")
    yield Line(f"memory of the core after {NEW_FILES:,} more files", served.resident_mib(), "MiB", 300)
    yield served.slow_turns_since(turns, "walk and creates")


def _walk(top: Path | str) -> Iterator[int]:
    folders = []
    with os.scandir(top) as entries:
        for entry in entries:
            yield entry.stat(follow_symlinks=False).st_size
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
    for folder in folders:
        yield from _walk(folder)


def _snapshots(served: Served) -> Iterator[Line]:
    turns = served.slow_turns()
    replies = []
    with open(served.root / "large", "wb") as file:
        for number in range(DIRTY_BYTES >> 20):
            file.write(bytes([number % 251 + 1]) * (1 << 20))
    replies.append(timed_ms(served.control.create_snapshot, "dirty"))
    for number in range(4):
        time.sleep(1.1)  # a second is used once; the wait for the next is not what is measured
        _change(served.root / "new", number)
        replies.append(timed_ms(served.control.create_snapshot))
    yield Line("reply to a snapshot with 1 GiB dirty", replies[0], "ms", 20)
    yield Line("reply to a snapshot, others", median(replies[1:]), "ms", 20)
    yield served.slow_turns_since(turns, "1 GiB written, snapshots")
    turns, took_ms = served.slow_turns(), list[float]()
    for number in range(CHANGED_FILES):
        os.chmod(served.root / "new" / f"new file {number:06d}.txt", 0o600)
    time.sleep(1.1)
    with probed(served.root, took_ms):
        began = time.perf_counter()
        for snapshot in served.control.list_snapshots():
            served.control.delete_snapshot(snapshot.name)
        await_pruned(served.drive.state)
        lasted = time.perf_counter() - began
    told = f"{len(took_ms):,} stats in {lasted:.0f} s, p99 {percentile(took_ms, 0.99):.1f} ms"
    yield Line("longest stat while snapshots are deleted", max(took_ms), "ms", 50, told)
    yield served.slow_turns_since(turns, "changes, deletion of snapshots")


def _tidied(served: Served) -> Iterator[Line]:
    """The store's packs of files that were deleted, and of those that were not."""
    turns = served.slow_turns()
    for leaf in range(DELETED_FILES // 40):
        for entry in list(os.scandir(served.root / _path(leaf))):
            os.unlink(entry.path)
    served.catch_up()
    began, before = time.perf_counter(), served.resident_mib()
    with served.most_resident_mib() as most:
        done = served.control.gc()
    told = f"{done.doomed} packs doomed, {done.repacked} packed anew, in {time.perf_counter() - began:.0f} s"
    told += f"; the core held {before:.0f} MiB before"
    claim = f"memory that a gc after {DELETED_FILES:,} deletions takes"
    yield Line(claim, max(0.0, most[0] - before), "MiB", 256, told)
    yield served.slow_turns_since(turns, "deletions, gc")


def _change(folder: Path, number: int) -> None:
    for other in range(200):
        os.chmod(folder / f"new file {number * 200 + other:06d}.txt", 0o640)
