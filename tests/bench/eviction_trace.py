"""How well the cache chooses what leaves: `./just bench-eviction` (two minutes; --write puts the tables on the page).

- A month of an office (`office_trace`), replayed over our policy and its rivals (`eviction_rivals`) with caches of
  several sizes, with and without a scan of everything each night. Only people's reads count, of blocks and of bytes.
- What our policy costs: memory for each of a million blocks, and time of its calls, in processor time.

A block longer than a request of 128 KiB is read in several; rivals are told of the first only, ours of all.
"""

import argparse
import datetime
import multiprocessing
import sys
import time
import timeit
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.eviction_rivals import Arc, Clock, Fifo, Lru, Rival, S3Fifo, TwoQueues
from bench.office_trace import GONE, MIB, READ, SCAN, WRITE, Event, Office
from bench.page import write_section

from cachefs.eviction import Eviction

SHARES = (0.05, 0.1, 0.2, 0.4)
REQUEST_BYTES = 128 << 10


class StillClock:
    """Time that is set; a fake that costs nothing to ask."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_ns(self) -> int:
        return int(self.now_s * 1e9)

    def monotonic_s(self) -> float:
        return self.now_s


class Ours:
    """Our policy as the cache uses it."""

    def __init__(self, capacity_bytes: int) -> None:
        self.clock = StillClock()
        self._capacity_bytes = capacity_bytes
        self._policy = Eviction(self.clock)
        self._held: dict[int, int] = {}
        self._held_bytes = 0

    def read(self, block: int, size_bytes: int) -> bool:
        is_hit = block in self._held
        if is_hit:
            self._policy.touched(block)
        else:
            self._bring(block, size_bytes, is_read=True)
        if size_bytes > REQUEST_BYTES:
            self._policy.touched(block)
        return is_hit

    def write(self, block: int, size_bytes: int) -> None:
        self._bring(block, size_bytes, is_read=False)

    def gone(self, block: int) -> None:
        self._policy.gone(block)
        self._held_bytes -= self._held.pop(block, 0)

    def _bring(self, block: int, size_bytes: int, *, is_read: bool) -> None:
        self._held[block] = size_bytes
        self._held_bytes += size_bytes
        self._policy.admitted(block, size_bytes, is_read=is_read)
        while self._held_bytes > self._capacity_bytes:
            for victim in self._policy.victims(self._held_bytes - self._capacity_bytes):
                self._held_bytes -= self._held.pop(victim)


POLICIES: dict[str, Callable[[int], Rival]] = {
    "FIFO": Fifo,
    "LRU": Lru,
    "CLOCK": Clock,
    "2Q": TwoQueues,
    "ARC": Arc,
    "S3-FIFO": S3Fifo,
    "ours": Ours,
}


@dataclass(frozen=True)
class Replay:
    """Shares of people's reads that were served from the cache."""

    requests: float
    bytes: float


def replay(policy: Rival, events: list[Event]) -> Replay:
    """What a cache with this policy makes of the events."""
    clock = policy.clock if isinstance(policy, Ours) else StillClock()
    reads = hits = read_bytes = hit_bytes = 0
    for at_s, kind, block, size_bytes in events:
        clock.now_s = at_s
        if kind == READ:
            is_hit = policy.read(block, size_bytes)
            reads += 1
            hits += is_hit
            read_bytes += size_bytes
            hit_bytes += size_bytes * is_hit
        elif kind == SCAN:
            policy.read(block, size_bytes)
        elif kind == WRITE:
            policy.write(block, size_bytes)
        elif kind == GONE:
            policy.gone(block)
    return Replay(hits / reads, hit_bytes / read_bytes)


MONTHS: dict[bool, list[Event]] = {}
"""By whether it is scanned; made before the worker processes are, which then have it."""


def replayed(name: str, capacity_bytes: int, is_scanned: bool) -> Replay:
    return replay(POLICIES[name](capacity_bytes), MONTHS[is_scanned])


def hit_ratios(seed: int) -> list[str]:
    """The tables of all policies."""
    office = Office(seed)
    files = list(office.files())
    total_bytes = sum(size for file in files for _, size in file.blocks)
    for is_scanned in (False, True):
        MONTHS[is_scanned] = Office(seed).month(is_scanned=is_scanned)
    reads = sum(event.kind == READ for event in MONTHS[False])
    jobs = [
        (name, int(total_bytes * share), is_scanned) for is_scanned in MONTHS for share in SHARES for name in POLICIES
    ]
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = iter(pool.starmap(replayed, jobs, chunksize=1))
    results = {job: next(found) for job in jobs}
    boundless = replay(Lru(1 << 62), MONTHS[False])
    lines = [
        f"{len(files):,} files of {total_bytes / MIB:,.0f} MiB, {reads:,} reads of blocks; shares of reads (of bytes)"
        f" that the cache served. Without a scan, and without a limit, it would be {boundless.requests:.3f}"
        f" ({boundless.bytes:.3f}).",
    ]
    for is_scanned in MONTHS:
        title = "everything read once a night" if is_scanned else "no scan"
        sizes = " | ".join(f"cache {share:.0%} of the files" for share in SHARES)
        lines += ["", f"| {title} | {sizes} |", "|---|" + "---:|" * len(SHARES)]
        for name in POLICIES:
            cells = [results[name, int(total_bytes * share), is_scanned] for share in SHARES]
            mark = "**" if name == "ours" else ""
            shown = " | ".join(f"{mark}{cell.requests:.3f}{mark} ({cell.bytes:.3f})" for cell in cells)
            lines.append(f"| {mark}{name}{mark} | {shown} |")
    return lines


def costs(count: int = 1_000_000, size_bytes: int = 250_000) -> list[str]:
    """Memory and times of our policy with so many blocks held, and as many ghosts."""
    clock = StillClock()
    tracemalloc.start()
    policy = Eviction(clock)
    for block in range(1, count + 1):
        policy.admitted(block, size_bytes, is_read=True)
    held_bytes = tracemalloc.get_traced_memory()[0]
    for block in range(count + 1, 2 * count + 1):
        policy.admitted(block, size_bytes, is_read=True)
        if not block % 1000:
            policy.victims(1000 * size_bytes)
    with_ghosts_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    lines = [
        f"{count:,} blocks: {held_bytes / count:.0f} bytes of memory for each, {with_ghosts_bytes / count:.0f} with"
        " as many ghosts. Processor time of a call:",
        "",
        "| call | µs |",
        "|---|---:|",
    ]

    def timed(what: str, work: Callable[[int], object], calls: int = 100_000) -> None:
        begin = time.process_time()
        for number in range(calls):
            work(number)
        lines.append(f"| {what} | {(time.process_time() - begin) / calls * 1e6:.2f} |")

    touched = timeit.timeit(
        "touched(7)", globals={"touched": policy.touched}, number=1_000_000, timer=time.process_time
    )
    lines.append(f"| `touched`, the same block | {touched:.2f} |")
    clock.now_s += 3600
    timed(
        "`touched`, another block each time, sorted in",
        lambda number: policy.touched(count + 1 + number * 7919 % count),
    )
    timed("`admitted`", lambda number: policy.admitted(2 * count + 1 + number, size_bytes, is_read=True))
    clock.now_s += 3600
    timed("`victims` of 64 blocks", lambda number: policy.victims(64 * size_bytes), 1000)
    exported = b""

    def export(number: int) -> None:
        nonlocal exported
        exported = policy.export()

    timed("`export` of all", export, 1)
    sizes = {block: size_bytes for block in range(count + 1, 2 * count + 1)}
    timed("`load` of all", lambda number: Eviction(clock).load(exported, sizes), 1)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--seed", type=int, default=1, help="of the office")
    parser.add_argument("--only", choices=["hits", "costs"], help="one part only")
    arguments = parser.parse_args()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    parts: dict[str, Callable[[], list[str]]] = {"hits": partial(hit_ratios, arguments.seed), "costs": costs}
    for name, part in parts.items():
        if arguments.only in (None, name):
            first, *rest = part()
            text = "\n".join([f"{today}. {first}", *rest])
            print(text, end="\n\n", flush=True)
            if arguments.write:
                write_section(f"eviction-{name}", text)


if __name__ == "__main__":
    main()
