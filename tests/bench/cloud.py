"""What a store gets to see of a drive, and how fast bytes come and go: requests and bytes counted at the store's door.

A drive on a real mount, its store `rclone serve s3` over memory, a counting proxy between them. The lines are those
that step 3 asks for; each says what was asked, and the command ends with 1 when one is missed. Speeds are measured
without the proxy, beside `rclone mount` with its full cache and S3QL on the same server where `--peer` asks for them.
Wants root.

    python tests/bench/cloud.py [--quick] [--peer] [--write] [--no-judge]
"""

import argparse
import datetime
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.cloud_far import LATENCY_S, far
from bench.cloud_kit import MIB, drive_on, drop, flush, noise, read_all, read_at
from bench.cloud_peers import rclone_rate, s3ql_rate
from bench.page import write_section
from bench.under_upload import random_write_shares, stat_p99_ms
from kit.breaks import ANY
from kit.fault_proxy import FaultProxy, fault_proxy
from kit.mounted import MountedDrive
from kit.s3_servers import credentials, rclone

CALM_S = 80  # the snapshot of the minute, too, has been made of the work before, and is in the log of the store
IDLE_S = 60
ROUNDS = 3
STAT_BYTES_PER_S = 200e6  # no drive here sends faster, so questions are asked while it does


class Line(NamedTuple):
    """One row of the table. `is_met`: None where nothing was asked."""

    claim: str
    figure: str
    asked: str
    is_met: bool | None


class Table:
    """The lines so far."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def at_most(self, claim: str, figure: float, most: float, unit: str) -> None:
        """A line whose figure must not be larger."""
        self._add(Line(claim, f"{figure:,.4g} {unit}", f"≤ {most:,.4g} {unit}", figure <= most))

    def at_least(self, claim: str, figure: float, least: float, unit: str) -> None:
        """A line whose figure must not be smaller."""
        self._add(Line(claim, f"{figure:,.4g} {unit}", f"≥ {least:,.4g} {unit}", figure >= least))

    def note(self, claim: str, figure: float, unit: str) -> None:
        """A line that is not judged."""
        self._add(Line(claim, f"{figure:,.4g} {unit}", "", None))

    def _add(self, line: Line) -> None:
        self.lines.append(line)
        print(f"  {line.claim:66} {line.figure:>16}  {line.asked}", file=sys.stderr, flush=True)

    def text(self) -> str:
        """The table as the page shows it."""
        words = {True: "met", False: "**missed**", None: ""}
        rows = [f"| {line.claim} | {line.figure} | {line.asked} | {words[line.is_met]} |" for line in self.lines]
        return "\n".join(["| claim | figure | asked | |", "|---|---|---|---|", *rows])


def counted(proxy: FaultProxy, work: Callable[[], object]) -> tuple[int, int, int, int]:
    """(requests, PUTs, bytes up, bytes down) of some work."""
    proxy.forget()
    work()
    count = proxy.count
    up, down = sum(count.bytes_up.values()), sum(count.bytes_down.values())
    return count.requests[ANY], count.requests["PUT"], up, down


def requests_and_bytes(table: Table, drive: MountedDrive, proxy: FaultProxy, size: int, files: int) -> None:
    """What the store gets to see."""
    mount = drive.mount

    def small() -> None:
        (mount / "small").mkdir()
        for number in range(files):
            (mount / "small" / str(number)).write_bytes(noise(number, 4096))
        flush(drive)

    def put(name: str, data: bytes) -> None:
        (mount / name).write_bytes(data)
        flush(drive)

    def remove() -> None:
        subprocess.run(["rm", "-r", str(mount / "small")], check=True)
        flush(drive)

    def append() -> None:
        with (mount / "a").open("ab") as file:
            file.write(noise(2, MIB))
        flush(drive)

    def overwrite() -> None:
        with (mount / "copy").open("r+b") as file:
            file.seek(size // 2)
            file.write(noise(3, 4096))
        flush(drive)

    def temporary() -> None:
        for number in range(100):
            (mount / f"~{number}.tmp").write_bytes(noise(number, 100_000))
        for number in range(100):
            (mount / f"~{number}.tmp").unlink()
        time.sleep(10)  # they would have come to rest by now

    _, puts, _, _ = counted(proxy, small)
    table.at_most(f"{files:,} new files of 4 KiB: PUTs", puts, 60 * files / 10_000, "")
    table.at_most(f"{files:,} files deleted: requests", counted(proxy, remove)[0], 10, "")
    # Nothing of their 10 MB; what the log says of their names, there and gone.
    table.at_most("100 temporary files, gone within 3 s: bytes sent", counted(proxy, temporary)[2], 10_000, "B")
    data = noise(1, size)
    _, _, up, _ = counted(proxy, lambda: put("a", data))
    table.note(f"a new file of {size // MIB} MiB: sent", up / MIB, "MiB")
    table.at_most("second copy of it: sent", counted(proxy, lambda: put("copy", data))[2] / 1024, 256, "KiB")
    table.at_most("one byte in front: sent", counted(proxy, lambda: put("front", b"!" + data))[2] / MIB, 8, "MiB")
    table.at_most("1 MiB appended: sent", counted(proxy, append)[2] / MIB, 3, "MiB")
    drop(drive)
    _, _, up, down = counted(proxy, overwrite)
    table.at_most("4 KiB overwritten in the cold copy: fetched", down / 1024, 16, "KiB")
    table.at_most("4 KiB overwritten in the cold copy: sent", up / MIB, 8, "MiB")
    drop(drive)
    _, _, _, down = counted(proxy, lambda: read_at(mount / "copy", 3 * size // 4, 4096))
    table.at_most("4 KiB read at random from a cold file: fetched", down / MIB, 1.5, "MiB")
    time.sleep(CALM_S)
    table.at_most(f"idle for an hour ({IDLE_S} s times 60): requests", 60 * counted(proxy, idle)[0], 60, "")


def idle() -> None:
    time.sleep(IDLE_S)


def speeds(table: Table, drive: MountedDrive, size: int, files: int) -> None:
    """How fast bytes come and go."""
    mount, written, read = drive.mount, list[float](), list[float]()
    for number in range(ROUNDS):
        data = noise(40 + number, size)
        began = time.perf_counter()
        (mount / f"stream {number}").write_bytes(data)
        flush(drive)
        written.append(size / 1e6 / (time.perf_counter() - began))
        drop(drive)
        began = time.perf_counter()
        assert read_all(mount / f"stream {number}") == size
        read.append(size / 1e6 / (time.perf_counter() - began))
    table.at_least("written and in the store, incompressible", statistics.median(written), 100, "MB/s")
    table.at_least("cold stream read", statistics.median(read), 200, "MB/s")
    (mount / "many").mkdir()
    for number in range(files):
        (mount / "many" / str(number)).write_bytes(noise(number, 4096))
    flush(drive)
    drop(drive)
    began = time.perf_counter()
    read_at(mount / "many" / "0", 0, 4096)
    began = time.perf_counter()
    for number in range(files):
        (mount / "many" / str(number)).read_bytes()
    table.at_least(f"{files:,} cold files of 4 KiB", files / (time.perf_counter() - began), 1000, "a second")


def others(table: Table, drive: MountedDrive, size: int) -> None:
    """What others feel while `size` bytes are sent."""
    (drive.mount / "backlog").mkdir()
    claim = "p99 of a stat while everything is sent"
    table.at_most(claim, stat_p99_ms(drive, size, size / STAT_BYTES_PER_S), 20, "ms")
    flush(drive)
    shares = list(random_write_shares(drive, drive.mount / "pages", size))
    table.at_least("random writes while sending, of those without", statistics.median(shares), 0.7, "")


def away(table: Table, drive: MountedDrive, proxy: FaultProxy, size: int) -> None:
    """What a round trip of 40 ms costs."""
    measured = far(drive, proxy, size)
    table.at_least("40 ms away: written and in the store, of the rate without", measured.up, 0.8, "")
    table.at_least("40 ms away: cold stream, of the rate without", measured.down, 0.8, "")
    table.at_most("40 ms away: first byte of a cold file", measured.first_byte_ms, 1e3 * LATENCY_S + 30, "ms")


def peers(table: Table, endpoint: str, place: Path, size: int) -> None:
    """Others on the same server."""
    table.note("rclone mount: written and in the store", rclone_rate(endpoint, place / "rclone", size) / 1e6, "MB/s")
    if (rate := s3ql_rate(endpoint, place / "s3ql", size)) is not None:
        table.note("S3QL, not encrypted: written and in the store", rate / 1e6, "MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the sizes")
    parser.add_argument("--peer", action="store_true", help="rclone mount as well, and S3QL where S3QL_BIN is set")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--no-judge", action="store_true", help="end with 0 although a line is missed")
    options = parser.parse_args()
    size, files = (64 * MIB, 2_500) if options.quick else (256 * MIB, 10_000)
    load, table = os.getloadavg()[0], Table()
    with TemporaryDirectory(prefix="hybrid-drive-cloud-") as folder, credentials(), ExitStack() as exits:
        place = Path(folder)
        # In memory: it stands for another machine, and the drive's fsyncs would wait for its writes on one disk.
        memory = exits.enter_context(TemporaryDirectory(prefix="hybrid-drive-store-", dir="/dev/shm"))
        server = exits.enter_context(rclone(Path(memory)))
        proxy = exits.enter_context(fault_proxy(server.endpoint))
        with drive_on(proxy.endpoint, place / "counted") as drive:
            requests_and_bytes(table, drive, proxy, size, files)
        with drive_on(server.endpoint, place / "direct") as drive:
            speeds(table, drive, 2 * size, files)
            others(table, drive, 2 * size)
        with drive_on(proxy.endpoint, place / "far") as drive:
            away(table, drive, proxy, size)
        if options.peer:
            peers(table, server.endpoint, place, 2 * size)
    head = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores, load {load:.1f} before the run."
    print(f"{head}\n\n{table.text()}")
    if options.write:
        write_section("cloud", f"{head}\n\n{table.text()}")
    sys.exit(any(line.is_met is False for line in table.lines) and not options.no_judge)


if __name__ == "__main__":
    main()
