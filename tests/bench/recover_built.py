"""A drive whose machine will be lost: a million files in its store, a checkpoint of them, and a log behind it.

Rows are those of a real drive, one block, one extent and one catalog row a small file; but the blocks of most files are
only said to be in packs, because a recovery reads no bytes: making a million of them would measure uploads. Those that
are made after the checkpoint have real bytes, in real packs. The engine is at work as in the core, cuts, log and
checkpoints included, without a kernel.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import trio
from bench.scale_built import FILE, Builder, build

from appliance.assemble import open_drive
from appliance.config_reading import read_config
from appliance.keys import Brought, Keys
from appliance.making import Wishes, make_drive
from appliance.places import StatePlaces
from cachefs.mirror import Mirror
from cachefs.tier import Cloud
from cloud_tier.clock import SystemClock
from cloud_tier.object_names import CHECKPOINTS, LOG, PARTS
from cloud_tier.store_url import DirUrl, open_store
from vfs.ids import ROOT
from vfs.recovered import forget_machine
from vfs.state import open_database

FEW_CHANGES = 1_000
LOG_CHANGES, PER_OBJECT = 20_000, 250
REAL_FILES, CHANGED_FILES = 3_000, 1_000
NEW_FILES = 10_000
FOLDER = "Neues"  # of all that is made after the checkpoint


class Written(NamedTuple):
    """What the store was given. Bytes are sealed ones."""

    database_bytes: int
    checkpoint_s: float
    checkpoint_bytes: int
    parts: int
    again_s: float
    again_parts: int
    again_bytes: int
    log_objects: int
    log_bytes: int


def make(state: Path, kit: Path, files: int) -> None:
    """A drive of so many files, all of them in its store as far as its rows know."""

    async def fill(builder: Builder) -> None:
        await builder.office(files)

    trio.run(make_drive, StatePlaces(state), Wishes(give_kit=lambda made: _keep(kit, made.text())))
    build(state, fill)
    _forget_bytes(state)


def _keep(path: Path, text: str) -> None:
    path.write_text(text)


def _forget_bytes(state: Path) -> None:
    """Let no byte lie on this machine."""
    database = open_database(state)
    cut = database.row("SELECT value FROM local_counters WHERE name = 'cut'")[0]
    database.begin()
    forget_machine(database, cut)
    database.commit()
    database.rewrite_log()
    database.close()
    for segment in (state / "segments").iterdir():
        segment.unlink()


async def work(state: Path, store: Path) -> Written:
    """Make a checkpoint of the drive, change some of it, make another, change more. At the end the bytes of the newest
    changes are not in the store, and all rows are.
    """
    async with at_work(state, store) as (builder, mirror):
        began = time.perf_counter()
        await mirror.checkpointing.wait_usable()
        checkpoint_s = time.perf_counter() - began
        first = _objects(store, PARTS) | _objects(store, CHECKPOINTS)
        await _change(builder, "first", FEW_CHANGES, builder.drive.flush)
        began = time.perf_counter()
        await mirror.checkpointing.make()
        again_s = time.perf_counter() - began
        again = {name: size for name, size in _objects(store, PARTS).items() if name not in first}
        before = _objects(store, LOG)
        await _fill_folder(builder)
        await _change(builder, "then", LOG_CHANGES, lambda: _sent(builder, mirror))
        await builder.drive.flush()
        await _leave_behind(builder, mirror)
        log = {name: size for name, size in _objects(store, LOG).items() if name not in before}
        return Written(
            database_bytes=mirror.checkpointing.retained[-1].manifest.size_bytes,
            checkpoint_s=checkpoint_s,
            checkpoint_bytes=sum(first.values()),
            parts=len(first),
            again_s=again_s,
            again_parts=len(again),
            again_bytes=sum(again.values()),
            log_objects=len(log),
            log_bytes=sum(log.values()),
        )


@asynccontextmanager
async def at_work(state: Path, store: Path) -> AsyncIterator[tuple[Builder, Mirror]]:
    """A drive that is served by nobody and does what a core does: cuts, uploads, log and checkpoints."""
    places, clock = StatePlaces(state), SystemClock()
    keys = Keys.open(places, Brought())
    opened = await open_store(DirUrl(store), clock)
    drive = await open_drive(state, read_config(places.config), keys.names, Cloud(opened.store, lambda: keys.held))
    assert drive.mirror is not None
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive.run)
            yield Builder(drive), drive.mirror
            nursery.cancel_scope.cancel()
    finally:
        await drive.close()
        await opened.store.aclose()


async def _change(builder: Builder, name: str, changes: int, settle: Callable[[], Awaitable[None]]) -> None:
    """So many files made, and every second one renamed."""
    namespace, caller = builder.drive.namespace, builder.caller
    folder = builder.folder(ROOT, f"{FOLDER} {name}")
    for number in range(2 * changes // 3):
        made = f"Entwurf {number:07d}.docx".encode()
        namespace.create(folder, made, FILE, caller)
        if number % 2:
            namespace.rename(folder, made, folder, b"Brief" + made[7:], 0, caller)
        if number % PER_OBJECT == 0:
            await settle()


async def _fill_folder(builder: Builder) -> None:
    drive = builder.drive
    folder = builder.folder(ROOT, FOLDER)
    for number in range(REAL_FILES):
        inode = drive.namespace.create(folder, b"%07d" % number, FILE, builder.caller)
        await drive.files.write(inode, 0, content(number), builder.caller.actor_id)
    await drive.flush()


async def _leave_behind(builder: Builder, mirror: Mirror) -> None:
    """New files, and newer bytes in some of those of `FOLDER`: closed a moment ago, so that none is sealed yet."""
    drive = builder.drive
    folder = builder.folder(ROOT, f"{FOLDER} behind")
    for number in range(NEW_FILES):
        inode = drive.namespace.create(folder, b"%07d" % number, FILE, builder.caller)
        await drive.files.write(inode, 0, content(number)[::-1], builder.caller.actor_id)
    folder = drive.namespace.lookup(ROOT, FOLDER.encode()).ino
    for number in range(CHANGED_FILES):
        inode = drive.namespace.lookup(folder, b"%07d" % number)
        await drive.files.write(inode, 0, content(number)[::-1], builder.caller.actor_id)
    await _sent(builder, mirror)


def content(number: int) -> bytes:
    """What file `number` of the folder `FOLDER` holds."""
    return b"%015d\n" % number * 256


async def _sent(builder: Builder, mirror: Mirror) -> None:
    await builder.drive.cuts.wait_cut()
    await mirror.shipping.flush(builder.drive.cuts.durable)


def _objects(store: Path, prefix: str) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in (store / prefix).rglob("*") if path.is_file()}
