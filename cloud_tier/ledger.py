"""What the uploader must remember, as a protocol: cachefs keeps it in SQL, tests in a dict.

The order of the calls is the promise: a pack is announced, durably, before the first byte of it is sent, and its blocks
count as stored only after the store has said that all of it is durable and what it should be (I8).
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from cloud_tier.block_id import BlockId
from cloud_tier.keys import Generation
from cloud_tier.object_store import Buffer
from cloud_tier.pack import Entry, PackId
from cloud_tier.packer import Lane


class Unsent(NamedTuple):
    """A SEALED block that no pack holds."""

    block: int
    block_id: BlockId
    size_bytes: int
    lane: Lane


class StoredPack(NamedTuple):
    """What one must know to open a pack."""

    pack_id: PackId
    generation: Generation
    fence: int


class Ledger(Protocol):
    """Blocks that wait, and packs."""

    @property
    def unsent_bytes(self) -> int:
        """Plain bytes of all blocks that no pack holds, on their way or not."""
        ...

    def unsent(self) -> Iterable[int]:
        """All blocks that no pack holds, on their way or not, in the order in which they were sealed."""
        ...

    def is_unsent(self, block: int) -> bool:
        """Whether the block still waits, or is on its way."""
        ...

    def take(self, lane: Lane, most_bytes: int) -> list[Unsent]:
        """Hand out blocks of a lane, to be sent next, each once; empty when none waits or none is wanted."""
        ...

    def give_back(self, unsent: Sequence[Unsent]) -> None:
        """These were not sent and wait again."""
        ...

    async def read(self, block: int) -> Buffer | None:
        """The plaintext of a block, checked; None when it is gone or damaged, and then nobody needs or can send it."""
        ...

    def cannot_be_sent(self, block: int) -> None:
        """Its bytes are not what they should be: it is not handed out again, and whoever asks is told of the damage."""
        ...

    async def begin(self, pack_id: PackId, generation: Generation, fence: int, size_bytes: int) -> int:
        """Announce a pack, durably. Returns its number."""
        ...

    async def stored(self, pack: int, blocks: Sequence[tuple[Unsent, Entry]]) -> None:
        """All of the pack is durable in the store."""
        ...
