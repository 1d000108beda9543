"""Waking up: bring rows and bytes back to the newest state that may be believed, before anything else happens.

found                                    done
the last cut                             made durable before the outbox removes logs on its word: the core may have died
                                         between its COMMIT and the sync of SQLite's log
intents of the last cut                  run again: all of them, or up to the last mark if the machine died
the sign that a sync failed              intents run again up to the last mark, as if the machine had died; what
                                         SQLite's log holds is moved into the database, so that it is written anew
intents of a cut that never happened     removed: they hold nothing that was acknowledged
bytes above a segment's bump pointer     cut off: no row names them
entries of the free queue                punched, once the cut made here is durable
fetched bytes, after another boot        doubted: compared with their ids before they are used
page sums, unless the drive was closed   those of pages that could have been written since the last cut are forgotten
"""

import logging
from pathlib import Path

from cachefs.cache import Cache
from cachefs.database import Database
from cachefs.disk import Disk
from cachefs.errors import DatabaseDamaged, StorageBroken
from cachefs.intent_log import MARK, boot_id, boot_of, read_records, replay
from cachefs.suspects import suspects_of
from cachefs.syncs import DISTRUST

log = logging.getLogger(__name__)


DOUBTED = "doubted"  # local counter: what was fetched to segments up to this number was not synced before a power loss
CLOSED = "closed"  # local counter: the number of the cut after which nothing more was done


def wake(cache: Cache, state: Path, disk: Disk, newest_kept: int = 0) -> int:
    """Replay and reconcile. Returns the number of statements run again. Call `settle` right after.

    `newest_kept`: the newest epoch that is kept, as of the last cut. Raises DatabaseDamaged, StorageBroken.
    """
    database, directory = cache.database, state / "intents"
    is_distrusted = (directory / DISTRUST).exists()
    if is_distrusted:
        log.warning("a sync failed when the drive ran last: only what was durable before is brought back")
        database.rewrite_log()
    database.begin()
    cut = cache.local_counters.last("cut")
    boot = b"" if is_distrusted else boot_id()
    _miss_no_cut(directory, cut, boot)
    closed = cache.local_counters.last(CLOSED)
    was_closed = closed == cut and not is_distrusted
    suspects = None if was_closed else suspects_of(database, newest_kept)
    try:
        count, carried = replay(database, directory / f"{cut}.log", cut, boot)
    except (ValueError, KeyError) as error:
        raise DatabaseDamaged(f"the intent log of cut {cut} cannot be read: {error}") from error
    for name, value in (("cut", cut), (CLOSED, closed)):  # a log that was ended, and its cut not made, says otherwise
        database.write("UPDATE local_counters SET value = ? WHERE name = ?", (value, name))
    cache.counters.reload()
    cache.local_counters.reload()
    cache.blocks.load()
    if count:
        cache.segments.recount()
    if boot_of(directory / f"{cut}.log") != boot_id():
        cache.local_counters.raise_to(DOUBTED, cache.local_counters.last("segment"))
    cache.blocks.doubted = cache.local_counters.last(DOUBTED)
    try:
        for path in directory.glob("*.log"):
            if int(path.stem) > cut:
                disk.unlink(path)
        cache.segments.load(suspects, cache.blocks.doubted)
        for segment, offset, data in carried:
            cache.segments.rewrite(segment, offset, data)
    except OSError as error:
        raise StorageBroken(f"the state directory could not be put in order: {error}") from error
    if count:
        log.info("recovered %d changes made after the last commit", count)
    return count


def _miss_no_cut(directory: Path, cut: int, boot: bytes) -> None:
    """Is a cut later than the last one that SQLite knows proven by the logs? Then rows that were durable are gone.

    The log of a cut is made before it, removed after the next is durable, and written only once its own is committed;
    a mark comes after that commit is on the disk.
    """
    later = {number for path in directory.glob("*.log") if (number := int(path.stem)) > cut}
    is_proven = any(number > cut + 1 for number in later)
    if later and not is_proven:
        written_in, records = read_records((directory / f"{cut + 1}.log").read_bytes(), cut + 1)
        is_proven = any(record.kind == MARK or written_in == boot for record in records)
        is_proven |= cut > 0 and not (directory / f"{cut}.log").exists()
    if is_proven:
        raise DatabaseDamaged(
            f"rows that were durable are missing: cut {cut} is the last that can be read, and a later one was made;"
            " SQLite's write-ahead log is damaged, or was removed"
        )


def make_rows_durable(database: Database, disk: Disk) -> None:
    """What `wake` found committed survives a power loss. Blocks on the disk, so for a thread. Raises StorageBroken."""
    try:
        fd = disk.open(database.wal_path, create=False)
        try:
            disk.sync(fd)
        finally:
            disk.close(fd)
        disk.sync_directory(database.path.parent)
    except OSError as error:
        raise StorageBroken(f"SQLite's log could not be synced: {error}") from error


async def close(cache: Cache) -> None:
    """The last cut: it says that nothing is done after it. Raises StorageBroken."""
    cache.local_counters.raise_to(CLOSED, cache.cuts.number + 1)
    await cache.cuts.cut()
    if cache.evicting is not None:
        await cache.evicting.save_order()


async def settle(cache: Cache, state: Path, disk: Disk) -> None:
    """Make what `wake` brought back durable; after this the drive may serve."""
    woken_from = cache.local_counters.last("cut")
    await cache.cuts.cut()
    (state / "intents" / DISTRUST).unlink(missing_ok=True)
    for path in (state / "intents").glob("*.log"):
        if int(path.stem) <= woken_from:
            try:
                disk.unlink(path)
            except OSError as error:  # in nobody's way: its number is past
                log.warning("%s could not be removed: %s", path.name, error)
