"""Local bytes, bounded.

Owns the one SQLite database (opening, transactions, migrations), the table of blocks, the segment files, the budget,
what is evicted, pinned and read ahead, and the *cut*, the one protocol by which anything becomes durable.

Words: a block is *OPEN* (mutable, only here) or *SEALED* (immutable, named by its content); to *seal* is to cut OPEN
bytes by content and name the pieces, for good. A *segment* is a big sparse local file that holds blocks' bytes. A
*cut* is one durable commit: bytes, then rows, then WAL. To *evict* is to forget local bytes that the store has; to
*drop*, to discard bytes nobody wants. A sealed block that no pack holds yet is *unsent*; OPEN and unsent bytes are
*precious*.

Promises that to the layer above a block is simply there, only sometimes later; that precious bytes are never evicted;
that bytes are synced before the rows that name them. Refuses to know files and names. Imports only `cloud_tier`.
"""
