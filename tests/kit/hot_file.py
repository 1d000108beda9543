"""A file that is never left alone, in simulated time: an hour of small scattered changes, as a database, the disk of a
virtual machine or a mailbox makes them, and what of that a store gets to see.

    async with hot_drive(tmp_path / "state", store) as built:
        hour = HotFile(built, store, size_bytes=64 << 20, pattern=DATABASE, seed=1)
        await hour.fill()
        figures = await hour.work(minutes=60)

Run it with a clock that jumps and `kit.inline_threads`. The drive cuts as a real one does.
"""

import random
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import trio
from kit.drive_builder import DriveBuilder
from kit.drive_keys import drive_keys
from kit.still_drive import UnsyncedDisk

from cachefs.tier import Cloud
from cloud_tier.chunker import ChunkerParameters
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_names import PACKS
from cloud_tier.object_store import Buffer, Pace
from vfs.seal_pass import Names

KIB, MIB = 1 << 10, 1 << 20
KEYS = drive_keys()
MINUTE_BYTES = MIB


@dataclass(frozen=True)
class Pattern:
    """Where changes fall: `hot_share` of them in the first `hot_part` of each `zone_bytes` of the file, the others
    anywhere; lengths in pages of 4 KiB. `header`: whether each change is followed by one of the first page.
    """

    name: str
    least_pages: int
    most_pages: int
    hot_share: float
    hot_part: float
    zone_bytes: int
    header: bool = False

    def changes(self, dice: random.Random, size_bytes: int) -> Iterator[tuple[int, int]]:
        """(offset, length) without end."""
        while True:
            length = 4 * KIB * dice.randint(self.least_pages, self.most_pages)
            zone = dice.randrange(0, max(1, size_bytes // self.zone_bytes)) * self.zone_bytes
            part = self.hot_part if dice.random() < self.hot_share else 1.0
            place = zone + dice.randrange(0, max(1, int((min(self.zone_bytes, size_bytes) - length) * part)))
            yield place - place % (4 * KIB), length
            if self.header:
                yield 0, 4 * KIB


DATABASE = Pattern("database", 1, 4, 0.8, 0.1, 1 << 30, header=True)
MACHINE = Pattern("virtual machine", 1, 16, 0.9, 0.05, 64 * MIB)
MAILBOX = Pattern("mailbox", 1, 16, 0.5, 0.2, 256 * MIB, header=True)
SCATTERED = Pattern("evenly scattered", 1, 16, 0.0, 1.0, 1 << 40)
PATTERNS = (DATABASE, MACHINE, MAILBOX, SCATTERED)


class SeenStore(MemoryStore):
    """Counts what comes in; with `keeps=False` it forgets the bytes of packs, for whoever reads nothing back."""

    def __init__(self, *, keeps: bool = True) -> None:
        super().__init__()
        self.packs = self.put_bytes = self.got_bytes = 0
        """Packs and bytes that came, bytes of packs that were read."""
        self._keeps = keeps

    async def put(self, name: str, body: Buffer, *, if_absent: bool = False, pace: Pace | None = None) -> None:
        is_pack = name.startswith(PACKS)
        self.packs += is_pack
        self.put_bytes += len(body)
        await super().put(name, body if self._keeps or not is_pack else b"", if_absent=if_absent, pace=pace)

    async def get(self, name: str, start: int = 0, length: int | None = None, *, pace: Pace | None = None) -> bytes:
        data = await super().get(name, start, length, pace=pace)
        if name.startswith(PACKS):
            self.got_bytes += len(data)
        return data


def hot_drive(state: Path, store: MemoryStore) -> AbstractAsyncContextManager[DriveBuilder]:
    """A drive with the cuts of a real one and a disk that need not be waited for."""
    names = Names(KEYS.block_key, ChunkerParameters())
    return DriveBuilder(state, disk=UnsyncedDisk(), names=names, cloud=Cloud(store, lambda: KEYS))


class Layout(NamedTuple):
    """How a file lies: its extents, its blocks, and the records in packs that a cold read of all of it must fetch."""

    extents: int
    blocks: int
    records: int


class Figures(NamedTuple):
    """What some time brought: bytes changed, bytes and objects sent, seconds of the processor."""

    changed_bytes: int
    sent_bytes: int
    objects: int
    cpu_s: float

    @property
    def ratio(self) -> float:
        """Sent for each byte changed."""
        return self.sent_bytes / self.changed_bytes


class HotFile:
    """One file, a twin of its bytes in memory, and the changes that a seed makes."""

    def __init__(self, built: DriveBuilder, store: SeenStore, *, size_bytes: int, pattern: Pattern, seed: int) -> None:
        self.twin = bytearray()
        self._built = built
        self._store = store
        self._size_bytes = size_bytes
        self._dice = random.Random(seed)
        self._changes = pattern.changes(self._dice, size_bytes)

    async def fill(self) -> None:
        """Make the file, and wait until the store has it."""
        for start in range(0, self._size_bytes, MIB):
            data = self._dice.randbytes(min(MIB, self._size_bytes - start))
            await self._built.write("hot", data, start)
            self.twin += data
        await self._built.drive.flush()

    async def work(self, *, minutes: int, snapshot_every: int = 0) -> Figures:
        """Change a MiB a minute, evenly over it, in changes made of a few seconds' bursts."""
        began = time.process_time()
        sent, objects, changed = self._store.put_bytes, self._store.packs, 0
        for minute in range(minutes):
            burst = 0
            for _ in range(12):
                while burst < MINUTE_BYTES // 12:
                    offset, length = next(self._changes)
                    data = self._dice.randbytes(length)
                    await self._built.write("hot", data, offset)
                    self.twin[offset : offset + length] = data
                    burst += length
                changed += burst
                burst -= MINUTE_BYTES // 12
                changed -= burst
                await trio.sleep(5)
            if snapshot_every and minute % snapshot_every == 0:
                await self._built.snapshot()
        return self._figures(began, sent, objects, changed)

    async def rest(self, minutes: int) -> Figures:
        """Leave it alone."""
        began = time.process_time()
        sent, objects = self._store.put_bytes, self._store.packs
        await trio.sleep(60 * minutes)
        return self._figures(began, sent, objects, 0)

    def _figures(self, began: float, sent: int, objects: int, changed: int) -> Figures:
        store = self._store
        cpu_s = time.process_time() - began
        return Figures(changed, store.put_bytes - sent, store.packs - objects, cpu_s)

    def layout(self) -> Layout:
        """How the live file lies now."""
        self._built.drive.cuts.log()
        row = self._built.drive.database.row(
            "SELECT count(*), count(DISTINCT block), count(DISTINCT coalesce(pack || ' ' || catalog.offset, block))"
            " FROM extents LEFT JOIN catalog USING (block) WHERE content = ?",
            (self._built.inode("hot").content,),
        )
        return Layout(*row)

    async def is_right(self) -> bool:
        """Whether the drive shows what was written."""
        inode = self._built.inode("hot")
        for start in range(0, self._size_bytes, 16 * MIB):
            end = min(start + 16 * MIB, self._size_bytes)
            if await self._built.drive.files.read(inode, start, end - start) != self.twin[start:end]:
                return False
        return True
