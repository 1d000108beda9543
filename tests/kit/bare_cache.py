"""The layer of local bytes without files and names above it.

    async with bare_cache(tmp_path) as cache:
        block = put(cache, b"bytes")

A table `things (name, value)` stands for whatever an upper layer hangs on the database. On leaving, the core dies:
nothing is committed or written any more, so opening the same state again is a recovery.
"""

import contextlib
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path

import apsw
import trio
from kit.fake_clock import FakeClock

from cachefs.blocks import Block
from cachefs.cache import Cache
from cachefs.cut import CutPolicy
from cachefs.database import Database
from cachefs.disk import Disk, RealDisk
from cachefs.errors import StorageBroken
from cachefs.recovery import settle, wake

THINGS = "CREATE TABLE things (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
EPOCH = 1


def make_database(state: Path, vfs: str | None = None) -> Database:
    """A new database with the tables of cachefs and `things`."""
    return Database.create(state / "drive.db", [(files("cachefs") / "schema.sql").read_text(), THINGS], vfs=vfs)


@contextlib.asynccontextmanager
async def bare_cache(
    state: Path,
    *,
    disk: Disk | None = None,
    policy: CutPolicy = CutPolicy(),  # noqa: B008  (frozen)
    vfs: str | None = None,
    is_running: bool = True,
    limit_bytes: int = 0,
    newest_kept: int = 0,
) -> AsyncIterator[Cache]:
    """An open cache, its cuts running; made if there is none. An error of the cuts stands in `cache.cuts.broken`.

    `newest_kept`: the newest epoch that the upper layer kept as of the last cut.
    """
    if not (state / "drive.db").exists():
        for folder in ("segments", "intents"):
            (state / folder).mkdir(parents=True)
        make_database(state).close()
    disk = disk or RealDisk()
    cache = Cache(state, Database.open(state / "drive.db", vfs=vfs), disk, FakeClock(), policy, limit_bytes)
    cache.cuts.is_space_short = lambda: True  # what is freed is punched at the next cut and not at rest
    try:
        wake(cache, state, disk, newest_kept)
        await settle(cache, state, disk)
        async with trio.open_nursery() as nursery:
            if is_running:
                nursery.start_soon(_run, cache)
            yield cache
            nursery.cancel_scope.cancel()
    finally:
        with contextlib.suppress(OSError):
            cache.cuts.close()
            cache.segments.close()
        cache.database.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        cache.database.close()


async def _run(cache: Cache) -> None:
    with contextlib.suppress(StorageBroken):
        await cache.cuts.run()


def put(cache: Cache, data: bytes) -> Block:
    """A new OPEN block that holds these bytes, with rows at the next flush."""
    block = cache.blocks.create(len(data), EPOCH)
    cache.write_nowait(block, 0, data)
    block.length = len(data)
    cache.blocks.touch(block)
    return block


def say(cache: Cache, name: str, value: object) -> None:
    """A row of the upper layer."""
    cache.database.write("INSERT INTO things VALUES (?, ?)", (name, value))


def said(cache: Cache) -> dict[str, object]:
    """The rows of the upper layer."""
    return dict(cache.database.rows("SELECT name, value FROM things ORDER BY name"))
