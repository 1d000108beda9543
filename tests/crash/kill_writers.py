"""Writers that work on the drive until it dies under them, and write down what they were told.

Each is one process and one way of working: small files, appends, documents replaced by rename, a file that is never
closed, writes beside another's fsync, frees, names. A writer ends at the first failed call: what it does then was
never acknowledged. Run as `python tests/crash/kill_writers.py KIND --dir DIR --ledger FILE --seed N`.
"""

from __future__ import annotations

import argparse
import errno
import itertools
import os
import random
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from crash.kill_ledger import Ledger, content, document, stream

LONG_FILE_BYTES = 32 << 20
DEAD_DRIVE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.ESTALE, errno.ENOENT, errno.EBADF}


def put(path: Path, raw: bytes, *, sync: bool = False, flags: int = os.O_CREAT | os.O_EXCL) -> None:
    """Writes and closes; returns only if every call, close too, said yes."""
    handle = os.open(path, os.O_WRONLY | flags, 0o644)
    view = memoryview(raw)
    while view:
        view = view[os.write(handle, view) :]
    if sync:
        os.fsync(handle)
    os.close(handle)


def sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(handle)
    os.close(handle)


def small_files(place: Path, ledger: Ledger, rng: random.Random) -> None:
    """Writes and closes files; every eighth is also synced."""
    number = 0
    while True:
        number += 1
        key, size = f"{place}:{number}", rng.choice([0, 1, 100, 4096, 5000, 60_000, 400_000])
        sync = number % 8 == 0
        put(place / f"file-{number}", content(key, size), sync=sync)
        ledger.whole([f"file-{number}"], key, size, "fsync" if sync else "close")


def append(place: Path, ledger: Ledger, rng: random.Random, name: str, *, largest: int, close: bool = False) -> None:
    """Appends for ever, to a new file when one is long; each piece is acknowledged by fsync, or by close if `close`."""
    for number in itertools.count():
        append_to(place, ledger, rng, f"{name}-{number}", largest=largest, close=close)


def append_to(place: Path, ledger: Ledger, rng: random.Random, name: str, *, largest: int, close: bool) -> None:
    key, size = f"{place}:{name}", 0
    handle = os.open(place / name, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    while size < LONG_FILE_BYTES:
        piece = stream(key, size, rng.randint(1, largest))
        size += os.write(handle, piece)
        by_close = close and rng.random() < 0.5
        if by_close:
            os.close(handle)
        else:
            os.fsync(handle)
        ledger.prefix(name, key, size, "close" if by_close else "fsync")
        if by_close:
            handle = os.open(place / name, os.O_WRONLY | os.O_APPEND)
    os.close(handle)


def appends(place: Path, ledger: Ledger, rng: random.Random) -> None:
    append(place, ledger, rng, "appended", largest=20_000)


def replace(place: Path, ledger: Ledger, rng: random.Random, *, sync: bool) -> None:
    """Saves one document again and again as office programs do; now and then its directory is synced too."""
    key, version, new = f"{place}", 0, place / "document.tmp"
    while True:
        version += 1
        raw = document(key, version, rng.choice([10, 3000, 70_000, 300_000]))
        ledger.write("begin", key=key, version=version)
        put(new, raw, sync=sync, flags=os.O_CREAT | os.O_TRUNC)
        ledger.write("closed", version=version, how="fsync" if sync else "close")
        os.rename(new, place / "document")
        ledger.write("renamed", version=version)
        if version % 7 == 0:
            sync_directory(place)
            ledger.write("synced", version=version, how="fsync")


def documents_synced(place: Path, ledger: Ledger, rng: random.Random) -> None:
    replace(place, ledger, rng, sync=True)


def documents_closed(place: Path, ledger: Ledger, rng: random.Random) -> None:
    replace(place, ledger, rng, sync=False)


def held_open(place: Path, ledger: Ledger, rng: random.Random) -> None:
    """Writes to a file that it neither syncs nor closes; old enough bytes must survive all the same."""
    key, size, pause = f"{place}", 0, threading.Event()
    handle = os.open(place / "held", os.O_CREAT | os.O_WRONLY, 0o644)
    while True:
        size += os.write(handle, stream(key, size, rng.randint(1, 9000)))
        ledger.prefix("held", key, size, "age")
        pause.wait(0.05)


def beside_fsync(place: Path, ledger: Ledger, rng: random.Random) -> None:
    """Small appends while another thread is nearly always inside fsync of big ones."""
    seeds = (rng.random(), rng.random())
    big = threading.Thread(
        target=ended_by_death,
        args=(lambda: append(place, ledger, random.Random(seeds[0]), "big", largest=1 << 20),),
        daemon=True,
    )
    big.start()
    append(place, ledger, random.Random(seeds[1]), "small", largest=5000, close=True)


def frees(place: Path, ledger: Ledger, rng: random.Random) -> None:
    """Creates, overwrites, truncates and deletes in a few slots, so that space is freed and used again all the time."""
    sizes: dict[str, int | None] = dict.fromkeys((f"slot-{number}" for number in range(6)), None)
    turn = 0
    while True:
        turn += 1
        slot = rng.choice(sorted(sizes))
        path, key, old = place / slot, f"{place}:{turn}", sizes[slot]
        size = rng.choice([1, 5000, 100_000, 600_000])
        if old is not None and rng.random() < 0.3:
            ledger.write("try", slot=slot, state=None)
            os.unlink(path)
            sizes[slot] = None
            continue
        ledger.write("try", slot=slot, state=[key, size])
        handle = os.open(path, os.O_CREAT | os.O_WRONLY, 0o644)
        os.ftruncate(handle, 0 if rng.random() < 0.5 else min(size, old or 0))
        os.pwrite(handle, content(key, size), 0)
        os.ftruncate(handle, size)
        if rng.random() < 0.2:
            os.fsync(handle)
        os.close(handle)
        ledger.write("done", slot=slot, state=[key, size], how="close")
        sizes[slot] = size


def names(place: Path, ledger: Ledger, rng: random.Random) -> None:
    """Makes, renames and links; a close acknowledges its file at its name, and so what made that name before."""
    number = 0
    while True:
        number += 1
        old, new, size = f"made-{number}", f"renamed-{number}", rng.choice([0, 10, 9000])
        first, second = f"{place}:{number}:first", f"{place}:{number}:second"
        os.mkdir(place / old)
        put(place / old / "first", content(first, size))
        ledger.whole([f"{old}/first", f"{new}/first"], first, size, "close")
        os.rename(place / old, place / new)
        os.link(place / new / "first", place / new / "linked")
        put(place / new / "second", content(second, size))
        ledger.whole([f"{new}/second"], second, size, "close")
        ledger.whole([f"{new}/first"], first, size, "close")
        ledger.whole([f"{new}/linked"], first, size, "close")


KINDS: dict[str, Callable[[Path, Ledger, random.Random], None]] = {
    writer.__name__: writer
    for writer in (small_files, appends, documents_synced, documents_closed, held_open, beside_fsync, frees, names)
}


def ended_by_death(work: Callable[[], None]) -> None:
    """Works until a call fails as calls on a dead mount do; any other failure is raised."""
    try:
        work()
    except OSError as problem:
        if problem.errno not in DEAD_DRIVE:
            raise


def main() -> int:
    parser = argparse.ArgumentParser(description="Write to a drive until it dies; write down what it acknowledged.")
    parser.add_argument("kind", choices=sorted(KINDS))
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    chosen = parser.parse_args()
    ledger, rng = Ledger(chosen.ledger), random.Random(f"{chosen.kind}:{chosen.seed}")
    ended_by_death(lambda: KINDS[chosen.kind](chosen.dir, ledger, rng))
    return 0


if __name__ == "__main__":
    sys.exit(main())
