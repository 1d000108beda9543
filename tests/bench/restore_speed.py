"""How fast a large folder comes back, and what others feel meanwhile.

Makes a folder of many small files on a fresh mounted drive, takes a snapshot, spoils the folder, restores it, and
undoes that; a second process asks for attributes all the while. Prints one row a phase.

    python tests/bench/restore_speed.py [--files N]
"""

import argparse
import os
import statistics
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kit.mounted import MountedDrive

PER_FOLDER = 500


def plant(folder: Path, files: int) -> None:
    """`files` small files in folders of 500."""
    for number in range(files):
        if number % PER_FOLDER == 0:
            (folder / f"{number // PER_FOLDER:05d}").mkdir(parents=True)
        (folder / f"{number // PER_FOLDER:05d}" / f"{number:07d}").write_bytes(b"%d" % number * 100)


class Prober(threading.Thread):
    """Asks for the attributes of a file that nobody knows, again and again, and keeps how long each answer took."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.took_s: list[float] = []
        self._path = path
        self._ended = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ended.wait(0.002):
            number += 1
            began = time.perf_counter()
            os.path.lexists(self._path / f"missing-{number}")
            self.took_s.append(time.perf_counter() - began)

    def stop(self) -> str:
        self._ended.set()
        self.join()
        percentiles = statistics.quantiles(self.took_s, n=100)
        p50, p99, most = percentiles[49] * 1000, percentiles[98] * 1000, max(self.took_s) * 1000
        return f"stat p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {most:.0f} ms"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--files", type=int, default=100_000)
    files = options.parse_args().files
    drive = MountedDrive.make()
    try:
        measure(drive, files)
    finally:
        drive.clear_away()


def measure(drive: MountedDrive, files: int) -> None:
    folder = drive.mount / "folder"
    began = time.perf_counter()
    plant(folder, files)
    print(f"planted {files} files: {time.perf_counter() - began:.1f} s")
    name = drive.cli("snapshot", "create", "good")["name"]
    for number in range(0, files, 10):
        (folder / f"{number // PER_FOLDER:05d}" / f"{number:07d}").unlink()
    (folder / "new").write_bytes(b"new")
    for what in (("restore", "folder", "--at", name), ("undo-restore", None)):
        prober = Prober(drive.mount)
        prober.start()
        began = time.perf_counter()
        if what[0] == "restore":
            job = drive.cli(*what)
        else:
            drive.cli("undo-restore", str(job["id"]))
        print(f"{what[0]}: {time.perf_counter() - began:.1f} s, {prober.stop()}")
        count = sum(len(names) for _, _, names in os.walk(folder))
        print(f"  {count} files; slow turns of the loop so far: {drive.cli('status')['slow_turns']}")


if __name__ == "__main__":
    main()
