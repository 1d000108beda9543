"""A hundred thousand random operations on one file, for each of eight seeds, on a fresh drive; every byte is checked.

The operations are those of `mount.fsx`: write, append, store and read through a map, truncate down, up, and down and up
again, allocate, copy a range, sync, drop the cached pages, reopen, replace by rename. Seeds work at once, each on a
file of its own, so their fsyncs meet. Meanwhile snapshots are taken and deleted: each makes the next write to a block
go elsewhere. At the end the drive is stopped and started, and every file must be what its model says.

A mismatch names its seed and its last operations; the same seed makes the same operations.

    python tests/conformance/fsx_seeds.py [--ops N] [--seeds N] [--first SEED] [--jobs N] [--on DIR]
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from conformance.fresh_drive import silent_drive
from kit.mounted import CommandFailed, DriveFailed, MountedDrive
from mount.fsx import Exerciser, Mismatch

SIZES = (256 << 10, 1 << 20, 512 << 10)
SNAPSHOT_EVERY_S = 3.0
KEPT_SNAPSHOTS = 3


def exercise_seed(folder: Path, seed: int, operations: int) -> tuple[int, float]:
    """One seed, in a process of its own: the checksum that its file must have, and the seconds. Raises Mismatch."""
    begun = time.monotonic()
    exerciser = Exerciser(folder / f"seed-{seed}", seed, SIZES[seed % len(SIZES)], direct=seed % 4 == 0)
    try:
        exerciser.run(operations)
    finally:
        exerciser.close()
    return zlib.crc32(exerciser.model), time.monotonic() - begun


def exercise_seeds(folder: Path, seeds: Sequence[int], operations: int, jobs: int) -> dict[int, int]:
    """All seeds, so many at once; the checksums. Raises Mismatch, after the others have ended."""
    with ProcessPoolExecutor(jobs) as pool:
        running = {seed: pool.submit(exercise_seed, folder, seed, operations) for seed in seeds}
        sums = {}
        for seed, each in running.items():
            sums[seed], took_s = each.result()
            print(f"seed {seed}: {operations} operations in {took_s:.0f} s, every byte as it must be", flush=True)
    return sums


class Snapshots:
    """Takes snapshots while the context lasts, and deletes the older ones."""

    def __init__(self, drive: MountedDrive) -> None:
        self.taken = 0
        self._drive = drive
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: CommandFailed | None = None

    def __enter__(self) -> Snapshots:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        names: list[str] = []
        try:
            while not self._over.wait(SNAPSHOT_EVERY_S):
                names.append(self._drive.cli("snapshot", "create")["name"])
                self.taken += 1
                if len(names) > KEPT_SNAPSHOTS:
                    self._drive.cli("snapshot", "delete", names.pop(0))
        except CommandFailed as failure:
            self._failure = failure


def exercise_drive(seeds: Sequence[int], operations: int, jobs: int) -> None:
    """The whole run on a fresh drive. Raises Mismatch, DriveFailed, CommandFailed."""
    with silent_drive() as drive:
        with Snapshots(drive) as snapshots:
            sums = exercise_seeds(drive.mount, seeds, operations, jobs)
        drive.remount()
        for seed, checksum in sums.items():
            if zlib.crc32((drive.mount / f"seed-{seed}").read_bytes()) != checksum:
                raise Mismatch(f"seed {seed}: after a restart of the drive the file is another")
        print(f"{snapshots.taken} snapshots meanwhile; every file is the same after a restart")


def main() -> int:
    parser = argparse.ArgumentParser(description="Exercise files with random operations against models.")
    parser.add_argument("--ops", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=4, help="seeds at once")
    parser.add_argument("--on", type=Path, help="an existing directory to work on instead of a drive")
    chosen = parser.parse_args()
    seeds, begun = range(chosen.first, chosen.first + chosen.seeds), time.monotonic()
    try:
        if chosen.on is not None:
            exercise_seeds(chosen.on, seeds, chosen.ops, chosen.jobs)
        else:
            exercise_drive(seeds, chosen.ops, chosen.jobs)
    except (Mismatch, DriveFailed, CommandFailed) as failure:
        print(failure, file=sys.stderr)
        return 1
    total, took_s = chosen.seeds * chosen.ops, time.monotonic() - begun
    print(f"fsx: {chosen.seeds} seeds, {total} operations in {took_s:.0f} s ({total / took_s:.0f} a second), clean")
    return 0


if __name__ == "__main__":
    sys.exit(main())
