"""What cutting and packing bring and cost: `./just bench-packs` (two minutes; --write puts the tables on the page).

- Cuts: how many new bytes a changed file makes, for several sets of parameters, over many files: one byte in front, one
  MiB appended, one byte in the middle; and how far behind the change the cuts are the old ones again.
- What a cut holds the interpreter for, as another thread feels it.
- Records: a source tree packed in groups of several sizes at several levels, beside `tar` and `zstd -3`.
- Encoding and decoding, proof included, of one thread.

Nothing is mounted; the tree is Python's own library, so figures differ a little from one Python to another.
"""

import argparse
import datetime
import io
import random
import statistics
import sys
import sysconfig
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.page import write_section
from kit.drive_keys import drive_keys

from appliance.core import SWITCH_INTERVAL_S
from cloud_tier import codec, pack
from cloud_tier.block_id import BlockId, block_id
from cloud_tier.chunker import ChunkerParameters, Cutter
from cloud_tier.pack import PackReader, PackWriter

KIB, MIB = 1 << 10, 1 << 20
FEED_BYTES = MIB
KEYS = drive_keys()
PARAMETERS = [
    ChunkerParameters(64 * KIB, 256 * KIB, MIB),
    ChunkerParameters(128 * KIB, 512 * KIB, MIB),
    ChunkerParameters(256 * KIB, 512 * KIB, MIB),
    ChunkerParameters(256 * KIB, MIB, 4 * MIB),
]


def cuts(data: bytes, parameters: ChunkerParameters) -> list[int]:
    """Lengths of the blocks of `data`."""
    cutter = Cutter(parameters)
    found = [length for low in range(0, len(data), FEED_BYTES) for length in cutter.feed(data[low : low + FEED_BYTES])]
    return found + cutter.finish()


def blocks(data: bytes, parameters: ChunkerParameters) -> Iterator[bytes]:
    start = 0
    for length in cuts(data, parameters):
        yield data[start : start + length]
        start += length


def new_bytes(before: bytes, after: bytes, parameters: ChunkerParameters) -> int:
    """How much of `after` lies in blocks that `before` has not."""
    known = {hash(block) for block in blocks(before, parameters)}
    return sum(len(block) for block in blocks(after, parameters) if hash(block) not in known)


def resync(before: bytes, after: bytes, at: int, parameters: ChunkerParameters) -> int:
    """How far behind a byte inserted at `at` the cuts are the old ones again."""
    old = {place + 1 for place in accumulate(cuts(before, parameters))}
    new = set(accumulate(cuts(after, parameters)))
    return min(place for place in old & new if place > at) - at


def shown(values: list[int]) -> str:
    return f"{statistics.median(values) / MIB:.2f} ({max(values) / MIB:.2f})"


def cutting(files: int, size_bytes: int) -> list[str]:
    """The table of parameters."""
    lines = [
        "| least / average / most, KiB | blocks, mean KiB | one byte in front | 1 MiB appended "
        "| one byte in the middle | same cuts again after |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    contents = [random.Random(seed).randbytes(size_bytes + seed * 70_001) for seed in range(files)]
    for parameters in PARAMETERS:
        lengths = [length for data in contents for length in cuts(data, parameters)[:-1]]
        half = size_bytes // 2
        middles = [data[:half] + b"!" + data[half:] for data in contents]
        front = [new_bytes(data, b"!" + data, parameters) for data in contents]
        more = [new_bytes(data, data + random.Random(-1).randbytes(MIB), parameters) for data in contents]
        middle = [new_bytes(data, other, parameters) for data, other in zip(contents, middles, strict=True)]
        again = [resync(data, other, half, parameters) for data, other in zip(contents, middles, strict=True)]
        sizes = (parameters.least_bytes, parameters.average_bytes, parameters.most_bytes)
        lines.append(
            f"| {' / '.join(str(size // KIB) for size in sizes)} | {statistics.mean(lengths) / KIB:.0f} "
            f"| {' | '.join(map(shown, (front, more, middle, again)))} |"
        )
    return lines


def waits_ms() -> list[float]:
    """For five seconds: how long this thread stood still each time that it did for 0.1 ms or more, longest first."""
    gaps, last, end = [0.0], time.perf_counter(), time.perf_counter() + 5
    while last < end:
        now = time.perf_counter()
        if now - last > 100e-6:
            gaps.append((now - last) * 1000)
        last = now
    return sorted(gaps, reverse=True)


def holding() -> str:
    """How long another thread waits for the interpreter while one cuts."""
    data = random.Random(0).randbytes(64 * MIB)
    is_over = threading.Event()

    def work() -> None:
        cutter = Cutter(ChunkerParameters())
        while not is_over.is_set():
            for low in range(0, len(data), FEED_BYTES):
                cutter.feed(memoryview(data)[low : low + FEED_BYTES])

    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    thread = threading.Thread(target=work)
    thread.start()
    lost_ms = waits_ms()
    is_over.set()
    thread.join()
    sys.setswitchinterval(before)
    return (
        f"While another thread cuts without pause, the interpreter comes back after {statistics.median(lost_ms):.2f} ms"
        f" (median of {len(lost_ms)} waits in 5 s; one in a hundred {lost_ms[len(lost_ms) // 100]:.2f} ms, the longest"
        f" {lost_ms[0]:.2f} ms; with nobody else in the process the machine's longest is {waits_ms()[0]:.2f} ms)."
    )


def tree(most_bytes: int) -> list[tuple[str, bytes]]:
    """Source files of Python's library, in the order in which a copy would make them."""
    root = Path(sysconfig.get_path("stdlib"))
    found, total = [], 0
    for path in sorted(root.rglob("*")):
        if path.suffix in {".py", ".h", ".c", ".txt", ".pyi"} and path.is_file() and total < most_bytes:
            data = path.read_bytes()
            total += len(data)
            if data:
                found.append((str(path.relative_to(root)), data))
    return found


def tarred(files: list[tuple[str, bytes]]) -> int:
    """What `tar | zstd -3` makes of them, in bytes."""
    out = io.BytesIO()
    with (
        zstandard.ZstdCompressor(level=3).stream_writer(out, closefd=False) as stream,
        tarfile.open(fileobj=stream, mode="w|") as archive,
    ):
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return len(out.getvalue())


def packed(contents: list[tuple[BlockId, bytes]]) -> tuple[list[pack.Pack], float]:
    """Packs of 16 MiB that hold these blocks, and the seconds it took."""
    begin = time.perf_counter()
    packs, writer = [], PackWriter(KEYS)
    for id_, data in contents:
        writer.add(id_, data)
        if writer.size_bytes >= 16 * MIB:
            packs.append(writer.close())
            writer = PackWriter(KEYS)
    if writer.count:
        packs.append(writer.close())
    return packs, time.perf_counter() - begin


def grouping() -> list[str]:
    """The table of group sizes and levels."""
    files = tree(256 * MIB)
    reference = tarred(files)
    unique = {
        block_id(KEYS.block_key, block): block for _, data in files for block in blocks(data, ChunkerParameters())
    }
    total = sum(len(data) for _, data in files)
    lines = [
        f"{len(files):,} source files, {total / MIB:.0f} MiB; `tar` and `zstd -3`: {reference / MIB:.1f} MiB.",
        "",
        "| group, KiB | level | of tar and zstd -3 | encoded and proven, MB/s |",
        "|---:|---:|---:|---:|",
    ]
    chosen = pack.GROUP_BYTES, codec.LEVEL
    for group in (128 * KIB, 256 * KIB, 512 * KIB, 960 * KIB):
        for level in (1, 3, 6):
            pack.GROUP_BYTES = group
            codec._zstd.thorough = zstandard.ZstdCompressor(level=level)
            packs, taken_s = packed(list(unique.items()))
            size = sum(len(each.body) for each in packs)
            mark = "**" if (group, level) == chosen else ""
            lines.append(
                f"| {group // KIB} | {level} | {mark}{size / reference:.3f}{mark} "
                f"| {sum(map(len, unique.values())) / taken_s / 1e6:.0f} |"
            )
    pack.GROUP_BYTES = chosen[0]
    codec._zstd.thorough = zstandard.ZstdCompressor(level=chosen[1])
    return lines


def best(work: Callable[[], float], rounds: int = 5) -> float:
    return max(work() for _ in range(rounds))


def throughput() -> list[str]:
    """MB/s of one thread, encoding with proof and decoding with check."""
    text = b"".join(data for _, data in tree(32 * MIB))
    noise = random.Random(9).randbytes(32 * MIB)
    small = [noise[low : low + 4096] for low in range(0, len(noise), 4096)]
    kinds = {
        "incompressible, blocks of 1 MiB": [noise[low : low + MIB] for low in range(0, len(noise), MIB)],
        "incompressible, blocks of 4 KiB": small,
        "source, blocks of 512 KiB": [text[low : low + 512 * KIB] for low in range(0, len(text), 512 * KIB)],
    }
    lines = ["| | encode and prove | open and check |", "|---|---:|---:|"]
    for title, contents in kinds.items():
        named = [(block_id(KEYS.block_key, data), data) for data in contents]
        total = sum(map(len, contents))

        def encode(named: list[tuple[BlockId, bytes]] = named, total: int = total) -> float:
            return total / packed(named)[1] / 1e6

        packs = packed(named)[0]

        def decode(packs: list[pack.Pack] = packs, total: int = total) -> float:
            begin = time.perf_counter()
            for each in packs:
                reader = PackReader.of(KEYS, each.pack_id, each.generation)
                records: dict[int, list[pack.Entry]] = {}
                for entry in each.entries:
                    records.setdefault(entry.offset, []).append(entry)
                for offset, entries in records.items():
                    reader.blocks(entries, memoryview(each.body)[offset : offset + entries[0].length])
            return total / (time.perf_counter() - begin) / 1e6

        lines.append(f"| {title}, MB/s | {best(encode):,.0f} | {best(decode):,.0f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--only", choices=["cuts", "groups", "speed"], help="one part only")
    arguments = parser.parse_args()
    today = datetime.datetime.now(tz=datetime.UTC).date()
    files, size_bytes = 40, 12 * MIB
    parts = {
        "cuts": lambda: [
            f"{today}, {files} files of {size_bytes // MIB} to {size_bytes // MIB + 2} MiB of noise; "
            "MiB of new blocks, median (most).",
            "",
            *cutting(files, size_bytes),
            "",
            holding(),
        ],
        "groups": lambda: [f"{today}. " + (lines := grouping())[0], *lines[1:]],
        "speed": lambda: [f"{today}, one thread, best of 5.", "", *throughput()],
    }
    for name, part in parts.items():
        if arguments.only in (None, name):
            text = "\n".join(part())
            print(text, end="\n\n", flush=True)
            if arguments.write:
                write_section(f"packs-{name}", text)


if __name__ == "__main__":
    main()
