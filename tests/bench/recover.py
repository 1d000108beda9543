"""How long an owner whose machine is lost waits for the drive: `recover`, the first mount, the root, the first file.

A drive of a million files is made in process, with a store in a folder (`bench.recover_built`): a checkpoint, a log of
20,000 changes behind it, and 11,000 files whose newest bytes were never sent. Then its state directory goes, and the
real commands bring it back. Ends with 1 when the root is listed later than step 4 allows, or a file is not what was
flushed. Wants root. Four minutes with a million files.

    python tests/bench/recover.py [--files N] [--write] [--no-judge]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.page import write_section
from bench.recover_built import (
    CHANGED_FILES,
    FEW_CHANGES,
    FOLDER,
    LOG_CHANGES,
    NEW_FILES,
    REAL_FILES,
    Written,
    content,
    make,
    work,
)
from bench.scale_served import timed_ms
from bench.scale_table import Line, conditions, table
from kit.mounted import REPOSITORY, MountedDrive

FILES = 1_000_000
MOST_S = 60.0
MIB = 1 << 20


def measure(home: Path, files: int) -> Iterator[Line]:
    """Make it, lose it, bring it back."""
    state, store, kit = home / "state", home / "store", home / "kit.txt"
    began = time.perf_counter()
    make(state, kit, files)
    (state / "store").rename(store)
    yield Line("(made in process)", time.perf_counter() - began, "s")
    yield from _written(trio.run(work, state, store), files)
    shutil.rmtree(state)
    recover_s, recover_mib = _recover(home)
    drive = MountedDrive(home / "new", home / "mount")
    try:
        mounted_s = timed_ms(drive.start) / 1000
        root_s = timed_ms(os.listdir, drive.mount) / 1000
        yield Line("`recover`, its own start included", recover_s, "s")
        yield Line("first `mount` until it answers", mounted_s, "s")
        yield Line("first listing of the root", root_s * 1000, "ms")
        yield Line("from the empty machine to the listed root", recover_s + mounted_s + root_s, "s", MOST_S)
        number = REAL_FILES // 2
        place = drive.mount / FOLDER / f"{number:07d}"
        yield Line("first file read, from the store", timed_ms(lambda: _require(place, number)), "ms")
        took_ms = timed_ms(lambda: [_require(drive.mount / FOLDER / f"{one:07d}", one) for one in range(REAL_FILES)])
        yield Line(f"{REAL_FILES:,} files read, each as it was flushed", took_ms / 1000, "s")
        found = int(os.statvfs(drive.mount).f_files - os.statvfs(drive.mount).f_ffree)
        yield Line("files and folders on the drive", found)
        behind = json.loads((drive.state / "recovered.json").read_text())["behind"]
        whole = sum(one["version_ns"] is not None for one in behind)
        told = f"{whole:,} of them hold the version before; {CHANGED_FILES:,} were changed, {NEW_FILES:,} were new"
        yield Line("files told to have been behind", len(behind), said=told)
        yield Line("most memory of `recover`", recover_mib, "MiB")
        yield Line("most memory of the core so far", _peak_mib(drive.core_pid()), "MiB")
        drive.stop()
        assert not drive.complaints(), drive.complaints()
    finally:
        drive.clear_away(keep_state=True)


def _written(made: Written, files: int) -> Iterator[Line]:
    told = f"{made.parts} objects; the database has {made.database_bytes / MIB:.0f} MiB"
    yield Line("checkpoint in the store", made.checkpoint_bytes / MIB, "MiB", said=told)
    yield Line("the same, of each file", made.checkpoint_bytes / files, "bytes")
    yield Line("made, sent and read back in", made.checkpoint_s, "s")
    told = f"{made.again_bytes / MIB:.1f} MiB, in {made.again_s:.1f} s"
    yield Line(f"parts that the next one sends, {FEW_CHANGES:,} changes later", made.again_parts, said=told)
    told = f"{made.log_objects} objects"
    claim = f"log of {REAL_FILES + NEW_FILES:,} files with bytes and {LOG_CHANGES:,} changes of names behind it"
    yield Line(claim, made.log_bytes / MIB, "MiB", said=told)


def _recover(home: Path) -> tuple[float, float]:
    """The real command: seconds, and the most memory in MiB."""
    options = ["--take-over", "--kit", str(home / "kit.txt"), "--state", str(home / "new")]
    command = [sys.executable, "-m", "appliance", "recover", *options, "--store", f"file://{home / 'store'}"]
    began = time.perf_counter()
    said, peak_mib = home / "recover.log", 0.0
    with (
        said.open("wb") as out,
        subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=out) as process,
    ):
        while process.poll() is None:
            peak_mib = max(peak_mib, _peak_mib(process.pid))
            time.sleep(0.05)
    took_s = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"recover ended with {process.returncode}")
    print(said.read_text(), file=sys.stderr, flush=True)
    return took_s, peak_mib


def _require(path: Path, number: int) -> None:
    if path.read_bytes() != content(number):
        sys.exit(f"{path.name} is not what was written")


def _peak_mib(pid: int) -> float:
    _, _, rest = Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")
    return int(rest.split()[0]) / 1024 if rest else 0.0  # of a process that has just ended: nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--no-judge", action="store_true", help="end with 0 although a line is missed")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in, which stays")
    options = parser.parse_args()
    head, lines = conditions(os.getloadavg()[0]), []
    with TemporaryDirectory(prefix="hybrid-drive-recover-") as folder:
        for line in measure(options.keep or Path(folder), options.files):
            lines.append(line)
            print(f"  {line}", file=sys.stderr, flush=True)
    text = f"{head} {options.files:,} files.\n\n{table(lines)}"
    print(text)
    if options.write:
        write_section("recover", text)
    sys.exit(any(not line.is_met for line in lines) and not options.no_judge)


if __name__ == "__main__":
    main()
