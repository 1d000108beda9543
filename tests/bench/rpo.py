"""How much work a machine's loss costs: how long names and small files take into the store, behind a bulk copy.

A drive on a real mount, its store `rclone serve s3` behind a proxy that lets all connections together send 10 Mbit/s. A
copy of incompressible bytes keeps that line busy; beside it a small file is saved every tenth of a second for a minute.
What the store has, and since when, is read from the store: the first object of the log that names the file, and the
later of two: its block's pack, and the first object of the log that has its block. Then, with nothing in the way, what
the log costs: its bytes in the store for each byte of new small files, and its share of the processor. Ends with 1 when
a line is missed. Wants root.

    python tests/bench/rpo.py [--seconds N] [--write] [--no-judge]
"""

import argparse
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.cloud_kit import drive_on, flush, noise
from bench.log_cpu import log_share
from bench.page import write_section
from bench.scale_served import median, percentile
from bench.scale_table import Line, conditions, table
from kit.fault_proxy import FaultProxy, fault_proxy
from kit.mounted import MountedDrive
from kit.s3_servers import BUCKET, credentials, rclone

from appliance.keys import Brought, Keys
from appliance.places import StatePlaces
from cloud_tier.log_object import open_entries

LINE_BYTES_PER_S = 10e6 / 8
EVERY_S = 0.1
BULK_BYTES = 192 << 20  # two and a half minutes of the line
AFTER_S = 60.0
"""What was saved last has so long to arrive."""
TYPICAL_S, MOST_S = 10.0, 60.0
COST_FILES, COST_BYTES = 10_000, 4096
MOST_COST, MOST_CPU = 0.03, 0.10
_BLOCKS = (
    "SELECT dentries.name, block_id, pack_id FROM dentries JOIN inodes USING (ino) JOIN extents USING (content)"
    " JOIN blocks USING (block) LEFT JOIN catalog USING (block) LEFT JOIN packs USING (pack) WHERE parent = ?"
)


def measure(home: Path, seconds: float) -> Iterator[Line]:
    """All lines."""
    share = 100 * log_share(home, COST_FILES, COST_BYTES)
    claim = f"the log's share of the processor, for {COST_FILES:,} new files of 4 KiB, without the kernel's part"
    yield Line(claim, share, "%", 100 * MOST_CPU)
    with rclone(home) as server, fault_proxy(server.endpoint) as proxy:
        with drive_on(server.endpoint, home / "cost") as drive:
            yield from _cost(drive, home / "root" / BUCKET / "cost")
        with drive_on(proxy.endpoint, home / "busy") as drive:
            yield from _under_load(drive, proxy, home / "root" / BUCKET / "busy", seconds)


def _under_load(drive: MountedDrive, proxy: FaultProxy, store: Path, seconds: float) -> Iterator[Line]:
    (drive.mount / "small").mkdir()
    flush(drive)
    proxy.line_bytes_per_s = LINE_BYTES_PER_S
    copy = threading.Thread(target=(drive.mount / "bulk").write_bytes, args=(noise(1, BULK_BYTES),))
    copy.start()
    closed = _save(drive.mount / "small", seconds)
    copy.join()
    time.sleep(AFTER_S)
    with sqlite3.connect(f"file:{drive.state / 'drive.db'}?mode=ro", uri=True) as database:
        blocks = database.execute(_BLOCKS, (os.stat(drive.mount / "small").st_ino,)).fetchall()
    in_log, packs = _first_seen(drive.state, store), {path.name: _since_s(path) for path in store.glob("packs/**/*")}
    never = float("inf")
    named = [in_log.get(name, never) - at for name, at in closed.items()]
    whole = dict.fromkeys(closed, 0.0 if len({row[0] for row in blocks}) == len(closed) else never)
    for name, block_id, pack_id in blocks:
        since = max(in_log.get(block_id, never), packs.get((pack_id or b"").hex(), never))
        whole[name] = max(whole[name], since - closed[name])
    told = f"{len(closed):,} files of 2 to 60 KB in {seconds:.0f} s"
    yield from _three("a name in the store after", named, told)
    yield from _three("a small file whole in the store after", list(whole.values()), told)
    bulk = sum(path.stat().st_size for path in store.glob("packs/**/*") if path.is_file())
    yield Line("sent of the copy and the files meanwhile", bulk / 1e6, "MB")
    proxy.line_bytes_per_s = None


def _save(folder: Path, seconds: float) -> dict[bytes, float]:
    """Save a small file again and again; when each was closed."""
    dice, closed = random.Random(2), dict[bytes, float]()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        name = f"small {len(closed):06d}"
        (folder / name).write_bytes(dice.randbytes(dice.randint(2_000, 60_000)))
        closed[name.encode()] = time.time_ns() / 1e9
        time.sleep(EVERY_S)
    return closed


def _first_seen(state: Path, store: Path) -> dict[bytes, float]:
    """Since when the log in the store has each name and each block, by the bytes of it."""
    keys = Keys.open(StatePlaces(state), Brought()).held
    seen: dict[bytes, float] = {}
    for path in sorted((path for path in store.glob("log/**/*") if path.is_file()), key=_since_s):
        since = _since_s(path)
        for entry in open_entries(keys, path.read_bytes()):
            for _, values in entry.statements():
                for value in values:
                    if isinstance(value, bytes):
                        seen.setdefault(value, since)
    return seen


def _since_s(path: Path) -> float:
    return path.stat().st_mtime


def _three(claim: str, delays: list[float], told: str) -> Iterator[Line]:
    yield Line(f"{claim}: median", median(delays), "s", TYPICAL_S if "name" in claim else None, told)
    yield Line(f"{claim}: 95 of 100 within", percentile(delays, 0.95), "s")
    yield Line(f"{claim}: at most", max(delays), "s", MOST_S)


def _cost(drive: MountedDrive, store: Path) -> Iterator[Line]:
    flush(drive)
    before = _log_bytes(store)
    for number in range(COST_FILES):
        if number % 100 == 0:
            (drive.mount / f"{number // 100}").mkdir()
        (drive.mount / f"{number // 100}" / f"Entwurf {number}.docx").write_bytes(noise(number, COST_BYTES))
    flush(drive)
    cost = (_log_bytes(store) - before) / (COST_FILES * COST_BYTES)
    told = f"{cost * COST_BYTES:.0f} bytes of log a file"
    claim = f"the log's share of the bytes of {COST_FILES:,} new files of 4 KiB"
    yield Line(claim, 100 * cost, "%", 100 * MOST_COST, told)


def _log_bytes(store: Path) -> int:
    return sum(path.stat().st_size for path in store.glob("log/**/*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--no-judge", action="store_true", help="end with 0 although a line is missed")
    options = parser.parse_args()
    head, lines = conditions(os.getloadavg()[0]), []
    with TemporaryDirectory(prefix="hybrid-drive-rpo-") as folder, credentials():
        for line in measure(Path(folder), options.seconds):
            lines.append(line)
            print(f"  {line}", file=sys.stderr, flush=True)
    text = f"{head}\n\n{table(lines)}"
    print(text)
    if options.write:
        write_section("rpo", text)
    sys.exit(any(not line.is_met for line in lines) and not options.no_judge)


if __name__ == "__main__":
    main()
