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

from cachefs.tier import Cloud, Tier
from cloud_tier.memory_store import MemoryStore
from cloud_tier.object_store import ObjectStore
from vfs.seal_pass import Names

KEYS = drive_keys()


class CloudDrive(DriveBuilder):
    """`through` is what the drive uses of the store, if not the store itself."""

    def __init__(self, state: Path, through: ObjectStore | None = None, **options: Any) -> None:
        self.store = FaultyStore(MemoryStore())
        names = Names(KEYS.block_key, SMALL_CUTS.chunker)
        super().__init__(state, names=names, cloud=Cloud(through or self.store, lambda: KEYS), **options)

    @property
    def tier(self) -> Tier:
        assert self.drive.tier is not None
        return self.drive.tier

    async def sent(self) -> None:
        """Everything is in the store, and may be evicted."""
        await self.drive.flush()

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
