"""Whether the drive holds at scale: many files, many snapshots, a file of many extents, large folders.

Large drives are built through the engine in process, then served for real and measured through the mount and the
control interface. Prints a table, claim by claim; ends with 1 when one is missed. Wants root, a mount, and a temporary
folder (TMPDIR) with some gigabytes. With `--built FOLDER` the drives are made there and found again by the next run.

    python tests/bench/scale.py [--only files|snapshots|sparse|folders] [--built FOLDER] [--write] [--no-judge]
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import scale_files, scale_folders, scale_snapshots, scale_sparse
from bench.page import write_section
from bench.scale_table import Line, conditions, table

PARTS: dict[str, Callable[[Path], Iterator[Line]]] = {
    "files": scale_files.measure,
    "snapshots": scale_snapshots.measure,
    "sparse": scale_sparse.measure,
    "folders": scale_folders.measure,
}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--only", choices=PARTS, action="append", help="one part; may be given several times")
    options.add_argument("--built", type=Path, metavar="FOLDER", help="keep the drives there, and use what is there")
    options.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options.add_argument("--no-judge", action="store_true", help="end with 0 even when a claim is missed")
    chosen = options.parse_args()
    home = chosen.built or Path(tempfile.mkdtemp(prefix="hybrid-drive-scale-"))
    home.mkdir(exist_ok=True)
    home.chmod(0o755)
    missed = 0
    try:
        for part in chosen.only or PARTS:
            began, load = time.perf_counter(), os.getloadavg()[0]
            lines: list[Line] = []
            print(f"{part}:", file=sys.stderr)
            for line in PARTS[part](home):
                print(f"  {line}", file=sys.stderr, flush=True)
                lines.append(line)
            text = f"{conditions(load)} {time.perf_counter() - began:.0f} s in all.\n\n{table(lines)}"
            print(text)
            missed += sum(not line.is_met for line in lines)
            if chosen.write:
                write_section(f"scale-{part}", text)
    finally:
        if chosen.built is None:
            shutil.rmtree(home, ignore_errors=True)
    return int(missed > 0 and not chosen.no_judge)


if __name__ == "__main__":
    sys.exit(main())
