"""Large drives made in process, through the engine but without a kernel, an intent log or a sync: minutes, not hours.

Every row is written by the code that writes it in a real drive. Left out is what durability costs: a drive that is
being built may be lost. Contents are zeros that are never written, so a million files take room in the database only.
In the end all blocks are said to be in packs, as in a drive that has been at work for months: nothing waits to be sent.
"""

import random
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from appliance.assemble import allow_open_files
from appliance.making import Wishes, make_drive
from appliance.places import StatePlaces
from cachefs.catalog import STORED
from cachefs.cut import CutPolicy
from cachefs.database import Database
from cachefs.disk import RealDisk
from cloud_tier.clock import Clock
from vfs.actors import Caller
from vfs.drive import Drive
from vfs.ids import ROOT
from vfs.inodes import Inode
from vfs.state import open_database

FILE, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755
BATCH = 20_000  # files between two commits
BLOCKS_PER_PACK = 4_000
ZEROS = bytes(4096)
WORDS = ("Rechnung", "Angebot", "Vertrag", "Protokoll", "Plan", "Bericht", "Scan", "Foto", "Liste", "Entwurf")
ENDINGS = (".pdf", ".docx", ".xlsx", ".jpg", ".txt")


class EmptyDisk(RealDisk):
    """Takes zeros without writing them, and syncs nothing."""

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        if data != ZEROS[: len(data)]:
            super().pwrite(fd, data, offset)

    def sync(self, fd: int) -> None:  # type: ignore[override]
        pass

    def sync_directory(self, path: Path) -> None:
        pass


class Builder:
    """Makes things on a drive that nobody serves."""

    def __init__(self, drive: Drive) -> None:
        self.drive = drive
        self.caller = Caller(1000, 1000, drive.actors.local(1000))
        self._made = 0
        self._random = random.Random(1)

    def folder(self, parent: int, name: str) -> int:
        """A new folder; its number."""
        return self.drive.namespace.create(parent, name.encode(), FOLDER, self.caller).ino

    async def file(self, parent: int, name: str, size: int) -> Inode:
        """A new file of so many zeros, up to a page; none at all make an empty file."""
        inode = self.drive.namespace.create(parent, name.encode(), FILE, self.caller)
        if size:
            await self.drive.files.write(inode, 0, ZEROS[:size], self.caller.actor_id)
        self._made += 1
        if self._made % BATCH == 0:
            await self.commit()
        return inode

    async def commit(self) -> None:
        """Commit what was made, and nothing of it goes through the intent log."""
        for flush in self.drive.cuts.flushers:
            flush()
        self.drive.database.pending.clear()
        await self.drive.cuts.cut()

    def name(self, number: int) -> str:
        """A name as people give them, about twenty bytes long."""
        word, ending = self._random.choice(WORDS), self._random.choice(ENDINGS)
        return f"{word} {number:07d}{ending}"

    def give_attributes(self, inode: Inode, number: int) -> None:
        """What smbd keeps with a file: attributes of DOS, and one of a few access lists."""
        self.drive.xattrs.set(inode, b"user.DOSATTRIB", b"0x20".ljust(56, b"\0"), self.caller.actor_id)
        self.drive.xattrs.set(inode, b"security.NTACL", bytes([number % 20]) * 420, self.caller.actor_id)

    async def office(self, files: int) -> None:
        """So many files as an office has them: most in folders of 40 three levels down, a fifth in very large ones."""
        made, large, leaf = 0, 0, 0
        while made < files:
            if made >= large * 500_000 and files >= 1_000_000:
                large += 1
                folder, count = self.folder(ROOT, f"Archiv {large}"), 100_000
            else:
                if leaf % 400 == 0:
                    top = self.folder(ROOT, f"Abteilung {leaf // 400:03d}")
                if leaf % 20 == 0:
                    middle = self.folder(top, f"Projekt {leaf // 20:04d}")
                leaf += 1
                folder, count = self.folder(middle, f"Vorgang {leaf:05d}"), 40
            for number in range(made, min(made + count, files)):
                inode = await self.file(folder, self.name(number), (37, 480, 4096)[number % 3])
                if number % 10 == 0:
                    self.give_attributes(inode, number)
            made += count


def build(state: Path, work: Callable[[Builder], Awaitable[None]], *, clock: Clock | None = None) -> None:
    """Make a drive, or open the one that is there, and let `work` fill it."""

    async def filled() -> None:
        allow_open_files()
        policy = CutPolicy(max_rows=1 << 60, max_bytes=1 << 60)
        drive = await Drive.open(state, disk=EmptyDisk(), clock=clock, policy=policy)
        drive.database.connection.pragma("cache_size", -2_000_000)  # or pages go to the log again and again
        builder = Builder(drive)
        try:
            await work(builder)
            await builder.commit()
        finally:
            await drive.close()

    if not state.exists():
        trio.run(make_drive, StatePlaces(state), Wishes(give_kit=lambda kit: None))
    trio.run(filled)
    database = open_database(state)
    database.begin()
    _call_sent(database)
    database.commit()
    database.rewrite_log()
    database.close()


def _call_sent(database: Database) -> None:
    first, last = database.row("SELECT coalesce(max(pack), 0) + 1, coalesce(max(pack), 0) FROM packs")
    database.write("UPDATE blocks SET block_id = randomblob(32) WHERE block_id IS NULL")
    database.write(
        f"INSERT INTO catalog SELECT block, {first} + block / {BLOCKS_PER_PACK}, block % {BLOCKS_PER_PACK} * 4124,"
        " 4124, 0 FROM blocks WHERE block NOT IN (SELECT block FROM catalog)"
    )
    database.write(
        "INSERT INTO packs SELECT pack, randomblob(32), 1, 1, 16 << 20, ?, NULL FROM catalog WHERE pack > ?"
        " GROUP BY pack",
        (STORED, last),
    )
    database.write("INSERT OR REPLACE INTO counters SELECT 'pack', coalesce(max(pack), 0) FROM packs")
