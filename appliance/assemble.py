"""Building the object graph from a state directory and a configuration, and no other logic.

Errors of the engine become the appliance's here: sentences with a way out.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from appliance.config import Config
from appliance.config_values import Budget
from appliance.control.protocol import CheckReport, Finding
from appliance.errors import Damaged, DiskFull, DiskRefused, OtherVersion, StateMissing
from cachefs.cut import CutPolicy
from cachefs.database import Database
from cachefs.disk import Disk
from cachefs.errors import BytesDamaged, DatabaseDamaged, NoRoomToUpgrade, RowsDamaged, StorageBroken, WrongVersion
from cachefs.scrub import Scrub
from cachefs.sums import PAGE_BYTES
from cachefs.tier import Cloud
from cloud_tier.clock import SystemClock
from vfs import state as engine_state
from vfs.check import check
from vfs.damage import hits
from vfs.drive import Drive
from vfs.past import Query
from vfs.resting import RestPolicy
from vfs.seal_pass import Names

LEAST_FREE_BYTES = 8 << 20  # to read what is there, and remove some of it
SCRUBBED_BLOCK = "scrubbed block"  # local counter: the last one of this cycle
MOST_NAMED = 100  # damaged pages whose files are looked up


def make_state(state: Path, disk: Disk, vfs: str | None = None) -> None:
    """Make the engine's part of a new drive. Raises DiskFull."""
    require_space(state)
    engine_state.make_state(state, SystemClock(), os.geteuid(), os.getegid(), disk, vfs)


def require_space(state: Path) -> None:
    """Raise DiskFull if the disk has too little room to work safely."""
    disk = os.statvfs(state)
    free = disk.f_bavail * disk.f_frsize
    if free < LEAST_FREE_BYTES:
        raise DiskFull(state, free, LEAST_FREE_BYTES)


def allow_open_files() -> None:
    """Let this process have as many files open as it may: each segment of 256 MiB is one; a shell allows 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def open_drive(state: Path, config: Config, names: Names | None = None, cloud: Cloud | None = None) -> Drive:
    """Open the drive and recover; without `names` nothing is made ready for the store, without `cloud` nothing sent.

    Raises StateMissing, OtherVersion, Damaged, DiskFull.
    """
    require_space(state)
    allow_open_files()
    policy = CutPolicy(config.cuts.period_s, config.cuts.max_rows, config.cuts.max_dirty_bytes)
    with _told(state):
        return await Drive.open(
            state,
            policy=policy,
            limit_bytes=budget_bytes(state, config.cache.budget),
            size_bytes=config.drive.size_bytes,
            names=names,
            rest=RestPolicy(config.seal.quiet_s, config.seal.old_s, config.seal.cooled_s),
            cloud=cloud,
        )


def budget_bytes(state: Path, budget: Budget) -> int:
    """Most bytes that segments may hold: a share is one of what the disk has free and what they hold already."""
    disk = os.statvfs(state)
    held = sum(path.stat().st_blocks * 512 for path in (state / "segments").glob("*.seg"))
    return budget.resolve(disk.f_bavail * disk.f_frsize + held)


@contextmanager
def _told(state: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise StateMissing(state) from error
    except WrongVersion as error:
        raise OtherVersion(state, error.found, error.known) from error
    except NoRoomToUpgrade as error:
        raise DiskFull(state, error.free_bytes, error.needed_bytes) from error
    except (DatabaseDamaged, RowsDamaged) as error:
        raise Damaged(str(error)) from error
    except (StorageBroken, OSError) as error:
        raise DiskRefused(state, str(error)) from error


def check_state(state: Path, repair: bool) -> CheckReport:
    """Check a drive that is not running, after waking it as a start would. The caller holds the lock."""

    async def woken() -> CheckReport:
        drive = await open_drive(state, Config())
        try:
            await drive.reaper.finish()
            await drive.cuts.cut()
            return report(drive.database, state, repair)
        finally:
            await drive.close()

    return trio.run(woken)


def scrub_state(state: Path, percent: float) -> CheckReport:
    """Read the bytes of a drive that is not running, after waking it as a start would. The caller holds the lock."""

    async def woken() -> CheckReport:
        drive = await open_drive(state, Config())
        try:
            return await scrub_drive(drive, percent)
        finally:
            await drive.close()

    return trio.run(woken)


async def scrub_drive(drive: Drive, percent: float) -> CheckReport:
    """Read local bytes and the pages of the database, and name the files of bytes that are damaged."""
    pages: list[BytesDamaged] = []
    scrub = Scrub(drive.cache, pages.append, percent / 100)
    await scrub.run()
    return await _scrubbed(drive, scrub, pages, await drive.past.study(_pages_of_rows))


async def scrub_share(drive: Drive, days: float) -> CheckReport:
    """Read on where the last share ended, as much as a day takes of a cycle of so many days; and the database, when a
    cycle ends.
    """
    pages: list[BytesDamaged] = []
    scrub = Scrub(drive.cache, pages.append)
    row = drive.database.row("SELECT value FROM local_counters WHERE name = ?", (SCRUBBED_BLOCK,))
    last = await scrub.run(row[0] if row is not None else 0, drive.cache.statistics()["held_bytes"] / max(1.0, days))
    said = await drive.past.study(_pages_of_rows) if not last else []
    await drive.cuts.gate.wait_open()
    drive.database.write(
        "INSERT INTO local_counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (SCRUBBED_BLOCK, last),
    )
    return await _scrubbed(drive, scrub, pages, said)


async def _scrubbed(drive: Drive, scrub: Scrub, pages: list[BytesDamaged], said: list[str]) -> CheckReport:
    snapshots, shown = drive.snapshots.all(), pages[:MOST_NAMED]

    def name(query: Query) -> list[Finding]:
        found = []
        for page in shown:
            for hit in hits(query, page.block, page.offset, page.offset + PAGE_BYTES, snapshots):
                shown_by = f" in {hit.shown_by[-1]}" if hit.shown_by else ""
                if len(hit.shown_by) > 1:
                    shown_by += f" and {len(hit.shown_by) - 1} older snapshots"
                message = f"4 KiB from byte {hit.offset} on are not what was written{shown_by}"
                path = os.fsdecode(hit.path) if hit.path is not None else None
                found.append(Finding(invariant="bytes", message=message, path=path))
        return found

    findings = [Finding(invariant="database", message=f"SQLite says: {one}") for one in said if one != "ok"]
    if shown:
        findings += await drive.past.study(name)
    if len(pages) > len(shown):
        findings.append(Finding(invariant="bytes", message=f"{len(pages) - len(shown)} more pages are damaged"))
    checked = {
        "bytes": scrub.checked_bytes,
        "blocks": scrub.checked_blocks,
        "pages for the first time": scrub.learned_pages,
    }
    return CheckReport(findings=findings, checked=checked)


def _pages_of_rows(query: Query) -> list[str]:
    try:
        return [row[0] for row in query("PRAGMA quick_check", ())]
    except DatabaseDamaged as error:
        return [str(error)]


def check_open_state(state: Path) -> CheckReport:
    """Check the last cut of a running drive, by a connection of its own. Blocks: call it in a thread."""
    database = engine_state.open_database(state)
    try:
        database.connection.execute("BEGIN")  # all queries see the same cut
        return report(database, state, repair=False)
    finally:
        database.close()


def report(database: Database, state: Path, repair: bool) -> CheckReport:
    """Run the invariants."""
    findings, checked = check(database, state / "segments", repair=repair)
    return CheckReport(
        findings=[
            Finding(
                invariant=found.rule,
                message=found.message,
                path=os.fsdecode(found.path) if found.path is not None else None,
                repaired=found.is_repaired,
            )
            for found in findings
        ],
        checked=checked,
    )
