"""What can go wrong with local bytes and rows.

    CacheError
    ├── StorageFull        no room is left for what was asked; nothing was changed; free space and ask again
    ├── StorageBroken      the disk or SQLite refused an I/O: what was not acknowledged may be gone, the core ends
    │   ├── TransactionLost    SQLite rolled the open transaction back: rows and memory no longer agree
    │   └── RowsDamaged        a page of the running drive's database is not what was written; a restart does not help
    ├── BytesDamaged       stored bytes are not what was written; never served as good
    ├── DatabaseDamaged    the database cannot be read, or a segment that it names is missing
    ├── WrongVersion       the database was written by another version of the format
    ├── UnknownBlock       no such block, or its bytes are gone
    └── NotHere            the bytes lie in the store, and cannot be had now; nothing is lost
        ├── CloudUnreachable   the store does not answer, or not in time; worth asking again later
        └── CloudDamaged       what the store has is not what was written, or is not there; never served as good

Only `StorageFull` may be retried by the caller.
"""


class CacheError(Exception):
    """Base of everything raised by cachefs."""


class StorageFull(CacheError):
    """The local disk or the budget has no room."""


class NoRoomToUpgrade(StorageFull):
    """There is no room for the copy that is kept before the tables are brought to another format."""

    def __init__(self, free_bytes: int, needed_bytes: int) -> None:
        super().__init__(f"{needed_bytes} bytes are needed for a copy of the database, and {free_bytes} are free")
        self.free_bytes, self.needed_bytes = free_bytes, needed_bytes


class StorageBroken(CacheError):
    """An I/O failed in a way after which memory and disk may disagree; the core ends and starts again from the last
    cut.
    """


class TransactionLost(StorageBroken):
    """SQLite rolled back everything since the last cut (full disk or I/O error in the middle of a statement)."""


class RowsDamaged(StorageBroken):
    """A page of the database is not what was written. Nothing of it was used; the core ends and stays down."""


class BytesDamaged(CacheError):
    """A page of a block is not what was written. `offset`: where it begins in the block, in bytes."""

    def __init__(self, segment: int, block: int, offset: int, what: str) -> None:
        super().__init__(f"page {offset // 4096} of block {block} in segment {segment} {what}")
        self.block = block
        self.offset = offset


class DatabaseDamaged(CacheError):
    """SQLite says the file is not a sound database."""


class WrongVersion(CacheError):
    """The format version of the database is not one this program can read."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the state directory has format version {found}; this program knows {known}")
        self.found = found
        self.known = known


class UnknownBlock(CacheError):
    """A block number that has no row, or whose bytes are not held."""

    def __init__(self, block: int) -> None:
        super().__init__(f"block {block} is not known")
        self.block = block


class NotHere(CacheError):
    """The bytes are in the store and could not be had. The text is a sentence for whoever wanted them."""


class CloudUnreachable(NotHere):
    """The store gave no answer, or none in time."""


class CloudDamaged(NotHere):
    """The store has other bytes than were written, or says that it has none."""
