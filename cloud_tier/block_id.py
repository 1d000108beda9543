"""The name of a sealed block: keyed BLAKE3 of its plaintext.

The key is made with the drive and fixed for its life: under another key the same bytes would get another name, and
nothing would be recognised any more. It is a secret, so that nobody who sees a name can ask whether it is that of a
file he knows.
"""

from typing import NewType

from blake3 import blake3

from cloud_tier.object_store import Buffer

BLOCK_ID_BYTES = 32

BlockId = NewType("BlockId", bytes)


def block_id(key: bytes, *data: Buffer) -> BlockId:
    """The id of the block with these bytes, one piece behind the other. `key`: 32 bytes.

    Releases the GIL for all but the smallest pieces.
    """
    hasher = blake3(key=key)
    for piece in data:
        hasher.update(piece)
    return BlockId(hasher.digest())
