"""Ten thousand kept snapshots: what the live drive pays for them, and what it costs to look into the oldest.

The snapshots are made through the engine, with a hot file and a few names changed in each. Then a million closed rows
are laid into each of two folders, in the shape the engine gives them: a hundred names that were replaced in every
epoch, and a hundred temporary names an epoch that came and went.
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import workloads
from bench.scale_built import FILE, Builder, build
from bench.scale_served import Served, median, timed_ms
from bench.scale_table import Line
from kit.fake_clock import FakeClock

from vfs.ids import ROOT

SNAPSHOTS = 10_000
NAMES = 100
ROUNDS = 15
PAGE_BYTES = 4096
HOT = "hot file.img"
_NAMES = "SELECT name, ino FROM dentries WHERE parent = ?"
_NAME = (
    "INSERT OR IGNORE INTO dentries_history (parent, name, until, since, actor_id, ino, cookie, fold)"
    " VALUES (?, ?, ?, ?, 1, ?, ?, 0)"
)
_INODE = (
    "INSERT OR IGNORE INTO inodes_history SELECT ?, ?, ?, actor_id, mode, uid, gid, nlink, size, mapped, NULL, rdev,"
    " atime_ns, mtime_ns, ctime_ns, btime_ns, NULL, 0, NULL FROM inodes WHERE ino = ?"
)


def measure(home: Path) -> Iterator[Line]:
    """Build a drive with snapshots and one without, unless they are there already, and measure."""
    kept, bare = home / "snapshots", home / "no-snapshots"
    for state, snapshots in ((kept, SNAPSHOTS), (bare, 0)):
        if not state.exists():
            began = time.perf_counter()

            async def fill(builder: Builder, snapshots: int = snapshots) -> None:
                await _fill(builder, snapshots)

            build(state, fill, clock=FakeClock())
            print(f"  built {snapshots:,} snapshots in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    with Served(kept, home / "mount") as served, Served(bare, home / "bare-mount") as beside:
        yield Line("10,000 snapshots: mounted after", served.started_s, "s", 2)
        yield Line("memory of the core after the start", served.resident_mib(), "MiB", 300)
        yield from _live(served, beside)
        turns = served.slow_turns()
        yield from _oldest(served)
        yield from _doors(served)
        yield served.slow_turns_since(turns, "in the past")


async def _fill(builder: Builder, snapshots: int) -> None:
    drive = builder.drive
    calm, same, temporary = (builder.folder(ROOT, name) for name in ("calm", "same names", "temporary names"))
    for number in range(NAMES):
        for folder in (calm, same, temporary):
            await builder.file(folder, f"Bericht {number:04d}.docx", 480)
    hot = await builder.file(ROOT, HOT, PAGE_BYTES)
    page = bytes(PAGE_BYTES)
    for number in range(64):
        await drive.files.write(hot, number * PAGE_BYTES, page, builder.caller.actor_id)
    for number in range(snapshots):
        assert isinstance(drive.clock, FakeClock)
        drive.clock.advance(1.1)
        await drive.snapshots.create()
        for place in range(4):
            await drive.files.write(hot, place * 2 * PAGE_BYTES, page, builder.caller.actor_id)
        name = f"Bericht {number % NAMES:04d}.docx".encode()
        drive.namespace.unlink(calm, name, builder.caller)
        drive.namespace.create(calm, name, FILE, builder.caller)
        if number % 500 == 0:
            await builder.commit()
    await builder.commit()
    if snapshots:
        await _lay_rows(builder, same, temporary)


async def _lay_rows(builder: Builder, same: int, temporary: int) -> None:
    database, counters = builder.drive.database, builder.drive.cache.counters
    kept = [row[0] for row in database.rows("SELECT epoch FROM snapshots ORDER BY epoch")]
    like = database.row("SELECT ino FROM dentries WHERE parent = ? LIMIT 1", (same,))[0]
    # What was there at first is true until the rows begin, and the live names since they end.
    first = [(same, name, kept[1], 1, ino, 3) for name, ino in database.rows(_NAMES, (same,))]
    database.connection.execute("UPDATE dentries SET since = ? WHERE parent = ?", (kept[-1], same))
    database.connection.execute("DELETE FROM dentries_history WHERE parent = ?", (same,))
    database.connection.executemany(_NAME, first)
    for number, epoch in enumerate(kept[1:-1]):
        names = [(same, f"Bericht {name:04d}.docx") for name in range(NAMES)]
        names += [(temporary, f"~$ {epoch:05d} {name:02d}.tmp") for name in range(NAMES)]
        ino = counters.last("ino")
        rows = [
            (folder, name.encode(), epoch + 1, epoch, ino + n, 1000 + n) for n, (folder, name) in enumerate(names, 1)
        ]
        database.connection.executemany(_NAME, rows)
        database.connection.executemany(_INODE, [(ino + n, epoch + 1, epoch, like) for n in range(1, len(names) + 1)])
        counters.raise_to("ino", ino + len(names))
        if number % 100 == 0:
            await builder.commit()


def _live(served: Served, beside: Served) -> Iterator[Line]:
    took: dict[tuple[Served, str], list[float]] = {}
    for number in range(ROUNDS):
        for one in (served, beside) if number % 2 else (beside, served):
            for what, figures in _round(one, number).items():
                took.setdefault((one, what), []).extend(figures)
    for what in ("stat", "write and close", "list"):
        mine, other = median(took[served, what]), median(took[beside, what])
        told = f"{mine * 1000:.0f} and {other * 1000:.0f} µs"
        yield Line(f"live {what}, beside a drive without snapshots", mine / other, "times", 1.1, told)


def _round(served: Served, number: int) -> dict[str, list[float]]:
    folder = served.root / "calm"
    names = [f"Bericht {other:04d}.docx" for other in range(NAMES)]
    workloads.empty_cache(served.root, workloads.DENTRIES)
    stats = [timed_ms(os.stat, folder / name) for name in names]
    writes = [timed_ms(_overwrite, folder / name, number) for name in names]
    lists = []
    for _ in range(10):
        workloads.empty_cache(served.root, workloads.DENTRIES)
        os.stat(folder)
        lists.append(timed_ms(os.listdir, folder))
    return {"stat": stats, "write and close": writes, "list": lists}


def _overwrite(path: Path, number: int) -> None:
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, b"%d" % number, 0)
    os.close(fd)


def _oldest(served: Served) -> Iterator[Line]:
    oldest = served.root / ".snapshots" / served.control.list_snapshots()[0].name
    os.stat(oldest)
    yield Line("oldest snapshot: open and first read of a hot file", timed_ms(_first_read, oldest / HOT), "ms", 10)
    for folder in ("same names", "temporary names"):
        os.stat(oldest / folder)
        took = timed_ms(os.listdir, oldest / folder)
        count = len(os.listdir(oldest / folder))
        assert count == NAMES, (folder, count)
        yield Line(f"oldest snapshot: 100 names, 1,000,000 closed rows of {folder}", took, "ms", 50)
    middle = served.root / ".snapshots" / served.control.list_snapshots()[SNAPSHOTS // 2].name
    for folder, most in (("same names", NAMES), ("temporary names", 2 * NAMES)):
        took = timed_ms(os.listdir, middle / folder)
        count = len(os.listdir(middle / folder))
        assert count == most, (folder, count)
        yield Line(f"middle snapshot: {most} names of {folder}", took, "ms", 50)


def _first_read(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.pread(fd, PAGE_BYTES, 0)
    os.close(fd)


def _doors(served: Served) -> Iterator[Line]:
    door, previous = served.root / ".snapshots", served.root / ".previous"
    took = timed_ms(os.listdir, door)
    names = os.listdir(door)
    assert len(names) == SNAPSHOTS
    workloads.empty_cache(served.root, workloads.DENTRIES)  # or the kernel answers
    yield Line("list .snapshots", took, "ms")
    yield Line("find a name in .snapshots", median([timed_ms(os.stat, door / name) for name in names[::500]]), "ms")
    yield Line("list .previous", timed_ms(os.listdir, previous), "ms")
    few = os.listdir(previous)
    workloads.empty_cache(served.root, workloads.DENTRIES)
    yield Line("find a name in .previous", median([timed_ms(os.stat, previous / name) for name in few[::25]]), "ms")
    yield Line("versions of a file that changed in each", timed_ms(served.control.versions, HOT), "ms")
    yield Line("list of snapshots by the control interface", timed_ms(served.control.list_snapshots), "ms")
