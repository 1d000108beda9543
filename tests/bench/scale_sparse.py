"""A file of 200 GiB with a million extents, as the image of a machine's disk has them: every act on it stays short."""

import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.scale_built import FILE, Builder, build
from bench.scale_served import Served, await_pruned, median, percentile, probed, timed_ms
from bench.scale_table import Line

from vfs.ids import ROOT

EXTENTS = 1_000_000
SIZE_BYTES = 200 << 30
STEP_BYTES = SIZE_BYTES // EXTENTS // 4096 * 4096
PAGE_BYTES = 4096
READS = 1_000
IMAGE = "machine.img"


def measure(home: Path) -> Iterator[Line]:
    """Build the drive, unless it is there already, and measure. The file is gone afterwards."""
    state = home / "sparse"
    began = time.perf_counter()
    build(state, _fill)
    print(f"  built {EXTENTS:,} extents in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    with Served(state, home / "mount") as served:
        yield Line("200 GiB in 1,000,000 extents: mounted after", served.started_s, "s", 2)
        served.catch_up()
        waited: list[float] = []
        turns = served.slow_turns()
        with probed(served.root, waited):
            yield from _work(served)
        yield Line("memory of the core", served.resident_mib(), "MiB", 300)
        told = f"{len(waited):,} stats, p99 {percentile(waited, 0.99):.1f} ms"
        yield Line("longest stat meanwhile", max(waited), "ms", 50, told)
        yield served.slow_turns_since(turns, "all of it")


async def _fill(builder: Builder) -> None:
    if builder.drive.namespace.find(ROOT, IMAGE.encode()) is not None:
        return
    inode = builder.drive.namespace.create(ROOT, IMAGE.encode(), FILE, builder.caller)
    await builder.drive.files.truncate(inode, SIZE_BYTES, builder.caller.actor_id)
    page = bytes(PAGE_BYTES)
    with builder.drive.inodes.held(inode):
        for number in range(EXTENTS):
            await builder.drive.files.write(inode, number * STEP_BYTES, page, builder.caller.actor_id)
            if number % 20_000 == 0:
                await builder.commit()


def _work(served: Served) -> Iterator[Line]:
    path, chance = served.root / IMAGE, random.Random(1)
    yield Line("open", timed_ms(_open, path), "ms", 20)
    fd = os.open(path, os.O_RDWR)
    places = [chance.randrange(EXTENTS) * STEP_BYTES for _ in range(READS)]
    yield Line("random read of 4 KiB", median([timed_ms(os.pread, fd, PAGE_BYTES, place) for place in places]), "ms", 5)
    yield Line("random write of 4 KiB, and its fsync", median([_written_ms(fd, place) for place in places[:100]]), "ms")
    yield Line("snapshot", timed_ms(served.control.create_snapshot, "image"), "ms", 20)
    yield Line("the same after the snapshot", median([_written_ms(fd, place) for place in places[100:200]]), "ms")
    os.close(fd)
    name = served.control.list_snapshots()[-1].name
    served.settle()  # only the last cut is seen by readers of the past
    past = served.root / ".snapshots" / name / IMAGE
    os.stat(past)
    yield Line("open and first read in the snapshot", timed_ms(_read, past, places[0]), "ms", 10)
    yield Line("random read in the snapshot", median([timed_ms(_read, past, place) for place in places[:50]]), "ms")
    yield Line("truncate to a half", timed_ms(os.truncate, path, SIZE_BYTES // 2), "ms")
    yield Line("delete", timed_ms(os.unlink, path), "ms", 20)
    assert _read(past, places[1]) == bytes(PAGE_BYTES)
    served.control.delete_snapshot(name)
    began = time.perf_counter()
    await_pruned(served.drive.state)
    yield Line("delete the snapshot, until its last row is gone", time.perf_counter() - began, "s")


def _open(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR))


def _written_ms(fd: int, place: int) -> float:
    began = time.perf_counter()
    os.pwrite(fd, bytes(PAGE_BYTES), place)
    os.fsync(fd)
    return (time.perf_counter() - began) * 1000


def _read(path: Path, place: int) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.pread(fd, PAGE_BYTES, place)
    finally:
        os.close(fd)
