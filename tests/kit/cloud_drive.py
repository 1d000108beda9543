"""A `DriveBuilder` with a store in memory behind it, and what one asks it about blocks.

    async with CloudDrive(tmp_path / "state") as built:
        await built.write("a", b"bytes")
        await built.sent()
        await built.drop()
        assert built.held_bytes("a") == 0

`store` is a `FaultyStore`: it counts calls and can be taken away. Small cuts, so that a file of 60,000 bytes is many
blocks.
"""

from pathlib import Path
from typing import Any

from kit.drive_builder import SMALL_CUTS, DriveBuilder
from kit.drive_keys import drive_keys
from kit.faulty_store import FaultyStore

from cachefs.catalog import STORED
from cachefs.tier import Cloud, Tier
from cloud_tier.margins import Margins
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_names import PACKS, PackName
from cloud_tier.object_store import ObjectStore, list_objects
from cloud_tier.pack import Entry, PackReader
from vfs.seal_pass import Names

KEYS = drive_keys()


class CloudDrive(DriveBuilder):
    """`through` is what the drive uses of the store, if not the store itself; `prompt`: for what somebody waits for."""

    def __init__(
        self,
        state: Path,
        through: ObjectStore | None = None,
        *,
        margins: Margins = Margins(),  # noqa: B008  (frozen)
        prompt: ObjectStore | None = None,
        **options: Any,
    ) -> None:
        self.store = FaultyStore(MemoryStore())
        names = Names(KEYS.block_key, SMALL_CUTS.chunker)
        cloud = Cloud(through or self.store, lambda: KEYS, prompt=prompt, margins=margins)
        super().__init__(state, names=names, cloud=cloud, **options)

    @property
    def tier(self) -> Tier:
        assert self.drive.tier is not None
        return self.drive.tier

    async def sent(self) -> None:
        """Everything is in the store, and may be evicted."""
        await self.drive.flush()

    def retain(self) -> None:
        """Let garbage collection believe that each durable cut is the oldest retained checkpoint."""
        self.tier.upkeep.collector.oldest_retained = lambda: self.drive.cuts.durable or None

    async def packs(self) -> list[str]:
        """The names of all packs that the store has."""
        return [info.name async for info in list_objects(self.store, PACKS)]

    async def require_readable(self) -> None:
        """Each block that is said to be in the store can be read from there, by the catalog alone."""
        self.drive.cuts.log()
        rows = self.drive.database.rows(
            "SELECT pack_id, generation, fence, state, block_id, catalog.offset, catalog.length, start, blocks.length"
            " FROM catalog LEFT JOIN blocks USING (block) LEFT JOIN packs USING (pack)"
        )
        for pack_id, generation, fence, state, *entry in rows:
            assert state == STORED
            found = Entry(*entry)
            sealed = await self.store.get(str(PackName(fence, pack_id)), found.offset, found.length)
            PackReader.of(KEYS, pack_id, generation).blocks([found], sealed)

    async def drop(self) -> int:
        """Give up whatever may go; how many bytes went."""
        dropped = await self.tier.evicting.evict(1 << 50)
        await self.cut()
        return dropped

    def blocks_of(self, path: str) -> list[int]:
        """The blocks that the live file leads to, in its order."""
        inode = self.inode(path)
        assert inode.content is not None
        return [piece.block for piece in self.drive.contents.pieces(inode.content, 0, inode.size)]

    def held_bytes(self, path: str) -> int:
        """How many bytes of the file's blocks lie here."""
        blocks = [self.drive.cache.blocks.get(number) for number in self.blocks_of(path)]
        return sum(block.length for block in blocks if block.is_held)
