"""What files that are never left alone cost the line and leave behind: an hour of a MiB of small changes a minute.

In process, on simulated time: an engine with a store that only counts. Four patterns, by a seed: the pages of a
database, the disk of a virtual machine, a mailbox, and evenly scattered. Then the file is left alone until it has
cooled and been put in order. The bytes of the file are compared with a twin's at the end.

    python tests/bench/hot_files.py [--size-mib 2048] [--minutes 60] [--only PATTERN] [--snapshots] [--write]
"""

import argparse
import datetime
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import trio
from trio.testing import MockClock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.page import write_section
from kit.hot_file import MIB, PATTERNS, Figures, HotFile, Layout, Pattern, SeenStore, hot_drive
from kit.inline_threads import inline_threads

MOST_RATIO = 4.0
COOLED_MINUTES = 120


class Story(NamedTuple):
    """One file: how it lay at first, after the changes and once it had cooled; what each time cost."""

    pattern: Pattern
    layouts: tuple[Layout, Layout, Layout]
    busy: Figures
    rest: Figures

    @property
    def ratio(self) -> float:
        return (self.busy.sent_bytes + self.rest.sent_bytes) / self.busy.changed_bytes


async def story(pattern: Pattern, size_bytes: int, minutes: int, snapshot_every: int) -> Story:
    with TemporaryDirectory(prefix="hybrid-drive-hot-") as folder:
        store = SeenStore(keeps=False)
        async with hot_drive(Path(folder) / "state", store) as built:
            file = HotFile(built, store, size_bytes=size_bytes, pattern=pattern, seed=1)
            await file.fill()
            fresh = file.layout()
            busy = await file.work(minutes=minutes, snapshot_every=snapshot_every)
            ragged = file.layout()
            rest = await file.rest(COOLED_MINUTES)
            if not await file.is_right():
                sys.exit(f"{pattern.name}: the file is not what was written")
            return Story(pattern, (fresh, ragged, file.layout()), busy, rest)


def row(told: Story) -> str:
    busy, rest = told.busy, told.rest
    return (
        f"| {told.pattern.name} | {busy.changed_bytes / MIB:.0f} MiB | {busy.ratio:.2f} | {told.ratio:.2f}"
        f" | {busy.objects} + {rest.objects}"
        f" | {' → '.join(str(layout.extents) for layout in told.layouts)}"
        f" | {' → '.join(str(layout.records) for layout in told.layouts)}"
        f" | {busy.cpu_s:.1f} + {rest.cpu_s:.1f} s |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size-mib", type=int, default=2048)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--only", choices=[pattern.name for pattern in PATTERNS])
    parser.add_argument("--snapshots", action="store_true", help="one every five minutes, all kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    options = parser.parse_args()
    head = (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {os.cpu_count()} cores; a file of {options.size_mib} MiB,"
        f" {options.minutes} minutes{', a snapshot every five' if options.snapshots else ''}, seed 1.\n\n"
        "| pattern | changed | sent ÷ changed | with what cooling and merging sent"
        " | objects | extents | records | processor |\n"
        "|---|---|---|---|---|---|---|---|"
    )
    rows, is_met = [], True
    with inline_threads():
        for pattern in [one for one in PATTERNS if options.only in (None, one.name)]:
            every = 5 if options.snapshots else 0
            clock = MockClock(autojump_threshold=0)
            told = trio.run(story, pattern, options.size_mib * MIB, options.minutes, every, clock=clock)
            rows.append(row(told))
            is_met &= told.ratio < MOST_RATIO
            print(rows[-1], file=sys.stderr, flush=True)
    text = "\n".join([head, *rows])
    print(text)
    if options.write:
        write_section("hot-files", text)
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
