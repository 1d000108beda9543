"""Folders of a hundred thousand entries: made, listed, asked for and removed through the mount."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import workloads
from bench.scale_built import Builder, build
from bench.scale_served import Served, median, percentile, probed
from bench.scale_table import Line

ENTRIES = 100_000
FEW = 1_000
SMALL_RUNS = 9  # one lasts half a second: its median


def measure(home: Path) -> Iterator[Line]:
    """Measure on a drive that is empty at first."""
    state = home / "folders"

    async def nothing(builder: Builder) -> None:
        pass

    build(state, nothing)
    with Served(state, home / "mount") as served:
        waited: list[float] = []
        # Not in the root: while the kernel removes a folder of so many names it holds the one above, on ext4 as well.
        beside = served.root / "beside"
        beside.mkdir()
        with probed(beside, waited):
            runs = [_work(served, FEW) for _ in range(SMALL_RUNS)]
            few = {what: median([run[what] for run in runs]) for what in runs[0]}
            many = _work(served, ENTRIES)
        for what, rate in many.items():
            told = f"{rate:,.0f} a second, {few[what]:,.0f} in a folder of {FEW:,}"
            yield Line(f"{what}, beside a folder of {FEW:,}", few[what] / rate, "times", 1.5, told)
        told = f"{len(waited):,} stats, p99 {percentile(waited, 0.99):.1f} ms"
        yield Line("longest stat beside it", max(waited), "ms", 50, told)
        yield Line("memory of the core", served.resident_mib(), "MiB", 300)
        yield served.slow_turns_since(0, "all of it")


def _work(served: Served, entries: int) -> dict[str, float]:
    folder = served.root / f"{entries} entries"
    folder.mkdir()
    names = [f"Rechnung {number:07d}.pdf" for number in range(entries)]
    made = _rate(entries, lambda: [os.close(os.open(folder / name, os.O_CREAT | os.O_EXCL, 0o644)) for name in names])
    workloads.empty_cache(served.root, workloads.DENTRIES)
    listed = _rate(entries, lambda: os.listdir(folder))
    workloads.empty_cache(served.root, workloads.DENTRIES)
    asked = _rate(entries, lambda: [os.stat(folder / name) for name in names])
    removed = _rate(entries, lambda: [os.unlink(folder / name) for name in names])
    folder.rmdir()
    return {"create": made, "list": listed, "stat": asked, "delete": removed}


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)
